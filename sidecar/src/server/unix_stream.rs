//! A Unix socket that wakes us only for what we wait for: something to read, and room once there was none.
//! unix(7), epoll(7): Linux tells who watches such a socket for room each time that the peer has read. tokio's own
//! watches it always, so that Envoy woke us once more for every frame that we had sent it.

use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};

/// A connected socket.
#[derive(Debug)]
pub struct QuietStream {
    socket: AsyncFd<UnixStream>,
    /// The same socket, watched for room; `None` as long as it has some.
    full: Option<AsyncFd<UnixStream>>,
}

impl QuietStream {
    /// Takes over a socket that was accepted.
    ///
    /// # Errors
    /// The system's, when it cannot be watched.
    pub fn new(socket: tokio::net::UnixStream) -> io::Result<Self> {
        let socket = watch(socket.into_std()?, Interest::READABLE)?;
        Ok(Self { socket, full: None })
    }

    /// Writes at once, or once there is room.
    fn poll_write_with(
        &mut self,
        context: &mut Context<'_>,
        write: impl Fn(&UnixStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            if let Some(full) = &self.full {
                let _room = ready!(full.poll_write_ready(context))?;
            }
            self.full = None;
            let socket = self.socket.get_ref();
            match write(socket) {
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    let same = socket.try_clone()?;
                    self.full = Some(watch(same, Interest::WRITABLE)?);
                }
                written => return Poll::Ready(written),
            }
        }
    }
}

fn watch(socket: UnixStream, interest: Interest) -> io::Result<AsyncFd<UnixStream>> {
    #[expect(
        unsafe_code,
        reason = "the socket is owned, so that its descriptor is open and the same until it is watched no more"
    )]
    let watched = unsafe { AsyncFd::register_with_interest(socket, interest) };
    Ok(watched?)
}

impl AsyncRead for QuietStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        loop {
            let mut readable = ready!(self.socket.poll_read_ready(context))?;
            let unfilled = buffer.initialize_unfilled();
            if let Ok(read) = readable.try_io(|socket| socket.get_ref().read(unfilled)) {
                return Poll::Ready(read.map(|length| buffer.advance(length)));
            }
        }
    }
}

impl AsyncWrite for QuietStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |mut socket| socket.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_with(context, |mut socket| socket.write_vectored(pieces))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.socket.get_ref().shutdown(Shutdown::Write))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::UnixStream;

    use super::*;

    #[tokio::test]
    async fn more_than_a_socket_holds_comes_through_and_then_the_end() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let mut ours = QuietStream::new(ours).unwrap();
        let sent: Vec<u8> = (0..3_000_000_u32).map(|at| at.to_le_bytes()[0]).collect();
        let write = async {
            ours.write_all(&sent).await.unwrap();
            assert!(ours.full.is_none(), "all of it is written");
            ours.shutdown().await.unwrap();
        };
        let read = async {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).await.unwrap();
            received
        };
        let ((), received) = tokio::join!(write, read);
        assert!(received == sent, "{} bytes came", received.len());
    }

    #[tokio::test]
    async fn what_the_peer_says_is_read_and_then_its_end() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let mut ours = QuietStream::new(ours).unwrap();
        let mut received = [0; 4];
        for _ in 0..3 {
            let (read, ()) = tokio::join!(ours.read_exact(&mut received), async {
                tokio::task::yield_now().await;
                peer.write_all(b"ping").await.unwrap();
            });
            assert_eq!((read.unwrap(), &received), (4, b"ping"));
        }
        drop(peer);
        assert_eq!(ours.read(&mut received).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_happens_while_there_is_no_room_is_noticed() {
        let (ours, mut peer) = UnixStream::pair().unwrap();
        let (mut read_half, mut write_half) = tokio::io::split(QuietStream::new(ours).unwrap());
        let too_much = vec![0; 3_000_000];
        let mut received = [0; 4];
        let talk = async {
            peer.write_all(b"ping").await.unwrap();
            read_half.read_exact(&mut received).await.unwrap();
            drop(peer);
        };
        let (written, ()) = tokio::join!(write_half.write_all(&too_much), talk);
        assert_eq!(written.unwrap_err().kind(), ErrorKind::BrokenPipe);
        assert_eq!(&received, b"ping");
    }

    /// What the kernel was asked to tell of the sockets of this process (proc(5), `fdinfo` of an epoll descriptor).
    fn watched_for_room(socket: &AsyncFd<std::os::unix::net::UnixStream>) -> bool {
        use std::os::fd::AsRawFd;
        let number = socket.get_ref().as_raw_fd();
        let infos = std::fs::read_dir("/proc/self/fdinfo").unwrap();
        let infos = infos.filter_map(|info| std::fs::read_to_string(info.unwrap().path()).ok());
        let watched = infos.flat_map(|info| info.lines().map(str::to_owned).collect::<Vec<_>>());
        let masks = watched.filter_map(|line| {
            let mut words = line.split_whitespace();
            let is_ours = words.next() == Some("tfd:")
                && words.next() == Some(number.to_string().as_str())
                && words.next() == Some("events:");
            u32::from_str_radix(words.next()?, 16)
                .ok()
                .filter(|_| is_ours)
        });
        const EPOLLOUT: u32 = 4;
        masks.last().expect("it is watched") & EPOLLOUT != 0
    }

    #[tokio::test]
    async fn nobody_asks_for_room_while_there_is_some() {
        let (ours, _peer) = UnixStream::pair().unwrap();
        let mut ours = QuietStream::new(ours).unwrap();
        ours.write_all(b"frame").await.unwrap();
        assert!(!watched_for_room(&ours.socket));
        let too_much = vec![0; 3_000_000];
        tokio::select! {
            biased;
            written = ours.write_all(&too_much) => panic!("nobody reads it: {written:?}"),
            () = tokio::task::yield_now() => {}
        }
        let full = ours.full.as_ref().expect("there is no room");
        assert!(watched_for_room(full) && !watched_for_room(&ours.socket));
    }
}
