//! One user record becomes one row, or one letter.

use frazil_kinesis::Payload;
use frazil_model::{Position, SequenceNumber, ShardId, StreamName};

use crate::batch::{BatchBuilder, MAX_RAW_BYTES, MAX_ROW_BYTES};
use crate::dead_letters::{DeadLetter, Reason};
use crate::routes::Router;
use crate::shape::form::Form;
use crate::shape::metadata::Origin;
use crate::shape::validate::{Flaw, check};
use crate::shape::{Shaper, splice};

/// A compressed payload up to this size (bytes) leaves its buffer for the next one.
const KEPT_BYTES: usize = 256 * 1024;

/// What a record is for which no pipe is said.
const NO_ROUTE: Flaw = Flaw {
    reason: Reason::NoRoute,
    what: "no route takes its value of the routing key, and no table is named for all others",
    at: 0,
};

/// What became of a payload that is no dead letter.
enum Written {
    /// A row, for the pipe of this number.
    Row { pipe: usize },
    /// Nothing: the batch has no room for it.
    NoRoom,
}

/// A user record: a plain record, or one of an aggregate.
#[derive(Debug, Clone, Copy)]
pub(super) struct User<'a> {
    pub(super) origin: Origin<'a>,
    /// Whether nothing of its Kinesis record follows it.
    pub(super) last: bool,
    /// Its payload as it came.
    pub(super) data: Payload<'a>,
}

impl User<'_> {
    fn position(&self) -> Position {
        position(self.origin.sequence, self.origin.sub_sequence, self.last)
    }
}

/// The position of a user record.
pub(super) fn position(sequence: &str, sub_sequence: u64, last: bool) -> Position {
    Position {
        sequence: SequenceNumber::new(sequence).expect("a page gives out checked sequence numbers"),
        sub_sequence,
        document: 0,
        last,
    }
}

impl Shaper {
    /// Whether the batch surely has room for the row of a payload of `bytes`, as far as can be told before it is decoded.
    pub(super) fn has_room(&self, origin: &Origin<'_>, bytes: usize, out: &BatchBuilder) -> bool {
        out.rows == 0 || out.raw.len() + bytes + self.metadata.most_bytes(origin) <= out.most_raw()
    }

    /// Makes a row or a letter of the payload that stands behind `start`. False, with nothing done, where the batch has no
    /// room for it.
    pub(super) fn carry(
        &mut self,
        user: &User<'_>,
        form: Form,
        start: usize,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) -> bool {
        if !self.condemned.is_empty() && self.is_condemned(user, out, letters) {
            out.raw.truncate(start);
            return true;
        }
        let row = match self.write(user, form, start, out) {
            Ok(Written::NoRoom) => {
                out.raw.truncate(start);
                return false;
            }
            Ok(Written::Row { pipe }) if self.is_there(pipe, user) => {
                out.raw.truncate(start);
                return true;
            }
            Ok(Written::Row { pipe }) if out.raw.len() <= MAX_RAW_BYTES => Ok(pipe),
            Ok(Written::Row { pipe }) if out.raw.len() <= MAX_ROW_BYTES => {
                // Alone in its batch; whether it fits a request is known when it is compressed.
                let flaw = too_large("the row is larger than a request may be, even compressed");
                out.refused = Some(self.letter(user, &flaw));
                Ok(pipe)
            }
            Ok(Written::Row { .. }) => Err(too_large("the row is larger than a row may be")),
            Err(flaw) => Err(flaw),
        };
        match row {
            Ok(pipe) => out.add_row(pipe, || user.position(), user.origin.arrival_ms),
            Err(flaw) => self.refuse(user, &flaw, start, out, letters),
        }
        true
    }

    /// Whether the pipe's channel has the row already.
    #[inline]
    fn is_there(&mut self, pipe: usize, user: &User<'_>) -> bool {
        let origin = &user.origin;
        self.router
            .as_mut()
            .is_some_and(|router| router.has(pipe, origin.sequence, origin.sub_sequence))
    }

    /// Turns the payload behind `start` into the row; on a flaw, or where there is no room for what was decompressed, anything
    /// may stand there.
    fn write(
        &mut self,
        user: &User<'_>,
        form: Form,
        start: usize,
        out: &mut BatchBuilder,
    ) -> Result<Written, Flaw> {
        if self.decompresses && matches!(form, Form::Compressed(_)) {
            let most = out.paid().saturating_sub(start);
            if !self.decompress(form, start, most, &mut out.raw)? {
                // Rows that are there make room first.
                out.is_starved = out.rows == 0;
                return Ok(Written::NoRoom);
            }
            if !self.has_room(&user.origin, 0, out) {
                return Ok(Written::NoRoom);
            }
        }
        let raw = &mut out.raw;
        let sought = self.router.as_ref().map(Router::key);
        let object = check(&raw[start..], self.metadata.key(), sought, &mut self.cuts)?;
        let pipe = match &self.router {
            None => 0,
            Some(router) => router
                .pipe_of(&raw[start..], object.sought.as_ref())
                .ok_or(NO_ROUTE)?,
        };
        self.counts.replaced += u64::from(!self.cuts.is_empty());
        let metadata = &self.metadata;
        splice::splice(raw, start, &object, &self.cuts, |raw| {
            metadata.write(&user.origin, raw);
        });
        Ok(Written::Row { pipe })
    }

    /// Puts what the payload behind `start` decompresses to in its place. False, with anything there, where that is more than
    /// `most` bytes.
    fn decompress(&mut self, form: Form, start: usize, most: usize, raw: &mut Vec<u8>) -> Result<bool, Flaw> {
        let Form::Compressed(how) = form else {
            return Ok(true);
        };
        self.compressed.clear();
        self.compressed.extend_from_slice(&raw[start..]);
        raw.truncate(start);
        let done = self.decompression.append(how, &self.compressed, most, raw);
        self.compressed.clear();
        self.compressed.shrink_to(KEPT_BYTES);
        done
    }

    /// Makes a letter; whatever stands behind `start` is taken away.
    #[cold]
    pub(super) fn refuse(
        &self,
        user: &User<'_>,
        flaw: &Flaw,
        start: usize,
        out: &mut BatchBuilder,
        letters: &mut Vec<DeadLetter>,
    ) {
        out.raw.truncate(start);
        let letter = self.letter(user, flaw);
        out.add_letter(letter.data.len());
        letters.push(letter);
    }

    /// Whether this record is to be no row; its letter is made, unless it is kept already.
    #[cold]
    fn is_condemned(&self, user: &User<'_>, out: &mut BatchBuilder, letters: &mut Vec<DeadLetter>) -> bool {
        let position = user.position();
        let condemned = self.condemned.iter().find(|one| one.position == position);
        if let Some(condemned) = condemned.filter(|condemned| !condemned.is_kept) {
            let (reason, why) = (Reason::RefusedByService, condemned.why.clone());
            let letter = letter_of(&self.stream, &self.shard, user, reason, why);
            out.add_letter(letter.data.len());
            letters.push(letter);
        }
        condemned.is_some()
    }

    #[cold]
    fn letter(&self, user: &User<'_>, flaw: &Flaw) -> DeadLetter {
        let detail = if flaw.at > 0 {
            format!("{} (byte {})", flaw.what, flaw.at)
        } else {
            flaw.what.to_owned()
        };
        letter_of(&self.stream, &self.shard, user, flaw.reason, detail)
    }
}

/// A user record as a dead letter.
pub(super) fn letter_of(
    stream: &StreamName,
    shard: &ShardId,
    user: &User<'_>,
    reason: Reason,
    detail: String,
) -> DeadLetter {
    let mut data = Vec::new();
    if !user.data.decode_into(&mut data) {
        match user.data {
            Payload::Base64(text) | Payload::Raw(text) => data.extend_from_slice(text),
        }
    }
    let key = user.origin.partition_key;
    DeadLetter {
        stream: stream.clone(),
        shard: shard.clone(),
        position: user.position(),
        partition_key: serde_json::from_str(&format!("\"{key}\"")).unwrap_or_else(|_| key.to_owned()),
        arrival_ms: user.origin.arrival_ms,
        reason,
        detail,
        data,
    }
}

fn too_large(what: &'static str) -> Flaw {
    Flaw {
        reason: Reason::RowTooLarge,
        what,
        at: 0,
    }
}
