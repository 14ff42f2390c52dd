//! The container engine: the one that `DOCKER_HOST` names, else a `dockerd` of the test's own, which needs root.
//! Its images and build cache are kept in the target folder, so that a further run is shorter.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use nix::mount::{MntFlags, umount2};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, geteuid};
use tempfile::TempDir;
use xtask::command::{bound_to_parent, output};
use xtask::workspace;

/// Time for the start and for the stop of the engine.
const DEADLINE: Duration = Duration::from_secs(60);
/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(200);
/// Build cache that is kept for the next run.
const KEPT_CACHE: &str = "6gb";

/// A running engine.
pub(crate) struct Engine {
    /// Value of `DOCKER_HOST`.
    host: String,
    daemon: Option<Daemon>,
    config: TempDir,
}

impl Engine {
    /// Connects to the engine of `DOCKER_HOST`, or starts one.
    pub(crate) fn start() -> Self {
        let config = TempDir::new().expect("the temporary folder is writable");
        if let Ok(host) = std::env::var("DOCKER_HOST") {
            let engine = Self {
                host,
                daemon: None,
                config,
            };
            engine.docker(&["version"]);
            return engine;
        }
        assert!(
            geteuid().is_root(),
            "set DOCKER_HOST to the socket of your container engine, or run this test as root with the packages docker.io and iptables"
        );
        let daemon = Daemon::start();
        let engine = Self {
            host: format!("unix://{}", daemon.socket().display()),
            daemon: Some(daemon),
            config,
        };
        engine.wait_until_ready();
        engine
    }

    /// Whether the engine belongs to this test, so that no registry is needed.
    pub(crate) fn is_own(&self) -> bool {
        self.daemon.is_some()
    }

    /// Value of `DOCKER_HOST`.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Runs a command of the engine's client and returns its output.
    pub(crate) fn docker<S: AsRef<OsStr>>(&self, arguments: &[S]) -> String {
        output(self.command("docker").args(arguments)).unwrap_or_else(|error| panic!("{error:#}"))
    }

    /// Runs a command of the engine's client that may fail.
    pub(crate) fn try_docker<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Result<String, String> {
        output(self.command("docker").args(arguments)).map_err(|error| format!("{error:#}"))
    }

    /// A command with the address of the engine and without the settings of the user.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", path())
            .env("HOME", self.config.path())
            .env("DOCKER_CONFIG", self.config.path())
            .env("DOCKER_HOST", &self.host);
        command
    }

    fn wait_until_ready(&self) {
        let deadline = Instant::now() + DEADLINE;
        while let Err(error) = self.try_docker(&["version"]) {
            let daemon = self.daemon.as_ref().expect("an own engine");
            assert!(Instant::now() < deadline, "{error}\n{}", daemon.log());
            sleep(POLL);
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        if self.is_own() {
            // An image of an earlier build has no name any more.
            let kept = format!("--keep-storage={KEPT_CACHE}");
            for arguments in [
                &["container", "prune", "--force"][..],
                &["image", "prune", "--force"],
                &["builder", "prune", "--force", &kept],
            ] {
                if let Err(error) = self.try_docker(arguments) {
                    eprintln!("{error}");
                }
            }
        }
    }
}

/// `PATH` with the folders of the administrator's programs, such as iptables.
fn path() -> std::ffi::OsString {
    let mut path = std::env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

/// A `dockerd` that is stopped when dropped.
struct Daemon {
    process: Child,
    /// A short path, since that of a Unix socket has at most 107 bytes.
    dir: TempDir,
    data: PathBuf,
    _lock: File,
}

impl Daemon {
    fn start() -> Self {
        let data = workspace::target_dir().join("containers");
        fs::create_dir_all(&data).expect("the target folder is writable");
        let lock = File::create(data.join("lock")).expect("the target folder is writable");
        // A second run waits for the first.
        lock.lock().expect("the file can be locked");
        let dir = tempfile::Builder::new()
            .prefix("codex-edge-engine-")
            .tempdir_in("/tmp")
            .expect("/tmp is writable");
        let log = File::create(dir.path().join("log")).expect("/tmp is writable");
        let mut command = Command::new("dockerd");
        command
            .arg("--data-root")
            .arg(data.join("engine"))
            .arg("--exec-root")
            .arg(dir.path().join("exec"))
            .arg("--pidfile")
            .arg(dir.path().join("pid"))
            .arg("--host")
            .arg(format!("unix://{}", dir.path().join("sock").display()))
            // Compose makes the networks. The engine's own bridge would be shared with another engine of this machine.
            .args(["--bridge", "none", "--log-level", "warn"])
            .env("PATH", path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a descriptor is free"))
            .stderr(log);
        bound_to_parent(&mut command, Signal::SIGTERM);
        let process = command.spawn().unwrap_or_else(|error| {
            panic!("dockerd cannot be started ({error}): apt-get install docker.io iptables")
        });
        Self {
            process,
            dir,
            data,
            _lock: lock,
        }
    }

    fn socket(&self) -> PathBuf {
        self.dir.path().join("sock")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    fn has_ended(&mut self) -> bool {
        !matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the engine's log:\n{}", self.log());
        }
        let pid = i32::try_from(self.process.id()).expect("a pid");
        let _ = kill(Pid::from_raw(pid), Signal::SIGTERM); // It may have ended.
        let deadline = Instant::now() + DEADLINE;
        while !self.has_ended() && Instant::now() < deadline {
            sleep(POLL);
        }
        if !self.has_ended() {
            eprintln!("the engine does not stop, and is killed");
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
        for folder in [self.dir.path(), &self.data] {
            for mount in mounts_below(folder) {
                let _ = umount2(&mount, MntFlags::MNT_DETACH); // Reported by the removal of the folder.
            }
        }
    }
}

/// Returns the mounts below a folder, the innermost first.
fn mounts_below(folder: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let paths = table.lines().filter_map(|line| line.split(' ').nth(4));
    let mut below: Vec<_> = paths
        .map(PathBuf::from)
        .filter(|path| path.starts_with(folder))
        .collect();
    below.sort_by_key(|path| std::cmp::Reverse(path.as_os_str().len()));
    below
}
