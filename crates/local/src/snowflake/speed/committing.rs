//! Committing: from NDJSON in memory to a segment that the catalog names.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use parquet::arrow::ArrowWriter;

use super::{ROUNDS, ROWS, catalog, columns, events, judge, properties, ratio};
use crate::disk::{Disk as _, RealDisk};
use crate::snowflake::catalog::commit::{Outcome, TableCommit};
use crate::snowflake::rows::{self, AcceptedRows, Mapping};
use crate::snowflake::{row_timestamps, segments};

#[test]
#[ignore = "measures; run by scripts/speed-local"]
fn committing_to_columns() {
    let folder = tempfile::tempdir().expect("a folder");
    let (catalog, table) = catalog(folder.path(), columns());
    let disk = RealDisk::new(folder.path());
    disk.create_dir(Path::new(segments::FOLDER)).expect("a folder");
    let lines: Vec<Vec<u8>> = (0..6).map(|number| events(number * ROWS)).collect();
    let all = lines.concat();
    let (mut ratios, mut committed) = (Vec::new(), 0);
    for round in 0..=ROUNDS {
        let begin = Instant::now();
        let accepted: Vec<AcceptedRows<'_>> = lines.iter().map(|ndjson| AcceptedRows { ndjson }).collect();
        let converted = rows::convert(&table, Mapping::DEFAULT, &accepted, rows::Terms::at(0));
        let stamped = row_timestamps::stamp(&table, converted.record_batch, 0);
        let segment = segments::write(&disk, table.id, &stamped).expect("written");
        committed += segment.rows;
        let commit = TableCommit {
            table_id: table.id,
            columns_before: table.columns.clone(),
            columns_after: None,
            segment: Some(segment),
            errors: None,
            channels: Vec::new(),
            overwrite: false,
            iceberg: None,
        };
        assert_eq!(catalog.commit(&commit).expect("committed"), Outcome::Done);
        let ours = begin.elapsed();

        let begin = Instant::now();
        let path = folder.path().join(format!("plain-{round}.parquet"));
        let schema = rows::schema(&columns());
        let reader = arrow::json::ReaderBuilder::new(Arc::clone(&schema))
            .with_batch_size(8192)
            .build(&all[..])
            .expect("a reader");
        let file = File::create(&path).expect("a file");
        let mut writer =
            ArrowWriter::try_new(file.try_clone().expect("a handle"), schema, Some(properties()))
                .expect("a writer");
        for batch in reader {
            writer.write(&batch.expect("rows")).expect("written");
        }
        writer.close().expect("closed");
        file.sync_all().expect("synced");
        let theirs = begin.elapsed();
        if round > 0 {
            ratios.push(ratio(ours, theirs));
        }
    }
    assert_eq!(committed, ((ROUNDS + 1) * 6 * ROWS) as u64, "rows");
    judge(
        "committing to columns, to arrow-json and the Parquet writer",
        2.0,
        2.2,
        &mut ratios,
    );
}
