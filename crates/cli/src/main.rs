//! `frazil`: the front door. One file per verb.

mod args;
mod check;
mod failure;
mod judge;
mod latency;
mod migrate;
mod output;
mod remove;
mod resume;
mod rewind;
mod run;
mod script;
mod send;
mod setup;
mod signals;
mod sql;
mod status;
mod target;
mod verify;

#[cfg(feature = "local")]
mod demo;
#[cfg(feature = "local")]
mod local;
#[cfg(feature = "local")]
mod stack;

use clap::Parser;
use frazil_runtime::exit::Exit;
use frazil_runtime::logging;

use args::{Cli, LogFormat, Verb};
use failure::Failure;

/// Stack of a thread: queries of the local Snowflake are planned by recursion. It costs memory only where it is used.
const STACK: usize = 32 * 1024 * 1024;

fn main() -> Exit {
    let cli = Cli::parse();
    let format = match cli.log_format {
        LogFormat::Text => logging::Format::Text,
        LogFormat::Json => logging::Format::Json,
    };
    if let Err(error) = logging::init(format) {
        output::error(error.to_string());
        return Exit::Usage;
    }
    #[cfg(feature = "local")]
    let spared = Some(frazil_local::STATEMENT_THREAD);
    #[cfg(not(feature = "local"))]
    let spared = None;
    logging::exit_on_panic(spared);
    // Two TLS libraries may be in the tree; this one is meant wherever nobody chose. It fails only when it was chosen before.
    drop(rustls::crypto::aws_lc_rs::default_provider().install_default());
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .thread_stack_size(STACK)
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            output::error(format!("no threads can be started: {error}"));
            return Exit::Failed;
        }
    };
    let done = runtime.block_on(run_verb(cli.verb));
    // Tasks that outlive their verb hold nothing that must be finished.
    runtime.shutdown_background();
    match done {
        Ok(exit) => exit,
        Err(failure) => {
            output::error(&failure.text);
            failure.exit
        }
    }
}

async fn run_verb(verb: Verb) -> Result<Exit, Failure> {
    match verb {
        #[cfg(feature = "local")]
        Verb::Demo(args) => demo::run(args).await,
        Verb::Run(args) => run::run(args).await,
        Verb::Setup(args) => setup::run(args).await,
        Verb::Check(args) => check::run(args).await,
        #[cfg(feature = "local")]
        Verb::Local(args) => local::run(args).await,
        Verb::Send(args) => send::run(args).await,
        Verb::Sql(args) => sql::run(args).await,
        Verb::Latency(args) => latency::run(args).await,
        Verb::Status(args) => status::run(args).await,
        Verb::Verify(args) => verify::run(args).await,
        Verb::Rewind(args) => rewind::run(args).await,
        Verb::Remove(args) => remove::run(args).await,
        Verb::Migrate(args) => migrate::run(args).await,
        Verb::Resume(args) => resume::run(args).await,
    }
}
