//! The pipes of a connector, and which of them a shard writes to.
//!
//! What it is: nearly every connector has one pipe, and each shard its channel there. A pipe has a bounded number of channels (2,000; docs.snowflake.com, "Snowpipe Streaming: limitations"), and each
//! shard has one of its own: a stream with more shards than that writes to its table through several [`Pipes`]. And where rows
//! go to several tables, each shard writes to a pipe of each ([`crate::routes`]).
//!
//! How it works: the pipe of a shard stands in its lease row, before the first append goes there. A shard without one takes the
//! pipe that the number in its name falls to, so that neighbours are spread evenly. A shard whose pipe is listed as one to
//! leave first settles there what was accepted, writes the end of the committed span and the next pipe into its row at once,
//! and only then begins on the next. Routes are changed the same way.
//!
//! What it guarantees: a pipe that comes into the list, goes out of it, or changes its place in it, moves no shard by itself;
//! rows are written once whatever the list was before (I1). Pipes of different tables are refused at the
//! start ([`crate::Error::SeveralTables`]). What it does not: it cannot know the table of a pipe that the role may not see.

use std::sync::Arc;

use frazil_model::{Clock, Events, Random, ShardId};
use frazil_snowflake::{Snowpipe, StatusPoller};

use crate::options::OnRowError;
use crate::routes::{Placement, Routes};

/// One pipe of the destination.
#[derive(Debug, Clone)]
pub struct Pipe {
    /// As people read it: `ACCOUNT.DATABASE.SCHEMA.PIPE`. It stands in the row of each shard that writes to the pipe.
    pub destination: String,
    /// The door to it.
    pub snowpipe: Arc<dyn Snowpipe>,
}

/// The pipes that rows of a connector go to; there is at least one.
#[derive(Debug, Clone)]
pub struct Pipes {
    in_use: Vec<Pipe>,
    leaving: Vec<Pipe>,
    routes: Option<Routes>,
}

impl Pipes {
    /// The only pipe of a connector, as nearly all have.
    #[must_use]
    pub fn only(destination: &str, snowpipe: Arc<dyn Snowpipe>) -> Self {
        let destination = destination.to_owned();
        let only = Pipe {
            destination,
            snowpipe,
        };
        Self::of(only, Vec::new(), Vec::new())
    }

    /// Several pipes of one table: `first` and `more` take shards, those of `leaving` lose theirs.
    #[must_use]
    pub fn of(first: Pipe, mut more: Vec<Pipe>, leaving: Vec<Pipe>) -> Self {
        more.insert(0, first);
        Self {
            in_use: more,
            leaving,
            routes: None,
        }
    }

    /// Pipes of several tables, which take the rows that the routes say; `pipes` are the doors to all that the routes name.
    ///
    /// # Errors
    /// The name of a pipe of the routes that is not among `pipes`.
    pub fn routed(routes: Routes, pipes: Vec<Pipe>, leaving: Vec<Pipe>) -> Result<Self, String> {
        let placement = Placement::Routed(routes.clone());
        for name in placement.pipes() {
            if !pipes.iter().any(|pipe| pipe.destination == name) {
                return Err(name.to_owned());
            }
        }
        Ok(Self {
            in_use: pipes,
            leaving,
            routes: Some(routes),
        })
    }

    /// Every pipe that may be written to or asked.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Pipe> {
        self.in_use.iter().chain(&self.leaving)
    }

    /// The pipes that lead into one table, if all is as it must be.
    pub(crate) fn of_one_table(&self) -> &[Pipe] {
        if self.routes.is_some() { &[] } else { &self.in_use }
    }

    fn names(&self) -> String {
        let names: Vec<&str> = self.in_use.iter().map(|pipe| pipe.destination.as_str()).collect();
        match &self.routes {
            None => names.join(" or "),
            Some(_) => format!("{}, by its routes", names.join(" and ")),
        }
    }
}

/// A pipe that can be written to, with what asks for the status of its channels.
#[derive(Debug, Clone)]
pub(crate) struct OpenPipe {
    pub(crate) pipe: Pipe,
    pub(crate) statuses: StatusPoller,
    /// What to do when one of its channels counts row errors.
    pub(crate) on_row_error: OnRowError,
}

/// Where a shard is to write.
#[derive(Debug, Clone)]
pub(crate) struct Placed {
    /// So,
    pub(crate) now: Placement,
    /// which are these pipes, in the placement's order,
    pub(crate) on: Vec<OpenPipe>,
    /// and so, once nothing stands behind the shard's position here.
    pub(crate) next: Option<Placement>,
}

/// All pipes of a connector, open.
#[derive(Debug)]
pub(crate) struct OpenPipes {
    /// Never empty.
    in_use: Vec<OpenPipe>,
    leaving: Vec<OpenPipe>,
    routes: Option<Routes>,
    names: String,
}

impl OpenPipes {
    /// Opens them; `on_row_error` tells of each by its name what to do at row errors.
    pub(crate) fn start(
        pipes: &Pipes,
        on_row_error: impl Fn(&str) -> OnRowError,
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
            on_row_error: on_row_error(&pipe.destination),
            pipe: pipe.clone(),
        };
        Self {
            in_use: pipes.in_use.iter().map(open).collect(),
            leaving: pipes.leaving.iter().map(open).collect(),
            routes: pipes.routes.clone(),
            names: pipes.names(),
        }
    }

    /// Where a shard writes whose row says this; none, where that cannot be read, or names a pipe that is none of ours.
    pub(crate) fn place(&self, shard: &ShardId, before: Option<&str>) -> Option<Placed> {
        let Some(before) = before else {
            return Some(self.place_anew(shard));
        };
        let now = Placement::parse(before)?;
        let on: Vec<OpenPipe> = now
            .pipes()
            .into_iter()
            .map(|pipe| self.find(pipe).cloned())
            .collect::<Option<_>>()?;
        let is_wanted = match (&now, &self.routes) {
            (Placement::One(pipe), None) => self.in_use.iter().any(|open| open.pipe.destination == *pipe),
            (Placement::Routed(routes), Some(wanted)) => routes == wanted,
            _ => false,
        };
        let next = (!is_wanted).then(|| self.place_anew(shard).now);
        Some(Placed { now, on, next })
    }

    /// Where a shard writes that has written nowhere yet.
    pub(crate) fn place_anew(&self, shard: &ShardId) -> Placed {
        let now = match &self.routes {
            Some(routes) => Placement::Routed(routes.clone()),
            None => {
                let count = self.in_use.len();
                let index = usize::try_from(number(shard) % count as u64).unwrap_or(0);
                Placement::One(self.in_use[index].pipe.destination.clone())
            }
        };
        let on = now
            .pipes()
            .into_iter()
            .filter_map(|pipe| self.find(pipe).cloned())
            .collect();
        Placed { now, on, next: None }
    }

    fn find(&self, destination: &str) -> Option<&OpenPipe> {
        let mut all = self.in_use.iter().chain(&self.leaving);
        all.find(|open| open.pipe.destination == destination)
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
    use std::collections::BTreeMap;

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
        let pipes = Pipes::of(first, in_use, leaving);
        OpenPipes::start(&pipes, |_| OnRowError::Stop, &clock, &random, &events)
    }

    /// The only pipe it is on, and the one it goes to.
    fn shown(placed: &Placed) -> (String, Option<String>) {
        assert_eq!(placed.on.len(), 1);
        let next = placed.next.as_ref().map(ToString::to_string);
        (placed.on[0].pipe.destination.clone(), next)
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
            let (on, next) = shown(&placed);
            assert_eq!(next, None);
            let index = ["A", "B", "C"].iter().position(|name| *name == on);
            counts[index.expect("one of them")] += 1;
        }
        assert_eq!(counts, [100; 3]);
        // Whatever comes into the list, and in whatever order it stands.
        for list in [&["D", "C", "A", "B"][..], &["B"]] {
            let pipes = open(list, &[]);
            for number in 0..20 {
                let placed = pipes.place(&shard(number), Some("B")).expect("a pipe");
                assert_eq!(shown(&placed), ("B".to_owned(), None));
            }
        }
    }

    #[tokio::test]
    async fn a_shard_leaves_a_pipe_for_one_in_use_and_never_one_that_is_not_listed() {
        let pipes = open(&["A", "B"], &["OLD"]);
        let placed = pipes.place(&shard(7), Some("OLD")).expect("a pipe");
        assert_eq!(shown(&placed), ("OLD".to_owned(), Some("B".to_owned())));
        assert!(pipes.place(&shard(7), Some("OTHER")).is_none());
        assert_eq!(pipes.names(), "A or B");
    }

    #[tokio::test]
    async fn changed_routes_are_taken_later_and_routes_with_a_pipe_that_is_not_listed_never() {
        let routes = |value: &str| {
            let pipes = BTreeMap::from([(value.to_owned(), "A".to_owned())]);
            Routes::new("type", pipes, Some("B".to_owned()))
        };
        let pipes =
            Pipes::routed(routes("x"), vec![pipe("A"), pipe("B")], vec![pipe("OLD")]).expect("all there");
        let (clock, random): (Arc<dyn Clock>, Arc<dyn Random>) = (
            Arc::new(PausedClock::at_wall_ms(0)),
            Arc::new(SeededRandom::new(1)),
        );
        let open = OpenPipes::start(
            &pipes,
            |_| OnRowError::Stop,
            &clock,
            &random,
            &Events::new("c", Vec::new()),
        );
        let text = |routes: Routes| Placement::Routed(routes).to_string();
        for (before, stays) in [
            (None, true),
            (Some(text(routes("x"))), true),
            (Some(text(routes("y"))), false),
        ] {
            let placed = open.place(&shard(1), before.as_deref()).expect("all listed");
            assert_eq!(placed.on.len(), 2);
            assert_eq!(placed.next.is_none(), stays, "{before:?}");
        }
        let one = open.place(&shard(1), Some("OLD")).expect("listed");
        assert_eq!(shown(&one), ("OLD".to_owned(), Some(text(routes("x")))));
        let gone = text(Routes::new(
            "type",
            BTreeMap::from([("x".to_owned(), "GONE".to_owned())]),
            None,
        ));
        assert!(open.place(&shard(1), Some(&gone)).is_none() && open.place(&shard(1), Some("{")).is_none());
        assert_eq!(
            Pipes::routed(routes("x"), vec![pipe("A")], Vec::new())
                .err()
                .as_deref(),
            Some("B")
        );
    }

    #[test]
    fn names_of_shards_that_are_no_numbers_have_one_all_the_same() {
        assert_eq!(number(&shard(12)), 12);
        let named = |name: &str| number(&ShardId::new(name).expect("a name"));
        assert_ne!(named("a"), named("b"));
    }
}
