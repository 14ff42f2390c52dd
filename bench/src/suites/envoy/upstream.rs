//! An upstream that sends the same short response to every request, once the request body has ended.
//!
//! The upstream reads the subset of HTTP/1.1 (RFC 9112) that Envoy sends over the Unix socket, on one thread per
//! connection. Considered instead: hyper, which does more per request on the cores that Envoy under test needs.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

const RESPONSE: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// A running upstream. Its threads end with their connections, or with the process.
#[derive(Debug)]
pub(in crate::suites) struct Upstream {
    dir: TempDir,
}

impl Upstream {
    /// Starts an upstream on a new socket.
    ///
    /// # Errors
    /// When the socket cannot be created in a temporary folder.
    pub(in crate::suites) fn start() -> io::Result<Self> {
        let dir = TempDir::new()?;
        let listener = UnixListener::bind(dir.path().join("up.sock"))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { dir })
    }

    pub(in crate::suites) fn socket(&self) -> PathBuf {
        self.dir.path().join("up.sock")
    }
}

/// Serves requests until Envoy closes the connection, which is an error or the end of the stream.
fn serve(stream: UnixStream) -> io::Result<()> {
    let mut writer = stream.try_clone()?;
    let mut reader = BufReader::with_capacity(1 << 16, stream);
    let mut head = String::new();
    loop {
        head.clear();
        while !head.ends_with("\r\n\r\n") {
            if reader.read_line(&mut head)? == 0 {
                return Ok(());
            }
        }
        // Envoy writes header names in lower case.
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .and_then(|length| length.parse().ok())
            .unwrap_or(0);
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        writer.write_all(RESPONSE)?;
    }
}
