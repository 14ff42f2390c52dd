//! The scripted model as a program.
//! The docs of `tests::scripted_model` describe its scripts and control routes.

use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::path::PathBuf;

use clap::Parser;
use tests::codex::models::CodexModels;
use tests::scripted_model::{ScriptedModel, ServedModels};
use tokio::signal::unix::{SignalKind, signal};

/// Run a scripted stand-in for the model provider, which needs no account
#[derive(Debug, Parser)]
struct Flags {
    /// Loopback address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Allow `--listen` an address other than loopback. Each peer that reaches it may use the model and its control routes
    #[arg(long)]
    allow_remote: bool,
    /// Codex whose models are served: a request for another model or effort gets the service's error. Without it, any
    /// model and any effort is accepted
    #[arg(long, value_name = "PATH")]
    codex: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let flags = Flags::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    if !flags.allow_remote && !flags.listen.ip().is_loopback() {
        let reason = format!("{} is not a loopback address", flags.listen);
        return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
    }
    let models = match &flags.codex {
        Some(codex) => ServedModels::Listed(CodexModels::read(codex)?),
        None => ServedModels::Any,
    };
    let mut model = ScriptedModel::listen(flags.listen, models).await?;
    // The parent process reads the port from this line.
    writeln!(io::stdout(), "listening on {}", model.base_url())?;
    tokio::select! {
        // A container engine's stop: running responses end first, unless a second signal arrives.
        _ = terminate.recv() => tokio::select! {
            () = model.drain() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        },
        _ = interrupt.recv() => {}
    }
    model.stop().await;
    Ok(())
}
