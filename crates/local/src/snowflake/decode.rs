//! Decompression of append bodies, with a cap on what comes out.

use std::io::{self, Read};

use super::log::Encoding;

/// Largest zstd window that is taken, as a power of two: what a frame may make the decoder allocate.
const WINDOW_LOG_MAX: u32 = 25;

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More bytes than allowed come out.
    TooLarge,
    /// It is no sound frame of its encoding.
    Damaged,
}

/// Decompresses at most `cap` bytes.
pub(crate) fn decompress(bytes: &[u8], encoding: Encoding, cap: usize) -> Result<Vec<u8>, Refused> {
    let mut rows = Vec::with_capacity((bytes.len() * 6).min(cap));
    read(bytes, encoding, cap, |reader| {
        reader.read_to_end(&mut rows).map(|length| length as u64)
    })?;
    Ok(rows)
}

/// The decompressed length, without keeping the bytes.
pub(crate) fn measure(bytes: &[u8], encoding: Encoding, cap: usize) -> Result<u64, Refused> {
    read(bytes, encoding, cap, |reader| io::copy(reader, &mut io::sink()))
}

fn read(
    bytes: &[u8],
    encoding: Encoding,
    cap: usize,
    consume: impl FnOnce(&mut dyn Read) -> io::Result<u64>,
) -> Result<u64, Refused> {
    let limit = cap as u64 + 1;
    let length = match encoding {
        Encoding::Zstd => {
            let mut decoder =
                zstd::stream::read::Decoder::with_buffer(bytes).map_err(|_| Refused::Damaged)?;
            decoder
                .window_log_max(WINDOW_LOG_MAX)
                .map_err(|_| Refused::Damaged)?;
            consume(&mut decoder.take(limit))
        }
        Encoding::Gzip => consume(&mut flate2::bufread::MultiGzDecoder::new(bytes).take(limit)),
    };
    match length {
        Ok(length) if length < limit => Ok(length),
        Ok(_) => Err(Refused::TooLarge),
        Err(_) => Err(Refused::Damaged),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn body_at_the_cap_is_taken_and_above_it_is_not() {
        let rows = vec![b'a'; 1000];
        let body = zstd::encode_all(&rows[..], 1).unwrap();
        assert_eq!(decompress(&body, Encoding::Zstd, 1000).unwrap(), rows);
        assert_eq!(decompress(&body, Encoding::Zstd, 999), Err(Refused::TooLarge));
        assert_eq!(measure(&body, Encoding::Zstd, 1000), Ok(1000));
    }

    #[test]
    fn cut_or_foreign_body_is_refused() {
        let body = zstd::encode_all(&b"hello hello hello"[..], 1).unwrap();
        assert_eq!(
            measure(&body[..body.len() - 2], Encoding::Zstd, 1000),
            Err(Refused::Damaged)
        );
        assert_eq!(measure(b"{}\n", Encoding::Zstd, 1000), Err(Refused::Damaged));
        assert_eq!(measure(b"{}\n", Encoding::Gzip, 1000), Err(Refused::Damaged));
    }

    #[test]
    fn frame_without_content_size_is_taken() {
        use std::io::Write as _;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.write_all(b"{\"a\":1}\n\n").unwrap();
        let body = encoder.finish().unwrap();
        assert_eq!(decompress(&body, Encoding::Zstd, 100).unwrap(), b"{\"a\":1}\n\n");
    }
}
