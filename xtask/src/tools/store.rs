//! A folder of completed downloads; an incomplete one is removed, and one process at a time adds to the folder.
//! Locks are flock(2), which the kernel releases when the holding process ends.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;

use anyhow::{Context, Result};
use codex_edge::report;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

/// File that is written last into a complete folder; holds the version or sum of the folder's source.
const STAMP: &str = ".complete";

/// Creates `dir`, and waits until no other process adds to the folder.
pub(super) fn lock(dir: &Path) -> Result<Flock<File>> {
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))?;
    let path = dir.join("lock");
    let file = File::create(&path).with_context(|| format!("cannot write {}", path.display()))?;
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((file, Errno::EWOULDBLOCK)) => {
            report!(
                "waiting for another process that fetches into {}",
                dir.display()
            );
            Flock::lock(file, FlockArg::LockExclusive).map_err(|(_, errno)| errno)
        }
        Err((_, errno)) => Err(errno),
    }
    .with_context(|| format!("cannot lock {}", path.display()))
}

/// Fills `dir` with `build`, unless `dir` is complete with the same `stamp`.
pub(super) fn complete(
    dir: &Path,
    stamp: &str,
    build: impl FnOnce(&Path) -> Result<()>,
) -> Result<()> {
    let stamp_file = dir.join(STAMP);
    if fs::read_to_string(&stamp_file).is_ok_and(|found| found == stamp) {
        return Ok(());
    }
    // Rest of a fetch that failed or was killed.
    remove(dir)?;
    fs::create_dir_all(dir)?;
    build(dir)?;
    fs::write(&stamp_file, stamp).with_context(|| format!("cannot write {}", stamp_file.display()))
}

/// Points `link` at `target` in one step: a concurrent reader sees the old target or the new one.
pub(super) fn link(link: &Path, target: &Path) -> Result<()> {
    if fs::read_link(link).is_ok_and(|found| found == target) {
        return Ok(());
    }
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    let fresh = link.with_extension("new");
    remove(&fresh)?;
    symlink(target, &fresh)?;
    // rename(2) replaces the old link atomically; symlink(2) would fail on an existing one.
    fs::rename(&fresh, link).with_context(|| format!("cannot replace {}", link.display()))
}

fn remove(path: &Path) -> Result<()> {
    let removed = match fs::symlink_metadata(path) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(_) => return Ok(()),
    };
    removed.with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use anyhow::bail;

    use super::*;

    #[test]
    fn a_folder_is_built_once_per_stamp() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tool");
        let mut builds = 0;
        for stamp in ["one", "one", "two"] {
            complete(&dir, stamp, |dir| {
                builds += 1;
                assert!(!dir.join("old").exists(), "a new stamp starts from nothing");
                Ok(fs::write(dir.join("old"), stamp)?)
            })
            .unwrap();
        }
        assert_eq!(builds, 2);
    }

    #[test]
    fn a_failed_build_starts_over() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("tool");
        let broken = complete(&dir, "one", |dir| {
            fs::write(dir.join("half"), "")?;
            bail!("no network")
        });
        assert!(broken.is_err());
        complete(&dir, "one", |dir| {
            assert!(!dir.join("half").exists());
            Ok(())
        })
        .unwrap();
    }

    #[test]
    fn a_link_is_replaced() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("bin/envoy");
        for target in ["/a", "/a", "/b"] {
            link(&path, Path::new(target)).unwrap();
            assert_eq!(fs::read_link(&path).unwrap(), Path::new(target));
        }
    }

    #[test]
    fn a_second_process_waits_for_the_lock() {
        let root = tempfile::tempdir().unwrap();
        let held = lock(root.path()).unwrap();
        let file = File::open(root.path().join("lock")).unwrap();
        let again = Flock::lock(file, FlockArg::LockExclusiveNonblock);
        assert_eq!(again.unwrap_err().1, Errno::EWOULDBLOCK);
        drop(held);
    }
}
