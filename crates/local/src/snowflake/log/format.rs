//! The bytes of a log file: a header, then records; each record is length, checksum, head and rows.
//!
//! A record that is cut short or fails its checksum ends its file: what follows was never answered.

use bytes::Bytes;

use crate::disk::DiskRead;
use crate::{Error, Result};

/// First bytes of each file; the digit is the format version.
pub(super) const FILE_HEADER: &[u8] = b"FRZLOG2\n";
/// Of an earlier version, which had no start tokens; its files are still read.
const FIRST_HEADER: &[u8] = b"FRZLOG1\n";
/// Length (u32) and CRC-32 (u32), both little-endian.
const PREFIX: usize = 8;
/// No record is larger: uploaded files of 64 MiB, and its head.
const MAX_RECORD: usize = 72 * 1024 * 1024;

/// How a batch's rows are compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Zstd,
    Gzip,
}

/// What the log knows of a batch beside its rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) channel_id: i64,
    pub(crate) table_id: i64,
    pub(crate) client_sequencer: i64,
    pub(crate) row_sequencer: i64,
    pub(crate) request_id: String,
    /// The end token; `None` leaves the committed one.
    pub(crate) offset_token: Option<String>,
    /// The start token, for the error table.
    pub(crate) start_token: Option<String>,
    pub(crate) encoding: Encoding,
    /// Bytes after decompression.
    pub(crate) raw_length: u32,
}

impl Record {
    /// Sign for the writer to end; never written.
    pub(super) fn end() -> Self {
        Self {
            channel_id: 0,
            table_id: 0,
            client_sequencer: 0,
            row_sequencer: 0,
            request_id: String::new(),
            offset_token: None,
            start_token: None,
            encoding: Encoding::Zstd,
            raw_length: 0,
        }
    }

    pub(super) fn is_end(&self) -> bool {
        self.channel_id == 0
    }
}

/// Appends a record; returns where its rows start in `buffer`.
pub(super) fn encode(buffer: &mut Vec<u8>, record: &Record, rows: &[u8]) -> Result<usize> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    for number in [
        record.channel_id,
        record.table_id,
        record.client_sequencer,
        record.row_sequencer,
    ] {
        buffer.extend_from_slice(&number.to_le_bytes());
    }
    buffer.extend_from_slice(&record.raw_length.to_le_bytes());
    buffer.push(match record.encoding {
        Encoding::Zstd => 0,
        Encoding::Gzip => 1,
    });
    put_text(buffer, &record.request_id)?;
    for token in [&record.offset_token, &record.start_token] {
        buffer.push(u8::from(token.is_some()));
        put_text(buffer, token.as_deref().unwrap_or_default())?;
    }
    let rows_at = buffer.len();
    buffer.extend_from_slice(rows);
    let body = &buffer[start + PREFIX..];
    let length = u32::try_from(body.len())
        .ok()
        .filter(|length| *length as usize <= MAX_RECORD);
    let length = length.ok_or_else(|| Error::Damaged("a batch is larger than a log record may be".into()))?;
    let checksum = crc(body);
    buffer[start..start + 4].copy_from_slice(&length.to_le_bytes());
    buffer[start + 4..start + PREFIX].copy_from_slice(&checksum.to_le_bytes());
    Ok(rows_at)
}

fn put_text(buffer: &mut Vec<u8>, text: &str) -> Result<()> {
    let length =
        u32::try_from(text.len()).map_err(|_| Error::Damaged("a token is too long for the log".into()))?;
    buffer.extend_from_slice(&length.to_le_bytes());
    buffer.extend_from_slice(text.as_bytes());
    Ok(())
}

fn crc(bytes: &[u8]) -> u32 {
    let mut crc = flate2::Crc::new();
    crc.update(bytes);
    crc.sum()
}

/// A record found in a file, and where its rows are.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: Record,
    pub(super) rows_at: u64,
    pub(super) rows_length: usize,
}

/// Reads all sound records of a file, in order.
pub(super) fn scan(file: &dyn DiskRead) -> std::io::Result<Vec<Found>> {
    let length = file.len()?;
    let mut found = Vec::new();
    let mut at = FILE_HEADER.len() as u64;
    if length < at {
        return Ok(found);
    }
    let has_start_tokens = match &file.read_at(0, FILE_HEADER.len())?[..] {
        FILE_HEADER => true,
        FIRST_HEADER => false,
        _ => return Ok(found),
    };
    while at + PREFIX as u64 <= length {
        let prefix = file.read_at(at, PREFIX)?;
        let (size, checksum) = (word(&prefix, 0) as usize, word(&prefix, 4));
        let body_at = at + PREFIX as u64;
        if size == 0 || size > MAX_RECORD || body_at + size as u64 > length {
            break;
        }
        let body = file.read_at(body_at, size)?;
        if crc(&body) != checksum {
            break;
        }
        let Some((record, head)) = decode(&body, has_start_tokens) else {
            break;
        };
        found.push(Found {
            record,
            rows_at: body_at + head as u64,
            rows_length: size - head,
        });
        at = body_at + size as u64;
    }
    Ok(found)
}

fn word(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The head of a record, and its length.
fn decode(body: &Bytes, has_start_token: bool) -> Option<(Record, usize)> {
    let mut reader = Reader { bytes: body, at: 0 };
    let record = Record {
        channel_id: reader.long()?,
        table_id: reader.long()?,
        client_sequencer: reader.long()?,
        row_sequencer: reader.long()?,
        raw_length: reader.word()?,
        encoding: match reader.take(1)?[0] {
            0 => Encoding::Zstd,
            1 => Encoding::Gzip,
            _ => return None,
        },
        request_id: reader.text()?,
        offset_token: reader.token()?,
        start_token: if has_start_token { reader.token()? } else { None },
    };
    Some((record, reader.at))
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let taken = self.bytes.get(self.at..self.at.checked_add(length)?)?;
        self.at += length;
        Some(taken)
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn word(&mut self) -> Option<u32> {
        Some(u32::from_le_bytes(self.take(4)?.try_into().ok()?))
    }

    fn token(&mut self) -> Option<Option<String>> {
        let (is_there, token) = (self.take(1)?[0] != 0, self.text()?);
        Some(is_there.then_some(token))
    }

    fn text(&mut self) -> Option<String> {
        let length = self.word()? as usize;
        String::from_utf8(self.take(length)?.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::disk::Disk as _;
    use crate::disk::crash::CrashDisk;

    fn record(row_sequencer: i64, offset_token: Option<&str>) -> Record {
        Record {
            channel_id: 7,
            table_id: 3,
            client_sequencer: 2,
            row_sequencer,
            request_id: "r-1".into(),
            offset_token: offset_token.map(str::to_owned),
            start_token: Some("s".to_owned()),
            encoding: Encoding::Gzip,
            raw_length: 99,
        }
    }

    fn file(bytes: &[u8]) -> std::sync::Arc<dyn DiskRead> {
        let disk = CrashDisk::default();
        disk.create(Path::new("f")).unwrap().append(bytes).unwrap();
        disk.open(Path::new("f")).unwrap()
    }

    #[test]
    fn records_written_are_found_again() {
        let mut bytes = FILE_HEADER.to_vec();
        encode(&mut bytes, &record(1, None), b"first").unwrap();
        encode(&mut bytes, &record(2, Some("")), b"").unwrap();
        let file = file(&bytes);
        let found = scan(file.as_ref()).unwrap();
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].record, record(1, None));
        assert_eq!(
            &file.read_at(found[0].rows_at, found[0].rows_length).unwrap()[..],
            b"first"
        );
        assert_eq!(found[1].record, record(2, Some("")));
    }

    #[test]
    fn files_without_start_tokens_are_still_read() {
        let mut bytes = FILE_HEADER.to_vec();
        encode(&mut bytes, &record(1, Some("t")), b"rows").unwrap();
        // The first version's record ended its head with the end token.
        let body = bytes.split_off(FILE_HEADER.len() + PREFIX);
        let start_token = 1 + 4 + "s".len();
        let head = body.len() - b"rows".len();
        let body = [&body[..head - start_token], &body[head..]].concat();
        let mut first = FIRST_HEADER.to_vec();
        first.extend_from_slice(&u32::try_from(body.len()).unwrap().to_le_bytes());
        first.extend_from_slice(&crc(&body).to_le_bytes());
        first.extend_from_slice(&body);
        let file = file(&first);
        let found = scan(file.as_ref()).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].record.offset_token.as_deref(), Some("t"));
        assert_eq!(found[0].record.start_token, None);
        assert_eq!(
            &file.read_at(found[0].rows_at, found[0].rows_length).unwrap()[..],
            b"rows"
        );
    }

    #[test]
    fn torn_or_damaged_record_ends_the_file() {
        let mut bytes = FILE_HEADER.to_vec();
        encode(&mut bytes, &record(1, None), b"first").unwrap();
        let sound = bytes.len();
        encode(&mut bytes, &record(2, Some("t")), b"second").unwrap();
        for cut in sound..bytes.len() {
            assert_eq!(
                scan(file(&bytes[..cut]).as_ref()).unwrap().len(),
                1,
                "cut at {cut}"
            );
        }
        for flipped in sound + PREFIX..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[flipped] ^= 1;
            assert_eq!(
                scan(file(&damaged).as_ref()).unwrap().len(),
                1,
                "flipped at {flipped}"
            );
        }
    }

    #[test]
    fn foreign_file_holds_no_record() {
        assert!(scan(file(b"something else").as_ref()).unwrap().is_empty());
        assert!(scan(file(b"").as_ref()).unwrap().is_empty());
    }
}
