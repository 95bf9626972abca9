//! The files of Iceberg tables, through the one seam to the disk.
//!
//! A file is written whole and synced, then its folder; only then a transaction may name it.

use std::path::{Path, PathBuf};

use bytes::Bytes;

use crate::disk::Disk;
use crate::snowflake::catalog::Catalog;
use crate::snowflake::catalog::iceberg::IcebergCommit;
use crate::snowflake::segments::remove;
use crate::{Error, Result};

/// Folder of all Iceberg tables.
pub(crate) const FOLDER: &str = "iceberg";
const PARTS: [&str; 2] = ["data", "metadata"];

/// Makes a table's folders, down from the data folder.
pub(super) fn prepare_folders(disk: &dyn Disk, folder: &str) -> Result<()> {
    for part in PARTS {
        let path = Path::new(folder).join(part);
        disk.create_dir(&path).map_err(Error::disk("create", &path))?;
    }
    for above in Path::new(folder).ancestors() {
        disk.sync_dir(above).map_err(Error::disk("sync", above))?;
    }
    Ok(())
}

/// The name of a new metadata file: its number is one above that of the one before.
pub(super) fn metadata_path(folder: &str, before: Option<&str>) -> String {
    let name = before.and_then(|path| path.rsplit('/').next());
    let number = name
        .and_then(|name| name.split('-').next())
        .and_then(|number| number.parse::<u64>().ok());
    let next = number.map_or(0, |number| number + 1);
    format!(
        "{folder}/metadata/{next:05}-{}.metadata.json",
        uuid::Uuid::new_v4()
    )
}

/// Writes files of a table and syncs them; on a failure those that were begun are removed.
pub(super) fn write_all(disk: &dyn Disk, folder: &str, files: &[(String, Bytes)]) -> Result<()> {
    let written = files.iter().try_for_each(|(path, bytes)| {
        let mut file = disk
            .create(Path::new(path))
            .map_err(Error::disk("create", path))?;
        file.append(bytes)
            .and_then(|()| file.sync())
            .map_err(Error::disk("write", path))
    });
    let synced = written.and_then(|()| {
        PARTS.iter().try_for_each(|part| {
            let within: PathBuf = Path::new(folder).join(part);
            let any = files.iter().any(|(path, _)| Path::new(path).starts_with(&within));
            if any {
                disk.sync_dir(&within).map_err(Error::disk("sync", &within))?;
            }
            Ok(())
        })
    });
    if synced.is_err() {
        files.iter().for_each(|(path, _)| remove(disk, path));
    }
    synced
}

pub(super) fn read(disk: &dyn Disk, path: &str) -> Result<Bytes> {
    let file = disk.open(Path::new(path)).map_err(Error::disk("open", path))?;
    let length = file.len().map_err(Error::disk("read", path))?;
    let length = usize::try_from(length).map_err(|_| Error::Segment("a file is too large".into()))?;
    file.read_at(0, length).map_err(Error::disk("read", path))
}

/// Removes the files of a change that was not swapped in, but for one.
pub(crate) fn discard(disk: &dyn Disk, commit: &IcebergCommit, but: Option<&str>) {
    for (path, _) in commit.made.iter().filter(|(path, _)| Some(path.as_str()) != but) {
        remove(disk, path);
    }
}

/// Removes files that no table has a use for: left over from a crash, or dropped before it.
pub(crate) fn sweep(disk: &dyn Disk, catalog: &Catalog) -> Result<()> {
    for folder in catalog.iceberg_folders()? {
        for part in PARTS {
            let within = Path::new(&folder).join(part);
            disk.create_dir(&within).map_err(Error::disk("create", &within))?;
            for name in disk.list(&within).map_err(Error::disk("list", &within))? {
                let path = format!("{folder}/{part}/{name}");
                if !catalog.is_iceberg_file(&path)? {
                    disk.remove(Path::new(&path))
                        .map_err(Error::disk("remove", &path))?;
                }
            }
        }
        catalog.forget_iceberg_folder(&folder)?;
    }
    Ok(())
}
