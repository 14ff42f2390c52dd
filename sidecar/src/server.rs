//! Accepts connections, serves them, and drains: the sidecar's own life.
//! A connection belongs to the set in here; whoever is still in it when the drain is over is cut.
//!
//! The end loses no request that another sidecar could serve: the socket's name is free at once, so that a successor
//! can take it; who is on the way to us by then is told that nothing was done for it, and Envoy asks again; and it is
//! Envoy that closes a connection, since a request that meets our close may have been read or not.

use std::convert::Infallible;
use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::CONNECTION;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Either as EitherBody};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nix::unistd::{AccessFlags, eaccess};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::config::Listen;
use crate::dialect::ApiError;
use crate::process::Holder;
use crate::routes::{Body, Routes, error_response};
use crate::tied::Tied;

/// Time that a peer has to send a request's head. The peer is Envoy, which sends it at once.
const HEAD_DEADLINE: Duration = Duration::from_secs(30);

/// Time for the last frame of an interrupted turn to reach Envoy; a child answers an interrupt within milliseconds.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Time for who looked up the socket's name before it went to connect; that is one system call of Envoy's.
const LATE: Duration = Duration::from_millis(100);

/// Silence on a connection after which Envoy sends nothing on it any more: twice the `idle_timeout` of the cluster in
/// `envoy.yaml`, at which Envoy closes it.
const QUIET: Duration = Duration::from_secs(2);

/// Pause after an accept that failed, which it does when the process has too many descriptors open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket and its name, as long as that is ours.
    Unix(UnixListener, Option<SocketFile>),
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

/// The file of a Unix socket, removed when this is dropped; later on it may be the successor's.
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
                match look_at_socket(path).await? {
                    Place::Free => {}
                    Place::Stale => std::fs::remove_file(path)?,
                    Place::Held(holder) => {
                        let taken = format!("another process answers on it: {holder}");
                        return Err(io::Error::new(io::ErrorKind::AddrInUse, taken));
                    }
                }
                let listener = bind_private(path, access)?;
                Ok(Self::Unix(listener, Some(SocketFile(path.clone()))))
            }
        }
    }

    /// Serves until `life.stop` fires, then drains: answers have `drain` to come to their end, or until `life.hurry`
    /// fires, which it does when `drain` is over; then they are told the truth, and what is still open is cut.
    pub async fn serve(mut self, routes: Arc<Routes>, life: &Life, drain: Duration) {
        let mut connections = JoinSet::new();
        let stopped = life.stop.cancelled();
        self.welcome(&mut connections, &routes, life, stopped).await;
        if let Self::Unix(_, name) = &mut self {
            drop(name.take()); // The successor may have it.
        }
        self.welcome(&mut connections, &routes, life, sleep(LATE))
            .await;
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

    /// Accepts connections until `end`.
    async fn welcome(
        &self,
        connections: &mut JoinSet<()>,
        routes: &Arc<Routes>,
        life: &Life,
        end: impl Future<Output = ()>,
    ) {
        let mut end = pin!(end);
        loop {
            tokio::select! {
                () = end.as_mut() => return,
                Some(_ended) = connections.join_next() => {}
                accepted = self.accept() => match accepted {
                    Ok(stream) => {
                        connections.spawn(connection(stream, Arc::clone(routes), life.clone()));
                    }
                    Err(error) => {
                        tracing::error!(%error, "connection cannot be accepted");
                        sleep(ACCEPT_PAUSE).await;
                    }
                },
            }
        }
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

/// Serves one connection, which Envoy closes; we do so once we are told to stop and Envoy has had the time.
async fn connection(stream: Either<UnixStream, TcpStream>, routes: Arc<Routes>, life: Life) {
    let requests = TaskTracker::new();
    let service = service_fn(|request| {
        let (routes, stopping) = (Arc::clone(&routes), life.stop.is_cancelled());
        let running = requests.token();
        async move {
            let response = if stopping {
                turn_away(request).await.map(EitherBody::Left)
            } else {
                routes.answer(request).await.map(EitherBody::Right)
            };
            Ok::<_, Infallible>(response.map(|body| Tied::new(body, running)))
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_DEADLINE)
        .serve_connection(TokioIo::new(stream), service);
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = out_of_use(&requests, &life) => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = served {
        tracing::debug!(%error, "connection ended early");
    }
}

/// Waits until a connection is not needed any more: we were told to stop, its requests are over, and no more can come.
async fn out_of_use(requests: &TaskTracker, life: &Life) {
    life.stop.cancelled().await;
    requests.close();
    let quiet = async {
        requests.wait().await;
        sleep(QUIET).await;
    };
    tokio::select! {
        () = quiet => {}
        () = life.hurry.cancelled() => {}
    }
}

/// Leaves a request to the successor. Its body is read, since closing on it could take the answer along.
async fn turn_away(mut request: Request<Incoming>) -> Response<Body> {
    while let Some(Ok(_unread)) = request.body_mut().frame().await {}
    tracing::debug!(path = request.uri().path(), "request is turned away");
    let mut response = error_response(&ApiError::turned_away());
    let close = HeaderValue::from_static("close");
    response.headers_mut().insert(CONNECTION, close);
    response
}

/// What stands where we want to listen.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Free,
    /// The socket of a process that is gone.
    Stale,
    /// Somebody listens.
    Held(Holder),
}

/// Looks whether `Listener::bind` would get its address now, and leaves nothing there.
///
/// # Errors
/// It would not, whoever listens there or not.
pub async fn look_at(listen: &Listen) -> io::Result<Place> {
    match listen {
        Listen::Loopback(address) => match std::net::TcpListener::bind(address) {
            Ok(_free) => Ok(Place::Free),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Ok(Place::Held(Holder { pid: None }))
            }
            Err(error) => Err(error),
        },
        Listen::Unix(path) => {
            let _short_enough = std::os::unix::net::SocketAddr::from_pathname(path)?;
            let folder = path
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            let folder = folder.unwrap_or(Path::new("."));
            eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK)?;
            look_at_socket(path).await
        }
    }
}

async fn look_at_socket(path: &Path) -> io::Result<Place> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(Place::Free);
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is a file that is no socket",
        ));
    }
    Ok(match UnixStream::connect(path).await {
        Ok(stream) => {
            let peer = stream.peer_cred().ok();
            let pid = peer.and_then(|peer| peer.pid()).filter(|pid| *pid > 0);
            Place::Held(Holder { pid })
        }
        Err(_nobody) => Place::Stale,
    })
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
