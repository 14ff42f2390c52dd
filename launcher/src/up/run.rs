//! The order in which `up` finds, starts and stops the parts of the stack.

use std::env;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, value_parser};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd;

use super::banner::Banner;
use super::mode::Mode;
use super::run_dir::RunDir;
use super::services::Services;
use super::source::Source;
use super::stack::{Reason, Stack};
use super::{admin, ready};
use crate::key::new_key;
use crate::report;

/// Time from the last start until the stack must be ready; Codex's first handshake takes seconds where the disk is slow.
const READY: Duration = Duration::from_secs(60);

/// Characters of a key where other machines can connect, as the filter's `config/keys.rs` requires.
const MIN_PUBLIC_KEY: usize = 16;

/// The arguments of `up`, from the command line or from variables.
#[derive(Debug, Args)]
pub struct UpArgs {
    /// Run the real Codex against the scripted model, login or not
    #[arg(long)]
    pub(crate) demo: bool,
    /// Port of the public listener
    #[arg(long, env = "PORT", default_value_t = 11435, value_parser = value_parser!(u16).range(1..))]
    pub(crate) port: u16,
    /// IPv4 address of the public listener
    #[arg(long, env = "PROXY_HOST", default_value_t = Ipv4Addr::LOCALHOST)]
    pub(crate) host: Ipv4Addr,
    /// Envoy's worker threads; as many as cores by default
    #[arg(long, env = "ENVOY_CONCURRENCY")]
    concurrency: Option<NonZeroU32>,
}

impl UpArgs {
    /// The address of the public listener.
    pub(crate) fn listen(&self) -> SocketAddrV4 {
        SocketAddrV4::new(self.host, self.port)
    }

    /// The mode of a stack with this Codex.
    pub(crate) fn mode(&self, codex: &Path, source: &dyn Source) -> Result<Mode> {
        match self.demo {
            true => Ok(Mode::Demo),
            false => Ok(Mode::of_login(codex, source.codex_home()?)),
        }
    }
}

/// Starts the stack with the programs and files of `source`, follows its logs, and stops on a signal.
///
/// # Errors
/// When the stack cannot be started; the message names the missing part.
pub fn up(args: &UpArgs, source: &dyn Source) -> Result<ExitCode> {
    let listen = args.listen();
    let run_path = run_path(args.port);
    let key = api_key(args.host)?;
    // Reported before the long build, and claimed for good after it, so that a signal during the build leaves no trace.
    drop(RunDir::claim(&run_path)?);
    drop(bind_public(listen)?);

    let (envoy, codex) = (source.envoy()?, source.codex()?);
    report!("envoy: {}\ncodex: {}", envoy.why, codex.why);
    let mode = args.mode(&codex.path, source)?;
    let files = source.files(&mode)?;

    // From here on signals are messages, so that `stack` is stopped and `run_dir` removed.
    let signals = signals()?;
    let run_dir = RunDir::claim(&run_path)?;
    let services = Services {
        run_dir: run_dir.path(),
        listen,
        admin_listen: admin::choose(&bind_public(listen)?)?,
        concurrency: args.concurrency,
        key,
        envoy: envoy.path,
        codex: codex.path,
        mode,
        files,
    };
    let mut stack = Stack::new(signals);
    let reason = serve(&services, &mut stack);
    if let Ok(reason) = &reason {
        report!("stopping: {reason}");
    }
    stack.stop();
    Ok(match reason? {
        Reason::Signalled(_) => ExitCode::SUCCESS,
        Reason::Ended(..) | Reason::Late(_) => ExitCode::FAILURE,
    })
}

/// Returns the key in `PROXY_API_KEY`, or a new one.
pub(crate) fn api_key(host: Ipv4Addr) -> Result<String> {
    match env::var("PROXY_API_KEY") {
        // The filter refuses this key too, and Envoy would answer every request with 503.
        Ok(key) if is_too_short(&key) && !host.is_loopback() => bail!(
            "PROXY_API_KEY has fewer than {MIN_PUBLIC_KEY} characters, and PROXY_HOST ({host}) lets other machines connect; generate a key with `openssl rand -hex 32`, or leave PROXY_API_KEY unset"
        ),
        Ok(key) if !key.is_empty() => Ok(key),
        _ => new_key(),
    }
}

fn is_too_short(key: &str) -> bool {
    (1..MIN_PUBLIC_KEY).contains(&key.len())
}

/// Starts the services, and returns the reason to stop.
fn serve(services: &Services<'_>, stack: &mut Stack) -> Result<Reason> {
    if let Mode::Demo = services.mode {
        let first_line = stack.start("model", &mut services.model())?;
        let announced = stack.wait_for(READY, || {
            let waiting = |_| "the scripted model has not announced its address".to_owned();
            first_line.try_recv().map_err(waiting)
        });
        match announced {
            Ok(line) => services.write_demo_home(&line)?,
            Err(reason) => return Ok(reason),
        }
    }
    stack.start("sidecar", &mut services.sidecar())?;
    stack.start("envoy", &mut services.envoy()?)?;
    let edge = services.reachable();
    if let Err(reason) = stack.wait_for(READY, || ready::ask(edge.into())) {
        return Ok(reason);
    }
    let banner = Banner {
        base_url: &format!("http://{edge}/v1"),
        status_page: &admin::url(&services.admin_listen),
        key: &services.key,
        mode: &services.mode,
        state: &ready::state(edge.into()),
        warning: services.login_warning()?,
    };
    // The stack runs on when the reader of stdout is gone.
    let _ = write!(io::stdout(), "{banner}");
    Ok(stack.wait())
}

/// Binds the public address, which another process may have.
pub(crate) fn bind_public(listen: SocketAddrV4) -> Result<TcpListener> {
    TcpListener::bind(listen)
        .with_context(|| format!("cannot listen on {listen}; PORT chooses another port"))
}

/// The run folder of a user and port, so that a second `up` finds the first one.
fn run_path(port: u16) -> PathBuf {
    env::temp_dir().join(format!("codex-edge-{}-{port}", unistd::geteuid()))
}

/// Turns SIGINT, SIGTERM and SIGHUP into messages; the signals no longer end this process.
fn signals() -> Result<Receiver<Signal>> {
    let stop_signals = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    // Threads inherit the mask, so the thread below is the only one that takes the signals.
    stop_signals
        .thread_block()
        .context("cannot block signals")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        while let Ok(signal) = stop_signals.wait() {
            if sender.send(signal).is_err() {
                break;
            }
        }
    });
    Ok(receiver)
}
