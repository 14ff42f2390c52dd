//! The kind of login, read at the start and again after each change of the login file.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

use super::launch::{Launch, Login};

/// Time between two checks of the login file.
const POLL: Duration = Duration::from_secs(1);

/// Time after which a credential that Codex could not use is tried again: the check of an access token needs the network.
const RETRY: Duration = Duration::from_secs(10);

/// Publishes the login, and logs its kind at each change, until `stop` fires.
pub(super) async fn watch_login(
    launch: Arc<Launch>,
    published: watch::Sender<Login>,
    stop: CancellationToken,
) {
    let watch = async {
        loop {
            // Read first: a login that is written during the check is checked again.
            let written = launch.login_written();
            let login = launch.login_status().await;
            publish(&published, login);
            let read = Instant::now();
            let is_outdated = || {
                let is_rejected = matches!(*published.borrow(), Login::Rejected(_));
                launch.login_written() != written || is_rejected && read.elapsed() >= RETRY
            };
            while !is_outdated() {
                sleep(POLL).await;
            }
        }
    };
    stop.run_until_cancelled(watch).await;
}

fn publish(published: &watch::Sender<Login>, login: Login) {
    match &login {
        Login::Rejected(reason) | Login::Unknown(reason) => {
            tracing::warn!(login = login.kind(), reason, "codex login not usable");
        }
        _ => tracing::info!(login = login.kind(), "codex login read"),
    }
    published.send_replace(login);
}
