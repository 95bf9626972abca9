//! Takes compression off a payload: gzip (RFC 1952) and zstd (RFC 8878).
//!
//! What it is: producers compress what they put, and some services always do (CloudWatch Logs sends gzip through its
//! subscriptions). They are known by the bytes they begin with, as no JSON document does.
//!
//! What it guarantees: no payload becomes more than [`MAX_DECOMPRESSED_BYTES`], whatever it claims, nor more than the memory
//! that is set aside for it ([`Decompression::append`]); what is cut, damaged or
//! too large is refused and leaves nothing behind. Checksums are verified. Contexts are kept, so nothing is allocated per
//! payload. Several members or frames one after the other are one payload, as with the tools of both formats.
//!
//! What it does not: compression inside of compression stays, and zstd frames that need a dictionary are refused.

use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::bulk::Decompressor;
use zstd::zstd_safe;

use crate::batch::MAX_RAW_BYTES;
use crate::dead_letters::Reason;
use crate::shape::form::Compression;
use crate::shape::validate::Flaw;

/// The most a payload may decompress to, in bytes: a little more than the largest row, which is 16 MB.
pub const MAX_DECOMPRESSED_BYTES: usize = 16 * 1024 * 1024;
/// The output grows by at least this many bytes.
const STEP: usize = 4096;
/// Compressed JSON is seldom smaller than this part of itself.
const USUAL_RATIO: usize = 8;
/// A gzip member ends with its checksum and its length.
const GZIP_TRAILER: usize = 8;

/// Decompresses payloads, one after the other.
pub(super) struct Decompression {
    limit: usize,
    deflate: Option<Decompress>,
    zstd: Option<Decompressor<'static>>,
}

impl std::fmt::Debug for Decompression {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decompression")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Why a payload could not be decompressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refused {
    Damaged,
    TooLarge,
}

impl Decompression {
    /// Payloads of at most `limit` bytes come out.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit: limit.min(MAX_DECOMPRESSED_BYTES),
            deflate: None,
            zstd: None,
        }
    }

    /// Appends the decompressed payload to `out`. False where it has more than `most` bytes, and might have no more than it may
    /// have at all; then, and on a flaw, `out` is as it was.
    pub(super) fn append(
        &mut self,
        how: Compression,
        payload: &[u8],
        most: usize,
        out: &mut Vec<u8>,
    ) -> Result<bool, Flaw> {
        let (start, limit) = (out.len(), self.limit.min(most));
        let done = match how {
            Compression::Gzip => self.gzip(payload, limit, out),
            Compression::Zstd => self.zstd(payload, limit, out),
        };
        if done == Err(Refused::TooLarge) && limit < self.limit {
            out.truncate(start);
            return Ok(false);
        }
        done.map(|()| true).map_err(|refused| {
            out.truncate(start);
            let (reason, what) = match (refused, how) {
                (Refused::TooLarge, _) => (
                    Reason::DecompressedTooLarge,
                    "decompressed, the payload is larger than a record may become",
                ),
                (Refused::Damaged, Compression::Gzip) => (
                    Reason::BadCompression,
                    "the payload begins as gzip and cannot be decompressed",
                ),
                (Refused::Damaged, Compression::Zstd) => (
                    Reason::BadCompression,
                    "the payload begins as zstd and cannot be decompressed",
                ),
            };
            Flaw { reason, what, at: 0 }
        })
    }

    fn gzip(&mut self, payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let end = out.len() + limit;
        // What is written; the room behind it stays for the next member, of which there may be very many.
        let mut filled = out.len();
        let mut rest = payload;
        while !rest.is_empty() {
            let deflated = behind_header(rest).ok_or(Refused::Damaged)?;
            let begin = filled;
            let used = self.inflate(deflated, out, &mut filled, end)?;
            let (trailer, next) = deflated
                .get(used..)
                .and_then(|behind| behind.split_at_checked(GZIP_TRAILER))
                .ok_or(Refused::Damaged)?;
            let member = out.get(begin..filled).unwrap_or_default();
            let mut checksum = Crc::new();
            checksum.update(member);
            let (sum, length) = trailer.split_at(GZIP_TRAILER / 2);
            if sum != checksum.sum().to_le_bytes() || length != (member.len() as u32).to_le_bytes() {
                return Err(Refused::Damaged);
            }
            rest = next;
        }
        out.truncate(filled);
        Ok(())
    }

    /// Writes one deflated stream behind `filled`, and not behind `end`; answers how many bytes it had.
    fn inflate(
        &mut self,
        deflated: &[u8],
        out: &mut Vec<u8>,
        filled: &mut usize,
        end: usize,
    ) -> Result<usize, Refused> {
        let inflater = self.deflate.get_or_insert_with(|| Decompress::new(false));
        inflater.reset(false);
        let mut used = 0;
        // One byte more than may be tells that there is more.
        let most = end + 1;
        let mut grow = deflated.len().saturating_mul(USUAL_RATIO);
        loop {
            if *filled == out.len() {
                if *filled >= most {
                    return Err(Refused::TooLarge);
                }
                let size = filled.saturating_add(grow.max(STEP)).min(most);
                grow_to(out, size);
                grow = *filled / 2;
            }
            let (input, room) = (deflated.get(used..), out.get_mut(*filled..));
            let (input, room) = (input.unwrap_or_default(), room.unwrap_or_default());
            let (before_in, before_out) = (inflater.total_in(), inflater.total_out());
            let status = inflater.decompress(input, room, FlushDecompress::None);
            let status = status.map_err(|_| Refused::Damaged)?;
            let (read, wrote) = (inflater.total_in() - before_in, inflater.total_out() - before_out);
            used += read as usize;
            *filled += wrote as usize;
            match status {
                Status::StreamEnd if *filled > end => return Err(Refused::TooLarge),
                Status::StreamEnd => return Ok(used),
                // All that there is was offered, and nothing came of it: the stream was cut.
                Status::Ok | Status::BufError if read == 0 && wrote == 0 => return Err(Refused::Damaged),
                Status::Ok | Status::BufError => {}
            }
        }
    }

    fn zstd(&mut self, payload: &[u8], limit: usize, out: &mut Vec<u8>) -> Result<(), Refused> {
        let start = out.len();
        let decompressor = match &mut self.zstd {
            Some(kept) => kept,
            // It fails only where memory is used up.
            none => none.insert(Decompressor::new().map_err(|_| Refused::Damaged)?),
        };
        let told = zstd_safe::get_frame_content_size(payload).map_err(|_| Refused::Damaged)?;
        let told = told.map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        if told.is_some_and(|bytes| bytes > limit) {
            return Err(Refused::TooLarge);
        }
        let mut size = told.unwrap_or_else(|| payload.len().saturating_mul(USUAL_RATIO));
        size = size.max(STEP).min(limit);
        loop {
            grow_to(out, start + size);
            let room = out.get_mut(start..).unwrap_or_default();
            match decompressor.decompress_to_buffer(payload, room) {
                Ok(wrote) => {
                    out.truncate(start + wrote);
                    return Ok(());
                }
                Err(error) if !is_too_small(&error) => return Err(Refused::Damaged),
                Err(_) if size >= limit => return Err(Refused::TooLarge),
                Err(_) => size = size.saturating_mul(2).min(limit),
            }
        }
    }
}

/// Beyond a full batch a vector has no more room than it needs: doubled, it would be larger than what is set aside for it.
fn grow_to(out: &mut Vec<u8>, size: usize) {
    if size > MAX_RAW_BYTES {
        out.reserve_exact(size.saturating_sub(out.len()));
    }
    out.resize(size, 0);
}

/// Whether zstd only lacks room. Its error codes are reached by their texts alone.
#[cold]
fn is_too_small(error: &std::io::Error) -> bool {
    error.to_string().contains("Destination buffer is too small")
}

/// What follows the header of a gzip member.
fn behind_header(member: &[u8]) -> Option<&[u8]> {
    const CHECKSUM: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    const RESERVED: u8 = 0xe0;
    let (fixed, mut rest) = member.split_at_checked(10)?;
    let [0x1f, 0x8b, 8, flags, ..] = *fixed else {
        return None;
    };
    if flags & RESERVED != 0 {
        return None;
    }
    if flags & EXTRA != 0 {
        let length = u16::from_le_bytes([*rest.first()?, *rest.get(1)?]);
        rest = rest.get(2 + usize::from(length)..)?;
    }
    for text in [NAME, COMMENT] {
        if flags & text != 0 {
            rest = rest.get(memchr::memchr(0, rest)? + 1..)?;
        }
    }
    if flags & CHECKSUM != 0 {
        rest = rest.get(2..)?;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use flate2::GzBuilder;
    use proptest::prelude::*;

    use super::*;
    use crate::shape::form::Form;

    fn gzip(data: &[u8]) -> Vec<u8> {
        let mut encoder = GzBuilder::new().write(Vec::new(), flate2::Compression::fast());
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    /// As tools write it that do not know the length beforehand.
    fn zstd_streamed(data: &[u8]) -> Vec<u8> {
        let mut encoder = zstd::Encoder::new(Vec::new(), 1).expect("zstd");
        encoder.write_all(data).expect("memory");
        encoder.finish().expect("memory")
    }

    fn form(payload: &[u8]) -> Compression {
        match Form::of(payload) {
            Form::Compressed(how) => how,
            other => panic!("{other:?}"),
        }
    }

    fn decompressed(limit: usize, payload: &[u8]) -> Result<Vec<u8>, Reason> {
        let mut out = b"before".to_vec();
        let done = Decompression::new(limit).append(form(payload), payload, usize::MAX, &mut out);
        assert!(out.starts_with(b"before"));
        match done {
            Ok(fits) => {
                assert!(fits, "there was no other limit");
                Ok(out[6..].to_vec())
            }
            Err(flaw) => {
                assert_eq!(out, b"before");
                Err(flaw.reason)
            }
        }
    }

    #[test]
    fn limits_hold_to_the_byte() {
        let data = vec![b'x'; 100_000];
        for payload in [
            gzip(&data),
            zstd_streamed(&data),
            zstd::encode_all(&data[..], 1).expect("zstd"),
        ] {
            assert_eq!(decompressed(100_000, &payload).as_deref(), Ok(&data[..]));
            assert_eq!(decompressed(99_999, &payload), Err(Reason::DecompressedTooLarge));
            assert_eq!(decompressed(10, &payload), Err(Reason::DecompressedTooLarge));
        }
        let known = zstd::bulk::compress(&data, 1).expect("zstd");
        assert_eq!(decompressed(99_999, &known), Err(Reason::DecompressedTooLarge));
        assert_eq!(decompressed(100_000, &known).as_deref(), Ok(&data[..]));
    }

    #[test]
    fn a_bomb_stops_at_the_hard_limit() {
        let zeros = vec![0; MAX_DECOMPRESSED_BYTES + 1];
        for payload in [gzip(&zeros), zstd_streamed(&zeros)] {
            assert!(payload.len() < MAX_DECOMPRESSED_BYTES / 20);
            assert_eq!(
                decompressed(usize::MAX, &payload),
                Err(Reason::DecompressedTooLarge)
            );
        }
        // A frame that only claims to be huge: 2^62 bytes.
        let claim = [
            &[0x28, 0xb5, 0x2f, 0xfd, 0xe0][..],
            &(1_u64 << 62).to_le_bytes(),
            &[1, 0, 0],
        ]
        .concat();
        assert_eq!(
            decompressed(usize::MAX, &claim),
            Err(Reason::DecompressedTooLarge)
        );
    }

    #[test]
    fn members_and_frames_follow_each_other_and_headers_may_have_all_fields() {
        let full = GzBuilder::new()
            .filename("name")
            .comment("comment")
            .extra(vec![1, 2, 3]);
        let mut full = full.write(Vec::new(), flate2::Compression::best());
        full.write_all(b"{\"a\":").expect("memory");
        let two = [full.finish().expect("memory"), gzip(b"1}")].concat();
        assert_eq!(decompressed(1000, &two).as_deref(), Ok(&b"{\"a\":1}"[..]));
        let two = [zstd_streamed(b"{\"a\":"), zstd_streamed(b"1}")].concat();
        assert_eq!(decompressed(1000, &two).as_deref(), Ok(&b"{\"a\":1}"[..]));
        for empty in [gzip(b""), zstd_streamed(b"")] {
            assert_eq!(decompressed(1000, &empty).as_deref(), Ok(&b""[..]));
        }
    }

    #[test]
    fn very_many_members_take_linear_time() {
        let members = gzip(b"").repeat(50_000);
        assert_eq!(
            decompressed(MAX_DECOMPRESSED_BYTES, &members).as_deref(),
            Ok(&b""[..])
        );
        let frames = zstd_streamed(b"").repeat(50_000);
        assert_eq!(
            decompressed(MAX_DECOMPRESSED_BYTES, &frames).as_deref(),
            Ok(&b""[..])
        );
    }

    #[test]
    fn what_is_cut_or_followed_by_something_else_is_refused() {
        for payload in [gzip(b"{\"a\":1}"), zstd_streamed(b"{\"a\":1}")] {
            for end in 4..payload.len() {
                assert_eq!(
                    decompressed(1000, &payload[..end]),
                    Err(Reason::BadCompression),
                    "{end}"
                );
            }
            let longer = [&payload[..], b"{}"].concat();
            assert_eq!(decompressed(1000, &longer), Err(Reason::BadCompression));
        }
        let mut wrong_checksum = gzip(b"{\"a\":1}");
        let at = wrong_checksum.len() - 5;
        wrong_checksum[at] ^= 1;
        assert_eq!(decompressed(1000, &wrong_checksum), Err(Reason::BadCompression));
    }

    proptest! {
        #[test]
        fn what_was_compressed_comes_back(
            payloads in prop::collection::vec((prop::collection::vec(0..4_u8, 0..20_000), 0..3), 1..5),
        ) {
            let mut decompression = Decompression::new(MAX_DECOMPRESSED_BYTES);
            for (data, how) in payloads {
                let payload = match how {
                    0 => gzip(&data),
                    1 => zstd_streamed(&data),
                    _ => zstd::bulk::compress(&data, 1).expect("zstd"),
                };
                let mut out = Vec::new();
                let most = data.len();
                let form = form(&payload);
                if most > 0 {
                    let fits = decompression.append(form, &payload, most - 1, &mut out).expect("sound");
                    prop_assert!(!fits && out.is_empty());
                }
                prop_assert!(decompression.append(form, &payload, most, &mut out).expect("sound"));
                prop_assert_eq!(out, data);
            }
        }

        #[test]
        fn outside_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 2..100), sound in any::<bool>()) {
            for magic in [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0][..], &[0x1f, 0x8b], &[0x28, 0xb5, 0x2f, 0xfd]] {
                let _ = decompressed(1000, &[magic, &bytes].concat());
            }
            let mut changed = if sound { gzip(&[7; 300]) } else { zstd_streamed(&[7; 300]) };
            for (at, byte) in bytes.iter().enumerate().take(2) {
                let at = 4 + (at * 7 + *byte as usize) % (changed.len() - 4);
                changed[at] ^= byte;
            }
            let _ = decompressed(1000, &changed);
        }
    }
}
