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

/// The ways to a login, for the log of a first start.
const LOGIN_COMMANDS: &str = "`codex login` with this CODEX_HOME and as this user; with Compose: `docker compose exec sidecar codex login --device-auth`";

/// Publishes the login, and logs its kind at each change, until `stop` fires.
pub(super) async fn watch_login(
    launch: Arc<Launch>,
    published: watch::Sender<Login>,
    stop: CancellationToken,
) {
    let watch = async {
        let mut last = None;
        loop {
            // Read first: a login that is written during the check is checked again.
            let written = launch.login_written();
            let login = launch.login_status().await;
            // Not each time, since a retry mostly finds the same.
            if last.as_ref() != Some(&login) {
                log(&login);
                published.send_replace(login.clone());
            }
            let may_recover = matches!(login, Login::Rejected(_) | Login::Unknown(_));
            last = Some(login);
            let read = Instant::now();
            let is_outdated =
                || launch.login_written() != written || may_recover && read.elapsed() >= RETRY;
            while !is_outdated() {
                sleep(POLL).await;
            }
        }
    };
    stop.run_until_cancelled(watch).await;
}

fn log(login: &Login) {
    match login {
        Login::Rejected(reason) | Login::Unknown(reason) => {
            tracing::warn!(login = login.kind(), reason, "codex login not usable");
        }
        Login::Missing => {
            tracing::warn!(
                login = login.kind(),
                run = LOGIN_COMMANDS,
                "codex login missing"
            );
        }
        _ => tracing::info!(login = login.kind(), "codex login read"),
    }
}
