//! The shape of a pipe of one's own, and how many channels there is room for.

use frazil_runtime::config::Target;
use frazil_runtime::exit::Exit;
use frazil_snowflake::Error;
use frazil_snowflake::probe::CopyShape;

use super::Look;
use super::names::Found;
use crate::check::finding::{Repair, State};

/// Named channels of a pipe (Snowflake documentation, "Snowpipe Streaming high-performance architecture", limits).
const MOST_CHANNELS: usize = 2000;
/// From here on it is said that the end is near.
const NEAR: usize = 1600;

/// Channels that another stream's shards have; those of this stream's are counted by its shards.
fn of_others(channels: &[String], stream: &str) -> usize {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_uppercase()
        } else {
            '_'
        }
    };
    let ours: String = stream.chars().map(plain).chain("_SHARDID_".chars()).collect();
    channels.iter().filter(|name| !name.starts_with(&ours)).count()
}

/// What so many shards mean for a pipe that has so many channels of others.
fn room(shards: usize, there: usize) -> (State, String) {
    let limit = format!("a pipe has at most {MOST_CHANNELS}");
    let says = format!("{shards} shards take a channel each, others have {there}, {limit}");
    if shards > MOST_CHANNELS {
        (State::Refused, says)
    } else if shards > NEAR {
        (State::Warning, format!("{says}: a resharding may go beyond that"))
    } else if shards + there > MOST_CHANNELS {
        let what = format!("{says}: the others may leave no room");
        (State::Warning, what)
    } else {
        (State::Proved, says)
    }
}

impl Look<'_> {
    /// Says what a SELECT leaves out.
    pub(super) fn pipe_shape(&mut self, found: &Found) {
        let (id, key) = ("snowflake.pipe_shape", self.connector.metadata.key.clone());
        let Some(copy) = &found.copy else {
            return;
        };
        let to = &self.connector.destination;
        let (Target::Table(name) | Target::Pipe(name)) = &to.target;
        let place = format!("{}.{}.{name}", to.database, to.schema);
        match copy.shape {
            CopyShape::ByName => {
                self.book
                    .proved(id, &place, "keys go to the columns of their names");
            }
            CopyShape::Select { filters: true } => {
                let what = "it filters or multiplies records: rows do not add up to records, and the difference is told as filtered";
                let step = "if that is not meant, take WHERE, JOIN and FLATTEN out of the pipe".to_owned();
                self.book.warning(id, &place, what, vec![Repair::Step(step)]);
            }
            CopyShape::Select { filters: false } => {
                self.book
                    .proved(id, &place, "each record makes one row of what its SELECT names");
            }
        }
        let id = "snowflake.metadata";
        if copy.shape == CopyShape::ByName {
        } else if copy.carries(&key) {
            self.book.proved(id, &place, &format!("its SELECT takes {key}"));
        } else {
            let what =
                format!("its SELECT takes nothing of {key}: rows do not tell which record they come from");
            let step = format!("add $1:{key}.sequenceNumber and its like to the pipe's SELECT");
            self.book.warning(id, &place, &what, vec![Repair::Step(step)]);
        }
    }

    /// Says whether there is a channel for each shard.
    pub(super) async fn channels(&mut self, path: &[String], shards: Option<usize>) -> Result<(), Error> {
        let id = "snowflake.channels";
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let pipe = match &self.connector.destination.target {
            Target::Table(table) => format!("{table}-STREAMING"),
            Target::Pipe(pipe) => pipe.clone(),
        };
        let there = self.probe.channels(&names, &pipe).await?;
        let stream = self.connector.source.stream.as_str();
        let there = there.map(|channels| of_others(&channels, stream));
        let place = format!(
            "{}.{}.{pipe}",
            self.connector.destination.database, self.connector.destination.schema
        );
        let (Some(shards), Some(there)) = (shards, there) else {
            let what = match there {
                None => "the role may not list channels",
                Some(_) => "how many shards there are is not known",
            };
            self.book.unknowable(id, &place, what);
            return Ok(());
        };
        let step = || {
            vec![Repair::Step(
                "merge shards, or drop channels that nobody writes to".to_owned(),
            )]
        };
        match room(shards, there) {
            (State::Refused, what) => self.book.refused(Exit::Failed, id, &place, &what, step()),
            (State::Warning, what) => self.book.warning(id, &place, &what, step()),
            (_, what) => self.book.proved(id, &place, &what),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_of_this_stream_are_not_counted_twice() {
        let names = [
            "CLICKS_PROD_SHARDID_000000000001_EA79617ADB18E8E1",
            "CLICKS_SHARDID_0_1",
            "MINE",
        ];
        let names = names.map(ToOwned::to_owned);
        assert_eq!(of_others(&names, "clicks.prod"), 2);
        assert_eq!(of_others(&names, "other"), 3);
    }

    #[test]
    fn room_for_channels_ends_at_two_thousand() {
        for (shards, there, state) in [
            (4, 4, State::Proved),
            (1600, 400, State::Proved),
            (1600, 401, State::Warning),
            (1601, 0, State::Warning),
            (2000, 0, State::Warning),
            (2001, 0, State::Refused),
        ] {
            assert_eq!(room(shards, there).0, state, "{shards} {there}");
        }
    }
}
