//! Dead letters in files of a folder.
//!
//! Each process writes files of its own, `dead-letters-000001.ndjson` and so on; a file is ended at [`FILE_BYTES`]. A
//! process that dies in the middle of a line leaves a torn one at the end of its file, which readers skip.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

use super::{DeadLetter, DeadLetterSink, Error};
use crate::shape::iso8601;

/// Bytes after which the next file begins.
const FILE_BYTES: u64 = 64 * 1024 * 1024;
/// The version of the envelope.
const VERSION: u32 = 1;

/// One letter as it stands in a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LetterLine {
    /// The version of the envelope.
    pub version: u32,
    /// The connector's name.
    pub connector: String,
    /// The stream.
    pub stream: String,
    /// The shard.
    pub shard_id: String,
    /// The Kinesis record.
    pub sequence_number: String,
    /// The user record in it.
    pub sub_sequence_number: u64,
    /// The document in that.
    pub document_index: u32,
    /// The position as an offset token: the letter's key.
    pub position: String,
    /// The partition key.
    pub partition_key: String,
    /// ISO 8601 UTC.
    pub approximate_arrival: Option<String>,
    /// Why it is no row.
    pub reason: String,
    /// More about it.
    pub detail: String,
    /// The record's bytes as base64.
    pub data: String,
}

impl LetterLine {
    fn of(connector: &str, letter: &DeadLetter) -> Self {
        let position = &letter.position;
        Self {
            version: VERSION,
            connector: connector.to_owned(),
            stream: letter.stream.to_string(),
            shard_id: letter.shard.to_string(),
            sequence_number: position.sequence.to_string(),
            sub_sequence_number: position.sub_sequence,
            document_index: position.document,
            position: position.token().to_string(),
            partition_key: letter.partition_key.clone(),
            approximate_arrival: letter
                .arrival_ms
                .and_then(iso8601)
                .map(|text| String::from_utf8_lossy(&text).into_owned()),
            reason: letter.reason.as_str().to_owned(),
            detail: letter.detail.clone(),
            data: base64_simd::STANDARD.encode_to_string(&letter.data),
        }
    }
}

#[derive(Debug)]
struct Files {
    folder: PathBuf,
    max_bytes: u64,
    open: Option<(PathBuf, File, u64)>,
}

/// Keeps letters in files.
#[derive(Debug, Clone)]
pub struct FileDeadLetters {
    connector: Arc<str>,
    files: Arc<Mutex<Files>>,
}

impl FileDeadLetters {
    /// A sink into this folder, which is made if it is missing; all its files together may have `max_bytes`.
    ///
    /// # Errors
    /// [`Error::Disk`] where the folder cannot be made or read.
    pub fn new(connector: &str, folder: &Path, max_bytes: u64) -> Result<Self, Error> {
        let failed = |source| Error::Disk {
            path: folder.to_owned(),
            source,
        };
        std::fs::create_dir_all(folder).map_err(failed)?;
        let files = Files {
            folder: folder.to_owned(),
            max_bytes,
            open: None,
        };
        files.bytes().map_err(failed)?;
        Ok(Self {
            connector: connector.into(),
            files: Arc::new(Mutex::new(files)),
        })
    }
}

impl Files {
    /// Bytes of all files of the folder, other processes' and moved ones as they are now.
    fn bytes(&self) -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(&self.folder)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with("dead-letters-") {
                bytes += entry.metadata()?.len();
            }
        }
        Ok(bytes)
    }

    fn write(&mut self, lines: &[u8]) -> Result<(), Error> {
        let folder = self.folder.clone();
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| Error::Disk { path, source }
        };
        let bytes = self.bytes().map_err(failed(&folder))?;
        if bytes + lines.len() as u64 > self.max_bytes {
            return Err(Error::Full {
                folder,
                bytes,
                max_bytes: self.max_bytes,
            });
        }
        let open = match self.open.take() {
            Some(open) if open.2 < FILE_BYTES && open.0.exists() => Some(open),
            _ => None,
        };
        let (path, mut file, before) = match open {
            Some(open) => open,
            None => self.next_file().map_err(failed(&folder))?,
        };
        // After a failure the rest of the file is in doubt: the next letters go to another one.
        file.write_all(lines)
            .and_then(|()| file.sync_data())
            .map_err(failed(&path))?;
        self.open = Some((path, file, before + lines.len() as u64));
        Ok(())
    }

    fn next_file(&self) -> std::io::Result<(PathBuf, File, u64)> {
        let mut number = 1_u32;
        loop {
            let path = self.folder.join(format!("dead-letters-{number:06}.ndjson"));
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => {
                    // The folder's entry must survive a crash, too.
                    File::open(&self.folder)?.sync_all()?;
                    return Ok((path, file, 0));
                }
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => number += 1,
                Err(error) => return Err(error),
            }
        }
    }
}

#[async_trait]
impl DeadLetterSink for FileDeadLetters {
    async fn keep(&self, letters: &[DeadLetter]) -> Result<(), Error> {
        let mut lines = Vec::new();
        for letter in letters {
            serde_json::to_writer(&mut lines, &LetterLine::of(&self.connector, letter))
                .expect("texts and numbers are always JSON");
            lines.push(b'\n');
        }
        let files = Arc::clone(&self.files);
        let written = tokio::task::spawn_blocking(move || {
            files.lock().unwrap_or_else(PoisonError::into_inner).write(&lines)
        });
        written
            .await
            .expect("writing does not panic, and is not cancelled")
    }

    fn is_durable(&self) -> bool {
        true
    }
}

/// The letters of a file, in order; a torn last line is left out.
///
/// # Errors
/// What reading the file met, and a line in the middle that is no letter.
pub fn read_file(path: &Path) -> std::io::Result<Vec<LetterLine>> {
    let mut lines = BufReader::new(File::open(path)?).split(b'\n').peekable();
    let mut letters = Vec::new();
    while let Some(line) = lines.next() {
        let line = line?;
        match serde_json::from_slice(&line) {
            Ok(letter) => letters.push(letter),
            Err(_) if lines.peek().is_none() => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(letters)
}

#[cfg(test)]
mod tests {
    use frazil_model::{Position, SequenceNumber, ShardId, StreamName};

    use super::*;
    use crate::dead_letters::Reason;

    fn letter(sequence: &str, data: &[u8]) -> DeadLetter {
        DeadLetter {
            stream: StreamName::new("clicks").expect("a name"),
            shard: ShardId::new("shardId-000000000001").expect("an id"),
            position: Position::whole(SequenceNumber::new(sequence).expect("digits")),
            partition_key: "k\"1".to_owned(),
            arrival_ms: Some(1_762_333_935_300),
            reason: Reason::InvalidJson,
            detail: "a comma is missing (byte 7)".to_owned(),
            data: data.to_vec(),
        }
    }

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .expect("readable")
            .map(|e| e.expect("an entry").path())
            .collect();
        files.sort();
        files
    }

    /// Frozen: these lines stand in users' folders.
    #[tokio::test]
    async fn the_envelope_golden() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileDeadLetters::new("clickstream", folder.path(), 1 << 20).expect("made");
        sink.keep(&[letter("123", b"{\"a\":1")]).await.expect("kept");
        let text = std::fs::read_to_string(&files(folder.path())[0]).expect("readable");
        let golden = concat!(
            r#"{"version":1,"connector":"clickstream","stream":"clicks","shardId":"shardId-000000000001","#,
            r#""sequenceNumber":"123","subSequenceNumber":0,"documentIndex":0,"#,
            r#""position":"10031230000000000000000000000000000001","partitionKey":"k\"1","#,
            r#""approximateArrival":"2025-11-05T09:12:15.300Z","reason":"invalid_json","#,
            r#""detail":"a comma is missing (byte 7)","data":"eyJhIjox"}"#,
            "\n"
        );
        assert_eq!(text, golden);
    }

    #[tokio::test]
    async fn a_torn_last_line_is_skipped_and_the_next_process_writes_elsewhere() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileDeadLetters::new("c", folder.path(), 1 << 20).expect("made");
        sink.keep(&[letter("1", b"x"), letter("2", b"y")])
            .await
            .expect("kept");
        let first = files(folder.path()).remove(0);
        let mut torn = std::fs::read(&first).expect("readable");
        torn.truncate(torn.len() - 5);
        std::fs::write(&first, torn).expect("written");
        assert_eq!(read_file(&first).expect("readable").len(), 1);
        let next = FileDeadLetters::new("c", folder.path(), 1 << 20).expect("made");
        next.keep(&[letter("2", b"y")]).await.expect("kept");
        assert_eq!(files(folder.path()).len(), 2);
        assert_eq!(
            read_file(&files(folder.path())[1]).expect("readable")[0].sequence_number,
            "2"
        );
    }

    #[tokio::test]
    async fn at_its_bound_it_refuses_and_goes_on_when_files_are_moved_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileDeadLetters::new("c", folder.path(), 1000).expect("made");
        sink.keep(&[letter("1", &[b'x'; 300])]).await.expect("kept");
        let error = sink.keep(&[letter("2", &[b'x'; 300])]).await.expect_err("full");
        assert!(matches!(error, Error::Full { max_bytes: 1000, .. }), "{error}");
        assert_eq!(error.kind(), frazil_model::ErrorKind::Retry);
        std::fs::remove_file(&files(folder.path())[0]).expect("moved away");
        sink.keep(&[letter("2", &[b'x'; 300])]).await.expect("kept");
    }

    #[tokio::test]
    async fn letters_of_many_shards_at_once_are_all_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let sink = FileDeadLetters::new("c", folder.path(), 1 << 20).expect("made");
        let mut tasks = tokio::task::JoinSet::new();
        for n in 0..50 {
            let sink = sink.clone();
            tasks.spawn(async move { sink.keep(&[letter(&n.to_string(), b"x")]).await });
        }
        while let Some(kept) = tasks.join_next().await {
            kept.expect("no panic").expect("kept");
        }
        let kept: usize = files(folder.path())
            .iter()
            .map(|file| read_file(file).expect("readable").len())
            .sum();
        assert_eq!(kept, 50);
    }
}
