//! `frazil remove`: what an application leaves in AWS. It never touches Snowflake.

use std::sync::Arc;

use frazil_kinesis::deregister_consumer;
use frazil_lease::upkeep::{Removal, Upkeep};
use frazil_model::{ErrorKind, SystemClock, SystemRandom};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::rewind::scope;
use crate::target;

pub(crate) async fn run(args: args::Remove) -> Result<Exit, Failure> {
    let connector = target::named(&args.config, args.connector.as_deref())?;
    let application = &connector.source.application_name;
    let stream = target::stream(&connector).await?;
    let arn = &stream.description.arn;
    match deregister_consumer(&stream.kinesis, arn, application).await {
        Ok(()) => output::line(format!(
            "no consumer {application} is registered on {} any more",
            stream.description.name
        )),
        Err(error) if error.kind() == ErrorKind::Invalid => {
            let text = format!(
                "{error}\nthe right kinesis:DeregisterStreamConsumer on {arn} and its consumers may be missing; who has it can run:\n  \
                 aws kinesis deregister-stream-consumer --stream-arn {arn} --consumer-name {application}"
            );
            return Err(Failure::new(Exit::Unauthorized, text));
        }
        Err(error) => return Err(target::of_kinesis(error)),
    }
    if !(args.leases || args.lease_table) {
        return Ok(Exit::Done);
    }
    let (store, tables) = run::leases(&connector, &target::clock())
        .await
        .map_err(target::of_connector)?;
    let upkeep = Upkeep::new(
        store,
        scope(&connector),
        Arc::new(SystemClock),
        Arc::new(SystemRandom),
        connector.lease_timeout,
    );
    if args.leases {
        let changed = upkeep
            .remove_leases(Removal::Owners)
            .await
            .map_err(target::of_connector)?;
        output::line(format!(
            "cleared the leases of {} shards and {} workers; positions stay",
            changed.shards.len(),
            changed.others
        ));
    }
    if args.lease_table {
        let Some(tables) = tables else {
            let text =
                "with `leases: none` there is no lease table; delete the state file instead".to_owned();
            return Err(Failure::new(Exit::Usage, text));
        };
        upkeep
            .delete_table(&*tables)
            .await
            .map_err(target::of_connector)?;
        output::line(format!("deleted the lease table {application}"));
    }
    Ok(Exit::Done)
}
