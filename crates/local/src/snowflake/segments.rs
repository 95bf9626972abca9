//! Segments: the Parquet files of the standard tables.
//!
//! Written once (zstd level 1), synced with their folder before the catalog names them, never changed. Small ones of equal
//! columns are merged in the background, because a query opens each file of its table. A clone names the files of its source
//! ([`super::cloned`]); after a merge each has its own.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use super::catalog::Catalog;
use super::catalog::commit::NewSegment;
use super::model::{Segment, SegmentKind};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Result};

/// Folder of the segments.
pub(crate) const FOLDER: &str = "segments";
/// Upper ends of the size classes that are merged, each within itself, so that a row is written again only a few times.
/// Segments from the last one on are left alone.
const CLASSES: [u64; 3] = [128 * 1024, 1024 * 1024, 8 * 1024 * 1024];
/// So many of a class are merged.
pub(crate) const MERGE_FROM: usize = 16;
const WRITE_BUFFER: usize = 256 * 1024;

/// Writes rows as one segment of `table_id`; on return the file and its name are on disk.
pub(crate) fn write(disk: &dyn Disk, table_id: i64, rows: &RecordBatch) -> Result<NewSegment> {
    write_all(disk, table_id, rows.schema(), [Ok(rows.clone())].into_iter())
}

pub(crate) fn write_all(
    disk: &dyn Disk,
    table_id: i64,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<NewSegment> {
    let path = format!("{FOLDER}/{table_id}-{}.parquet", uuid::Uuid::new_v4().simple());
    let file = disk
        .create(Path::new(&path))
        .map_err(Error::disk("create", &path))?;
    match write_file(file, schema, batches) {
        Ok((rows, bytes)) => {
            disk.sync_dir(Path::new(FOLDER))
                .map_err(Error::disk("sync", FOLDER))?;
            Ok(NewSegment { path, rows, bytes })
        }
        Err(error) => {
            remove(disk, &path);
            Err(error)
        }
    }
}

fn write_file(
    file: Box<dyn DiskFile>,
    schema: SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch>>,
) -> Result<(u64, u64)> {
    let level = ZstdLevel::try_new(1).map_err(segment_error)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_statistics_enabled(EnabledStatistics::Chunk)
        .set_created_by("frazil".into())
        .build();
    let output = Output {
        file,
        buffer: Vec::with_capacity(WRITE_BUFFER),
        written: 0,
    };
    let mut writer = ArrowWriter::try_new(output, schema, Some(properties)).map_err(segment_error)?;
    let mut rows = 0;
    for batch in batches {
        let batch = batch?;
        rows += batch.num_rows() as u64;
        writer.write(&batch).map_err(segment_error)?;
    }
    let mut output = writer.into_inner().map_err(segment_error)?;
    output
        .flush()
        .and_then(|()| output.file.sync())
        .map_err(Error::disk("write", FOLDER))?;
    Ok((rows, output.written))
}

/// Removes a segment file that nothing names; what is left behind by a failure is removed at the next start.
pub(crate) fn remove(disk: &dyn Disk, path: &str) {
    if let Err(error) = disk.remove(Path::new(path)) {
        tracing::warn!(%error, path, "segment file not removed");
    }
}

/// Removes files of the folder that the catalog does not name: left over from a crash, or dropped before it.
pub(crate) fn sweep(disk: &dyn Disk, catalog: &Catalog) -> Result<()> {
    disk.create_dir(Path::new(FOLDER))
        .map_err(Error::disk("create", FOLDER))?;
    for name in disk
        .list(Path::new(FOLDER))
        .map_err(Error::disk("list", FOLDER))?
    {
        let path = format!("{FOLDER}/{name}");
        if !catalog.is_segment(&path)? {
            disk.remove(Path::new(&path))
                .map_err(Error::disk("remove", &path))?;
        }
    }
    Ok(())
}

/// Removes the files of dropped tables and merged segments that no reader can still open.
pub(crate) fn collect_garbage(disk: &dyn Disk, catalog: &Catalog) -> Result<()> {
    for path in catalog.take_garbage()? {
        remove(disk, &path);
    }
    Ok(())
}

/// Merges small segments of a kind of a table, if there are enough; true if it did.
pub(crate) fn merge_small(
    disk: &dyn Disk,
    catalog: &Catalog,
    table_id: i64,
    kind: SegmentKind,
) -> Result<bool> {
    let mut classes: [Vec<Segment>; CLASSES.len()] = Default::default();
    for segment in catalog.segments(table_id, kind)? {
        if let Some(class) = CLASSES.iter().position(|end| segment.bytes < *end) {
            classes[class].push(segment);
        }
    }
    let Some(small) = classes.into_iter().find(|class| class.len() >= MERGE_FROM) else {
        return Ok(false);
    };
    let Some((schema, alike)) = largest_alike(disk, &small)? else {
        return Ok(false);
    };
    let batches = alike.iter().flat_map(|segment| match read(disk, segment) {
        Ok((_, batches)) => batches.into_iter().map(Ok).collect::<Vec<_>>(),
        Err(error) => vec![Err(error)],
    });
    let merged = write_all(disk, table_id, schema, batches)?;
    let ids: Vec<i64> = alike.iter().map(|segment| segment.id).collect();
    let rows: u64 = alike.iter().map(|segment| segment.rows).sum();
    if rows != merged.rows || !catalog.replace_segments(table_id, kind, &ids, &merged)? {
        remove(disk, &merged.path);
        return Ok(false);
    }
    tracing::debug!(table_id, segments = ids.len(), rows, "segments merged");
    Ok(true)
}

/// Of the given segments the largest group with one schema, if it is worth a merge.
fn largest_alike(disk: &dyn Disk, segments: &[Segment]) -> Result<Option<(SchemaRef, Vec<Segment>)>> {
    let mut groups: Vec<(SchemaRef, Vec<Segment>)> = Vec::new();
    for segment in segments {
        let schema = builder(disk, segment)?.schema().clone();
        match groups.iter_mut().find(|(known, _)| *known == schema) {
            Some((_, group)) => group.push(segment.clone()),
            None => groups.push((schema, vec![segment.clone()])),
        }
    }
    let largest = groups.into_iter().max_by_key(|(_, group)| group.len());
    Ok(largest.filter(|(_, group)| group.len() >= MERGE_FROM / 2))
}

pub(crate) fn builder(
    disk: &dyn Disk,
    segment: &Segment,
) -> Result<ParquetRecordBatchReaderBuilder<bytes::Bytes>> {
    let path = PathBuf::from(&segment.path);
    let file = disk.open(&path).map_err(Error::disk("open", &path))?;
    let length =
        usize::try_from(segment.bytes).map_err(|_| Error::Segment("a segment is too large".into()))?;
    let bytes = file.read_at(0, length).map_err(Error::disk("read", &path))?;
    ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(segment_error)
}

/// All rows of a segment.
pub(crate) fn read(disk: &dyn Disk, segment: &Segment) -> Result<(SchemaRef, Vec<RecordBatch>)> {
    let builder = builder(disk, segment)?;
    let schema = Arc::clone(builder.schema());
    let reader = builder.with_batch_size(8192).build().map_err(segment_error)?;
    let batches = reader
        .collect::<std::result::Result<Vec<_>, _>>()
        .map_err(segment_error)?;
    Ok((schema, batches))
}

pub(crate) fn segment_error(error: impl std::fmt::Display) -> Error {
    Error::Segment(error.to_string())
}

struct Output {
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    written: u64,
}

impl Write for Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.buffer.extend_from_slice(bytes);
        self.written += bytes.len() as u64;
        if self.buffer.len() >= WRITE_BUFFER {
            self.flush()?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        if !self.buffer.is_empty() {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }
}
