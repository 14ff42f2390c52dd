//! The usage log: records as lines of JSON, written by a [`RotatingLog`] and read as a whole.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use tokio::sync::Semaphore;

use super::rotating_log::{LogWriter, RotatingLog};
use super::usage_record::UsageRecord;
use crate::config::UsageLogConfig;

/// Maximum number of concurrent readers. Each reads the whole log and occupies a blocking thread.
const READERS: usize = 2;

/// Maximum length of a line that is read, in bytes; records have less than a thousand.
const MAX_LINE: u64 = 64 << 10;

/// A handle to the usage log.
#[derive(Debug, Clone)]
pub struct UsageLog {
    lines: RotatingLog,
    readers: Arc<Semaphore>,
}

impl UsageLog {
    /// Opens the log. Run the writer on its own thread.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(config: &UsageLogConfig) -> io::Result<(Self, LogWriter)> {
        let (lines, writer) = RotatingLog::open(&config.path, config.max_bytes)?;
        let log = Self {
            lines,
            readers: Arc::new(Semaphore::new(READERS)),
        };
        Ok((log, writer))
    }

    /// Appends a record.
    pub fn write(&self, record: &UsageRecord) {
        let line = serde_json::to_vec(record).expect("a record is JSON");
        self.lines.write(line);
    }

    /// Folds every record that was written before this call into `state`, oldest first, and returns the result.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        mut state: T,
        fold: impl Fn(&mut T, UsageRecord) + Send + 'static,
    ) -> io::Result<T> {
        // Held until the log is read.
        let _permit = self.readers.acquire().await;
        let files = self.lines.files().await?;
        tokio::task::spawn_blocking(move || {
            for file in files {
                read_records(file, |record| fold(&mut state, record))?;
            }
            Ok(state)
        })
        .await
        .map_err(io::Error::other)?
    }
}

/// Reads the records of a file; an invalid line is skipped.
fn read_records(file: File, mut on_record: impl FnMut(UsageRecord)) -> io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        if let Ok(record) = serde_json::from_slice(&line) {
            on_record(record);
        }
    }
}
