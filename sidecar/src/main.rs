//! Configuration, subscriber, signals, exit code.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidecar::admin::Admin;
use sidecar::api::{AppState, UsageSinks};
use sidecar::codex::{Backend, CodexHome, Launch, ProtocolLog};
use sidecar::config::{Config, Setting, Wish};
use sidecar::process::orphans;
use sidecar::server::Shutdown;
use sidecar::server::listener::{Access, Listener};
use sidecar::telemetry::UsageLog;
use sidecar::telemetry::rotating_log::RotatingLog;
use sidecar::{error_chain, process, server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// `EX_USAGE` of sysexits(3): a configuration that cannot be used.
const UNUSABLE_CONFIGURATION: u8 = 64;

/// Time for the last lines of our logs to reach the disk.
const LAST_LINES: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    let wish = match Wish::from_args(std::env::args_os()) {
        Ok(wish) => wish,
        Err(error) => {
            let _closed = error.print();
            return if error.use_stderr() {
                UNUSABLE_CONFIGURATION.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    if let Wish::Serve(_) = wish {
        subscribe();
    }
    process::set_cloexec_on_inherited_descriptors();
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "the runtime cannot be started");
            return ExitCode::FAILURE;
        }
    };
    // On a task of its own: children follow the thread that spawned them, and workers outlive this call.
    let running = match wish {
        Wish::Serve(config) => runtime.spawn(run(config)),
        Wish::Check(config, settings) => runtime.spawn(check(config, settings)),
    };
    let code = runtime.block_on(running).unwrap_or(ExitCode::FAILURE);
    runtime.shutdown_background(); // What is left waits for a disk that hangs.
    code
}

/// JSON lines for machines, text on a terminal; `RUST_LOG` says how much.
fn subscribe() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_unset| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_span_list(false).init();
    }
}

/// Says whether it would start, and what would run.
async fn check(config: Config, settings: Vec<Setting>) -> ExitCode {
    let report = sidecar::check::check(&config, settings).await;
    let _closed = write!(io::stdout(), "{report}");
    if report.would_start() {
        ExitCode::SUCCESS
    } else {
        UNUSABLE_CONFIGURATION.into()
    }
}

/// Listens, serves, drains, interrupts what is left, stops the children.
async fn run(mut config: Config) -> ExitCode {
    let (Ok(terminate), Ok(interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        error!("signals cannot be listened to");
        return ExitCode::FAILURE;
    };
    orphans::reap();
    let home = match CodexHome::lock(&config.codex_home, config.codex_home_max_bytes).await {
        Ok(home) => home,
        Err(error) => {
            let home = config.codex_home.display();
            error!(%error, "CODEX_HOME={home} cannot be used by this sidecar alone");
            return UNUSABLE_CONFIGURATION.into();
        }
    };
    let mut writers = JoinSet::new();
    let (usage_log, wiretap) = match logs(&config, &mut writers) {
        Ok(logs) => logs,
        Err(error) => {
            error!(%error, "TOKEN_LOG_PATH or PROTO_LOG_PATH cannot be used");
            return UNUSABLE_CONFIGURATION.into();
        }
    };
    let launch = match Launch::prepare(&config).await {
        Ok(launch) => launch.with_protocol_log(wiretap),
        Err(error) => {
            error!(error = error_chain(&error), "codex cannot be started");
            return UNUSABLE_CONFIGURATION.into();
        }
    };
    let (listener, admin_listener) = match listeners(&config).await {
        Ok(listeners) => listeners,
        Err(error) => {
            error!(%error, listen = ?config.listen, admin = ?config.admin_listen, "cannot listen");
            return ExitCode::FAILURE;
        }
    };
    info!(codex = launch.version(), protocol = launch.protocol().as_str(), listen = ?config.listen, "sidecar starts");
    config
        .catalogue
        .learn_context_windows(launch.context_windows());
    let (shutdown, mut tasks) = (Shutdown::default(), JoinSet::new());
    let backend = Backend::start(launch, config.limits, &mut tasks, &shutdown.abort);
    tasks.spawn(home.prune_periodically(shutdown.drain.clone()));
    tasks.spawn(on_signals(terminate, interrupt, shutdown.clone()));
    let drain = config.drain;
    let sinks = UsageSinks {
        log: usage_log,
        metrics: Arc::default(),
    };
    let state = Arc::new(AppState::new(
        config,
        backend,
        shutdown.background.clone(),
        sinks,
    ));
    if let Some(listener) = admin_listener {
        let admin = Admin::new(Arc::clone(&state));
        tasks.spawn(admin.serve(listener, shutdown.drain.clone())); // A successor takes its address.
    }
    server::serve(listener, state, &shutdown, drain).await;
    while tasks.join_next().await.is_some() {}
    let written = async { while writers.join_next().await.is_some() {} };
    if timeout(LAST_LINES, written).await.is_err() {
        error!("the last lines of the logs cannot be written");
    }
    info!("sidecar ends");
    ExitCode::SUCCESS
}

/// The log of what turns cost, and that of what passes between us and the children, if it is wanted.
fn logs(config: &Config, writers: &mut JoinSet<()>) -> io::Result<(UsageLog, ProtocolLog)> {
    let (usage_log, writer) = UsageLog::open(&config.usage_log)
        .map_err(|error| of_file(&config.usage_log.path, &error))?;
    writers.spawn_blocking(|| writer.run());
    let Some(path) = &config.protocol_log else {
        return Ok((usage_log, ProtocolLog::default()));
    };
    let (lines, writer) = RotatingLog::open(path, config.usage_log.max_bytes)
        .map_err(|error| of_file(path, &error))?;
    writers.spawn_blocking(|| writer.run());
    warn!(path = %path.display(), "each line between the sidecar and codex is logged, its texts left out");
    Ok((usage_log, ProtocolLog::new(lines)))
}

fn of_file(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", path.display()))
}

/// Where Envoy comes, and where the operator does.
async fn listeners(config: &Config) -> io::Result<(Listener, Option<Listener>)> {
    let admin = match &config.admin_listen {
        Some(listen) => Some(Listener::bind(listen, Access::Owner).await?),
        None => None,
    };
    Ok((Listener::bind(&config.listen, Access::Group).await?, admin))
}

/// The first signal begins the drain, the second one ends it.
async fn on_signals(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    for token in [&shutdown.drain, &shutdown.abort] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = shutdown.abort.cancelled() => return,
        }
        info!("told to stop");
        token.cancel();
    }
}
