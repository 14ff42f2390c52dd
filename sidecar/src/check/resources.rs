//! Checks of the files, directories and addresses that a start takes.
//! A resource in use by another sidecar is not a failure if that sidecar is the predecessor, which a restart would stop.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::Uid;

use super::report::Diagnostic;
use super::report::Severity::{Fail, Pass, Warn};
use crate::codex::{CodexHome, check_dir_writable, check_file_appendable};
use crate::config::{Config, Listen};
use crate::process::LockOwner;
use crate::server::listener::{SocketState, probe};

/// Checks all of them.
pub(super) async fn check(config: &Config) -> Vec<Diagnostic> {
    let home = CodexHome::lock_owner(&config.codex_home);
    let address = probe(&config.listen).await;
    // Before the single checks, which must not fail for a resource of the predecessor.
    let predecessor = predecessor(&home, &address);
    let mut diagnostics = vec![check_home(&config.codex_home, &home, predecessor)];
    diagnostics.extend(config.workdir.as_deref().map(check_workdir));
    let usage_log = ("TOKEN_LOG_PATH", &config.usage_log.path);
    let protocol_log = config
        .protocol_log
        .as_ref()
        .map(|path| ("PROTO_LOG_PATH", path));
    let logs = std::iter::once(usage_log).chain(protocol_log);
    diagnostics.extend(logs.map(|(variable, path)| check_log(variable, path)));
    diagnostics.push(check_address(
        "listen",
        &config.listen,
        &address,
        predecessor,
    ));
    if let Some(listen) = &config.admin_listen {
        let address = probe(listen).await;
        diagnostics.push(check_address("admin", listen, &address, predecessor));
    }
    diagnostics.extend(predecessor.map(|owner| {
        let text = format!(
            "a sidecar with this home and address is already running ({owner}); shut it down before starting another"
        );
        Diagnostic::new(Warn, "running", text)
    }));
    diagnostics
}

/// Returns the running sidecar that owns both the home and the address.
fn predecessor(
    home: &io::Result<Option<LockOwner>>,
    state: &io::Result<SocketState>,
) -> Option<LockOwner> {
    match (home, state) {
        (Ok(Some(home)), Ok(SocketState::InUse(address))) if home.could_be(*address) => Some(*home),
        _ => None,
    }
}

fn check_home(
    home: &Path,
    owner: &io::Result<Option<LockOwner>>,
    predecessor: Option<LockOwner>,
) -> Diagnostic {
    let absolute = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let shown = absolute.display();
    let failed = |why: String| Diagnostic::new(Fail, "home", format!("CODEX_HOME={shown}: {why}"));
    match (check_dir_writable(home), owner) {
        (Err(error), _) => failed(format!(
            "{error}; use a directory that this user can write to"
        )),
        (Ok(()), Err(error)) => failed(format!("cannot read its lock: {error}")),
        (Ok(()), Ok(Some(owner))) if predecessor.is_none() => failed(format!(
            "in use by another sidecar ({owner}); use a separate directory for each sidecar"
        )),
        (Ok(()), Ok(_)) => check_permissions(home).unwrap_or_else(|| {
            Diagnostic::new(
                Pass,
                "home",
                format!("{shown}, will be created with mode 0700"),
            )
        }),
    }
}

/// Checks owner and mode of the home; `None` if the directory does not exist.
fn check_permissions(home: &Path) -> Option<Diagnostic> {
    let found = std::fs::metadata(home).ok()?;
    let (owner, user, mode) = (
        found.uid(),
        Uid::effective(),
        found.permissions().mode() & 0o777,
    );
    let home = home.display();
    // Root can use a directory of any owner.
    let (severity, text) = if owner != user.as_raw() && !user.is_root() {
        let remedy = format!("change its owner to uid {user}, which runs this check");
        (Fail, format!("{home} is owned by uid {owner}; {remedy}"))
    } else if mode == 0o700 {
        (Pass, format!("{home}, mode 0700"))
    } else {
        let risk = "other users may have read the login";
        let remedy = "the sidecar sets mode 0700 at startup";
        (
            Warn,
            format!("{home} has mode {mode:04o}: {risk}; {remedy}"),
        )
    };
    Some(Diagnostic::new(severity, "home", text))
}

fn check_log(variable: &str, path: &Path) -> Diagnostic {
    let shown = path.display();
    match check_file_appendable(path) {
        Ok(()) => Diagnostic::new(Pass, "log", shown.to_string()),
        Err(error) => Diagnostic::new(Fail, "log", format!("{variable}={shown}: {error}")),
    }
}

fn check_workdir(workdir: &Path) -> Diagnostic {
    let shown = workdir.display();
    match check_dir_writable(workdir) {
        Ok(()) => Diagnostic::new(Pass, "workdir", shown.to_string()),
        Err(error) => {
            let text = format!("PROXY_CODEX_WORKDIR={shown}: {error}");
            Diagnostic::new(Fail, "workdir", text)
        }
    }
}

fn check_address(
    subject: &'static str,
    listen: &Listen,
    state: &io::Result<SocketState>,
    predecessor: Option<LockOwner>,
) -> Diagnostic {
    let shown = match listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Loopback(address) => address.to_string(),
    };
    let (severity, text) = match state {
        Ok(SocketState::Free) => (Pass, shown),
        Ok(SocketState::Stale) => (Pass, format!("{shown}, replacing a stale socket")),
        Ok(SocketState::InUse(owner))
            if predecessor.is_some_and(|predecessor| predecessor.could_be(*owner)) =>
        {
            (Pass, shown)
        }
        Ok(SocketState::InUse(owner)) => (
            Fail,
            format!(
                "{shown}: in use by another process ({owner}); stop it or choose another address"
            ),
        ),
        Err(error) => (Fail, format!("{shown}: {error}{}", remedy(listen, error))),
    };
    Diagnostic::new(severity, subject, text)
}

fn remedy(listen: &Listen, error: &io::Error) -> String {
    let directory = match listen {
        Listen::Unix(path) => path.parent().unwrap_or(path).display(),
        Listen::Loopback(_) => return String::new(),
    };
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!(
                "; create the directory {directory}, accessible to this user and to clients, or choose another path"
            )
        }
        io::ErrorKind::PermissionDenied => {
            format!("; grant this user write permission on {directory}")
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn owner_of_home_and_address_is_the_predecessor() {
        let owner = |pid| LockOwner { pid };
        let in_use = |pid| Ok(SocketState::InUse(owner(pid)));
        for (home, address, expected) in [
            (
                Ok(Some(owner(Some(7)))),
                in_use(Some(7)),
                Some(owner(Some(7))),
            ),
            (Ok(Some(owner(Some(7)))), in_use(None), Some(owner(Some(7)))),
            (Ok(Some(owner(None))), in_use(Some(7)), Some(owner(None))),
            (Ok(Some(owner(Some(7)))), in_use(Some(8)), None),
            (Ok(Some(owner(Some(7)))), Ok(SocketState::Stale), None),
            (Ok(None), in_use(Some(7)), None),
            (Ok(None), Ok(SocketState::Free), None),
        ] {
            assert_eq!(
                predecessor(&home, &address),
                expected,
                "{home:?} {address:?}"
            );
        }
    }

    #[test]
    fn home_readable_by_others_is_a_warning() {
        let home = tempfile::tempdir().unwrap();
        let severity_of = |home: &Path| check_home(home, &Ok(None), None).severity;
        for (mode, severity) in [(0o700, Pass), (0o755, Warn)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(home.path(), permissions).unwrap();
            assert_eq!(severity_of(home.path()), severity, "{mode:o}");
        }
        assert_eq!(severity_of(&home.path().join("new")), Pass);
        std::fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(severity_of(&home.path().join("file")), Fail);
    }
}
