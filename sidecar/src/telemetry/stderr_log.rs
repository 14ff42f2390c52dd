//! The log on stderr, written by a thread of its own: a reader that blocks or has gone away holds nothing else.
//!
//! The crate tracing-appender does not fit: at its end it reports a timeout with `eprintln!`, which blocks on the same pipe.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::fs::File;
use std::io::{self, ErrorKind, Write};
use std::os::fd::AsFd;
use std::panic::{self, PanicHookInfo};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tracing_subscriber::fmt::MakeWriter;

/// Maximum length of the unwritten lines together, in bytes: some thousand lines, for a reader that pauses. A longer line is
/// kept if it is the only one.
const MAX_UNWRITTEN: usize = 1 << 20;

/// Pause before a descriptor in non-blocking mode is written to again.
const RETRY_PAUSE: Duration = Duration::from_millis(10);

/// Lines that were dropped since the start. A process has one stderr.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The log. Clones share one buffer.
#[derive(Debug, Clone)]
pub struct StderrLog(Arc<Buffer>);

#[derive(Debug, Default)]
struct Buffer {
    state: Mutex<BufferState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct BufferState {
    unwritten: Vec<u8>,
    lines: u64,
    /// Whether the thread writes lines that it has taken.
    is_writing: bool,
}

impl StderrLog {
    /// Starts the thread that writes to stderr.
    ///
    /// # Errors
    /// The system refuses a descriptor or a thread.
    pub fn start() -> io::Result<Self> {
        // A descriptor of its own: the lock of `io::stderr` would be held as long as a write blocks.
        let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
        Self::start_with(stderr)
    }

    fn start_with(mut stderr: impl Write + Send + 'static) -> io::Result<Self> {
        let log = Self(Arc::default());
        let buffer = Arc::clone(&log.0);
        thread::Builder::new()
            .name("log".to_owned())
            .spawn(move || buffer.run(&mut stderr))?;
        Ok(log)
    }

    /// Logs panics as events instead of writing them to stderr, which may block.
    pub fn log_panics() {
        panic::set_hook(Box::new(log_panic));
    }

    /// Waits until all lines are written, up to `limit`.
    pub fn flush(&self, limit: Duration) {
        let is_busy = |state: &mut BufferState| state.is_writing || state.lines > 0;
        let state = self.0.state();
        // A reader that takes nothing until then gets no more lines.
        drop(self.0.changed.wait_timeout_while(state, limit, is_busy));
    }
}

/// Returns the number of lines that were dropped, because the reader of stderr was slow or had gone away.
pub(super) fn dropped_lines() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

impl Buffer {
    fn state(&self) -> MutexGuard<'_, BufferState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, line: &[u8]) {
        let mut state = self.state();
        if state.lines > 0 && state.unwritten.len() + line.len() > MAX_UNWRITTEN {
            DROPPED.fetch_add(1, Ordering::Relaxed);
            return;
        }
        state.unwritten.extend_from_slice(line);
        state.lines += 1;
        self.changed.notify_all();
    }

    /// Writes lines as long as the process runs.
    fn run(&self, stderr: &mut impl Write) {
        loop {
            let (bytes, lines) = self.take();
            if write_all(stderr, &bytes).is_err() {
                DROPPED.fetch_add(lines, Ordering::Relaxed);
            }
            self.state().is_writing = false;
            self.changed.notify_all();
        }
    }

    /// Waits for lines and takes them.
    fn take(&self) -> (Vec<u8>, u64) {
        let is_empty = |state: &mut BufferState| state.lines == 0;
        let waited = self.changed.wait_while(self.state(), is_empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.is_writing = true;
        let lines = std::mem::take(&mut state.lines);
        (std::mem::take(&mut state.unwritten), lines)
    }
}

fn write_all(stderr: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match stderr.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // Another process has set the mode of the open file that both share.
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY_PAUSE),
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl<'a> MakeWriter<'a> for StderrLog {
    type Writer = LineWriter<'a>;

    fn make_writer(&'a self) -> LineWriter<'a> {
        LineWriter(&self.0)
    }
}

/// The writer of one line, which the formatter writes in one call.
#[derive(Debug)]
pub struct LineWriter<'a>(&'a Buffer);

impl Write for LineWriter<'_> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn log_panic(info: &PanicHookInfo<'_>) {
    let location = info.location().map(ToString::to_string);
    let backtrace = Backtrace::capture();
    let captured = backtrace.status() == BacktraceStatus::Captured;
    tracing::error!(
        location,
        reason = info.payload_as_str(),
        thread = thread::current().name(),
        backtrace = captured.then(|| backtrace.to_string()),
        "thread panicked"
    );
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    /// A stderr that takes a write only when the test says so.
    struct GatedStderr(mpsc::Receiver<()>, mpsc::Sender<Vec<u8>>);

    impl Write for GatedStderr {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.send(bytes.to_vec()).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_beyond_the_buffer_are_dropped_whole_while_the_reader_blocks() {
        let (gate, opened) = mpsc::channel();
        let (sender, written) = mpsc::channel();
        let log = StderrLog::start_with(GatedStderr(opened, sender)).unwrap();
        let line = [vec![b'x'; MAX_UNWRITTEN / 4 - 1], vec![b'\n']].concat();
        let before = dropped_lines();
        for _ in 0..20 {
            log.make_writer().write_all(&line).unwrap();
        }
        log.flush(Duration::from_millis(1)); // Does not wait for the reader.
        let dropped = dropped_lines() - before;
        assert!((12..=16).contains(&dropped), "{dropped}");
        for _ in 0..3 {
            gate.send(()).unwrap();
        }
        let kept = 20 - usize::try_from(dropped).unwrap();
        let mut bytes = 0;
        while bytes < kept * line.len() {
            bytes += written.recv().unwrap().len();
        }
        assert_eq!(bytes, kept * line.len());
        log.flush(Duration::MAX);
    }
}
