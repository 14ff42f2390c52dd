//! Checks of the places of the state: the files of SQLite, or Redis.

use std::path::Path;

use super::report::Diagnostic;
use super::report::Severity::{Fail, Pass, Warn};
use crate::codex::check_file_appendable;
use crate::config::Config;
use crate::store::{StatePlace, Unavailable, check_file, probe_redis};

/// Checks the places of the ledger and of stored responses.
pub(super) async fn check(config: &Config) -> Vec<Diagnostic> {
    let ledger = match &config.state {
        StatePlace::Memory => Diagnostic::new(
            Pass,
            "state",
            "memory; a restart forgets spent tokens and stored responses",
        ),
        StatePlace::File(path) => file("PROXY_STATE", path),
        StatePlace::Redis(address, unavailable) => match probe_redis(address).await {
            Ok(()) => Diagnostic::new(Pass, "state", format!("{address:?} answers")),
            // The sidecar starts, and connects once Redis answers.
            Err(error) => {
                let until = match unavailable {
                    Unavailable::Reject => "keys with a budget get 503 until it answers",
                    Unavailable::Allow => "keys with a budget are served without it",
                };
                Diagnostic::new(
                    Warn,
                    "state",
                    format!("{address:?} does not answer ({error}); {until}"),
                )
            }
        },
    };
    let path = config.responses_file.as_deref();
    let responses = path.map(|path| file("PROXY_RESPONSES_DURABLE", path));
    std::iter::once(ledger).chain(responses).collect()
}

fn file(variable: &str, path: &Path) -> Diagnostic {
    let shown = path.display();
    let appendable = check_file_appendable(path).map_err(|error| error.to_string());
    let checked = appendable.and_then(|()| check_file(path).map_err(|error| error.to_string()));
    match checked {
        Ok(()) => {
            let more = if path.exists() {
                ""
            } else {
                ", will be created"
            };
            Diagnostic::new(Pass, "state", format!("SQLite file {shown}{more}"))
        }
        Err(error) => Diagnostic::new(
            Fail,
            "state",
            format!("{variable}: SQLite file {shown}: {error}"),
        ),
    }
}
