//! Many connectors in one process.

pub mod config;
pub mod exit;
pub mod http;
pub mod logging;
pub mod metrics;
pub mod run;
pub mod state;
