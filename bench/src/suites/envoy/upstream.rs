//! What stands behind Envoy: answers every request with the same few bytes as soon as its body has come.
//! HTTP/1.1 over a Unix socket (RFC 9112), as much of it as Envoy speaks to us; on threads of its own, none of it kept.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::thread;

use tempfile::TempDir;

const ANSWER: &[u8] =
    b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"ok\":true}";

/// A running upstream; its threads end with their connections, or with the process.
#[derive(Debug)]
pub(super) struct Upstream {
    dir: TempDir,
}

impl Upstream {
    /// Listens on a socket of its own.
    ///
    /// # Errors
    /// When the temporary folder cannot be written.
    pub(super) fn start() -> io::Result<Self> {
        let dir = TempDir::new()?;
        let listener = UnixListener::bind(dir.path().join("up.sock"))?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                thread::spawn(move || serve(stream));
            }
        });
        Ok(Self { dir })
    }

    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("up.sock")
    }
}

/// Answers until Envoy leaves, which is an error or an end, and either is the end.
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
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "));
        let length = length.and_then(|length| length.parse().ok()).unwrap_or(0);
        io::copy(&mut reader.by_ref().take(length), &mut io::sink())?;
        writer.write_all(ANSWER)?;
    }
}
