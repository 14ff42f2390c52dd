//! Listeners on a Unix socket or on a loopback address.
//!
//! A Unix socket can be unlinked while it listens (unix(7)): a successor can then bind the path, and clients that have
//! resolved the path earlier still reach this process.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::{AccessFlags, eaccess};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixSocket, UnixStream};
use tokio::time::sleep;
use tokio_util::either::Either;

use super::unix_stream::UnixConnection;
use crate::config::Listen;
use crate::process::LockOwner;

/// Pause after a failed accept. The usual cause is the limit on open descriptors, so an immediate retry would fail too.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections that may wait to be accepted: the default of `net.core.somaxconn`, to which the kernel caps the value.
const BACKLOG: u32 = 4096;

/// An accepted connection of either transport.
pub type Connection = Either<UnixConnection, TcpStream>;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// A Unix socket, and its file until the socket is unlinked.
    Unix(UnixListener, Option<SocketFile>),
    /// A loopback address.
    Tcp(TcpListener),
}

/// The users that may connect to a Unix socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketAccess {
    /// User and group, mode 0660: Envoy may run as another user of the group.
    Group,
    /// The user only, mode 0600.
    Owner,
}

impl SocketAccess {
    fn permissions(self) -> Permissions {
        Permissions::from_mode(match self {
            Self::Group => 0o660,
            Self::Owner => 0o600,
        })
    }
}

/// The file of a Unix socket; dropping it removes the file. [`Listener::unlink`] drops it before the listener, whose own
/// drop must not remove the socket that a successor has bound at the path.
#[derive(Debug)]
pub struct SocketFile(PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl Listener {
    /// Binds the address and listens. A stale socket of a killed predecessor is replaced.
    ///
    /// # Errors
    /// The address is in use, the path exists and is not a socket, or the system refuses the address.
    pub async fn bind(listen: &Listen, access: SocketAccess) -> io::Result<Self> {
        match listen {
            Listen::Loopback(address) => Ok(Self::Tcp(TcpListener::bind(address).await?)),
            Listen::Unix(path) => {
                match probe_socket(path).await? {
                    SocketState::Free => {}
                    SocketState::Stale => std::fs::remove_file(path)?,
                    SocketState::InUse(owner) => {
                        let in_use = format!("in use by another process ({owner})");
                        return Err(io::Error::new(io::ErrorKind::AddrInUse, in_use));
                    }
                }
                let (listener, file) = bind_unix(path, access)?;
                Ok(Self::Unix(listener, Some(file)))
            }
        }
    }

    /// Removes the file of a Unix socket, so that a successor can bind the path.
    pub fn unlink(&mut self) {
        if let Self::Unix(_, file) = self {
            drop(file.take());
        }
    }

    /// Accepts the next connection. A failed accept is logged and retried after a pause.
    pub async fn accept(&self) -> Connection {
        loop {
            let accepted = match self {
                Self::Unix(listener, _) => listener
                    .accept()
                    .await
                    .and_then(|(stream, _)| UnixConnection::new(stream).map(Either::Left)),
                Self::Tcp(listener) => listener
                    .accept()
                    .await
                    .map(|(stream, _)| Either::Right(stream)),
            };
            match accepted {
                Ok(connection) => return connection,
                Err(error) => {
                    tracing::error!(%error, "connection accept failed");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
}

/// The state of an address before it is bound.
#[derive(Debug, PartialEq, Eq)]
pub enum SocketState {
    /// The address is free.
    Free,
    /// The path has a socket of a process that has ended: a connect is refused.
    Stale,
    /// Another process listens on the address.
    InUse(LockOwner),
}

/// Reports whether [`Listener::bind`] could bind the address now. Leaves no file behind.
///
/// # Errors
/// The address cannot be bound for another reason than a process that listens on it.
pub async fn probe(listen: &Listen) -> io::Result<SocketState> {
    match listen {
        Listen::Loopback(address) => match std::net::TcpListener::bind(address) {
            Ok(_) => Ok(SocketState::Free),
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
                Ok(SocketState::InUse(LockOwner { pid: None }))
            }
            Err(error) => Err(error),
        },
        Listen::Unix(path) => {
            // Fails for a path that is longer than `sun_path`: nothing below binds the path, so nothing else would
            // report it.
            std::os::unix::net::SocketAddr::from_pathname(path)?;
            let directory = path
                .parent()
                .filter(|directory| !directory.as_os_str().is_empty())
                .unwrap_or(Path::new("."));
            eaccess(directory, AccessFlags::W_OK | AccessFlags::X_OK)?;
            probe_socket(path).await
        }
    }
}

async fn probe_socket(path: &Path) -> io::Result<SocketState> {
    let Ok(metadata) = std::fs::symlink_metadata(path) else {
        return Ok(SocketState::Free);
    };
    if !metadata.file_type().is_socket() {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "the path exists and is not a socket",
        ));
    }
    match UnixStream::connect(path).await {
        Ok(stream) => {
            let pid = stream
                .peer_cred()
                .ok()
                .and_then(|peer| peer.pid())
                .filter(|pid| *pid > 0);
            Ok(SocketState::InUse(LockOwner { pid }))
        }
        Err(error) => match error.kind() {
            io::ErrorKind::ConnectionRefused => Ok(SocketState::Stale),
            io::ErrorKind::NotFound => Ok(SocketState::Free),
            // EAGAIN: the backlog of a process that listens is full.
            io::ErrorKind::WouldBlock => Ok(SocketState::InUse(LockOwner { pid: None })),
            // Such as EACCES: the state of the socket is unknown, so it must not be removed.
            _ => Err(error),
        },
    }
}

/// Binds the path, sets its mode, and listens.
fn bind_unix(path: &Path, access: SocketAccess) -> io::Result<(UnixListener, SocketFile)> {
    let socket = UnixSocket::new_stream()?;
    socket.bind(path)?;
    let file = SocketFile(path.to_owned());
    // Before `listen`: until then every connect fails, so no user can connect under the mode that `bind` has set.
    // Setting the umask instead would change the mode of every file that another thread creates at the same moment.
    std::fs::set_permissions(path, access.permissions())?;
    Ok((socket.listen(BACKLOG)?, file))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn socket_with_a_full_backlog_is_in_use_and_not_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s");
        let socket = UnixSocket::new_stream().unwrap();
        socket.bind(&path).unwrap();
        let listener = socket.listen(0).unwrap();
        // The backlog of 0 admits one connection, which is never accepted.
        let _waiting = UnixStream::connect(&path).await.unwrap();
        let state = probe_socket(&path).await.unwrap();
        assert!(matches!(state, SocketState::InUse(_)), "{state:?}");
        drop(listener);
        assert_eq!(probe_socket(&path).await.unwrap(), SocketState::Stale);
    }

    #[tokio::test]
    async fn unix_socket_has_the_mode_of_its_access_and_is_unlinked_on_drop() {
        let directory = tempfile::tempdir().unwrap();
        for (access, mode) in [(SocketAccess::Group, 0o660), (SocketAccess::Owner, 0o600)] {
            let path = directory.path().join("socket");
            let listen = Listen::Unix(path.clone());
            let listener = Listener::bind(&listen, access).await.unwrap();
            let permissions = std::fs::metadata(&path).unwrap().permissions();
            assert_eq!(permissions.mode() & 0o777, mode, "{access:?}");
            let (connected, _) = tokio::join!(UnixStream::connect(&path), listener.accept());
            assert!(connected.is_ok(), "{access:?}");
            drop(listener);
            assert!(!path.exists(), "{access:?}");
        }
    }

    #[tokio::test]
    async fn unix_socket_is_refused_while_in_use_and_replaced_when_stale() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("socket");
        let listen = Listen::Unix(path.clone());
        assert_eq!(probe(&listen).await.unwrap(), SocketState::Free);
        // A listener of the standard library leaves its file behind, as a killed sidecar does.
        let predecessor = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let refused = Listener::bind(&listen, SocketAccess::Owner)
            .await
            .unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        drop(predecessor);
        assert_eq!(probe(&listen).await.unwrap(), SocketState::Stale);
        assert!(Listener::bind(&listen, SocketAccess::Owner).await.is_ok());
    }
}
