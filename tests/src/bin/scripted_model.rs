//! The scripted model as a program.
//! The docs of `tests::scripted_model` describe its scripts and control routes.

use std::io::{self, Write as _};
use std::net::SocketAddr;

use clap::Parser;
use tests::scripted_model::ScriptedModel;
use tokio::signal::unix::{SignalKind, signal};

/// Run a scripted stand-in for the model provider, which needs no account
#[derive(Debug, Parser)]
struct Flags {
    /// Loopback address to listen on; port 0 selects a free port
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
}

#[tokio::main]
async fn main() -> io::Result<()> {
    let flags = Flags::parse();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let model = ScriptedModel::listen(flags.listen).await?;
    // The parent process reads the port from this line.
    writeln!(io::stdout(), "listening on {}", model.base_url())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    model.stop().await;
    Ok(())
}
