//! A running sidecar and its options.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::OnceLock;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};
use xtask::command::bound_to_us;
use xtask::tools::{Tool, Tools};
use xtask::{command, workspace};

use crate::http::{Answer, Client, DEADLINE, get};
use crate::scripted_model::ScriptedModel;

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// A running sidecar, and the folder that is its whole world.
#[derive(Debug)]
pub struct Sidecar {
    dir: TempDir,
    program: PathBuf,
    env: Vec<(String, String)>,
    process: Child,
}

/// A sidecar that was told to stop and has a successor.
#[derive(Debug)]
pub struct Predecessor(Child);

/// A sidecar that is about to be started.
#[derive(Debug)]
pub struct Options {
    program: Option<PathBuf>,
    env: Vec<(String, String)>,
}

impl Options {
    /// The pinned Codex, with `model` as its provider.
    pub fn new(model: &ScriptedModel) -> Self {
        let codex = Tools::open().executable(Tool::Codex);
        let codex = codex.expect("Codex was fetched: `cargo xtask fetch`");
        let options = Self {
            program: None,
            env: Vec::new(),
        };
        options
            .env("CODEX_BIN", &codex.to_string_lossy())
            .env("CODEX_FORCE_PROVIDER", "scripted")
            .env("SCRIPTED_MODEL_URL", &model.base_url())
    }

    /// Another build of the sidecar than that of the tests.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Sets a variable; nothing but `PATH` and what is set here is in the sidecar's environment.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the sidecar and waits until it is ready.
    pub async fn start(self) -> Sidecar {
        let mut sidecar = self.spawn();
        sidecar.wait_until_ready().await;
        sidecar
    }

    /// Starts the sidecar and waits for nothing.
    pub fn spawn(self) -> Sidecar {
        let dir = TempDir::new().expect("the temporary folder can be written");
        let home = dir.path().join("codex-home");
        fs::create_dir(&home).expect("the folder is ours");
        let url = self
            .env
            .iter()
            .rev()
            .find(|(name, _)| name == "SCRIPTED_MODEL_URL");
        if let Some((_, url)) = url {
            let provider = format!(
                "[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{url}\"\nwire_api = \"responses\"\n"
            );
            fs::write(home.join("config.toml"), provider).expect("the folder is ours");
        }
        let program = self.program.unwrap_or_else(|| sidecar_binary().to_owned());
        let process = run_in(dir.path(), &program, &self.env);
        Sidecar {
            dir,
            program,
            env: self.env,
            process,
        }
    }
}

/// Starts a sidecar whose whole world is `dir`; its log goes on where that of an earlier one ended.
fn run_in(dir: &Path, program: &Path, env: &[(String, String)]) -> Child {
    let log = fs::File::options()
        .create(true)
        .append(true)
        .open(dir.join("log"))
        .expect("the folder is ours");
    let mut command = Command::new(program);
    command
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .env("CODEX_HOME", dir.join("codex-home"))
        .env("TMPDIR", dir)
        .env("RUST_LOG", "info,sidecar=debug")
        .env(
            "SIDECAR_LISTEN",
            format!("unix:{}", dir.join("sidecar.sock").display()),
        )
        .env(
            "SIDECAR_ADMIN_LISTEN",
            format!("unix:{}", dir.join("admin.sock").display()),
        )
        .envs(env.iter().cloned())
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log);
    bound_to_us(command.as_std_mut(), Signal::SIGKILL);
    command.spawn().expect("the sidecar is executable")
}

impl Sidecar {
    /// Where it listens.
    pub fn socket(&self) -> PathBuf {
        self.dir.path().join("sidecar.sock")
    }

    /// Where its operator reaches it.
    pub fn admin_socket(&self) -> PathBuf {
        self.dir.path().join("admin.sock")
    }

    /// A new connection to it, as its operator makes one.
    pub async fn connect_admin(&self) -> Client {
        Client::connect_unix(&self.admin_socket())
            .await
            .expect("the sidecar accepts a connection")
    }

    /// Its private folder: socket, log, Codex's home, and what it makes in `TMPDIR`.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What is in its folder beside its log and Codex's home, which are all that one that has ended may leave.
    pub fn remains(&self) -> Vec<String> {
        let entries = fs::read_dir(self.dir()).expect("the folder is ours");
        let names = entries
            .flatten()
            .map(|entry| entry.file_name().to_string_lossy().into_owned());
        names
            .filter(|name| name != "log" && name != "codex-home")
            .collect()
    }

    /// A new connection to it, as Envoy makes one.
    pub async fn connect(&self) -> Client {
        Client::connect_unix(&self.socket())
            .await
            .expect("the sidecar accepts a connection")
    }

    /// What it wrote to its log so far.
    pub fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap_or_default()
    }

    /// Waits until it says that it is ready.
    pub async fn wait_until_ready(&mut self) -> Answer {
        self.wait_for_readiness(|answer| answer.status == 200).await
    }

    /// Waits until `/readyz` gives an answer that `wanted` accepts.
    pub async fn wait_for_readiness(&mut self, wanted: impl Fn(&Answer) -> bool) -> Answer {
        let ready = async {
            loop {
                if let Some(status) = self.process.try_wait().expect("the child is ours") {
                    panic!("the sidecar ended with {status}:\n{}", self.log());
                }
                if let Ok(mut client) = Client::connect_unix(&self.socket()).await
                    && let Ok(answer) = client.send(get("/readyz")).await
                    && wanted(&answer)
                {
                    return answer;
                }
                sleep(POLL).await;
            }
        };
        let ready = timeout(DEADLINE, ready).await;
        ready.unwrap_or_else(|_| panic!("/readyz never says what it should:\n{}", self.log()))
    }

    /// Its pid; `None` when it has ended and was reaped.
    pub fn id(&self) -> Option<i32> {
        self.process.id().and_then(|id| i32::try_from(id).ok())
    }

    /// The pids of its children that run now, oldest first.
    pub fn children(&self) -> Vec<i32> {
        self.id().map(children_of).unwrap_or_default()
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        let id = self.process.id().and_then(|id| i32::try_from(id).ok());
        id.expect("the sidecar was not reaped yet")
    }

    /// Sends `signal` to the sidecar alone.
    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.pid()), signal).expect("the sidecar is ours");
    }

    /// Starts it again, in the same folder and with the same settings, and waits for nothing. It has ended.
    pub fn restart(&mut self) {
        assert_eq!(self.id(), None, "the sidecar was reaped");
        self.process = run_in(self.dir.path(), &self.program, &self.env);
    }

    /// Tells it to stop and starts its successor at once, as an upgrade does; waits until that listens.
    pub async fn upgrade(&mut self) -> Predecessor {
        let starts = |log: String| log.matches("sidecar starts").count();
        let before = starts(self.log());
        self.signal(Signal::SIGTERM);
        let successor = run_in(self.dir.path(), &self.program, &self.env);
        let predecessor = Predecessor(std::mem::replace(&mut self.process, successor));
        let started = async {
            while starts(self.log()) == before {
                sleep(POLL).await;
            }
        };
        let started = timeout(DEADLINE, started).await;
        assert!(started.is_ok(), "no successor:\n{}", self.log());
        predecessor
    }

    /// Its end, however long that takes: the exit code, if it was not a signal. May be dropped before it is ready.
    pub async fn ended(&mut self) -> Option<i32> {
        let status = self.process.wait().await;
        status.expect("the child is ours").code()
    }

    /// Waits for its end and returns the exit code, if it was not a signal.
    pub async fn wait(&mut self) -> Option<i32> {
        let code = timeout(DEADLINE * 2, self.ended()).await;
        code.unwrap_or_else(|_| panic!("the sidecar does not end:\n{}", self.log()))
    }
}

impl Predecessor {
    /// Waits for its end and returns the exit code, if it was not a signal.
    pub async fn wait(mut self) -> Option<i32> {
        let status = timeout(DEADLINE * 2, self.0.wait()).await;
        let status = status.expect("it ends when its turns are over");
        status.expect("the child is ours").code()
    }
}

impl Drop for Predecessor {
    fn drop(&mut self) {
        let _reaped = self.0.start_kill();
    }
}

impl Drop for Sidecar {
    fn drop(&mut self) {
        let _reaped = self.process.start_kill();
        if std::thread::panicking() {
            eprintln!("the sidecar's log:\n{}", self.log());
        }
    }
}

/// Whether a process runs (a zombie does not).
pub fn runs(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until none of these processes runs.
pub async fn wait_until_gone(pids: &[i32]) {
    let gone = async {
        while pids.iter().any(|pid| runs(*pid)) {
            sleep(POLL).await;
        }
    };
    let gone = timeout(DEADLINE, gone).await;
    assert!(gone.is_ok(), "of {pids:?} some still run");
}

/// The pids of the children of `pid` that it has not reaped, oldest first.
pub fn children_of(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        let children = fs::read_to_string(task.path().join("children"));
        children.unwrap_or_default()
    });
    let mut pids: Vec<i32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// Builds the sidecar if it is not fresh, and returns its path.
pub fn sidecar_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let build = ["build", "--quiet", "--package=sidecar"];
        command::run(&mut command::cargo(&build)).expect("the sidecar compiles");
        workspace::target_dir().join("debug/sidecar")
    })
}
