//! Keeps the list of models current: a new login or another `config.toml` may change it, and so may the service.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use crate::codex::launch::Launch;
use crate::codex::launch::config_toml::CONFIG_FILE;
use crate::codex::launch::login::AUTH_FILE;
use crate::error_chain;

/// Time between two looks at the files of the home.
const POLL: Duration = Duration::from_secs(1);

/// Time between two questions to Codex without a changed file; Codex itself keeps a list for as long.
const MAX_AGE: Duration = Duration::from_secs(300);

/// Refreshes the list of `launch` until `stop` fires.
pub(in crate::codex) async fn watch_models(launch: Arc<Launch>, stop: CancellationToken) {
    let mut seen = modified(launch.home());
    let mut read_at = Instant::now();
    loop {
        tokio::select! {
            () = sleep(POLL) => {}
            () = stop.cancelled() => return,
        }
        let now = modified(launch.home());
        if now == seen && read_at.elapsed() < MAX_AGE {
            continue;
        }
        (seen, read_at) = (now, Instant::now());
        let refreshed = tokio::select! {
            refreshed = launch.refresh_models() => refreshed,
            () = stop.cancelled() => return,
        };
        if let Err(error) = refreshed {
            // The earlier list stays in effect until the next question.
            tracing::warn!(error = error_chain(&error), "codex models not read");
        }
    }
}

/// Returns the modification times of the files that decide the list; `None` for a missing one.
fn modified(home: &Path) -> [Option<SystemTime>; 2] {
    [AUTH_FILE, CONFIG_FILE].map(|name| {
        let metadata = std::fs::metadata(home.join(name));
        metadata.and_then(|file| file.modified()).ok()
    })
}
