//! Lines into records: each line that is no blank is a JSON object with each key once, or a refused row.

use std::borrow::Cow;
use std::collections::HashSet;

use super::json::{Raw, Reader};
use super::{AcceptedRows, Content, Fields, Outcomes, Refusal};

/// A line that is a JSON object.
pub(super) struct Parsed<'a> {
    pub(super) batch: usize,
    pub(super) line: &'a [u8],
    pub(super) text: &'a str,
    pub(super) fields: Fields<'a>,
}

pub(super) fn parse_all<'a>(
    batches: &[AcceptedRows<'a>],
    outcome: &mut Outcomes<'a>,
    last_twin_counts: bool,
) -> Vec<Parsed<'a>> {
    let mut parsed = Vec::new();
    for (index, batch) in batches.iter().enumerate() {
        for line in batch.ndjson.split(|byte| *byte == b'\n') {
            let line = line.trim_ascii();
            if line.is_empty() {
                continue;
            }
            if let Some(counts) = outcome.per_batch.get_mut(index) {
                counts.parsed += 1;
            }
            let before = parsed.last().map_or(&[][..], |row: &Parsed<'_>| &row.fields);
            match object(line, before, last_twin_counts) {
                Ok((text, fields)) => parsed.push(Parsed {
                    batch: index,
                    line,
                    text,
                    fields,
                }),
                Err((reason, content)) => {
                    outcome.refused(index, line, Refusal::no_object(reason, content));
                }
            }
        }
    }
    parsed
}

/// A line that is a JSON object, and its members. `before`: those of another line, all of different keys.
fn object<'a>(
    line: &'a [u8],
    before: &[(Cow<'_, str>, Raw<'_>)],
    last_twin_counts: bool,
) -> Result<(&'a str, Fields<'a>), (&'static str, Content)> {
    const MALFORMED: (&str, Content) = ("json-invalid: the line is no JSON object", Content::InvalidJson);
    let binary = ("json-invalid: the line is no UTF-8", Content::Binary);
    let text = std::str::from_utf8(line).map_err(|_| binary)?;
    let mut reader = Reader::new(text);
    reader.space();
    if !reader.take(b'{') {
        return Err(MALFORMED);
    }
    let mut fields: Fields<'_> = Vec::with_capacity(before.len());
    reader.space();
    if !reader.take(b'}') {
        loop {
            reader.space();
            let key = reader.key().map_err(|_| MALFORMED)?;
            let value = reader.value().map_err(|_| MALFORMED)?;
            fields.push((key, value));
            reader.space();
            if reader.take(b'}') {
                break;
            }
            if !reader.take(b',') {
                return Err(MALFORMED);
            }
        }
    }
    reader.end().map_err(|_| MALFORMED)?;
    // Most lines have the keys of the line before, which need no comparing among themselves.
    let same = fields.len() == before.len()
        && fields
            .iter()
            .zip(before)
            .all(|((one, _), (other, _))| one == other);
    let mut seen = HashSet::new();
    if same || fields.iter().all(|(key, _)| seen.insert(key.as_ref())) {
        return Ok((text, fields));
    }
    if last_twin_counts {
        let mut seen = HashSet::with_capacity(fields.len());
        let is_last: Vec<bool> = fields
            .iter()
            .rev()
            .map(|(key, _)| seen.insert(key.clone()))
            .collect();
        let mut is_last = is_last.into_iter().rev();
        fields.retain(|_| is_last.next().unwrap_or_default());
        return Ok((text, fields));
    }
    Err(("json-invalid: a key stands twice", Content::InvalidJson))
}
