//! Codex's home: locked by one sidecar at a time, and pruned to a maximum size. The login in it is never touched.
//! Codex 0.42 and 0.169 write there: rollouts below `sessions`, logs, shell snapshots, and for each child a folder of
//! links below `tmp/arg0-linux`.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use tokio::time::{Instant, interval, interval_at, sleep};
use tokio_util::sync::CancellationToken;

use crate::private_dir;
use crate::process::LockOwner;

/// Folders with files that Codex does not read again after the turn that wrote them.
const PRUNED_FOLDERS: [&str; 5] = [
    "sessions",
    "archived_sessions",
    "log",
    "shell_snapshots",
    "tmp",
];

/// The parent of the children's folders of links.
const LINKS: &str = "tmp/arg0-linux";

/// The file that a child locks in its folder of links. Every start of Codex removes the folders with a free lock, but
/// never a folder without one: that child was killed before it created the lock, or while it removed another's folder.
const LINKS_LOCK: &str = ".lock";

/// Age at which a folder of links without a lock is abandoned. A child creates and removes one within milliseconds.
const LINKS_MAX_AGE: Duration = Duration::from_secs(60);

/// The file that is locked; the sidecar with the lock writes its owner mark into the file.
const LOCK_FILE: &str = ".codex-edge.lock";

/// Maximum length of an owner mark in the lock file: two numbers and a hash of 16 digits.
const MAX_MARK_BYTES: u64 = 64;

/// Time between two prunings.
const PRUNE_INTERVAL: Duration = Duration::from_secs(10 * 60);

/// Time that a predecessor has to start its shutdown, which begins with the release of the lock.
const HANDOVER_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two attempts to lock the home.
const LOCK_RETRY_INTERVAL: Duration = Duration::from_millis(100);

/// Codex's home, locked for this process.
#[derive(Debug)]
pub struct CodexHome {
    folder: PathBuf,
    max_bytes: u64,
    _lock: Flock<fs::File>,
}

impl CodexHome {
    /// Locks the home for this process. Waits up to five seconds for a predecessor that is shutting down.
    /// `max_bytes` is the maximum size of the pruned folders.
    ///
    /// # Errors
    /// Another process keeps the lock (`WouldBlock`), or the home is not writable.
    pub async fn lock(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        let deadline = Instant::now() + HANDOVER_TIMEOUT;
        loop {
            match Self::try_lock(folder, max_bytes) {
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline =>
                {
                    sleep(LOCK_RETRY_INTERVAL).await;
                }
                result => return result,
            }
        }
    }

    fn try_lock(folder: &Path, max_bytes: u64) -> io::Result<Self> {
        private_dir::create(folder)?;
        // Not truncated: the file has the current owner's mark until the lock is taken.
        let file = fs::File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .open(folder.join(LOCK_FILE))?;
        let lock = Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(lock_error)?;
        lock.set_len(0)?;
        write!(&*lock, "{}", LockOwner::own_text())?;
        Ok(Self {
            folder: folder.to_owned(),
            max_bytes,
            _lock: lock,
        })
    }

    /// Returns the process that has locked the home, if any. Creates no file.
    ///
    /// # Errors
    /// The lock file cannot be read.
    pub fn lock_owner(folder: &Path) -> io::Result<Option<LockOwner>> {
        let file = match fs::File::open(folder.join(LOCK_FILE)) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        // Shared, so that two checks at a time do not take each other for a sidecar.
        match Flock::lock(file, FlockArg::LockSharedNonblock) {
            Ok(_free) => Ok(None),
            Err((file, Errno::EWOULDBLOCK)) => Ok(Some(read_owner(&file))),
            Err((_file, error)) => Err(error.into()),
        }
    }

    /// Prunes the home periodically until `stop` fires, then releases the lock.
    ///
    /// Turns may still run after the release. Their writes are those that two children of one sidecar also make side by
    /// side.
    pub async fn prune_periodically(self, stop: CancellationToken) {
        let mut prune = interval(PRUNE_INTERVAL);
        // Not at once: children that a predecessor drains may have lost their locks to an older version's pruning.
        let mut sweep = interval_at(Instant::now() + PRUNE_INTERVAL, PRUNE_INTERVAL);
        loop {
            tokio::select! {
                _now = prune.tick() => self.prune(),
                _now = sweep.tick() => self.remove_abandoned_links(),
                () = stop.cancelled() => return,
            }
        }
    }

    /// Removes the oldest files of the pruned folders until the rest fits into `max_bytes`.
    fn prune(&self) {
        let mut files: Vec<_> = PRUNED_FOLDERS
            .iter()
            .flat_map(|name| files_below(&self.folder.join(name)))
            .collect();
        // Newest first: once the sum exceeds the maximum, all that follow are older.
        files.sort_unstable_by_key(|file| std::cmp::Reverse(file.modified));
        let mut bytes = 0;
        let removed = files
            .into_iter()
            .filter(|file| {
                bytes += file.bytes;
                bytes > self.max_bytes
            })
            .filter(|file| fs::remove_file(&file.path).is_ok())
            .count();
        if removed > 0 {
            tracing::info!(removed, "codex home pruned");
        }
    }

    /// Removes the folders of links that no start of Codex will remove.
    fn remove_abandoned_links(&self) {
        let removed = fs::read_dir(self.folder.join(LINKS))
            .into_iter()
            .flatten()
            .flatten()
            .filter(is_abandoned)
            .filter(|folder| fs::remove_dir_all(folder.path()).is_ok())
            .count();
        if removed > 0 {
            tracing::info!(removed, "abandoned link folders removed");
        }
    }
}

fn is_abandoned(entry: &fs::DirEntry) -> bool {
    let is_old = |metadata: fs::Metadata| {
        let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
        metadata.is_dir() && age.is_some_and(|age| age > LINKS_MAX_AGE)
    };
    entry.metadata().is_ok_and(is_old) && !entry.path().join(LINKS_LOCK).exists()
}

/// Reads the owner from the lock file.
fn read_owner(lock: &fs::File) -> LockOwner {
    let mut text = String::new();
    lock.take(MAX_MARK_BYTES).read_to_string(&mut text).ok(); // An unreadable mark is an unknown owner.
    LockOwner::parse(&text)
}

fn lock_error((lock, error): (fs::File, Errno)) -> io::Error {
    match error {
        Errno::EWOULDBLOCK => io::Error::new(
            io::ErrorKind::WouldBlock,
            format!("locked by another sidecar, {}", read_owner(&lock)),
        ),
        _ => error.into(),
    }
}

struct PrunableFile {
    path: PathBuf,
    bytes: u64,
    modified: SystemTime,
}

/// Returns the regular files in `folder` and its subfolders. Links and the children's lock files are left out.
fn files_below(folder: &Path) -> Vec<PrunableFile> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries.flat_map(|entry| prunable_files(&entry)).collect()
}

fn prunable_files(entry: &fs::DirEntry) -> Vec<PrunableFile> {
    // The metadata of the link itself, not of its target.
    let Ok(metadata) = entry.metadata() else {
        return Vec::new();
    };
    if metadata.is_dir() {
        return files_below(&entry.path());
    }
    if !metadata.is_file() || entry.file_name() == LINKS_LOCK {
        return Vec::new();
    }
    vec![PrunableFile {
        path: entry.path(),
        bytes: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    }]
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn home_is_locked_by_one_process_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let first = CodexHome::try_lock(folder.path(), 0).unwrap();
        let own = i32::try_from(std::process::id()).unwrap();
        let second = CodexHome::try_lock(folder.path(), 0).unwrap_err();
        assert_eq!(second.kind(), io::ErrorKind::WouldBlock);
        assert!(second.to_string().ends_with(&format!("pid {own}")));
        let owner = || CodexHome::lock_owner(folder.path()).unwrap();
        assert_eq!(owner(), Some(LockOwner { pid: Some(own) }));
        drop(first);
        assert_eq!(owner(), None);
        assert!(CodexHome::try_lock(folder.path(), 0).is_ok());
    }

    #[test]
    fn pruning_removes_the_oldest_files_and_keeps_the_login() {
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
        assert!(
            left(lock),
            "without its lock the folder would look like an exited child's"
        );
        assert!(!left("sessions/2026/01/old.jsonl"));
    }

    #[test]
    fn link_folders_of_killed_children_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let links = folder.path().join(LINKS);
        let old = SystemTime::now() - LINKS_MAX_AGE - Duration::from_secs(1);
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
            .remove_abandoned_links();
        let mut left: Vec<_> = fs::read_dir(&links)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        left.sort();
        assert_eq!(left, ["codex-arg0alive", "codex-arg0starts"]);
    }
}
