//! Codex's home: one writer, and no growth without bound. The login in it is never touched.
//! What Codex 0.42 and 0.169 were seen to write there: rollouts below `sessions`, logs, snapshots of shells, and below
//! `tmp/arg0-linux` a folder of links for each child.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, interval, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::process::LockOwner;

/// Folders of which nothing is needed once the turn that wrote it is over.
const GROWING: [&str; 5] = [
    "sessions",
    "archived_sessions",
    "log",
    "shell_snapshots",
    "tmp",
];

/// Where Codex has its folders of links.
const LINKS: &str = "tmp/arg0-linux";

/// What a child locks in its folder of links. Every start of Codex removes those whose lock is free, but never those
/// without one: their child was killed before it made the lock, or while it removed the folder of another.
const LINKS_LOCK: &str = ".lock";

/// After this time a folder of links without a lock is nobody's; a child makes and removes one in milliseconds.
const ABANDONED: Duration = Duration::from_secs(60);

/// The file that is locked; whoever has the home writes its pid into it.
const LOCK: &str = ".codex-edge.lock";

/// How often the home is looked at.
const LOOK: Duration = Duration::from_secs(10 * 60);

/// Time that a predecessor has to hear that it shall stop; the first thing that it does then is to let go of the home.
const HANDOVER: Duration = Duration::from_secs(5);

/// Time between two tries to take the home.
const TRY: Duration = Duration::from_millis(100);

/// The home, locked for this process.
#[derive(Debug)]
pub struct CodexHome {
    folder: PathBuf,
    max_bytes: u64,
    _lock: Flock<fs::File>,
}

impl CodexHome {
    /// Takes the home for this process alone, once a predecessor that is about to stop has let go of it; `max_bytes`
    /// is what may gather in it.
    ///
    /// # Errors
    /// Another process keeps it (`WouldBlock`), or it cannot be written.
    pub async fn lock(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let deadline = Instant::now() + HANDOVER;
        loop {
            match Self::try_lock(folder, max_bytes) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(TRY).await;
                }
                taken => return taken,
            }
        }
    }

    fn try_lock(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let mut options = fs::File::options();
        let file = options.create(true).truncate(false).read(true).write(true);
        let file = file.open(folder.join(LOCK))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(refusal)?;
        lock.set_len(0)?;
        write!(&*lock, "{}", std::process::id())?;
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            _lock: lock,
        })
    }

    /// Who has the home now; makes nothing.
    ///
    /// # Errors
    /// Its lock cannot be read.
    pub fn holder(folder: &Path) -> io::Result<Option<LockOwner>> {
        let file = match fs::File::open(folder.join(LOCK)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Shared, so that two that look do not take one another for a sidecar.
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_free) => Ok(None),
            Err((file, Errno::EWOULDBLOCK)) => Ok(Some(read_holder(&file))),
            Err((_file, error)) => Err(error.into()),
        }
    }

    /// Prunes now and then until `stop` fires, and lets go of the home. Turns that still run write nothing to it that
    /// two children of one sidecar would not write side by side.
    pub async fn prune_periodically(self, stop: CancellationToken) {
        let mut look = interval(LOOK);
        // Not at once: children that a predecessor drains may have lost their locks to an older version's pruning.
        let mut sweep = interval_at(Instant::now() + LOOK, LOOK);
        loop {
            tokio::select! {
                _now = look.tick() => self.prune(),
                _now = sweep.tick() => self.remove_abandoned(),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes the oldest files of the growing folders until the rest fits.
    fn prune(&self) {
        let mut files: Vec<_> = GROWING
            .iter()
            .flat_map(|name| files_below(&self.folder.join(name)))
            .collect();
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.modified));
        let mut bytes = 0;
        let surplus = files.into_iter().filter(|file| {
            bytes += file.bytes;
            bytes > self.max_bytes
        });
        let removed = surplus
            .filter(|file| fs::remove_file(&file.path).is_ok())
            .count();
        if removed > 0 {
            tracing::info!(removed, "old files of codex home removed");
        }
    }

    /// Removes the folders of links that no start of Codex will remove.
    fn remove_abandoned(&self) {
        let folders = fs::read_dir(self.folder.join(LINKS)).into_iter().flatten();
        let abandoned = folders.flatten().filter(is_abandoned);
        let removed = abandoned
            .filter(|folder| fs::remove_dir_all(folder.path()).is_ok())
            .count();
        if removed > 0 {
            tracing::info!(removed, "folders of killed children removed");
        }
    }
}

fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let is_old = |metadata: fs::Metadata| {
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
        metadata.is_dir() && age.is_some_and(|age| age > ABANDONED)
    };
    entry.metadata().is_ok_and(is_old) && !entry.path().join(LINKS_LOCK).exists()
}

/// Who wrote into the lock.
fn read_holder(lock: &fs::File) -> LockOwner {
    let mut pid = String::new();
    let _unknown = lock.take(20).read_to_string(&mut pid);
    LockOwner {
        pid: pid.parse().ok(),
    }
}

/// Why the lock cannot be had.
fn refusal((lock, error): (fs::File, Errno)) -> io::Error {
    match error {
        Errno::EWOULDBLOCK => io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("another sidecar has it: {}", read_holder(&lock)),
        ),
        _ => error.into(),
    }
}

struct GrownFile {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

/// Regular files, in subfolders too; links are left alone, and so is what a child that lives has locked.
fn files_below(folder: &Path) -> Vec<GrownFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let files = entries.flat_map(|entry| {
        let Ok(metadata) = entry.metadata() else {
            return Vec::new();
        };
        if metadata.is_dir() {
            return files_below(&entry.path());
        }
        let modified = metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH);
        let file = GrownFile {
            path: entry.path(),
            bytes: metadata.len(),
            modified,
        };
        if metadata.is_file() && entry.file_name() != LINKS_LOCK {
            vec![file]
        } else {
            Vec::new()
        }
    });
    files.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_home_has_one_writer() {
        let folder = tempfile::tempdir().unwrap();
        let first = CodexHome::try_lock(folder.path(), 0).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let second = CodexHome::try_lock(folder.path(), 0).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        assert!(second.to_string().ends_with(&format!("pid {own}")));
        let holder = || CodexHome::holder(folder.path()).unwrap();
        assert_eq!(holder(), Some(LockOwner { pid: Some(own) }));
        drop(first);
        assert_eq!(holder(), None);
        assert!(CodexHome::try_lock(folder.path(), 0).is_ok());
    }

    #[test]
    fn the_oldest_goes_first_and_the_login_never() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, bytes: usize, age_secs: u64| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, vec![0; bytes]).unwrap();
            let file = fs::File::options().write(true).open(&path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_secs))
                .unwrap();
        };
        let lock = "tmp/arg0-linux/codex-arg0alive/.lock";
        write("auth.json", 100, 9000);
        write(lock, 0, 8000);
        write("sessions/2026/01/old.jsonl", 100, 3000);
        write("sessions/2026/02/new.jsonl", 100, 1000);
        write("log/middle.log", 100, 2000);
        CodexHome::try_lock(folder.path(), 250).unwrap().prune();
        let left = |name: &str| folder.path().join(name).exists();
        assert!(left("auth.json") && left("sessions/2026/02/new.jsonl") && left("log/middle.log"));
        assert!(left(lock), "it would be taken for a dead child's");
        assert!(!left("sessions/2026/01/old.jsonl"));
    }

    #[test]
    fn links_of_a_child_that_was_killed_do_not_gather() {
        let folder = tempfile::tempdir().unwrap();
        let links = folder.path().join(LINKS);
        let old = SystemTime::now() - ABANDONED - Duration::from_secs(1);
        for (name, lock, modified) in [
            ("codex-arg0alive", true, old),
            ("codex-arg0starts", false, SystemTime::now()),
            (".tmpkilled", false, old),
        ] {
            let path = links.join(name);
            fs::create_dir_all(&path).unwrap();
            symlink("/bin/codex", path.join("apply_patch")).unwrap();
            if lock {
                fs::write(path.join(LINKS_LOCK), "").unwrap();
            }
            fs::File::open(&path)
                .unwrap()
                .set_modified(modified)
                .unwrap();
        }
        CodexHome::try_lock(folder.path(), 0)
            .unwrap()
            .remove_abandoned();
        let mut left: Vec<_> = fs::read_dir(&links)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["codex-arg0alive", "codex-arg0starts"]);
    }
}
