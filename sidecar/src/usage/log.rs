//! The usage log: a file of lines that one thread appends to and anybody may read.
//! A line is written whole, in one call; what a crash left of the last one is skipped by readers.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc, oneshot};

use super::Record;
use crate::config::UsageLogConfig;

/// Records that may wait for the disk: more than a minute of what this machine can serve.
const WAITING: usize = 4096;

/// Records that are written in one call.
const BATCH: usize = 256;

/// Readers at once; each reads the whole log.
const READERS: usize = 2;

/// Longest line that is read, in bytes; ours have less than a thousand.
const MAX_LINE: u64 = 64 << 10;

/// The log, as those see it who write to it and read from it.
#[derive(Debug, Clone)]
pub struct UsageLog {
    orders: mpsc::Sender<Order>,
    readers: Arc<Semaphore>,
    lost: Arc<AtomicU64>,
}

/// The log cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum UsageLogError {
    /// Its writer has ended, as it does when the process ends.
    #[error("the usage log is closed")]
    Closed,
    /// The disk failed.
    #[error("the usage log cannot be read")]
    Read(#[from] io::Error),
}

#[derive(Debug)]
enum Order {
    Write(Box<Record>),
    /// All that was written so far, older file first.
    Read(oneshot::Sender<io::Result<Vec<File>>>),
}

impl UsageLog {
    /// Opens the log, and makes its folder; the writer is to be run on a thread of its own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(config: &UsageLogConfig) -> io::Result<(Self, LogWriter)> {
        if let Some(folder) = config.path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (orders, received) = mpsc::channel(WAITING);
        let log = Self {
            orders,
            readers: Arc::new(Semaphore::new(READERS)),
            lost: Arc::default(),
        };
        let writer = LogWriter {
            orders: received,
            file: LogFile::open(&config.path, config.max_bytes)?,
        };
        Ok((log, writer))
    }

    /// Appends a record, at once and without waiting: when the disk hangs, it is lost and counted.
    pub fn write(&self, record: Record) {
        let written = self.orders.try_send(Order::Write(Box::new(record)));
        if written.is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(lost, "a usage record is lost: the log cannot be written");
        }
    }

    /// Gives every record that was written before this call to `see`, oldest first, and returns what came of it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        mut state: T,
        see: impl Fn(&mut T, Record) + Send + 'static,
    ) -> Result<T, UsageLogError> {
        let _place = self.readers.acquire().await;
        let (answer, files) = oneshot::channel();
        let asked = self.orders.send(Order::Read(answer)).await;
        asked.map_err(|_ended| UsageLogError::Closed)?;
        let files = files.await.map_err(|_ended| UsageLogError::Closed)??;
        let reading = tokio::task::spawn_blocking(move || {
            for file in files {
                read_records(file, |record| see(&mut state, record))?;
            }
            Ok(state)
        });
        reading
            .await
            .map_err(|panic| io::Error::other(panic.to_string()))?
    }
}

/// Reads the records of a file; lines that are none are skipped.
fn read_records(file: File, mut see: impl FnMut(Record)) -> Result<(), UsageLogError> {
    let mut file = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if let Ok(record) = serde_json::from_slice(&line) {
            see(record);
        }
    }
}

/// The one who writes.
#[derive(Debug)]
pub struct LogWriter {
    orders: mpsc::Receiver<Order>,
    file: LogFile,
}

impl LogWriter {
    /// Writes until nobody is left who could say something, and blocks the thread for it.
    pub fn run(mut self) {
        let mut lines = Vec::new();
        while let Some(order) = self.orders.blocking_recv() {
            let mut next = Some(order);
            let mut records = 0;
            while let Some(order) = next.take() {
                match order {
                    Order::Write(record) => {
                        serde_json::to_writer(&mut lines, &record).expect("a record is JSON");
                        lines.push(b'\n');
                        records += 1;
                    }
                    Order::Read(answer) => {
                        self.file.append(&mut lines);
                        let _reader_left = answer.send(self.file.read());
                    }
                }
                if records < BATCH {
                    next = self.orders.try_recv().ok();
                }
            }
            self.file.append(&mut lines);
        }
    }
}

/// The file that is written, and the one that was put aside.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// `None` for what cannot be put aside, such as a device.
    max_bytes: Option<NonZeroU64>,
    /// Whether the last write failed; it may have left a part of a line.
    failed: bool,
}

impl LogFile {
    fn open(path: &Path, max_bytes: Option<NonZeroU64>) -> io::Result<Self> {
        let mut file = open(path)?;
        let metadata = file.metadata()?;
        let torn = metadata.is_file() && !ends_in_newline(&mut file)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            max_bytes: max_bytes.filter(|_| metadata.is_file()),
            file,
            failed: torn,
        })
    }

    /// Appends whole lines and empties them; after a failure they are lost, and the log says so once.
    fn append(&mut self, lines: &mut Vec<u8>) {
        if lines.is_empty() {
            return;
        }
        let full = self.bytes + lines.len() as u64;
        if self.bytes > 0 && self.max_bytes.is_some_and(|max| full > max.get()) {
            self.rotate();
        }
        if self.failed {
            lines.insert(0, b'\n');
        }
        match self.file.write_all(lines) {
            Ok(()) => self.failed = false,
            Err(error) if !self.failed => {
                tracing::error!(%error, path = %self.path.display(), "usage cannot be logged");
                self.failed = true;
            }
            Err(_again) => {}
        }
        self.bytes += lines.len() as u64;
        lines.clear();
    }

    /// Puts the file aside, in place of the one before.
    fn rotate(&mut self) {
        let renewed =
            std::fs::rename(&self.path, aside(&self.path)).and_then(|()| open(&self.path));
        match renewed {
            Ok(file) => {
                let _synced = std::mem::replace(&mut self.file, file).sync_all();
            }
            Err(error) => tracing::error!(%error, "the usage log cannot be rotated"),
        }
        self.bytes = 0; // After a failure too: it is tried again when as much has come.
    }

    /// Both files, as they are now: what is written or put aside later does not change what a reader sees of them.
    fn read(&self) -> io::Result<Vec<File>> {
        let older = match File::open(aside(&self.path)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let current = File::open(&self.path)?;
        Ok(older.into_iter().chain([current]).collect())
    }
}

/// For its owner alone: it tells who works with what, and when.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(path)
}

fn aside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

fn ends_in_newline(file: &mut File) -> io::Result<bool> {
    if file.metadata()?.len() == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::TokenSource;

    fn record(ts: u64) -> Record {
        Record {
            ts,
            request_id: "r".into(),
            client: "alice".into(),
            route: "/v1/chat/completions".into(),
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: false,
            prompt_tokens: 1,
            cached_tokens: 0,
            completion_tokens: 1,
            reasoning_tokens: 0,
            total_tokens: 2,
            token_source: TokenSource::Reported,
            duration_ms: 1,
            time_to_first_token_ms: None,
            status: 200,
            finish_reason: Some("stop".into()),
            error: None,
        }
    }

    /// Opens the log in `folder`, writes records with these times, and says which are read.
    async fn write_and_read(folder: &Path, max_bytes: u64, times: &[u64]) -> Vec<u64> {
        let config = UsageLogConfig {
            path: folder.join("below/usage.ndjson"),
            max_bytes: NonZeroU64::new(max_bytes),
        };
        let (log, writer) = UsageLog::open(&config).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        for ts in times {
            log.write(record(*ts));
            log.read((), |(), _record| {}).await.unwrap(); // So that each is a batch of its own.
        }
        let read = log.read(Vec::new(), |seen, record| seen.push(record.ts));
        let read = read.await.unwrap();
        drop(log);
        writer.await.unwrap();
        read
    }

    #[tokio::test]
    async fn what_is_written_is_read_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(write_and_read(folder.path(), 0, &[1, 2]).await, [1, 2]);
        assert_eq!(write_and_read(folder.path(), 0, &[3]).await, [1, 2, 3]);
        let file = std::fs::metadata(folder.path().join("below/usage.ndjson")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_line_that_a_crash_tore_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        write_and_read(folder.path(), 0, &[1, 2]).await;
        let path = folder.path().join("below/usage.ndjson");
        let whole = std::fs::read(&path).unwrap();
        for lost in [1, 10] {
            std::fs::write(&path, &whole[..whole.len() - lost]).unwrap();
            let read = write_and_read(folder.path(), 0, &[3]).await;
            let expected: &[u64] = if lost == 1 { &[1, 2, 3] } else { &[1, 3] };
            assert_eq!(read, expected, "{lost} bytes lost");
        }
    }

    #[tokio::test]
    async fn a_full_file_is_put_aside_and_the_one_before_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let line = serde_json::to_vec(&record(1)).unwrap().len() as u64 + 1;
        let read = write_and_read(folder.path(), 2 * line, &[1, 2, 3, 4, 5]).await;
        assert_eq!(read, [3, 4, 5]);
        let bytes = |name: &str| {
            let file = std::fs::metadata(folder.path().join("below").join(name));
            file.unwrap().len()
        };
        assert_eq!(
            (bytes("usage.ndjson"), bytes("usage.ndjson.1")),
            (line, 2 * line)
        );
    }

    #[test]
    fn a_device_is_never_put_aside() {
        let mut file = LogFile::open(Path::new("/dev/null"), NonZeroU64::new(1)).unwrap();
        for _ in 0..3 {
            file.append(&mut b"line\n".to_vec());
        }
        assert!(file.max_bytes.is_none() && !Path::new("/dev/null.1").exists());
    }
}
