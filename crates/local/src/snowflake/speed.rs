//! What the local Snowflake costs, as multiples of what anyone's program would cost that does the same work with the same
//! libraries. Run by `scripts/speed-local` in profile `fast`; figures stand in `docs/speed.md`.
//!
//! Both sides of a measure run in turns in one process, and what counts is the median of the ratios of neighbours, because
//! machines are shared. `FRAZIL_SPEED_ROWS` says how many rows the queries read, in millions.

#![allow(clippy::print_stdout)]

mod accepting;
mod committing;
mod querying;

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::catalog::Catalog;
use super::model::{ColumnDef, CreateMode, DataType, NewTable, TableDef};
use super::rows;

const ROUNDS: usize = 9;
/// Rows of an append: about 4 MB.
const ROWS: usize = 20_000;

/// Tells the median beside its goal, and fails above `most`.
fn judge(name: &str, goal: f64, most: f64, ratios: &mut [f64]) {
    ratios.sort_by(f64::total_cmp);
    let median = ratios[ratios.len() / 2];
    println!(
        "{name}: {median:.2} (goal {goal}; {} rounds, {:.2} to {:.2})",
        ratios.len(),
        ratios[0],
        ratios[ratios.len() - 1]
    );
    assert!(
        median < most,
        "{name}: {median:.2} is more than {most} (goal {goal})"
    );
}

fn ratio(ours: Duration, theirs: Duration) -> f64 {
    ours.as_secs_f64() / theirs.as_secs_f64()
}

/// A draw without a library: the same each time.
fn draw(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

pub(in crate::snowflake) fn events(first: usize) -> Vec<u8> {
    let mut seed = 88_172_645_463_325_252 ^ (first as u64 + 1);
    let mut lines = Vec::new();
    for number in first..first + ROWS {
        let (a, b, c) = (draw(&mut seed), draw(&mut seed), draw(&mut seed));
        writeln!(
            lines,
            "{{\"id\":{number},\"city\":\"city {}\",\"reading\":{}.{:03},\"is_open\":{},\"seen\":\"2026-11-{:02} {:02}:{:02}:{:02}.{:03}\",\
             \"trace\":\"{a:016x}{b:016x}{c:016x}\",\"note\":\"measured at station {} by instrument {}\"}}",
            a % 1000,
            b % 10_000,
            c % 1000,
            a % 2 == 0,
            a % 28 + 1,
            b % 24,
            c % 60,
            a % 60,
            b % 1000,
            c % 977,
            b % 77,
        )
        .expect("memory takes it");
    }
    lines
}

fn columns() -> Vec<ColumnDef> {
    let text = || DataType::Varchar {
        length: rows::MAX_VARCHAR,
    };
    let whole = DataType::Number {
        precision: 38,
        scale: 0,
    };
    vec![
        ColumnDef::new("id", whole),
        ColumnDef::new("city", text()),
        ColumnDef::new("reading", DataType::Float),
        ColumnDef::new("is_open", DataType::Boolean),
        ColumnDef::new("seen", DataType::TimestampNtz { scale: 9 }),
        ColumnDef::new("trace", text()),
        ColumnDef::new("note", text()),
    ]
}

fn catalog(folder: &Path, columns: Vec<ColumnDef>) -> (Catalog, TableDef) {
    let catalog = Catalog::open(&folder.join("catalog.db")).expect("a catalog");
    catalog.create_database("D", CreateMode::New).expect("a database");
    let new = NewTable {
        database: "D".into(),
        schema: "PUBLIC".into(),
        name: "T".into(),
        columns,
        ..NewTable::default()
    };
    catalog.create_table(&new, CreateMode::New).expect("a table");
    let table = catalog
        .table("D", "PUBLIC", "T")
        .expect("readable")
        .expect("the table");
    (catalog, table)
}

fn properties() -> WriterProperties {
    WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).expect("a level")))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .build()
}
