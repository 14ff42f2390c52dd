//! The usage log: records as lines of JSON, and those who read them all.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::Record;
use crate::config::UsageLogConfig;
use crate::telemetry::rotating_log::{LineWriter, RotatingLog};

/// Readers at once; each reads the whole log.
const READERS: usize = 2;

/// Longest line that is read, in bytes; ours have less than a thousand.
const MAX_LINE: u64 = 64 << 10;

/// The log, as those see it who write to it and read from it.
#[derive(Debug, Clone)]
pub struct UsageLog {
    lines: RotatingLog,
    readers: Arc<Semaphore>,
}

impl UsageLog {
    /// Opens the log; the writer is to be run on a thread of its own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(config: &UsageLogConfig) -> io::Result<(Self, LineWriter)> {
        let (lines, writer) = RotatingLog::open(&config.path, config.max_bytes)?;
        let log = Self {
            lines,
            readers: Arc::new(Semaphore::new(READERS)),
        };
        Ok((log, writer))
    }

    /// Appends a record.
    pub fn write(&self, record: &Record) {
        let line = serde_json::to_vec(record).expect("a record is JSON");
        self.lines.write(line);
    }

    /// Gives every record that was written before this call to `see`, oldest first, and returns what came of it.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        mut state: T,
        see: impl Fn(&mut T, Record) + Send + 'static,
    ) -> io::Result<T> {
        let _place = self.readers.acquire().await;
        let files = self.lines.files().await?;
        let reading = tokio::task::spawn_blocking(move || {
            for file in files {
                read_records(file, |record| see(&mut state, record))?;
            }
            Ok(state)
        });
        reading.await.map_err(io::Error::other)?
    }
}

/// Reads the records of a file; lines that are none are skipped.
fn read_records(file: File, mut see: impl FnMut(Record)) -> io::Result<()> {
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
