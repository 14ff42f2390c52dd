//! Parses the command line, sets up logging, runs the sidecar, and maps the result to an exit code.

use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use sidecar::admin::Admin;
use sidecar::api::{AppState, UsageSinks};
use sidecar::codex::{Backend, CodexHome, Launch, ProtocolLog};
use sidecar::config::{Command, Config, Setting};
use sidecar::keys::{self, KeyCommand};
use sidecar::process::orphans;
use sidecar::server::Shutdown;
use sidecar::server::listener::{Listener, SocketAccess};
use sidecar::store::ledger::{Clock, Ledger};
use sidecar::store::{ResponseArchive, SessionIds};
use sidecar::telemetry::metrics::Metrics;
use sidecar::telemetry::otel::{Otel, OtelExport};
use sidecar::telemetry::rotating_log::RotatingLog;
use sidecar::telemetry::{StderrLog, UsageLog};
use sidecar::{allocator, error_chain, process, server};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{error, info, warn};
use tracing_subscriber::EnvFilter;

/// Exit code for an invalid configuration: `EX_USAGE` of sysexits(3).
const UNUSABLE_CONFIGURATION: u8 = 64;

/// Time for the log writers to write their queues at exit; a disk that hangs must not keep the process.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for the last lines of the log to reach the reader of stderr.
const STDERR_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    allocator::configure();
    let command = match Command::parse(std::env::args_os()) {
        Ok(command) => command,
        Err(error) => {
            error.print().ok(); // The terminal may be gone.
            return if error.use_stderr() {
                UNUSABLE_CONFIGURATION.into()
            } else {
                ExitCode::SUCCESS
            };
        }
    };
    // Before the first thread, which could start a child that inherits a descriptor.
    process::set_cloexec_on_inherited_descriptors();
    // The report of `--check` is for people; log lines would only disturb it.
    let log = match command {
        Command::Serve(_) => subscribe(),
        Command::Check(..) | Command::Key(_) => None,
    };
    let code = match command {
        Command::Serve(config) => start(run(config)),
        Command::Check(config, settings) => start(check(config, settings)),
        Command::Key(command) => key(&command),
    };
    if let Some(log) = log {
        log.flush(STDERR_FLUSH_TIMEOUT);
    }
    code
}

/// Prints the result of `sidecar key`.
fn key(command: &KeyCommand) -> ExitCode {
    match keys::run(command) {
        Ok(text) => match io::stdout().write_all(text.as_bytes()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(_) => ExitCode::FAILURE, // A closed pipe: a new key would be lost.
        },
        Err(error) => {
            writeln!(io::stderr(), "error: {error}").ok(); // The terminal may be gone.
            ExitCode::FAILURE
        }
    }
}

/// Runs a command to its end.
fn start(command: impl Future<Output = ExitCode> + Send + 'static) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            error!(%error, "runtime start failed");
            return ExitCode::FAILURE;
        }
    };
    // On a task instead of `block_on` itself: a child is killed when the thread that spawned it ends, and a worker
    // thread of the runtime outlives this call.
    let running = runtime.spawn(command);
    let code = runtime.block_on(running).unwrap_or(ExitCode::FAILURE);
    // Does not wait for blocking threads: a log writer may hang on its disk.
    runtime.shutdown_background();
    code
}

/// Logs JSON lines, or text on a terminal; `RUST_LOG` sets the level. `None` where the log cannot be started, for lack of a
/// descriptor or a thread, of which the sidecar needs more.
fn subscribe() -> Option<StderrLog> {
    let stderr = StderrLog::start().ok()?;
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(stderr.clone())
        // They would be written to stderr directly.
        .log_internal_errors(false);
    if std::io::stderr().is_terminal() {
        log.init();
    } else {
        log.json().flatten_event(true).with_span_list(false).init();
    }
    StderrLog::log_panics();
    Some(stderr)
}

/// Prints the report of `--check`.
async fn check(config: Config, settings: Vec<Setting>) -> ExitCode {
    let report = sidecar::check::run(&config, settings).await;
    write!(io::stdout(), "{report}").ok(); // A closed pipe, such as `| head`.
    if report.would_start() {
        ExitCode::SUCCESS
    } else {
        UNUSABLE_CONFIGURATION.into()
    }
}

/// Runs the sidecar until it is shut down by a signal.
async fn run(config: Config) -> ExitCode {
    let (Ok(terminate), Ok(interrupt)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
    ) else {
        error!("signal handler installation failed");
        return ExitCode::FAILURE;
    };
    orphans::reap();
    let mut writers = JoinSet::new();
    let resources = match acquire(&config, &mut writers).await {
        Ok(resources) => resources,
        Err(code) => return code,
    };
    let shutdown = Shutdown::default();
    let signals = on_signals(terminate, interrupt, shutdown.clone());
    serve(config, resources, signals, &shutdown).await;
    let flushed = async { while writers.join_next().await.is_some() {} };
    if timeout(LOG_FLUSH_TIMEOUT, flushed).await.is_err() {
        error!("log flush timed out");
    }
    info!("sidecar stopped");
    ExitCode::SUCCESS
}

/// The resources of the system that the sidecar holds while it runs.
struct Resources {
    home: CodexHome,
    usage_log: UsageLog,
    ledger: Ledger,
    archive: Option<ResponseArchive>,
    launch: Launch,
    metrics: Arc<Metrics>,
    otel: Otel,
    export: OtelExport,
    listener: Listener,
    admin_listener: Option<Listener>,
}

/// Acquires the resources; a failure is logged and becomes an exit code. The listeners come last, so that Envoy connects
/// only to a sidecar that can serve.
async fn acquire(config: &Config, writers: &mut JoinSet<()>) -> Result<Resources, ExitCode> {
    let home = CodexHome::lock(&config.codex_home, config.codex_home_max_bytes)
        .await
        .map_err(|error| {
            let codex_home = config.codex_home.display();
            error!(%error, %codex_home, "CODEX_HOME lock failed");
            UNUSABLE_CONFIGURATION
        })?;
    let (usage_log, protocol_log) = open_logs(config, writers).map_err(|error| {
        error!(%error, "log file open failed");
        UNUSABLE_CONFIGURATION
    })?;
    let (ledger, sessions, archive) = open_state(config, writers)?;
    let launch = Launch::prepare(config, sessions).await.map_err(|error| {
        error!(
            error = error_chain(&error),
            "codex launch preparation failed"
        );
        UNUSABLE_CONFIGURATION
    })?;
    let metrics: Arc<Metrics> = Arc::default();
    let (otel, export) = start_export(config, &metrics)?;
    let (listener, admin_listener) = bind_listeners(config).await.map_err(|error| {
        error!(%error, listen = ?config.listen, admin = ?config.admin_listen, "listen failed");
        ExitCode::FAILURE
    })?;
    Ok(Resources {
        home,
        usage_log,
        ledger,
        archive,
        launch: launch.with_protocol_log(protocol_log),
        metrics,
        otel,
        export,
        listener,
        admin_listener,
    })
}

/// Serves until the shutdown is complete: connections drained, children stopped, the home unlocked.
async fn serve(
    config: Config,
    resources: Resources,
    signals: impl Future<Output = ()> + Send + 'static,
    shutdown: &Shutdown,
) {
    let Resources {
        home,
        usage_log,
        ledger,
        archive,
        launch,
        metrics,
        otel,
        export,
        listener,
        admin_listener,
    } = resources;
    info!(codex = launch.version(), protocol = launch.protocol().as_str(), model = launch.catalogue().default_id(), listen = ?config.listen, state = ?config.state, responses = ?config.responses_file, "sidecar started");
    let mut tasks = JoinSet::new();
    let backend = Backend::start(
        launch,
        config.limits,
        config.profile,
        &mut tasks,
        &shutdown.abort,
    );
    tasks.spawn(home.prune_periodically(shutdown.drain.clone()));
    tasks.spawn(signals);
    let drain = config.drain;
    let sinks = UsageSinks {
        log: usage_log,
        metrics,
        ledger,
        otel,
    };
    let background = shutdown.background.clone();
    let state = Arc::new(AppState::new(config, backend, background, sinks, archive));
    let trim = allocator::trim_when_idle(state.body_memory(), shutdown.drain.clone());
    tasks.spawn(trim);
    if let Some(listener) = admin_listener {
        let admin = Admin::new(Arc::clone(&state));
        // Ends with the start of the drain, so that a successor can bind the address.
        tasks.spawn(admin.serve(listener, shutdown.drain.clone()));
    }
    server::serve(listener, state, shutdown, drain).await;
    while tasks.join_next().await.is_some() {}
    export.finish().await;
}

/// Opens the ledger with its session ids and, if responses outlive the sidecar, their archive. The writers run in `writers`.
fn open_state(
    config: &Config,
    writers: &mut JoinSet<()>,
) -> Result<(Ledger, SessionIds, Option<ResponseArchive>), ExitCode> {
    let opened = Ledger::open_with_notes(&config.state, Clock::system());
    let (ledger, writer, sessions) = opened.map_err(|error| {
        error!(%error, state = ?config.state, "ledger open failed");
        UNUSABLE_CONFIGURATION
    })?;
    writers.spawn_blocking(|| writer.run());
    let Some(path) = &config.responses_file else {
        let archive = ResponseArchive::beside(&ledger, config.responses);
        return Ok((ledger, sessions, archive));
    };
    let (archive, writer) = ResponseArchive::open(path, config.responses).map_err(|error| {
        error!(%error, path = %path.display(), "response archive open failed");
        UNUSABLE_CONFIGURATION
    })?;
    writers.spawn_blocking(|| writer.run());
    Ok((ledger, sessions, Some(archive)))
}

/// Starts the export of traces and metrics, if it is enabled.
fn start_export(config: &Config, metrics: &Metrics) -> Result<(Otel, OtelExport), ExitCode> {
    let Some(config) = &config.otel else {
        return Ok(Default::default());
    };
    let started = OtelExport::start(config, metrics.export_counts());
    started.map_err(|error| {
        error!(%error, "telemetry export start failed");
        UNUSABLE_CONFIGURATION.into()
    })
}

/// Opens the usage log and, if enabled, the protocol log. Their writers run in `writers`.
fn open_logs(config: &Config, writers: &mut JoinSet<()>) -> io::Result<(UsageLog, ProtocolLog)> {
    let (usage_log, writer) = UsageLog::open(&config.usage_log)
        .map_err(|error| with_path("TOKEN_LOG_PATH", &config.usage_log.path, &error))?;
    writers.spawn_blocking(|| writer.run());
    let Some(path) = &config.protocol_log else {
        return Ok((usage_log, ProtocolLog::default()));
    };
    let (log, writer) = RotatingLog::open(path, config.usage_log.max_bytes, ())
        .map_err(|error| with_path("PROTO_LOG_PATH", path, &error))?;
    writers.spawn_blocking(|| writer.run());
    warn!(path = %path.display(), "protocol log enabled");
    Ok((usage_log, ProtocolLog::new(log)))
}

fn with_path(variable: &str, path: &Path, error: &io::Error) -> io::Error {
    let text = format!("{variable}={}: {error}", path.display());
    io::Error::new(error.kind(), text)
}

/// Binds the listener for Envoy and, if configured, the operator's.
async fn bind_listeners(config: &Config) -> io::Result<(Listener, Option<Listener>)> {
    let admin = match &config.admin_listen {
        Some(listen) => Some(Listener::bind(listen, SocketAccess::Owner).await?),
        None => None,
    };
    Ok((
        Listener::bind(&config.listen, SocketAccess::Group).await?,
        admin,
    ))
}

/// Starts the drain at the first signal, and the abort at the second.
async fn on_signals(mut terminate: Signal, mut interrupt: Signal, shutdown: Shutdown) {
    for (phase, token) in [("drain", &shutdown.drain), ("abort", &shutdown.abort)] {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            // The drain has ended without a second signal.
            () = shutdown.abort.cancelled() => return,
        }
        info!(phase, "shutdown requested");
        token.cancel();
    }
}
