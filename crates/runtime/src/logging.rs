//! Log lines, and what a panic leaves behind.
//!
//! Lines go to standard error, as text or as one JSON object each. `FRAZIL_LOG` chooses what is logged, in the syntax of
//! `tracing_subscriber`'s `EnvFilter` (`info`, `frazil_kinesis=debug,info`); without it, `info` of this program and `warn`
//! of what it is built from. Nothing here knows row data: events carry none.
//!
//! A panic is a fault of this program. Its place is logged, and its text only where that is a constant of the source: a
//! text made at run time may hold anything. Then the process ends with [`Exit::Internal`]: a start from the last commit is
//! safe at any moment, going on with a part missing is not.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use crate::exit::Exit;

/// The variable that chooses what is logged.
pub const VARIABLE: &str = "FRAZIL_LOG";

/// What is logged where `FRAZIL_LOG` is not set: our `info`, others' `warn`.
const DEFAULT_FILTER: &str = "warn,dynoxide=error,ferrokinesis=error,frazil=info,frazil_model=info,frazil_kinesis=info,frazil_lease=info,\
                              frazil_snowflake=info,frazil_pipeline=info,frazil_runtime=info,frazil_local=info";

/// The form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The filter cannot be read.
    #[error(
        "the environment variable `{VARIABLE}` cannot be used: {0}; expected for example `info` or `frazil_kinesis=debug,info`"
    )]
    Filter(String),
    /// Something in this process logs already.
    #[error("logging was begun twice")]
    Twice,
}

fn filter(chosen: Option<&str>) -> Result<EnvFilter, Error> {
    let chosen = chosen
        .filter(|text| !text.trim().is_empty())
        .unwrap_or(DEFAULT_FILTER);
    EnvFilter::builder()
        .parse(chosen)
        .map_err(|error| Error::Filter(error.to_string()))
}

/// Begins to log to standard error. Once per process.
///
/// # Errors
/// [`Error::Filter`] where `FRAZIL_LOG` is no filter, [`Error::Twice`] at a second call.
pub fn init(format: Format) -> Result<(), Error> {
    let filter = filter(std::env::var(VARIABLE).ok().as_deref())?;
    let registry = tracing_subscriber::registry().with(filter);
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    match format {
        Format::Text => registry
            .with(lines.with_ansi(std::io::stderr().is_terminal()))
            .try_init(),
        Format::Json => registry.with(lines.json().flatten_event(true)).try_init(),
    }
    .map_err(|_| Error::Twice)
}

/// From now on a panic of any thread is logged without what it may have taken from data, and ends the process; but of threads of
/// the name `spared`, whose work is given up alone.
pub fn exit_on_panic(spared: Option<&'static str>) {
    std::panic::set_hook(Box::new(move |info| {
        let place = info
            .location()
            .map(|location| format!("{}:{}", location.file(), location.line()));
        let thread = std::thread::current();
        tracing::error!(
            place = place.as_deref().unwrap_or("unknown"),
            thread = thread.name().unwrap_or("unnamed"),
            reason = info
                .payload()
                .downcast_ref::<&'static str>()
                .copied()
                .unwrap_or("not shown: it may hold data"),
            "fault of this program"
        );
        if spared.is_none() || thread.name() != spared {
            Exit::Internal.now();
        }
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_cannot_be_read_is_refused() {
        for good in [None, Some(""), Some("debug"), Some("frazil_kinesis=trace,warn")] {
            filter(good).expect("valid");
        }
        let refused = filter(Some("frazil=loud"))
            .expect_err("no such level")
            .to_string();
        assert!(
            refused.starts_with("the environment variable `FRAZIL_LOG` cannot be used: "),
            "{refused}"
        );
    }

    const CHILD: &str = "FRAZIL_TEST_PANIC";

    /// Does nothing, unless the test below runs it in a process of its own.
    #[test]
    fn panics_as_a_child() {
        let Ok(how) = std::env::var(CHILD) else { return };
        init(Format::Json).expect("nothing logs yet");
        exit_on_panic(Some("spared"));
        if how == "spared" {
            let work = || panic!("a constant of the source");
            let spared = std::thread::Builder::new().name("spared".to_owned()).spawn(work);
            assert!(spared.expect("a thread").join().is_err());
            return;
        }
        if how == "constant" {
            panic!("a constant of the source");
        }
        panic!("canary of {how}");
    }

    #[test]
    fn a_panic_ends_the_process_without_telling_data() {
        let exits = i32::from(Exit::Internal.code());
        for (how, shown, code) in [
            ("constant", "a constant of the source", exits),
            ("data", "not shown: it may hold data", exits),
            ("spared", "a constant of the source", 0),
        ] {
            let child = std::process::Command::new(std::env::current_exe().expect("this test"))
                .args(["--exact", "logging::tests::panics_as_a_child", "--nocapture"])
                .env(CHILD, how)
                .env_remove(VARIABLE)
                .output()
                .expect("it runs");
            let told = String::from_utf8_lossy(&child.stderr);
            assert_eq!(child.status.code(), Some(code), "{told}");
            assert!(told.contains(shown) && told.contains("logging.rs:"), "{told}");
            assert!(!told.contains("canary"), "{told}");
        }
    }
}
