//! `frazil resume`: takes the stop marks off shards, so that the workers go on.

use frazil_lease::row::{Row, decode};
use frazil_lease::update::Update;
use frazil_lease::{Scope, Written};
use frazil_runtime::exit::Exit;
use frazil_runtime::run;

use crate::args;
use crate::failure::Failure;
use crate::output;
use crate::target;

pub(crate) async fn run(args: args::Resume) -> Result<Exit, Failure> {
    let config = target::load(&args.config)?;
    let mut resumed = 0;
    for connector in config.connectors {
        let (leases, _) = run::leases(&connector, &target::clock())
            .await
            .map_err(target::of_connector)?;
        let source = connector.source;
        let scope = Scope {
            application: source.application_name.clone(),
            stream: source.stream.clone(),
        };
        let failed = |error: frazil_lease::Error| Failure::of_kind(error.kind(), &error);
        for item in leases.rows(&scope, "").await.map_err(failed)? {
            // Rows that cannot be read are the workers' to tell.
            let Ok(Row::Shard(row)) = decode(&item) else {
                continue;
            };
            let (shard, stop) = (row.state.shard, row.state.stop);
            let wanted = args.shard.as_ref().is_none_or(|wanted| wanted == shard.as_str());
            let Some(reason) = stop.filter(|_| wanted) else {
                continue;
            };
            let written = leases
                .update(&scope, &Update::resume(&shard, &reason))
                .await
                .map_err(failed)?;
            if written == Written::Done {
                resumed += 1;
                output::line(format!(
                    "{}: shard {shard} goes on (it was stopped: {reason})",
                    connector.name
                ));
            }
        }
    }
    if resumed == 0 {
        output::line("no shard is stopped");
    }
    Ok(Exit::Done)
}
