//! The three pipes of a child: bytes into stdin, lines out of stdout, and stderr as log events.
//! See pipe(7). A child that reads or writes slowly delays only itself.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::time::timeout;
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

/// Longest line that is read from a child's stdout: 64 MiB. Codex echoes injected images whole, and a request body
/// has up to 16 MiB.
const MAX_LINE_BYTES: usize = 64 << 20;

/// Longest line that is read from a child's stderr: 64 KiB, since the lines go to the log only.
const MAX_STDERR_LINE_BYTES: usize = 64 << 10;

/// Maximum length of the line that is logged as the reason of a child's end, in characters.
const MAX_LAST_WORDS: usize = 400;

/// Time for the rest of the stderr of a child that has ended.
const LAST_WORDS_TIMEOUT: Duration = Duration::from_millis(100);

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
            stderr: Stderr {
                lines: Some(Lines::new(stderr, MAX_STDERR_LINE_BYTES)),
                last_words: LastWords::default(),
            },
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

/// A child's stderr.
#[derive(Debug)]
pub struct Stderr {
    /// `None` after the end of the pipe.
    lines: Option<Lines<ChildStderr>>,
    last_words: LastWords,
}

/// The lines of a child's stderr that may name the reason of its end.
#[derive(Debug, Default)]
struct LastWords {
    last: Option<String>,
    /// The last line that a runtime writes before it ends a process. It names a place in the program or a size, and
    /// quotes nothing.
    fatal: Option<String>,
}

impl LastWords {
    fn read(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        let short: String = line.chars().take(MAX_LAST_WORDS).collect();
        if is_fatal(line) {
            self.fatal = Some(short.clone());
        }
        self.last = Some(short);
    }
}

/// Whether a line is of Rust's runtime: `thread 'main' (7) panicked at src/main.rs:1:2:`, whose next line has the message; or
/// one without a message.
fn is_fatal(line: &str) -> bool {
    let is_panic =
        line.starts_with("thread '") && line.contains(" panicked at ") && line.ends_with(':');
    is_panic
        || line.starts_with("memory allocation of ")
        || line.starts_with("fatal runtime error: ")
}

impl Stderr {
    /// Logs the next line; pending for ever after the end of the pipe. Cancel safe.
    ///
    /// The level is `debug`, which is off by default, because a line may quote a client's request.
    pub async fn log(&mut self) {
        let Some(lines) = &mut self.lines else {
            return std::future::pending().await;
        };
        match lines.next().await {
            Some(Ok(line)) => {
                tracing::debug!(line, "codex stderr");
                self.last_words.read(&line);
            }
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                tracing::debug!(
                    max_bytes = MAX_STDERR_LINE_BYTES,
                    "codex stderr line skipped"
                );
            }
            Some(Err(LinesCodecError::Io(_))) | None => self.lines = None,
        }
    }

    /// Returns the line that names the reason of the child's end best. A line of a child that has had a turn may quote a
    /// request, unless it comes from the runtime.
    pub async fn last_words(&mut self, had_turns: bool) -> Option<String> {
        let rest = async {
            while self.lines.is_some() {
                self.log().await
            }
        };
        let _ = timeout(LAST_WORDS_TIMEOUT, rest).await; // Processes that the child started may hold the pipe.
        let LastWords { last, fatal } = std::mem::take(&mut self.last_words);
        fatal.or(last.filter(|_| !had_turns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_of_the_runtime_are_fatal() {
        for (line, expected) in [
            ("thread 'main' (7) panicked at core/src/main.rs:10:5:", true),
            ("memory allocation of 1048576 bytes failed", true),
            ("fatal runtime error: stack overflow, aborting", true),
            (
                "thread 'main' panicked at 'a prompt', src/main.rs:10:5",
                false,
            ),
            ("ERROR codex_core: a prompt", false),
        ] {
            assert_eq!(is_fatal(line), expected, "{line}");
        }
    }
}
