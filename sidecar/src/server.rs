//! Accepts connections, serves them, and drains: the sidecar's own life.
//! A connection belongs to the set in here; whoever is still in it when the drain is over is cut.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixStream as BlockingUnixStream;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;
use crate::routes::Routes;

/// Time that a peer has to send a request's head. The peer is Envoy, which sends it at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Time for the last frame of an interrupted turn to reach Envoy; a child answers an interrupt within milliseconds.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Pause after an accept that failed, which it does when the process has too many descriptors open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket; its file is removed when this is dropped.
    Unix(UnixListener, SocketFile),
    /// A loopback address.
    Tcp(TcpListener),
}

/// Who may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// User and group, mode 0660: Envoy may run as either.
    Group,
    /// The user alone, mode 0600.
    Owner,
}

/// The file of a Unix socket.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        let _gone = std::fs::remove_file(&self.0);
    }
}

impl Listener {
    /// Listens. A socket that a killed predecessor left behind is replaced; one that answers is not.
    ///
    /// # Errors
    /// The address is in use or may not be used.
    pub async fn bind(listen: &Listen, access: Access) -> io::Result<Self> {
        match listen {
            Listen::Loopback(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                remove_stale_socket(path)?;
                let listener = bind_private(path, access)?;
                Ok(Self::Unix(listener, SocketFile(path.clone())))
            }
        }
    }

    /// Serves until `life.stop` fires, then drains: answers have `drain` to come to their end, or until `life.hurry`
    /// fires, which it does when `drain` is over; then they are told the truth, and what is still open is cut.
    pub async fn serve(self, routes: Arc<Routes>, life: &Life, drain: Duration) {
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                () = life.stop.cancelled() => break,
                Some(_ended) = connections.join_next() => {}
                accepted = self.accept() => match accepted {
                    Ok(stream) => {
                        connections.spawn(connection(stream, Arc::clone(&routes), life.stop.clone()));
                    }
                    Err(error) => {
                        tracing::error!(%error, "connection cannot be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
        drop(self); // Nobody new.
        tokio::select! {
            () = all_over(&mut connections, life) => {}
            () = sleep(drain) => tracing::warn!(connections = connections.len(), "drain is over, turns are interrupted"),
            () = life.hurry.cancelled() => {}
        }
        life.hurry.cancel();
        if timeout(LAST_WORDS, all_over(&mut connections, life))
            .await
            .is_err()
        {
            tracing::warn!(connections = connections.len(), "answers are cut");
        }
        connections.shutdown().await;
    }

    /// The next connection.
    ///
    /// # Errors
    /// The system's, as when too many descriptors are open.
    pub async fn accept(&self) -> io::Result<Either<UnixStream, TcpStream>> {
        match self {
            Self::Unix(listener, _) => Ok(Either::Left(listener.accept().await?.0)),
            Self::Tcp(listener) => Ok(Either::Right(listener.accept().await?.0)),
        }
    }
}

/// The two steps of the process's end.
#[derive(Debug, Clone, Default)]
pub struct Life {
    /// No new requests.
    pub stop: CancellationToken,
    /// No time for those that run: their turns are interrupted.
    pub hurry: CancellationToken,
    /// Turns that go on without a client.
    pub background: TaskTracker,
}

async fn all_over(connections: &mut JoinSet<()>, life: &Life) {
    while connections.join_next().await.is_some() {}
    life.background.close();
    life.background.wait().await;
}

/// Serves one connection; when `stop` fires, the request that runs on it is its last.
async fn connection(
    stream: Either<UnixStream, TcpStream>,
    routes: Arc<Routes>,
    stop: CancellationToken,
) {
    let service = service_fn(move |request| {
        let routes = Arc::clone(&routes);
        async move { Ok::<_, std::convert::Infallible>(routes.answer(request).await) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

fn remove_stale_socket(path: &Path) -> io::Result<()> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    match BlockingUnixStream::connect(path) {
        Ok(_answers) => Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another process answers on it",
        )),
        Err(_nobody) => std::fs::remove_file(path),
    }
}

/// With its mode from the first moment on.
fn bind_private(path: &Path, access: Access) -> io::Result<UnixListener> {
    use nix::sys::stat::{Mode, umask};
    let before = umask(Mode::from_bits_truncate(match access {
        Access::Group => 0o117,
        Access::Owner => 0o177,
    }));
    let listener = UnixListener::bind(path);
    umask(before);
    listener
}
