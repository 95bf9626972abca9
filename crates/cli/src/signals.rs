//! SIGTERM and Ctrl-C: the first asks to drain, the second ends the process at once.

use frazil_runtime::exit::Exit;
use tokio_util::sync::CancellationToken;

/// A token that the first signal cancels.
pub(crate) fn stop_token() -> CancellationToken {
    let stop = CancellationToken::new();
    let cancelled = stop.clone();
    tokio::spawn(async move {
        signal().await;
        tracing::info!("stopping: what was accepted is committed first; a second signal ends at once");
        cancelled.cancel();
        signal().await;
        tracing::warn!("ended by a second signal");
        Exit::Interrupted.now();
    });
    stop
}

#[cfg(unix)]
async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

#[cfg(not(unix))]
async fn signal() {
    drop(tokio::signal::ctrl_c().await);
}
