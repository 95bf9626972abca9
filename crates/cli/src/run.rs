//! `frazil run`: the connectors of a configuration, until a signal.

use std::sync::Arc;

use frazil_model::{SystemClock, SystemRandom};
use frazil_runtime::exit::Exit;
use frazil_runtime::run::{RunOptions, Runtime};

use crate::args;
use crate::failure::Failure;
use crate::signals::stop_token;
use crate::target;

/// Options of a real process.
pub(crate) fn options(accept_destination: bool) -> RunOptions {
    RunOptions {
        accept_destination,
        display_name: display_name(),
        clock: Arc::new(SystemClock),
        random: Arc::new(SystemRandom),
    }
}

/// The machine's name and the process's number.
fn display_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!(
        "{}:{}",
        if host.is_empty() { "worker" } else { host },
        std::process::id()
    )
}

pub(crate) async fn run(args: args::Run) -> Result<Exit, Failure> {
    let config = target::load(&args.config)?;
    let stop = stop_token();
    #[cfg(feature = "local")]
    let (config, local) = match args.local {
        true => {
            let (config, local) = crate::stack::rehearse(config, &args.data).await?;
            (config, Some(local))
        }
        false => (config, None),
    };
    let started = Runtime::start(config, options(args.accept_destination), stop).await;
    let runtime = started.map_err(|error| Failure::new(Exit::Usage, error.to_string()))?;
    let exit = runtime.wait().await;
    #[cfg(feature = "local")]
    if let Some(local) = local {
        local.shutdown().await;
    }
    Ok(exit)
}
