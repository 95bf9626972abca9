//! Decompression of append bodies, with a cap on what comes out.
//!
//! A zstd decoder allocates its window anew for each stream, so those that are done are kept: [`KEPT`] of them at most, which
//! hold at most a window of 2^[`WINDOW_LOG_MAX`] bytes each.

use std::io::{self, Read};
use std::sync::{Mutex, PoisonError};

use zstd::stream::raw::{DParameter, Decoder, InBuffer, Operation as _, OutBuffer};

use super::log::Encoding;

/// Largest zstd window that is taken, as a power of two: what a frame may make the decoder allocate.
const WINDOW_LOG_MAX: u32 = 25;
/// Decoders that are kept for the next stream.
const KEPT: usize = 4;
/// What is taken out of a decoder at once where the bytes are only counted: what zstd decodes at once.
const BLOCK: usize = 128 * 1024;

/// Why a body was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// More bytes than allowed come out.
    TooLarge,
    /// It is no sound frame of its encoding.
    Damaged,
}

/// Decompresses at most `cap` bytes, which [`measure`] gave: so much is asked for at once.
pub(crate) fn decompress(bytes: &[u8], encoding: Encoding, cap: usize) -> Result<Vec<u8>, Refused> {
    let mut rows = Vec::with_capacity(cap);
    match encoding {
        Encoding::Zstd => frames(bytes, |block| {
            rows.extend_from_slice(block);
            rows.len() <= cap
        })?,
        Encoding::Gzip => {
            let mut reader = flate2::bufread::MultiGzDecoder::new(bytes).take(cap as u64 + 1);
            reader.read_to_end(&mut rows).map_err(|_| Refused::Damaged)?;
        }
    }
    if rows.len() > cap {
        return Err(Refused::TooLarge);
    }
    Ok(rows)
}

/// The decompressed length, without keeping the bytes.
pub(crate) fn measure(bytes: &[u8], encoding: Encoding, cap: usize) -> Result<u64, Refused> {
    let limit = cap as u64;
    let mut length = 0;
    match encoding {
        Encoding::Zstd => frames(bytes, |block| {
            length += block.len() as u64;
            length <= limit
        })?,
        Encoding::Gzip => {
            let mut reader = flate2::bufread::MultiGzDecoder::new(bytes).take(limit + 1);
            length = io::copy(&mut reader, &mut io::sink()).map_err(|_| Refused::Damaged)?;
        }
    }
    if length > limit {
        return Err(Refused::TooLarge);
    }
    Ok(length)
}

/// A zstd decoder and room for what comes out of it.
struct Worker {
    decoder: Decoder<'static>,
    block: Vec<u8>,
}

static IDLE: Mutex<Vec<Worker>> = Mutex::new(Vec::new());

fn worker() -> io::Result<Worker> {
    let kept = IDLE.lock().unwrap_or_else(PoisonError::into_inner).pop();
    if let Some(mut worker) = kept {
        worker.decoder.reinit()?;
        return Ok(worker);
    }
    let mut decoder = Decoder::new()?;
    decoder.set_parameter(DParameter::WindowLogMax(WINDOW_LOG_MAX))?;
    Ok(Worker {
        decoder,
        block: vec![0; BLOCK],
    })
}

/// Decodes frames behind one another, at least one, and gives what comes out to `take`, until that says that it is enough.
fn frames(bytes: &[u8], mut take: impl FnMut(&[u8]) -> bool) -> Result<(), Refused> {
    let mut worker = worker().map_err(|_| Refused::Damaged)?;
    let done = run(&mut worker, bytes, &mut take);
    // After an error it begins anew, as after an end.
    let mut idle = IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    if idle.len() < KEPT {
        idle.push(worker);
    }
    done.map_err(|_| Refused::Damaged)
}

fn run(worker: &mut Worker, bytes: &[u8], take: &mut impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut input = InBuffer::around(bytes);
    let mut is_whole = false;
    loop {
        let consumed = input.pos();
        if is_whole {
            if consumed == bytes.len() {
                return Ok(());
            }
            worker.decoder.reinit()?;
        }
        let mut output = OutBuffer::around(&mut worker.block[..]);
        is_whole = worker.decoder.run(&mut input, &mut output)? == 0;
        let written = output.pos();
        if written > 0 && !take(&worker.block[..written]) {
            return Ok(());
        }
        if !is_whole && written == 0 && input.pos() == consumed {
            // Nothing goes in or comes out: the frame is cut short.
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
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
        assert_eq!(measure(b"", Encoding::Zstd, 1000), Err(Refused::Damaged));
        // A decoder that met an error is used again.
        assert_eq!(measure(&body, Encoding::Zstd, 1000), Ok(17));
        for cut in 0..body.len() {
            assert_eq!(
                decompress(&body[..cut], Encoding::Zstd, 1000),
                Err(Refused::Damaged),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn frames_behind_one_another_are_one_stream() {
        let mut seed = 1_u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 40) as u8
        })
        .take(3 * BLOCK + 7)
        .collect();
        let parts = [&noise[..], b"", b"behind"];
        let body: Vec<u8> = parts
            .iter()
            .flat_map(|part| zstd::encode_all(*part, 1).unwrap())
            .collect();
        let whole = parts.concat();
        assert_eq!(
            measure(&body, Encoding::Zstd, whole.len()),
            Ok(whole.len() as u64)
        );
        assert_eq!(decompress(&body, Encoding::Zstd, whole.len()).unwrap(), whole);
        assert_eq!(
            measure(&body, Encoding::Zstd, whole.len() - 1),
            Err(Refused::TooLarge)
        );
        let mut foreign = body.clone();
        foreign.extend_from_slice(b"{}");
        assert_eq!(
            measure(&foreign, Encoding::Zstd, whole.len()),
            Err(Refused::Damaged)
        );
    }

    #[test]
    fn window_above_the_limit_is_refused() {
        use std::io::Write as _;
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 1).unwrap();
        encoder.include_contentsize(false).unwrap();
        encoder.window_log(WINDOW_LOG_MAX + 1).unwrap();
        encoder.write_all(b"{}").unwrap();
        let body = encoder.finish().unwrap();
        assert_eq!(measure(&body, Encoding::Zstd, 100), Err(Refused::Damaged));
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
