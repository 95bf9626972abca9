//! The shape of a pipe of one's own, and which channels its pipes have.

use frazil_runtime::config::Target;
use frazil_snowflake::Error;
use frazil_snowflake::probe::CopyShape;

use super::Look;
use super::names::Found;
use crate::check::channels;
use crate::check::finding::Repair;

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
        let names: Vec<&str> = path.iter().map(String::as_str).collect();
        let (stream, to) = (&self.connector.source.stream, &self.connector.destination);
        for pipe in channels::pipes(self.connector) {
            let place = format!("{}.{}.{pipe}", to.database, to.schema);
            let there = self.probe.channels(&names, &pipe).await?;
            match (shards, there) {
                (Some(shards), Some(there)) => {
                    let there = of_others(&there, stream.as_str());
                    let shards = channels::share(self.connector, shards);
                    channels::judge(self.book, &place, shards, there);
                }
                (_, None) => {
                    let what = "the role may not list channels";
                    self.book.unknowable(channels::ID, &place, what);
                }
                (None, _) => {
                    let what = "how many shards there are is not known";
                    self.book.unknowable(channels::ID, &place, what);
                }
            }
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
}
