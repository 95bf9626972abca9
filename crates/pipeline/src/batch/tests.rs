//! Limits and ends of batches.

use std::time::Duration;

use frazil_model::{Clock as _, PausedClock};

use super::*;
use crate::shape::whole;

fn raw(builder: &mut BatchBuilder, bytes: usize, rows: u64, to: &str) {
    builder.raw.resize(bytes, b'x');
    for n in 0..rows {
        builder.add_row(
            0,
            || whole(&(n + 1).to_string()),
            Some(1000 - i64::try_from(n).expect("small")),
        );
    }
    builder.settle(whole(to));
}

#[test]
fn what_cannot_be_compressed_still_fits_a_request() {
    let mut noise = 7_u64;
    let bytes: Vec<u8> = (0..MAX_RAW_BYTES)
        .map(|_| {
            noise ^= noise << 13;
            noise ^= noise >> 7;
            noise ^= noise << 17;
            noise as u8
        })
        .collect();
    let body = Compressor::new(DEFAULT_LEVEL).compress(&bytes).expect("it fits");
    assert!(
        body.len() > MAX_RAW_BYTES && body.len() <= MAX_WIRE_BYTES,
        "{}",
        body.len()
    );
}

#[test]
fn a_batch_tells_its_ends_its_rows_and_its_oldest_arrival() {
    let mut builder = BatchBuilder::default();
    raw(&mut builder, 100, 3, "9");
    let Finished::Batches(batches) = builder.finish(&mut Compressor::new(DEFAULT_LEVEL), &mut Vec::new())
    else {
        panic!("no batch")
    };
    let [(0, batch)] = &batches[..] else {
        panic!("{batches:?}")
    };
    assert_eq!(
        (batch.rows, batch.uncompressed_bytes, batch.oldest_arrival_ms),
        (3, 100, Some(998))
    );
    assert_eq!((&batch.from, &batch.to), (&whole("1"), &whole("9")));
    assert!(builder.is_empty());
}

#[test]
fn rows_are_sorted_out_by_pipe_in_their_order_and_settle_the_same_position() {
    let mut builder = BatchBuilder::default();
    let mut compressor = Compressor::new(DEFAULT_LEVEL);
    for round in 0..2 {
        for (n, pipe) in [2, 0, 0, 2, 0, 2].into_iter().enumerate() {
            builder.raw.extend_from_slice(format!("{round}{n}\n").as_bytes());
            let position = || whole(&(n + 1).to_string());
            builder.add_row(pipe, position, Some(100 - i64::try_from(n).expect("small")));
        }
        builder.settle(whole("8"));
        let Finished::Batches(batches) = builder.finish(&mut compressor, &mut Vec::new()) else {
            panic!("no batches")
        };
        let shown: Vec<_> = batches
            .iter()
            .map(|(pipe, batch)| {
                let text = zstd::decode_all(&batch.body[..]).expect("zstd");
                assert_eq!((text.len(), &batch.to), (batch.uncompressed_bytes, &whole("8")));
                let text = String::from_utf8(text).expect("UTF-8");
                (
                    *pipe,
                    text,
                    batch.rows,
                    batch.from.clone(),
                    batch.oldest_arrival_ms,
                )
            })
            .collect();
        let text = |numbers: [u8; 3]| numbers.map(|n| format!("{round}{n}\n")).concat();
        assert_eq!(
            shown,
            [
                (0, text([1, 2, 4]), 3, whole("2"), Some(96)),
                (2, text([0, 3, 5]), 3, whole("1"), Some(95)),
            ]
        );
        assert!(builder.is_empty() && builder.rows() == 0);
    }
}

#[test]
fn without_rows_only_the_end_is_told() {
    let mut builder = BatchBuilder::default();
    let mut compressor = Compressor::new(DEFAULT_LEVEL);
    assert!(matches!(
        builder.finish(&mut compressor, &mut Vec::new()),
        Finished::Nothing
    ));
    builder.settle(whole("5"));
    let Finished::Settled { to } = builder.finish(&mut compressor, &mut Vec::new()) else {
        panic!("no end")
    };
    assert_eq!(to, whole("5"));
}

#[test]
fn compressors_come_back_and_are_bounded() {
    let compressors = Compressors::default();
    let lent: Vec<_> = (0..64).map(|_| compressors.lend()).collect();
    drop(lent);
    let mut one = compressors.lend();
    let body = one.compress(b"again and again and again").expect("small");
    assert_eq!(
        zstd::decode_all(&body[..]).expect("zstd"),
        b"again and again and again"
    );
}

#[test]
fn buffers_pass_from_shard_to_shard() {
    let compressors = Compressors::new();
    let mut builder = BatchBuilder::default();
    builder.gather_in(|| Vec::with_capacity(1000));
    assert!(
        builder
            .take_buffer()
            .is_some_and(|buffer| buffer.capacity() >= 1000)
    );
    assert!(builder.take_buffer().is_none(), "it has none left");
    builder.gather_in(|| Vec::with_capacity(1000));
    builder.raw.push(b'x');
    assert!(builder.take_buffer().is_none(), "rows stand in it");
    for _ in 0..1000 {
        compressors.keep_buffer(Vec::with_capacity(10));
    }
    let kept =
        std::iter::from_fn(|| Some(compressors.buffer()).filter(|buffer| buffer.capacity() > 0)).count();
    assert!((1..=64).contains(&kept), "{kept} buffers are kept");
}

#[tokio::test]
async fn a_compressor_that_comes_back_goes_on_at_the_level_of_the_time() {
    let (compressors, clock) = (Compressors::new(), PausedClock::at_wall_ms(0));
    let text = include_bytes!("../../../../testdata/earthquakes.ndjson");
    let compress = || {
        let body = compressors.lend().compress(text).expect("it fits");
        assert_eq!(zstd::decode_all(&body[..]).expect("zstd"), text);
        body.len()
    };
    let small = compress();
    for _ in 0..3 {
        clock.advance(Duration::from_secs(2)).await;
        // More than any number of processors has.
        compressors.spent(Duration::from_secs(100_000), clock.now());
    }
    let large = compress();
    assert!(large > small + small / 20, "{large} against {small}");
    for _ in 0..3 {
        clock.advance(Duration::from_secs(2)).await;
        compressors.spent(Duration::ZERO, clock.now());
    }
    assert_eq!(compress(), small);
}
