//! `Content-Encoding: aws-chunked`: chunks of hex length and bytes, a last one of length 0, trailing headers (Amazon S3 API
//! Reference, "Signature calculations for the Authorization header: transferring payload in multiple chunks").
//!
//! Signatures of chunks are not checked.

/// A body without its framing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Unframed {
    pub(super) bytes: Vec<u8>,
    /// `x-amz-checksum-crc32` of the trailer.
    pub(super) crc32: Option<String>,
}

/// Takes the framing off, within the body's own memory; `None` if it is cut short or is no such framing.
pub(super) fn unframe(mut body: Vec<u8>) -> Option<Unframed> {
    let (mut from, mut to) = (0, 0);
    loop {
        let (line, next) = line(&body, from)?;
        let digits = line.split(|byte| *byte == b';').next()?;
        let digits = std::str::from_utf8(digits).ok()?.trim();
        if digits.is_empty() || digits.len() > 8 {
            return None;
        }
        let length = usize::from_str_radix(digits, 16).ok()?;
        if length == 0 {
            let crc32 = trailer(&body, next)?;
            body.truncate(to);
            return Some(Unframed { bytes: body, crc32 });
        }
        let end = next.checked_add(length)?;
        if body.get(end..end + 2)? != b"\r\n" {
            return None;
        }
        body.copy_within(next..end, to);
        to += length;
        from = end + 2;
    }
}

fn line(body: &[u8], from: usize) -> Option<(&[u8], usize)> {
    let rest = body.get(from..)?;
    let end = rest.windows(2).position(|pair| pair == b"\r\n")?;
    Some((&rest[..end], from + end + 2))
}

/// The checksum among the trailing headers, which end with an empty line; some senders leave that line out.
fn trailer(body: &[u8], mut from: usize) -> Option<Option<String>> {
    let mut crc32 = None;
    while from < body.len() {
        let (header, next) = line(body, from)?;
        if header.is_empty() {
            break;
        }
        let (name, value) = std::str::from_utf8(header).ok()?.split_once(':')?;
        if name.eq_ignore_ascii_case("x-amz-checksum-crc32") {
            crc32 = Some(value.trim().to_owned());
        }
        from = next;
    }
    Some(crc32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_and_trailer_are_read() {
        let body =
            b"3;chunk-signature=ab\r\nabc\r\nA\r\n0123456789\r\n0\r\nx-amz-checksum-crc32: AAAA==\r\n\r\n";
        let unframed = unframe(body.to_vec()).unwrap();
        assert_eq!(unframed.bytes, b"abc0123456789");
        assert_eq!(unframed.crc32.as_deref(), Some("AAAA=="));
        assert_eq!(
            unframe(b"0\r\n\r\n".to_vec()),
            Some(Unframed {
                bytes: Vec::new(),
                crc32: None
            })
        );
    }

    #[test]
    fn a_body_cut_anywhere_before_its_end_is_refused() {
        let body = b"3\r\nabc\r\n2\r\nde\r\n0\r\n";
        for end in 0..body.len() {
            assert_eq!(unframe(body[..end].to_vec()), None, "cut at {end}");
        }
        assert_eq!(unframe(body.to_vec()).unwrap().bytes, b"abcde");
        for wrong in [
            "x\r\n",
            "ffffffffff\r\n",
            "-1\r\n\r\n",
            "2\r\nabc\r\n0\r\n\r\n",
            "\r\n",
        ] {
            assert_eq!(unframe(wrong.as_bytes().to_vec()), None, "{wrong:?}");
        }
    }
}
