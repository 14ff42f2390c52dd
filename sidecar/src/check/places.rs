//! Where a start would put itself: Codex's home, the children's folder, its logs, its addresses.
//! What another sidecar has is no fault when that one is this one's predecessor, which a restart would end.

use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use nix::unistd::Uid;

use super::report::Finding;
use super::report::Verdict::{Fail, Fine, Warn};
use crate::codex::{CodexHome, check_dir_writable, check_file_appendable};
use crate::config::{Config, Listen};
use crate::process::LockOwner;
use crate::server::listener::{self, Place};

/// Looks at all of them.
pub(super) async fn look(config: &Config) -> Vec<Finding> {
    let home = CodexHome::lock_owner(&config.codex_home);
    let address = listener::look_at(&config.listen).await;
    let predecessor = predecessor(&home, &address);
    let mut findings = vec![judge_home(&config.codex_home, &home, predecessor)];
    findings.extend(config.workdir.as_deref().map(judge_workdir));
    let usage_log = ("TOKEN_LOG_PATH", &config.usage_log.path);
    let protocol_log = config.protocol_log.as_ref();
    let protocol_log = protocol_log.map(|path| ("PROTO_LOG_PATH", path));
    let logs = std::iter::once(usage_log).chain(protocol_log);
    findings.extend(logs.map(|(variable, path)| judge_log(variable, path)));
    findings.push(judge_address(
        "listen",
        &config.listen,
        &address,
        predecessor,
    ));
    if let Some(listen) = &config.admin_listen {
        let address = listener::look_at(listen).await;
        findings.push(judge_address("admin", listen, &address, predecessor));
    }
    findings.extend(predecessor.map(|holder| {
        let text = format!(
            "a sidecar with this home and address runs ({holder}); one more can take its place, not stand beside it"
        );
        Finding::new(Warn, "running", text)
    }));
    findings
}

/// The sidecar that has both what we want.
fn predecessor(
    home: &io::Result<Option<LockOwner>>,
    place: &io::Result<Place>,
) -> Option<LockOwner> {
    match (home, place) {
        (Ok(Some(home)), Ok(Place::Held(address))) if home.could_be(*address) => Some(*home),
        _ => None,
    }
}

fn judge_home(
    home: &Path,
    holder: &io::Result<Option<LockOwner>>,
    predecessor: Option<LockOwner>,
) -> Finding {
    let shown = std::path::absolute(home).unwrap_or_else(|_| home.to_owned());
    let shown = shown.display();
    let failed = |why: String| Finding::new(Fail, "home", format!("CODEX_HOME={shown}: {why}"));
    match (check_dir_writable(home), holder) {
        (Err(error), _) => failed(format!(
            "{error}; it must be a folder that this user can write"
        )),
        (Ok(()), Err(error)) => failed(format!("its lock cannot be read: {error}")),
        (Ok(()), Ok(Some(holder))) if predecessor.is_none() => failed(format!(
            "another sidecar has it, {holder}; give each a home of its own"
        )),
        (Ok(()), Ok(_)) => judge_permissions(home).unwrap_or_else(|| {
            Finding::new(
                Fine,
                "home",
                format!("{shown} is made at the start, mode 0700"),
            )
        }),
    }
}

/// `None` when there is no such folder.
fn judge_permissions(home: &Path) -> Option<Finding> {
    let found = std::fs::metadata(home).ok()?;
    let (owner, user, mode) = (
        found.uid(),
        Uid::effective(),
        found.permissions().mode() & 0o777,
    );
    let home = home.display();
    let (verdict, text) = if owner != user.as_raw() && !user.is_root() {
        let remedy = format!("chown it to uid {user}, who runs this");
        (Fail, format!("{home} belongs to uid {owner}; {remedy}"))
    } else if mode == 0o700 {
        (Fine, format!("{home}, mode 0700"))
    } else {
        let remedy = "others may have read the login; a start makes it 0700";
        (Warn, format!("{home} has mode {mode:04o}: {remedy}"))
    };
    Some(Finding::new(verdict, "home", text))
}

fn judge_log(variable: &str, path: &Path) -> Finding {
    let shown = path.display();
    match check_file_appendable(path) {
        Ok(()) => Finding::new(Fine, "log", shown.to_string()),
        Err(error) => Finding::new(Fail, "log", format!("{variable}={shown}: {error}")),
    }
}

fn judge_workdir(workdir: &Path) -> Finding {
    let shown = workdir.display();
    match check_dir_writable(workdir) {
        Ok(()) => Finding::new(Fine, "workdir", shown.to_string()),
        Err(error) => {
            let text = format!("PROXY_CODEX_WORKDIR={shown}: {error}");
            Finding::new(Fail, "workdir", text)
        }
    }
}

fn judge_address(
    subject: &'static str,
    listen: &Listen,
    place: &io::Result<Place>,
    predecessor: Option<LockOwner>,
) -> Finding {
    let shown = match listen {
        Listen::Unix(path) => format!("unix:{}", path.display()),
        Listen::Loopback(address) => address.to_string(),
    };
    let (verdict, text) = match place {
        Ok(Place::Free) => (Fine, shown),
        Ok(Place::Stale) => (
            Fine,
            format!("{shown}, in place of the socket of a process that is gone"),
        ),
        Ok(Place::Held(holder)) if predecessor.is_some_and(|one| one.could_be(*holder)) => {
            (Fine, shown)
        }
        Ok(Place::Held(holder)) => (
            Fail,
            format!(
                "{shown}: another process listens there, {holder}; end it or choose another address"
            ),
        ),
        Err(error) => (Fail, format!("{shown}: {error}{}", remedy(listen, error))),
    };
    Finding::new(verdict, subject, text)
}

fn remedy(listen: &Listen, error: &io::Error) -> String {
    let folder = match listen {
        Listen::Unix(path) => path.parent().unwrap_or(path).display(),
        Listen::Loopback(_) => return String::new(),
    };
    match error.kind() {
        io::ErrorKind::NotFound => {
            format!("; make the folder {folder} for this user and its peers, or choose another")
        }
        io::ErrorKind::PermissionDenied => format!("; let this user write in {folder}"),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_both_is_the_predecessor() {
        let holder = |pid| LockOwner { pid };
        let held = |pid| Ok(Place::Held(holder(pid)));
        for (home, address, expected) in [
            (
                Ok(Some(holder(Some(7)))),
                held(Some(7)),
                Some(holder(Some(7))),
            ),
            (Ok(Some(holder(Some(7)))), held(None), Some(holder(Some(7)))),
            (Ok(Some(holder(None))), held(Some(7)), Some(holder(None))),
            (Ok(Some(holder(Some(7)))), held(Some(8)), None),
            (Ok(Some(holder(Some(7)))), Ok(Place::Stale), None),
            (Ok(None), held(Some(7)), None),
            (Ok(None), Ok(Place::Free), None),
        ] {
            assert_eq!(
                predecessor(&home, &address),
                expected,
                "{home:?} {address:?}"
            );
        }
    }

    #[test]
    fn a_home_that_others_can_read_is_told_of() {
        let home = tempfile::tempdir().unwrap();
        let judged = |home: &Path| judge_home(home, &Ok(None), None).verdict;
        for (mode, verdict) in [(0o700, Fine), (0o755, Warn)] {
            let permissions = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(home.path(), permissions).unwrap();
            assert_eq!(judged(home.path()), verdict, "{mode:o}");
        }
        assert_eq!(judged(&home.path().join("new")), Fine);
        std::fs::write(home.path().join("file"), "").unwrap();
        assert_eq!(judged(&home.path().join("file")), Fail);
    }
}
