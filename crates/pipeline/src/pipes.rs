//! The pipes of a connector's table, and which of them a shard writes to.
//!
//! What it is: a pipe has a bounded number of channels (2,000; docs.snowflake.com, "Snowpipe Streaming: limitations"), and each
//! shard has one of its own. A stream with more shards than that writes to its table through several [`Pipes`].
//!
//! How it works: the pipe of a shard stands in its lease row, before the first append goes there. A shard without one takes the
//! pipe that the number in its name falls to, so that neighbours are spread evenly. A shard whose pipe is listed as one to
//! leave first settles there what was accepted, writes the end of the committed span and the next pipe into its row at once,
//! and only then begins on the next.
//!
//! What it guarantees: a pipe that comes into the list, goes out of it, or changes its place in it, moves no shard by itself;
//! rows are written once whatever the list was before (I1). Pipes of different tables are refused at the
//! start ([`crate::Error::SeveralTables`]). What it does not: it cannot know the table of a pipe that the role may not see.

use std::sync::Arc;

use frazil_model::{Clock, Events, Random, ShardId};
use frazil_snowflake::{Snowpipe, StatusPoller};

/// One pipe of the destination.
#[derive(Debug, Clone)]
pub struct Pipe {
    /// As people read it: `ACCOUNT.DATABASE.SCHEMA.PIPE`. It stands in the row of each shard that writes to the pipe.
    pub destination: String,
    /// The door to it.
    pub snowpipe: Arc<dyn Snowpipe>,
}

/// The pipes of one table; there is at least one.
#[derive(Debug, Clone)]
pub struct Pipes {
    first: Pipe,
    more: Vec<Pipe>,
    leaving: Vec<Pipe>,
}

impl Pipes {
    /// The only pipe of a connector, as nearly all have.
    #[must_use]
    pub fn only(destination: &str, snowpipe: Arc<dyn Snowpipe>) -> Self {
        let destination = destination.to_owned();
        Self::of(
            Pipe {
                destination,
                snowpipe,
            },
            Vec::new(),
            Vec::new(),
        )
    }

    /// Several pipes: `first` and `more` take shards, those of `leaving` lose theirs.
    #[must_use]
    pub fn of(first: Pipe, more: Vec<Pipe>, leaving: Vec<Pipe>) -> Self {
        Self { first, more, leaving }
    }

    /// Every pipe that may be written to or asked.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pipe> {
        let in_use = std::iter::once(&self.first).chain(&self.more);
        in_use.chain(&self.leaving)
    }

    fn names(&self) -> String {
        let names = std::iter::once(&self.first).chain(&self.more);
        let names: Vec<&str> = names.map(|pipe| pipe.destination.as_str()).collect();
        names.join(" or ")
    }
}

/// A pipe that can be written to, with what asks for the status of its channels.
#[derive(Debug, Clone)]
pub(crate) struct OpenPipe {
    pub(crate) pipe: Pipe,
    pub(crate) statuses: StatusPoller,
}

/// Where a shard is to write.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// Here.
    pub(crate) on: OpenPipe,
    /// And there, once nothing is outstanding here.
    pub(crate) next: Option<String>,
}

/// All pipes of a connector, open.
#[derive(Debug)]
pub(crate) struct OpenPipes {
    /// Never empty.
    in_use: Vec<OpenPipe>,
    leaving: Vec<OpenPipe>,
    names: String,
}

impl OpenPipes {
    pub(crate) fn start(
        pipes: &Pipes,
        clock: &Arc<dyn Clock>,
        random: &Arc<dyn Random>,
        events: &Events,
    ) -> Self {
        let open = |pipe: &Pipe| OpenPipe {
            statuses: StatusPoller::start(
                Arc::clone(&pipe.snowpipe),
                Arc::clone(clock),
                Arc::clone(random),
                events.clone(),
            ),
            pipe: pipe.clone(),
        };
        let in_use = std::iter::once(&pipes.first).chain(&pipes.more);
        Self {
            in_use: in_use.map(open).collect(),
            leaving: pipes.leaving.iter().map(open).collect(),
            names: pipes.names(),
        }
    }

    /// The pipe of a shard whose row names this one; none, where that is none of ours.
    pub(crate) fn place(&self, shard: &ShardId, before: Option<&str>) -> Option<Placed> {
        let Some(before) = before else {
            return Some(self.place_anew(shard));
        };
        let is = |pipe: &&OpenPipe| pipe.pipe.destination == before;
        if let Some(on) = self.in_use.iter().find(is) {
            return Some(Placed {
                on: on.clone(),
                next: None,
            });
        }
        let on = self.leaving.iter().find(is)?.clone();
        let next = Some(self.place_anew(shard).on.pipe.destination);
        Some(Placed { on, next })
    }

    /// The pipe of a shard that has none.
    pub(crate) fn place_anew(&self, shard: &ShardId) -> Placed {
        let count = self.in_use.len();
        let index = usize::try_from(number(shard) % count as u64).unwrap_or(0);
        Placed {
            on: self.in_use[index].clone(),
            next: None,
        }
    }

    /// The pipes that take shards, for people.
    pub(crate) fn names(&self) -> &str {
        &self.names
    }
}

/// The number at the end of a shard's name (`shardId-000000000012`), else one that its letters make.
fn number(shard: &ShardId) -> u64 {
    let name = shard.as_str();
    let digits = name.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.parse().unwrap_or_else(|_| {
        let add = |sum: u64, byte| sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        name.bytes().fold(0, add)
    })
}

#[cfg(test)]
mod tests {
    use frazil_model::{PausedClock, SeededRandom};
    use frazil_snowflake::fake::FakeSnowpipe;

    use super::*;

    fn pipe(name: &str) -> Pipe {
        Pipe {
            destination: name.to_owned(),
            snowpipe: Arc::new(FakeSnowpipe::default()),
        }
    }

    fn open(in_use: &[&str], leaving: &[&str]) -> OpenPipes {
        let mut in_use: Vec<Pipe> = in_use.iter().map(|name| pipe(name)).collect();
        let first = in_use.remove(0);
        let leaving = leaving.iter().map(|name| pipe(name)).collect();
        let clock: Arc<dyn Clock> = Arc::new(PausedClock::at_wall_ms(0));
        let random: Arc<dyn Random> = Arc::new(SeededRandom::new(1));
        let events = Events::new("c", Vec::new());
        OpenPipes::start(&Pipes::of(first, in_use, leaving), &clock, &random, &events)
    }

    fn shard(number: u32) -> ShardId {
        ShardId::new(format!("shardId-{number:012}")).expect("a name")
    }

    #[tokio::test]
    async fn shards_without_a_pipe_are_spread_and_others_stay_where_they_are() {
        let pipes = open(&["A", "B", "C"], &[]);
        let mut counts = [0; 3];
        for number in 0..300 {
            let placed = pipes.place(&shard(number), None).expect("a pipe");
            assert_eq!(placed.next, None);
            let index = ["A", "B", "C"]
                .iter()
                .position(|name| *name == placed.on.pipe.destination);
            counts[index.expect("one of them")] += 1;
        }
        assert_eq!(counts, [100; 3]);
        // Whatever comes into the list, and in whatever order it stands.
        for list in [&["D", "C", "A", "B"][..], &["B"]] {
            let pipes = open(list, &[]);
            for number in 0..20 {
                let placed = pipes.place(&shard(number), Some("B")).expect("a pipe");
                assert_eq!((placed.on.pipe.destination.as_str(), placed.next), ("B", None));
            }
        }
    }

    #[tokio::test]
    async fn a_shard_leaves_a_pipe_for_one_in_use_and_never_one_that_is_not_listed() {
        let pipes = open(&["A", "B"], &["OLD"]);
        let placed = pipes.place(&shard(7), Some("OLD")).expect("a pipe");
        assert_eq!(placed.on.pipe.destination, "OLD");
        assert_eq!(placed.next.as_deref(), Some("B"));
        assert!(pipes.place(&shard(7), Some("OTHER")).is_none());
        assert_eq!(pipes.names(), "A or B");
    }

    #[test]
    fn names_of_shards_that_are_no_numbers_have_one_all_the_same() {
        assert_eq!(number(&shard(12)), 12);
        let named = |name: &str| number(&ShardId::new(name).expect("a name"));
        assert_ne!(named("a"), named("b"));
    }
}
