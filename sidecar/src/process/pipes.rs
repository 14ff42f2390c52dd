//! The three pipes of a child: bytes in, lines out, and what it says for the log.
//! pipe(7); a child that reads or writes slowly holds up nobody but itself.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// Longest line that is read from a child's stdout. Codex echoes injected images whole, and a request body is 16 MiB.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Longest line that is read from a child's stderr, which only the log sees.
const MAX_STDERR_LINE_BYTES: usize = 64 << 10;

/// The child's ends of its pipes.
#[derive(Debug)]
pub struct Pipes {
    /// What the child reads.
    pub stdin: Stdin,
    /// What it says.
    pub stdout: Lines<ChildStdout>,
    /// What it says for the log.
    pub stderr: Stderr,
}

impl Pipes {
    pub(super) fn new(stdin: ChildStdin, stdout: ChildStdout, stderr: ChildStderr) -> Self {
        Self {
            stdin: Stdin {
                pipe: stdin,
                unwritten: VecDeque::new(),
            },
            stdout: Lines::new(stdout, MAX_LINE_BYTES),
            stderr: Stderr(Some(Lines::new(stderr, MAX_STDERR_LINE_BYTES))),
        }
    }
}

/// A child's stdin, and what the child has not taken yet.
#[derive(Debug)]
pub struct Stdin {
    pipe: ChildStdin,
    unwritten: VecDeque<Bytes>,
}

impl Stdin {
    /// Has `line`, which has its end, written after all others.
    pub fn push(&mut self, line: Vec<u8>) {
        self.unwritten.push_back(line.into());
    }

    /// Writes as much as the pipe takes; waits for ever when there is nothing to write.
    /// May be dropped before it is ready: what is written is taken off.
    ///
    /// # Errors
    /// The system's.
    pub async fn write(&mut self) -> io::Result<()> {
        let Some(front) = self.unwritten.front_mut() else {
            return std::future::pending().await;
        };
        let written = self.pipe.write(front).await?;
        front.advance(written);
        if front.is_empty() {
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// Writes all.
    ///
    /// # Errors
    /// As [`Stdin::write`].
    pub async fn write_all(&mut self) -> io::Result<()> {
        while !self.unwritten.is_empty() {
            self.write().await?;
        }
        Ok(())
    }
}

/// Lines of a child's pipe, without their ends, each of a bounded length.
#[derive(Debug)]
pub struct Lines<R>(FramedRead<R, LinesCodec>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(pipe: R, max_bytes: usize) -> Self {
        let codec = LinesCodec::new_with_max_length(max_bytes);
        Self(FramedRead::new(pipe, codec))
    }

    /// The next line; `None` at the end. May be dropped before it is ready: nothing read is lost.
    ///
    /// # Errors
    /// A line that is too long or not UTF-8, or the system's.
    pub async fn next(&mut self) -> Option<Result<String, LinesCodecError>> {
        self.0.next().await
    }
}

/// A child's stderr; `None` once it is closed.
#[derive(Debug)]
pub struct Stderr(Option<Lines<ChildStderr>>);

impl Stderr {
    /// Logs the next line; waits for ever once there are no more. It may hold what a client sent, so it is off by
    /// default. May be dropped before it is ready.
    pub async fn log(&mut self) {
        let Some(lines) = &mut self.0 else {
            return std::future::pending().await;
        };
        match lines.next().await {
            Some(Ok(line)) => tracing::debug!(line, "codex stderr"),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                tracing::debug!("long line on codex stderr left out");
            }
            Some(Err(LinesCodecError::Io(_))) | None => self.0 = None,
        }
    }
}
