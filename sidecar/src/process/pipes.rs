//! The three pipes of a child: bytes into stdin, lines out of stdout, and stderr as log events.
//! See pipe(7). A child that reads or writes slowly delays only itself.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// Longest line that is read from a child's stdout: 64 MiB. Codex echoes injected images whole, and a request body
/// has up to 16 MiB.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Longest line that is read from a child's stderr: 64 KiB, since the lines go to the log only.
const MAX_STDERR_LINE_BYTES: usize = 64 << 10;

/// The sidecar's ends of a child's pipes.
#[derive(Debug)]
pub struct Pipes {
    /// Input of the child.
    pub stdin: Stdin,
    /// Protocol output of the child.
    pub stdout: Lines<ChildStdout>,
    /// Log output of the child.
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

/// A child's stdin with the queue of lines that the pipe has not accepted yet.
#[derive(Debug)]
pub struct Stdin {
    pipe: ChildStdin,
    unwritten: VecDeque<Bytes>,
}

impl Stdin {
    /// Queues `line`, which includes its line break.
    pub fn push(&mut self, line: Vec<u8>) {
        self.unwritten.push_back(line.into());
    }

    /// Writes as much as the pipe accepts; pending for ever while the queue is empty.
    /// Cancel safe: written bytes leave the queue at once.
    ///
    /// # Errors
    /// The write fails, for example because the child has closed its stdin.
    pub async fn write(&mut self) -> io::Result<()> {
        let Some(front) = self.unwritten.front_mut() else {
            return std::future::pending().await;
        };
        let written = self.pipe.write(front).await?;
        // No await between the write and this line: a cancelled caller must not write the same bytes twice.
        front.advance(written);
        if front.is_empty() {
            self.unwritten.pop_front();
        }
        Ok(())
    }

    /// Writes the whole queue.
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

/// Lines of a child's pipe without their line breaks, each of a bounded length.
#[derive(Debug)]
pub struct Lines<R>(FramedRead<R, LinesCodec>);

impl<R: AsyncRead + Unpin> Lines<R> {
    fn new(pipe: R, max_bytes: usize) -> Self {
        let codec = LinesCodec::new_with_max_length(max_bytes);
        Self(FramedRead::new(pipe, codec))
    }

    /// Returns the next line, or `None` at the end of the pipe. Cancel safe: the codec keeps a partial line.
    ///
    /// # Errors
    /// The line is too long or not UTF-8, or the read fails.
    pub async fn next(&mut self) -> Option<Result<String, LinesCodecError>> {
        self.0.next().await
    }
}

/// A child's stderr; `None` after its end.
#[derive(Debug)]
pub struct Stderr(Option<Lines<ChildStderr>>);

impl Stderr {
    /// Logs the next line; pending for ever after the end of the pipe. Cancel safe.
    ///
    /// The level is `debug`, which is off by default, because a line may quote a client's request.
    pub async fn log(&mut self) {
        let Some(lines) = &mut self.0 else {
            return std::future::pending().await;
        };
        match lines.next().await {
            Some(Ok(line)) => tracing::debug!(line, "codex stderr"),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                tracing::debug!(
                    max_bytes = MAX_STDERR_LINE_BYTES,
                    "codex stderr line skipped"
                );
            }
            Some(Err(LinesCodecError::Io(_))) | None => self.0 = None,
        }
    }
}
