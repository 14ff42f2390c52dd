//! A network between TCP clients and a Unix socket, which a test can cut: the kernel then drops the packets of the clients, and
//! none is sent to them.

use std::net::{Ipv4Addr, SocketAddr, TcpListener as StdListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use socket2::{SockFilter, SockRef};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// The program of a socket filter that accepts no byte of a packet: `BPF_RET | BPF_K` with 0. Linux,
/// `Documentation/networking/filter.rst`. A packet that it drops is not acknowledged.
const DROP_ALL: [SockFilter; 1] = [SockFilter::new(0x06, 0, 0, 0)];

/// The network. Dropping it closes its connections.
#[derive(Debug)]
pub struct CuttableNetwork {
    address: SocketAddr,
    sockets: Arc<Sockets>,
    /// Dropping it ends the task.
    _forwarding: JoinSet<()>,
}

impl CuttableNetwork {
    /// Starts a network to the server at `socket`.
    ///
    /// # Panics
    /// No loopback port is free.
    pub fn start(socket: &Path) -> Self {
        let listener = StdListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port is free");
        let address = listener.local_addr().expect("the listener is bound");
        listener
            .set_nonblocking(true)
            .expect("a socket can be nonblocking");
        let sockets = Arc::new(Sockets::default());
        sockets.add(&listener);
        let listener = TcpListener::from_std(listener).expect("there is a runtime");
        let mut forwarding = JoinSet::new();
        forwarding.spawn(forward_all(
            listener,
            socket.to_owned(),
            Arc::clone(&sockets),
        ));
        Self {
            address,
            sockets,
            _forwarding: forwarding,
        }
    }

    /// The address for the clients.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Drops all packets from now on, also those of new connections.
    pub fn cut(&self) {
        self.sockets.set_cut(true);
    }

    /// Delivers packets again. TCP repeats those that were dropped.
    pub fn mend(&self) {
        self.sockets.set_cut(false);
    }
}

/// The network's sockets toward the clients.
#[derive(Debug, Default)]
struct Sockets {
    /// Duplicates: a filter is that of the socket, not of the descriptor.
    all: Mutex<Vec<OwnedFd>>,
    is_cut: watch::Sender<bool>,
}

impl Sockets {
    fn add(&self, socket: &impl AsFd) {
        let duplicate = socket
            .as_fd()
            .try_clone_to_owned()
            .expect("a descriptor is free");
        let mut all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        filter(&duplicate, *self.is_cut.borrow());
        all.push(duplicate);
    }

    fn set_cut(&self, is_cut: bool) {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_cut.send_replace(is_cut);
        for socket in all.iter() {
            filter(socket, is_cut);
        }
    }
}

fn filter(socket: &OwnedFd, is_cut: bool) {
    let socket = SockRef::from(socket);
    if is_cut {
        socket
            .attach_filter(&DROP_ALL)
            .expect("a filter of one instruction");
    } else {
        socket.detach_filter().ok(); // It may have none.
    }
}

async fn forward_all(listener: TcpListener, server: PathBuf, sockets: Arc<Sockets>) {
    let mut connections = JoinSet::new();
    while let Ok((client, _)) = listener.accept().await {
        sockets.add(&client);
        let is_cut = sockets.is_cut.subscribe();
        if let Ok(server) = UnixStream::connect(&server).await {
            connections.spawn(forward(client, server, is_cut));
        }
    }
}

/// Forwards until one side closes.
async fn forward(client: TcpStream, server: UnixStream, mut is_cut: watch::Receiver<bool>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let upstream = tokio::io::copy(&mut from_client, &mut to_server);
    let downstream = async {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = from_server.read(&mut buffer).await?;
            is_cut.wait_for(|is_cut| !is_cut).await.ok(); // The network ends.
            if read == 0 {
                return Ok(());
            }
            to_client.write_all(&buffer[..read]).await?;
        }
    };
    let result: std::io::Result<()> = tokio::select! {
        sent = upstream => sent.map(|_| ()),
        received = downstream => received,
    };
    result.ok(); // The client or the server has left.
}
