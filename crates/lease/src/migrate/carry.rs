//! The carrying out: one step at a time, each found from the tables as they stand.

use std::collections::BTreeMap;
use std::time::Duration;

use frazil_model::{Instant, RetryPolicy};

use super::marker::{self, Copied, Marker};
use super::plan::{NewRow, plan};
use super::standing::{LOOK, Standing, Step};
use super::{Migration, Outcome, Plan, Prospect};
use crate::admin::Layout;
use crate::error::Error;
use crate::liveness::Liveness;
use crate::row::{Attribute, Item, MIGRATION_KEY, PIN_KEY, key_of, name};
use crate::store::Written;

/// How often the source is looked at while it is watched.
const WATCH_LOOK: Duration = Duration::from_secs(10);
/// How often the delete of the source is tried.
const DELETE_TRIES: u32 = 8;
/// Rows between two beats.
const ROWS_A_BEAT: usize = 256;

/// What one run knows beside the tables.
struct Run {
    liveness: Liveness<(), (String, u64, u64)>,
    mine: Option<Marker>,
    beaten: Instant,
    worked: bool,
    notes: Vec<String>,
}

impl Migration {
    /// Tells what [`Migration::carry_out`] would do. Only reads: `DescribeTable`, `GetItem`, `Scan`.
    ///
    /// # Errors
    /// [`Error::Takeover`] where it would be refused; [`Error::RowDamaged`] for a row of the source that cannot be read; else what
    /// the calls met.
    pub async fn plan(&self) -> Result<Prospect, Error> {
        match self.standing().await?.step {
            Step::Nothing => Ok(Prospect::NothingToDo),
            Step::Restore | Step::Clean => Ok(Prospect::Unfinished),
            Step::Copy(layout) => {
                let items = self.scan(&self.options.source).await?;
                Ok(Prospect::Takeover(Box::new(plan(
                    &layout,
                    &items,
                    &self.options,
                )?)))
            }
        }
    }

    /// Takes the table over. May be dropped at any moment, and done again.
    ///
    /// # Errors
    /// [`Error::SourceAlive`] while the other program moves; [`Error::Takeover`] where a person must do something first;
    /// [`Error::RowDamaged`]; else what the calls met. Nothing is lost by any of them: it can be done again.
    pub async fn carry_out(&self) -> Result<Outcome, Error> {
        let now = self.clock.now();
        let mut run = Run {
            liveness: Liveness::new(LOOK * 5),
            mine: None,
            beaten: now,
            worked: false,
            notes: Vec::new(),
        };
        let mut watched = None;
        loop {
            let standing = self.standing().await?;
            if standing.step == Step::Nothing {
                return Ok(if run.worked {
                    Outcome::Done { notes: run.notes }
                } else {
                    Outcome::NothingToDo
                });
            }
            if !self.may_work(&standing, &mut run) {
                self.clock.sleep(LOOK).await;
                continue;
            }
            match &standing.step {
                Step::Nothing => {}
                Step::Copy(layout) => match watched.take() {
                    // Before anything is written; another run may have done all of it meanwhile, so look again.
                    None => watched = self.watch_unless_done(layout).await?,
                    Some(items) => {
                        self.copy(layout, items, standing.marker.as_ref(), &mut run)
                            .await?
                    }
                },
                Step::Restore => self.restore(standing.marker.as_ref(), &mut run).await?,
                Step::Clean => {
                    if let Some(left_over) = self.clean(standing.marker.as_ref(), &mut run).await? {
                        run.notes.push(left_over);
                        return Ok(Outcome::Done { notes: run.notes });
                    }
                }
            }
        }
    }

    /// Whether nobody else works, or one that is dead.
    fn may_work(&self, standing: &Standing, run: &mut Run) -> bool {
        let Some(marker) = &standing.marker else {
            return true;
        };
        if marker.worker == self.options.worker.as_str() {
            return true;
        }
        let shown = (marker.worker.clone(), marker.attempt, marker.beat);
        run.liveness.observe(self.clock.now(), &(), shown);
        run.liveness.still(&()) >= self.options.stale
    }

    /// Makes this run the one that works. `false`: another was faster.
    async fn claim(&self, seen: Option<&Marker>, anew: bool, run: &mut Run) -> Result<bool, Error> {
        let held = seen.filter(|seen| seen.worker == self.options.worker.as_str());
        if let Some(held) = held
            && !(anew && held.copied.is_some())
        {
            run.mine = Some(held.clone());
            return self.beat(None, run).await;
        }
        let (marker, update) = marker::claim(seen, &self.options.worker, anew);
        let began = self.clock.now();
        let done = match self.write(&self.work_table(), &update).await? {
            Written::Done => true,
            // This very write, if its answer was lost.
            Written::Refused(row) => row.as_ref().and_then(Marker::of).as_ref() == Some(&marker),
        };
        if done {
            (run.mine, run.beaten, run.worked) = (Some(marker), began, true);
        }
        Ok(done)
    }

    /// Tells that this run lives. `false`: another took over.
    async fn beat(&self, copied: Option<Copied>, run: &mut Run) -> Result<bool, Error> {
        let Some(mine) = &mut run.mine else {
            return Ok(false);
        };
        mine.beat += 1;
        mine.copied = copied.or(mine.copied);
        let began = self.clock.now();
        let done = self
            .write(&self.work_table(), &marker::beat(mine, copied))
            .await?
            == Written::Done;
        if done {
            (run.beaten, run.worked) = (began, true);
        }
        Ok(done)
    }

    /// As [`Migration::watch`]; `None` where another run deleted the source meanwhile.
    async fn watch_unless_done(&self, layout: &Layout) -> Result<Option<Vec<Item>>, Error> {
        match self.watch(layout).await {
            Ok(items) => Ok(Some(items)),
            Err(error @ (Error::SourceAlive { .. } | Error::TableMissing { .. })) => {
                match self.standing().await?.step {
                    Step::Copy(_) => Err(error),
                    _ => Ok(None),
                }
            }
            Err(error) => Err(error),
        }
    }

    /// Reads the source for a while. What it shows must not change.
    async fn watch(&self, layout: &Layout) -> Result<Vec<Item>, Error> {
        let began = self.clock.now();
        let first = self.scan(&self.options.source).await?;
        // What cannot be planned should not keep anybody waiting.
        self.acceptable(&plan(layout, &first, &self.options)?)?;
        while self.clock.now().since(began) < self.options.watch {
            self.clock.sleep(WATCH_LOOK.min(self.options.watch)).await;
            self.unmoved(&first).await?;
        }
        Ok(first)
    }

    fn acceptable(&self, plan: &Plan) -> Result<(), Error> {
        if plan.shards.is_empty() {
            return Err(self.refuse(format!("it has no row of stream {}", self.options.stream_name)));
        }
        if self.in_place() && plan.rows_left_out > 0 {
            return Err(self.refuse(format!(
                "it holds {} rows of other streams, which would be lost with it; take over to another application name",
                plan.rows_left_out
            )));
        }
        Ok(())
    }

    async fn unmoved(&self, first: &[Item]) -> Result<(), Error> {
        let now = self.scan(&self.options.source).await?;
        let (before, now) = (by_key(first), by_key(&now));
        let mut keys = before.keys().chain(now.keys());
        let Some(moved) = keys.find(|key| before.get(*key) != now.get(*key)) else {
            return Ok(());
        };
        Err(Error::SourceAlive {
            table: self.options.source.clone(),
            detail: format!("row {moved:?} changed while it was watched"),
        })
    }

    async fn copy(
        &self,
        layout: &Layout,
        items: Vec<Item>,
        seen: Option<&Marker>,
        run: &mut Run,
    ) -> Result<(), Error> {
        let work = self.work_table();
        self.create(&work).await?;
        self.settled(&work).await?;
        if !self.claim(seen, true, run).await? {
            return Ok(());
        }
        let Some(attempt) = run.mine.as_ref().map(|mine| mine.attempt) else {
            return Ok(());
        };
        let plan = plan(layout, &items, &self.options)?;
        let mut rows = plan.rows();
        if self.in_place() {
            rows.push(plan.pin_row());
        }
        for part in rows.chunks(ROWS_A_BEAT) {
            let updates = part.iter().map(|row| marker::copy(row, attempt)).collect();
            self.write_all(&work, updates).await?;
            if !self.beat(None, run).await? {
                return Ok(());
            }
        }
        self.prove(&work, attempt, &rows).await?;
        self.unmoved(&items).await?;
        let copied = Copied {
            attempt,
            rows: rows.len(),
        };
        if !self.beat(Some(copied), run).await? {
            return Ok(());
        }
        run.notes = plan.notes.clone();
        if self.in_place() {
            return self.delete_source(run).await;
        }
        // Last, for it says that the lease table is complete.
        self.write(&work, &marker::restore(&plan.pin_row())).await?;
        Ok(())
    }

    /// Reads the copy back and compares it row by row.
    async fn prove(&self, table: &str, attempt: u64, rows: &[NewRow]) -> Result<(), Error> {
        let copy = self.copied(table, attempt).await?;
        if copy == marker::sorted(rows.to_vec()) {
            return Ok(());
        }
        Err(self.refuse(format!(
            "the copy in table {table} is not what was to be written: {} rows of {}; start again",
            copy.len(),
            rows.len()
        )))
    }

    /// The rows of an attempt. Anything else in the table is refused, except what an earlier attempt left.
    async fn copied(&self, table: &str, attempt: u64) -> Result<Vec<NewRow>, Error> {
        // The copy's table is this takeover's alone, and is deleted with all that is in it; another application's is not.
        let items = if self.in_place() {
            self.scan(table).await?
        } else {
            self.rows(table).await?
        };
        let mut copy = Vec::new();
        for item in items {
            let stream = Attribute::text(&self.options.stream_name);
            if item.get(name::STREAM_NAME) != Some(&stream) {
                return Err(self.refuse(format!("table {table} holds rows of another stream")));
            }
            match marker::copied_row(&item) {
                _ if key_of(&item) == MIGRATION_KEY => {}
                Some((of, row)) if of == attempt => copy.push(row),
                Some((of, _)) if of < attempt && self.in_place() => {}
                _ => {
                    let key = key_of(&item);
                    return Err(self.refuse(format!(
                        "table {table} holds the row {key}, which is none of the copy's"
                    )));
                }
            }
        }
        Ok(marker::sorted(copy))
    }

    /// Deletes the source. A delete has no condition: so before each try this run makes sure that it still is the one that
    /// works, and was awake a moment ago. What is left is a process that stops for minutes between that and its request.
    async fn delete_source(&self, run: &mut Run) -> Result<(), Error> {
        let (application, work) = (&self.options.application, self.work_table());
        let mut backoff = RetryPolicy::NETWORK.start();
        loop {
            if !self.beat(None, run).await? || self.clock.now().since(run.beaten) > self.options.stale / 3 {
                return Ok(());
            }
            tracing::info!(table = %application, copy = %work, "the copy is proved; the old table is deleted");
            match self.delete_once(application).await {
                Err(Error::AccessDenied { .. }) => {
                    return Err(self.refuse(format!(
                        "the copy in table {work} is proved, but the right dynamodb:DeleteTable on {application} is missing; \
                         grant it, or delete {application} yourself, and start again; or take over to another application name"
                    )));
                }
                Err(error) if error.kind().may_heal() && backoff.failures() + 1 < DELETE_TRIES => {
                    tracing::info!(%error, "the old table could not be deleted yet");
                    backoff.wait(&*self.clock, &*self.random).await;
                }
                other => return other,
            }
        }
    }

    async fn restore(&self, seen: Option<&Marker>, run: &mut Run) -> Result<(), Error> {
        let (application, work) = (&self.options.application, self.work_table());
        if !self.claim(seen, false, run).await? {
            return Ok(());
        }
        let Some(copied) = run.mine.as_ref().and_then(|mine| mine.copied) else {
            return Ok(());
        };
        let mut rows = self.copied_whole(&work, copied).await?;
        self.create(application).await?;
        self.settled(application).await?;
        let pins: Vec<NewRow> = rows.extract_if(.., |(key, _)| key == PIN_KEY).collect();
        for part in rows.chunks(ROWS_A_BEAT) {
            self.write_all(application, part.iter().map(marker::restore).collect())
                .await?;
            if !self.beat(None, run).await? {
                return Ok(());
            }
        }
        let stands = self.rows(application).await?;
        for (key, data) in &rows {
            let stood = stands.iter().find(|item| key_of(item) == key);
            let same =
                stood.is_some_and(|item| data.iter().all(|(name, value)| item.get(*name) == Some(value)));
            if !same {
                return Err(self.refuse(format!(
                    "row {key} of the new table is not as it was copied; start again"
                )));
            }
        }
        for pin in &pins {
            self.write(application, &marker::restore(pin)).await?;
        }
        Ok(())
    }

    async fn copied_whole(&self, work: &str, copied: Copied) -> Result<Vec<NewRow>, Error> {
        let mut rows = Vec::new();
        for item in self.rows(work).await? {
            if let Some((attempt, row)) = marker::copied_row(&item)
                && attempt == copied.attempt
            {
                rows.push(row);
            }
        }
        let pinned = rows.iter().any(|(key, _)| key == PIN_KEY);
        if rows.len() == copied.rows && pinned {
            return Ok(rows);
        }
        Err(self.refuse(format!(
            "table {work} should hold {} rows of the copy, and holds {}; nothing is done",
            copied.rows,
            rows.len()
        )))
    }

    /// Deletes the copy, which is not needed any more. Answers what is left over.
    async fn clean(&self, seen: Option<&Marker>, run: &mut Run) -> Result<Option<String>, Error> {
        let work = self.work_table();
        if !self.claim(seen, false, run).await? {
            return Ok(None);
        }
        match self.delete(&work).await {
            Err(Error::AccessDenied { .. }) => Ok(Some(format!(
                "table {work} is not needed any more, and the right dynamodb:DeleteTable on it is missing: delete it"
            ))),
            other => other.map(|()| None),
        }
    }
}

/// Rows by what is their key in any of the layouts.
fn by_key(items: &[Item]) -> BTreeMap<String, &Item> {
    let key = |item: &Item| {
        let parts = [
            "leaseKey",
            "StreamID",
            "ShardID",
            name::STREAM_NAME,
            name::SHARD_ID,
        ];
        let parts = parts.iter().filter_map(|part| match item.get(*part) {
            Some(Attribute::S(part)) => Some(part.as_str()),
            _ => None,
        });
        parts.collect::<Vec<_>>().join(" ")
    };
    items.iter().map(|item| (key(item), item)).collect()
}

/// Whether a lease table without a pin waits for a takeover to be finished: its marker says so.
pub(crate) fn is_marked(item: &Item) -> bool {
    item.contains_key(name::MIGRATION)
}
