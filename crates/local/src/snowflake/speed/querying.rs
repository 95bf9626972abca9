//! Queries: from the statement's text to its rows.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Decimal128Array, Float64Array, StringArray};
use arrow::record_batch::RecordBatch;
use datafusion::prelude::{ParquetReadOptions, SessionContext};
use parquet::arrow::ArrowWriter;

use super::{catalog, columns, draw, judge, properties, ratio};
use crate::disk::{Disk as _, RealDisk};
use crate::snowflake::catalog::commit::{Outcome, TableCommit};
use crate::snowflake::model::ColumnDef;
use crate::snowflake::sql::{Engine, Session};
use crate::snowflake::{row_timestamps, rows, segments};

/// A million rows, or what is left, of the table that is queried.
fn part(first: i128, count: i128) -> RecordBatch {
    let columns = queried();
    let mut seed = u64::try_from(first + 7).expect("small");
    let ids = Decimal128Array::from_iter_values(first..first + count)
        .with_precision_and_scale(38, 0)
        .expect("a type");
    let cities: Vec<String> = (0..count)
        .map(|_| format!("city {}", draw(&mut seed) % 1000))
        .collect();
    let readings: Vec<f64> = (0..count)
        .map(|_| (draw(&mut seed) % 1_000_000) as f64 / 1000.0)
        .collect();
    RecordBatch::try_new(
        rows::schema(&columns),
        vec![
            Arc::new(ids),
            Arc::new(StringArray::from(cities)),
            Arc::new(Float64Array::from(readings)),
        ],
    )
    .expect("rows")
}

fn queried() -> Vec<ColumnDef> {
    let names = ["ID", "CITY", "READING"];
    columns()
        .into_iter()
        .zip(names)
        .map(|(column, name)| ColumnDef {
            name: name.to_owned(),
            ..column
        })
        .collect()
}

/// The same rows in a table of ours, in as many segments as merging leaves, and in one plain file.
fn filled(folder: &Path, millions: i128) -> (Engine, PathBuf) {
    let (catalog, table) = catalog(folder, queried());
    let disk = RealDisk::new(folder);
    disk.create_dir(Path::new(segments::FOLDER)).expect("a folder");
    let plain = folder.join("plain.parquet");
    let file = File::create(&plain).expect("a file");
    let mut writer =
        ArrowWriter::try_new(file, rows::schema(&queried()), Some(properties())).expect("a writer");
    let per_segment = 250_000;
    for number in 0..millions * 4 {
        let rows = part(number * per_segment, per_segment);
        writer.write(&rows).expect("written");
        let stamped = row_timestamps::stamp(&table, rows, 1);
        let commit = TableCommit {
            table_id: table.id,
            columns_before: table.columns.clone(),
            columns_after: None,
            segment: Some(segments::write(&disk, table.id, &stamped).expect("written")),
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: None,
        };
        assert_eq!(catalog.commit(&commit).expect("committed"), Outcome::Done);
    }
    writer.close().expect("closed");
    let engine = Engine::new(Arc::new(catalog), Arc::new(disk), folder.to_owned(), "LOCAL");
    (engine, plain)
}

/// From a statement's text to its rows, here and there.
async fn one_round(
    engine: &Engine,
    context: &SessionContext,
    sql: &str,
    rows: usize,
) -> (Duration, Duration) {
    let mut session = Session {
        database: Some("D".to_owned()),
        ..Session::default()
    };
    let begin = Instant::now();
    let result = engine.execute(&mut session, sql).await.expect("a result");
    let ours = begin.elapsed();
    assert_eq!(result.rows.len(), rows, "{sql}");
    let begin = Instant::now();
    let theirs = context
        .sql(&sql.replace("FROM T", "FROM plain"))
        .await
        .expect("a plan")
        .collect()
        .await
        .expect("rows");
    let took = begin.elapsed();
    let counted: usize = theirs.iter().map(RecordBatch::num_rows).sum();
    assert_eq!(counted, rows, "{sql}");
    (ours, took)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "measures; run by scripts/speed-local"]
async fn counting_and_grouping() {
    let millions: i128 = std::env::var("FRAZIL_SPEED_ROWS")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(10);
    let folder = tempfile::tempdir().expect("a folder");
    let (engine, plain) = filled(folder.path(), millions);
    let context = SessionContext::new();
    let plain = plain.to_str().expect("a path");
    context
        .register_parquet("plain", plain, ParquetReadOptions::default())
        .await
        .expect("registered");
    // What takes a millisecond or two is done more often.
    for (name, sql, rows, rounds) in [
        (
            "COUNT and SUM by group",
            "SELECT \"CITY\", COUNT(*), SUM(\"READING\") FROM T GROUP BY \"CITY\"",
            1000,
            5,
        ),
        ("COUNT(*)", "SELECT COUNT(*) FROM T", 1, 41),
    ] {
        let mut ratios = Vec::new();
        for round in 0..=rounds {
            let (ours, theirs) = one_round(&engine, &context, sql, rows).await;
            println!("  {name}: {ours:?} to {theirs:?}");
            if round > 0 {
                ratios.push(ratio(ours, theirs));
            }
        }
        judge(
            &format!("{name} of {millions} million rows, to DataFusion on one file"),
            1.5,
            1.9,
            &mut ratios,
        );
    }
}
