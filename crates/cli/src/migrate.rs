//! `frazil migrate`: another program's checkpoint table becomes ours.

use std::sync::Arc;

use frazil_kinesis::Kinesis;
use frazil_lease::PinnedStart;
use frazil_lease::migrate::{Begin, MigrateOptions, Migration, Outcome, Plan, Prospect};
use frazil_model::{Clock, SystemClock, SystemRandom, WorkerId};
use frazil_runtime::config::InitialPosition;
use frazil_runtime::exit::Exit;
use frazil_runtime::run::{self, listed_shard};

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::target;

pub(crate) async fn run(args: args::Migrate) -> Result<Exit, Failure> {
    let connector = target::named(&args.config, args.connector.as_deref())?;
    let (_, tables) = run::leases(&connector, &target::clock())
        .await
        .map_err(target::of_connector)?;
    let Some(tables) = tables else {
        let text =
            "with `leases: none` there is no table to take over into; use `leases: dynamodb`".to_owned();
        return Err(Failure::new(Exit::Usage, text));
    };
    let stream = target::stream(&connector).await?;
    let now_ms = SystemClock.wall_ms();
    let start = match connector.source.initial_position {
        InitialPosition::TrimHorizon => PinnedStart::TrimHorizon,
        InitialPosition::Latest => PinnedStart::Latest { ms: now_ms },
        InitialPosition::AtTimestamp { ms } => PinnedStart::AtTimestamp { ms },
    };
    let mut options = MigrateOptions::new(
        &connector.source.application_name,
        connector.source.stream.clone(),
        stream.identity.clone(),
        start,
        WorkerId::random(&SystemRandom),
        now_ms,
    );
    if let Some(from) = args.from {
        options.source = from;
    }
    let listed = stream.kinesis.list_shards().await.map_err(target::of_kinesis)?;
    options.listed = listed.into_iter().map(listed_shard).collect();
    let migration = Migration::new(tables, options, Arc::new(SystemClock), Arc::new(SystemRandom));
    match migration.plan().await.map_err(target::of_connector)? {
        Prospect::NothingToDo => {
            output::line("nothing to take over: the lease table is complete, or there is none");
            return Ok(Exit::Done);
        }
        Prospect::Unfinished => output::line("an earlier takeover was not finished"),
        Prospect::Takeover(plan) => show(&plan),
    }
    if args.dry_run {
        return Ok(Exit::Done);
    }
    output::line("watching whether the other application still moves; stop and drain it first");
    match migration.carry_out().await.map_err(target::of_connector)? {
        Outcome::NothingToDo => output::line("another run did it"),
        Outcome::Done { notes } => {
            output::line("taken over; exactly once counts from the first row that Frazil writes");
            notes.iter().for_each(output::line);
        }
    }
    Ok(Exit::Done)
}

/// Where each shard goes on: the seam between what the other application delivered and what Frazil will.
fn show(plan: &Plan) {
    let rows: Vec<Vec<String>> = plan
        .shards
        .iter()
        .map(|planned| {
            let begin = match &planned.begin {
                Begin::After(position) => format!("after {position}"),
                Begin::Ended => "ended: it was read to its end".to_owned(),
                Begin::At(start) => format!("at {start}"),
                Begin::AsConfigured => "at initial_position".to_owned(),
            };
            vec![planned.shard.to_string(), begin, planned.notes.join("; ")]
        })
        .collect();
    output::line(format!("a table of {}:", plan.source));
    output::line(output::table(&["shard", "goes on", "note"], &rows, &[]));
    if plan.rows_left_out > 0 {
        output::line(format!(
            "{} rows of other streams are left out",
            plan.rows_left_out
        ));
    }
    plan.notes.iter().for_each(output::line);
}
