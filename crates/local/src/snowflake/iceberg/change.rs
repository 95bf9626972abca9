//! One change of a table: a data file, its manifest, the list of manifests, the metadata file.
//!
//! All of it is made in memory by the `iceberg` crate and then written through the seam to the disk. A change of rows is one
//! snapshot. The list carries the manifests of the snapshot before on, until there are [`MANIFESTS`]: then, and where files
//! leave the table, one manifest replaces them all. Of the snapshots the last [`SNAPSHOTS`] are kept.

use std::collections::{HashMap, HashSet};

use arrow::record_batch::RecordBatch;
use bytes::Bytes;
use futures::executor::block_on;
use iceberg::io::FileIO;
use iceberg::spec::{
    DataFile, FormatVersion, MAIN_BRANCH, ManifestFile, ManifestList, ManifestListWriter,
    ManifestWriterBuilder, Operation, Snapshot, Summary, TableMetadata,
};
use iceberg::writer::file_writer::{FileWriter, FileWriterBuilder, ParquetWriterBuilder};
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::{failed, files, load, moment, row_of, schema};
use crate::disk::Disk;
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::commit::NewSegment;
use crate::snowflake::catalog::iceberg::{IcebergCommit, IcebergRow};
use crate::snowflake::model::{ColumnDef, TableDef};
use crate::{Error, Result};

/// Manifests of a snapshot, at most.
pub(crate) const MANIFESTS: usize = 20;
/// Snapshots that are kept.
pub(crate) const SNAPSHOTS: usize = 100;

/// A data file on disk that no snapshot names yet.
#[derive(Debug)]
pub(crate) struct Added {
    pub(crate) segment: NewSegment,
    file: DataFile,
}

/// What is to be changed.
#[derive(Debug, Default)]
pub(crate) struct Change<'c> {
    /// The columns from now on, where they differ.
    pub(crate) columns: Option<&'c [ColumnDef]>,
    pub(crate) added: Option<&'c Added>,
    /// Data files that leave, relative to the data folder.
    pub(crate) removed: Vec<String>,
    /// What is added holds the rows of what is removed.
    pub(crate) merges: bool,
}

impl Change<'_> {
    pub(super) fn is_nothing(&self, table: &TableDef) -> bool {
        let same = self.columns.is_none_or(|columns| columns == table.columns);
        same && self.added.is_none() && self.removed.is_empty()
    }
}

/// Writes rows as one data file of a table with these columns; on return it is on disk.
pub(crate) fn add(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &TableDef,
    columns: &[ColumnDef],
    rows: &[RecordBatch],
) -> Result<Added> {
    let row = row_of(catalog, table.id)?;
    let metadata = load(disk, &row)?;
    let schema = schema::after(
        columns,
        Some(metadata.current_schema()),
        metadata.last_column_id(),
    )?;
    let path = format!("{}/data/{}.parquet", row.folder, uuid::Uuid::new_v4());
    let level = ZstdLevel::try_new(1).map_err(failed)?;
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(level))
        .set_created_by("frazil".into())
        .build();
    let io = FileIO::new_with_memory();
    let (bytes, file) = block_on(async {
        let output = io.new_output(absolute(&row, &path))?;
        let builder = ParquetWriterBuilder::new(properties, schema.clone().into());
        let mut writer = builder.build(output).await?;
        for rows in rows {
            let rows = schema::fit(rows, &schema);
            let rows = rows
                .map_err(|error| iceberg::Error::new(iceberg::ErrorKind::DataInvalid, error.to_string()))?;
            writer.write(&rows).await?;
        }
        let mut built = writer.close().await?;
        let bytes = io.new_input(absolute(&row, &path))?.read().await?;
        Ok::<_, iceberg::Error>((bytes, built.pop()))
    })
    .map_err(failed)?;
    let file = file
        .ok_or_else(|| failed("a data file without rows"))?
        .build()
        .map_err(failed)?;
    let segment = NewSegment {
        path: path.clone(),
        rows: file.record_count(),
        bytes: file.file_size_in_bytes(),
    };
    files::write_all(disk, &row.folder, &[(path, bytes)])?;
    Ok(Added { segment, file })
}

/// Writes all that a change needs but the transaction that swaps it in.
pub(crate) fn prepare(
    disk: &dyn Disk,
    catalog: &Catalog,
    table: &TableDef,
    change: Change<'_>,
) -> Result<IcebergCommit> {
    let row = row_of(catalog, table.id)?;
    let mut metadata = load(disk, &row)?;
    if let Some(columns) = change.columns {
        let changed = schema::after(
            columns,
            Some(metadata.current_schema()),
            metadata.last_column_id(),
        )?;
        let builder = metadata.into_builder(None).add_current_schema(changed);
        metadata = builder
            .and_then(|builder| builder.build())
            .map_err(failed)?
            .metadata;
    }
    let mut commit = IcebergCommit {
        before: row.metadata.clone(),
        removed: change.removed.clone(),
        schema: schema::text(metadata.current_schema())?,
        sequence: metadata.last_sequence_number(),
        ..IcebergCommit::default()
    };
    let mut written = Vec::new();
    let changes_rows = change.added.is_some() || !change.removed.is_empty();
    let mut builder = metadata.clone().into_builder(Some(absolute(&row, &row.metadata)));
    if changes_rows {
        let work = Work {
            disk,
            row: &row,
            metadata: &metadata,
            io: FileIO::new_with_memory(),
            id: snapshot_id(&metadata),
        };
        let snapshot = work.snapshot(&change, &mut commit, &mut written)?;
        let mut kept: Vec<_> = metadata.snapshots().collect();
        kept.sort_by_key(|snapshot| snapshot.sequence_number());
        let expired = (kept.len() + 1).saturating_sub(SNAPSHOTS);
        let ids: Vec<i64> = kept
            .drain(..expired)
            .map(|snapshot| snapshot.snapshot_id())
            .collect();
        commit.oldest = kept
            .first()
            .map_or(commit.sequence, |oldest| oldest.sequence_number());
        builder = builder
            .set_branch_snapshot(snapshot, MAIN_BRANCH)
            .map_err(failed)?
            .remove_snapshots(&ids);
    }
    let built = builder.build().map_err(failed)?;
    for old in &built.expired_metadata_logs {
        commit.dropped.extend(relative(&row, &old.metadata_file));
    }
    commit.after = files::metadata_path(&row.folder, Some(&row.metadata));
    let bytes = serde_json::to_vec(&built.metadata).map_err(failed)?;
    written.push((commit.after.clone(), Bytes::from(bytes)));
    commit.made.push((commit.after.clone(), None));
    files::write_all(disk, &row.folder, &written)?;
    if let Some(added) = change.added {
        commit.made.push((added.segment.path.clone(), None));
    }
    Ok(commit)
}

/// As the table's files name it.
fn absolute(row: &IcebergRow, path: &str) -> String {
    format!(
        "{}{}",
        row.location,
        path.strip_prefix(&row.folder).unwrap_or(path)
    )
}

/// Relative to the data folder.
fn relative(row: &IcebergRow, location: &str) -> Option<String> {
    let within = location.strip_prefix(&row.location)?;
    Some(format!("{}{within}", row.folder))
}

fn snapshot_id(metadata: &TableMetadata) -> i64 {
    loop {
        let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
        let id = i64::try_from((high ^ low) >> 1).unwrap_or(i64::MAX);
        if metadata.snapshot_by_id(id).is_none() {
            return id;
        }
    }
}

/// A snapshot under construction.
struct Work<'w> {
    disk: &'w dyn Disk,
    row: &'w IcebergRow,
    metadata: &'w TableMetadata,
    /// In memory.
    io: FileIO,
    id: i64,
}

impl Work<'_> {
    fn snapshot(
        &self,
        change: &Change<'_>,
        commit: &mut IcebergCommit,
        written: &mut Vec<(String, Bytes)>,
    ) -> Result<Snapshot> {
        let sequence = self.metadata.next_sequence_number();
        commit.sequence = sequence;
        let before = self.manifests()?;
        let mut totals = Totals::default();
        let rewrites = !change.removed.is_empty() || before.len() >= MANIFESTS;
        let (mut list, left): (Vec<ManifestFile>, Vec<ManifestFile>) = before
            .into_iter()
            .partition(|manifest| !rewrites && (manifest.has_added_files() || manifest.has_existing_files()));
        let left_paths = left
            .iter()
            .filter_map(|manifest| relative(self.row, &manifest.manifest_path));
        commit.ended.extend(left_paths);
        commit.ended.extend(change.removed.iter().cloned());
        let from: &[ManifestFile] = if rewrites { &left } else { &[] };
        let manifest = self.manifest(change, from, written, &mut totals)?;
        commit
            .made
            .extend(written.last().map(|(path, _)| (path.clone(), None)));
        list.push(manifest);
        let path = format!(
            "{}/metadata/snap-{}-{}.avro",
            self.row.folder,
            self.id,
            uuid::Uuid::new_v4()
        );
        let next_row = self.list(list, &path, sequence, written)?;
        commit.made.push((path.clone(), Some(sequence + 1)));
        let operation = match (change.added.is_some(), change.merges) {
            (_, true) => Operation::Replace,
            (true, false) => Operation::Append,
            (false, false) => Operation::Delete,
        };
        let snapshot = Snapshot::builder()
            .with_snapshot_id(self.id)
            .with_parent_snapshot_id(self.metadata.current_snapshot_id())
            .with_sequence_number(sequence)
            .with_timestamp_ms(moment(self.metadata))
            .with_manifest_list(absolute(self.row, &path))
            .with_summary(totals.summary(operation, self.metadata))
            .with_schema_id(self.metadata.current_schema_id());
        let first = self.metadata.next_row_id();
        Ok(match next_row {
            Some(next) => snapshot.with_row_range(first, next.saturating_sub(first)).build(),
            None => snapshot.build(),
        })
    }

    /// Those of the current snapshot.
    fn manifests(&self) -> Result<Vec<ManifestFile>> {
        match self.metadata.current_snapshot() {
            Some(current) => self.manifests_of(current),
            None => Ok(Vec::new()),
        }
    }

    fn manifests_of(&self, snapshot: &Snapshot) -> Result<Vec<ManifestFile>> {
        let path = self.path(snapshot.manifest_list())?;
        let bytes = files::read(self.disk, &path)?;
        let list =
            ManifestList::parse_with_version(&bytes, self.metadata.format_version()).map_err(failed)?;
        Ok(list.consume_entries().into_iter().collect())
    }

    fn path(&self, location: &str) -> Result<String> {
        relative(self.row, location)
            .ok_or_else(|| Error::Damaged(format!("{location} is outside of its table")))
    }

    /// The one new manifest: what is added, and, where others are rewritten, what they hold.
    fn manifest(
        &self,
        change: &Change<'_>,
        rewritten: &[ManifestFile],
        written: &mut Vec<(String, Bytes)>,
        totals: &mut Totals,
    ) -> Result<ManifestFile> {
        let path = format!("{}/metadata/{}-m0.avro", self.row.folder, uuid::Uuid::new_v4());
        let output = self.io.new_output(absolute(self.row, &path)).map_err(failed)?;
        let builder = ManifestWriterBuilder::new(
            output,
            Some(self.id),
            self.metadata.current_schema().clone(),
            self.metadata.default_partition_spec().as_ref().clone(),
        );
        let mut writer = match self.metadata.format_version() {
            FormatVersion::V3 => builder.build_v3_data(),
            _ => builder.build_v2_data(),
        };
        let mut removed: HashSet<String> = change
            .removed
            .iter()
            .map(|path| absolute(self.row, path))
            .collect();
        for manifest in rewritten {
            let bytes = files::read(self.disk, &self.path(&manifest.manifest_path)?)?;
            let old = self.io.new_output(&manifest.manifest_path).map_err(failed)?;
            let loaded = block_on(async {
                old.write(bytes).await?;
                manifest.load_manifest(&self.io).await
            });
            for entry in loaded
                .map_err(failed)?
                .entries()
                .iter()
                .filter(|entry| entry.is_alive())
            {
                let file = entry.data_file().clone();
                let sequence = entry.sequence_number().unwrap_or(manifest.sequence_number);
                let file_sequence = entry.file_sequence_number.or(Some(manifest.sequence_number));
                if removed.remove(file.file_path()) {
                    totals.removed(&file);
                    writer
                        .add_delete_file(file, sequence, file_sequence)
                        .map_err(failed)?;
                } else {
                    let snapshot = entry.snapshot_id().unwrap_or(manifest.added_snapshot_id);
                    let kept = writer.add_existing_file(file, snapshot, sequence, file_sequence);
                    kept.map_err(failed)?;
                }
            }
        }
        if let Some(path) = removed.into_iter().next() {
            return Err(Error::Damaged(format!("{path} is in no manifest of its table")));
        }
        if let Some(added) = change.added {
            totals.added(&added.file);
            // Its sequence number is that of the snapshot, which the list gives.
            writer.add_file(added.file.clone(), -1).map_err(failed)?;
        }
        let (manifest, bytes) = block_on(async {
            let manifest = writer.write_manifest_file().await?;
            let bytes = self.io.new_input(absolute(self.row, &path))?.read().await?;
            Ok::<_, iceberg::Error>((manifest, bytes))
        })
        .map_err(failed)?;
        written.push((path, bytes));
        Ok(manifest)
    }

    /// The list of manifests; gives the next row id where rows have ids.
    fn list(
        &self,
        manifests: Vec<ManifestFile>,
        path: &str,
        sequence: i64,
        written: &mut Vec<(String, Bytes)>,
    ) -> Result<Option<u64>> {
        let output = self.io.new_output(absolute(self.row, path)).map_err(failed)?;
        let parent = self.metadata.current_snapshot_id();
        let (next, bytes) = block_on(async {
            let to = output.writer().await?;
            let mut writer = match self.metadata.format_version() {
                FormatVersion::V3 => {
                    ManifestListWriter::v3(to, self.id, parent, sequence, Some(self.metadata.next_row_id()))
                }
                _ => ManifestListWriter::v2(to, self.id, parent, sequence),
            };
            writer.add_manifests(manifests.into_iter())?;
            let next = writer.next_row_id();
            writer.close().await?;
            Ok::<_, iceberg::Error>((next, output.to_input_file().read().await?))
        })
        .map_err(failed)?;
        written.push((path.to_owned(), bytes));
        Ok(next)
    }
}

/// The data files of a snapshot, as its manifests have them: path relative to the data folder, rows, bytes.
pub(super) fn live(
    disk: &dyn Disk,
    row: &IcebergRow,
    metadata: &TableMetadata,
    snapshot: &Snapshot,
) -> Result<Vec<(String, u64, u64)>> {
    let io = FileIO::new_with_memory();
    let work = Work {
        disk,
        row,
        metadata,
        io,
        id: 0,
    };
    let mut live = Vec::new();
    for manifest in work.manifests_of(snapshot)? {
        let bytes = files::read(disk, &work.path(&manifest.manifest_path)?)?;
        let copy = work.io.new_output(&manifest.manifest_path).map_err(failed)?;
        let loaded = block_on(async {
            copy.write(bytes).await?;
            manifest.load_manifest(&work.io).await
        });
        for entry in loaded.map_err(failed)?.entries() {
            if entry.is_alive() {
                let file = entry.data_file();
                live.push((
                    work.path(entry.file_path())?,
                    file.record_count(),
                    file.file_size_in_bytes(),
                ));
            }
        }
    }
    live.sort();
    Ok(live)
}

/// What a snapshot's summary counts.
#[derive(Debug, Default)]
struct Totals {
    /// Files, rows, bytes.
    added: [u64; 3],
    removed: [u64; 3],
}

impl Totals {
    fn added(&mut self, file: &DataFile) {
        count(&mut self.added, file);
    }

    fn removed(&mut self, file: &DataFile) {
        count(&mut self.removed, file);
    }

    fn summary(&self, operation: Operation, before: &TableMetadata) -> Summary {
        let last = before.current_snapshot().map(|snapshot| snapshot.summary());
        let mut properties = HashMap::new();
        let names = [
            ("added-data-files", "deleted-data-files", "total-data-files"),
            ("added-records", "deleted-records", "total-records"),
            ("added-files-size", "removed-files-size", "total-files-size"),
        ];
        for (index, (added, removed, total)) in names.into_iter().enumerate() {
            let known = last.and_then(|last| last.additional_properties.get(total)?.parse::<u64>().ok());
            let sum = known.unwrap_or(0) + self.added[index];
            for (name, number) in [(added, self.added[index]), (removed, self.removed[index])] {
                if number > 0 {
                    properties.insert(name.to_owned(), number.to_string());
                }
            }
            let rest = sum.saturating_sub(self.removed[index]);
            properties.insert(total.to_owned(), rest.to_string());
        }
        Summary {
            operation,
            additional_properties: properties,
        }
    }
}

fn count(totals: &mut [u64; 3], file: &DataFile) {
    totals[0] += 1;
    totals[1] += file.record_count();
    totals[2] += file.file_size_in_bytes();
}
