//! Where connections come from: a Unix socket with its name, or a loopback address.
//! unix(7); a name is free for a successor as soon as it is let go of, while whoever found it before is still served.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, eaccess};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::time::sleep;
use tokio_util::either::Either;

use crate::config::Listen;
use crate::process::LockOwner;
use crate::server::unix_stream::QuietStream;

/// Pause after an accept that failed, which it does when the process has too many descriptors open.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A connection of either kind.
pub type Connection = Either<QuietStream, TcpStream>;

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

    /// Lets a successor have the name.
    pub fn unlink(&mut self) {
        if let Self::Unix(_, name) = self {
            drop(name.take());
        }
    }

    /// The next connection. What keeps one from being accepted is logged and waited out.
    pub async fn accept(&self) -> Connection {
        loop {
            let accepted = match self {
                Self::Unix(listener, _) => {
                    let accepted = listener.accept().await;
                    accepted.and_then(|(s, _)| QuietStream::new(s).map(Either::Left))
                }
                Self::Tcp(listener) => listener.accept().await.map(|(s, _)| Either::Right(s)),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::error!(%error, "connection cannot be accepted");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// What stands where we want to listen.
#[derive(Debug, PartialEq, Eq)]
pub enum Place {
    /// Nothing.
    Free,
    /// The socket of a process that is gone.
    Stale,
    /// Somebody listens.
    Held(LockOwner),
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
                Ok(Place::Held(LockOwner { pid: None }))
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
            Place::Held(LockOwner { pid })
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
