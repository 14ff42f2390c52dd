//! The usage log: records as lines of JSON, written by a [`RotatingLog`], with their numbers in a table for sums.

use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use super::rotating_log::{LineObserver, LogWriter, RotatingLog, read_lines};
use super::usage_record::UsageRecord;
use super::usage_table::UsageTable;
use super::usage_totals::{Interval, UsageFilter, UsageTotals};
use crate::config::UsageLogConfig;

/// Maximum number of concurrent scans. Each reads the whole log and occupies a blocking thread.
const READERS: usize = 2;

/// A handle to the usage log.
#[derive(Debug, Clone)]
pub struct UsageLog {
    lines: RotatingLog,
    table: SharedTable,
    readers: Arc<Semaphore>,
}

/// The table, which the writer's thread fills.
#[derive(Debug, Clone, Default)]
pub struct SharedTable(Arc<Mutex<UsageTable>>);

impl SharedTable {
    fn with<T>(&self, use_table: impl FnOnce(&mut UsageTable) -> T) -> T {
        // A table whose writer has panicked still has whole rows.
        use_table(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl LineObserver for SharedTable {
    fn on_line(&mut self, line: &[u8]) {
        self.with(|table| table.on_line(line));
    }

    fn on_rotation(&mut self) {
        self.with(UsageTable::on_rotation);
    }
}

impl UsageLog {
    /// Opens the log. Run the writer on its own thread; it first reads what earlier runs have written.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open(config: &UsageLogConfig) -> io::Result<(Self, LogWriter<SharedTable>)> {
        let table = SharedTable::default();
        let (lines, writer) = RotatingLog::open(&config.path, config.max_bytes, table.clone())?;
        let log = Self {
            lines,
            table,
            readers: Arc::new(Semaphore::new(READERS)),
        };
        Ok((log, writer))
    }

    /// Appends a record.
    pub fn write(&self, record: &UsageRecord) {
        let line = serde_json::to_vec(record).expect("a record is JSON");
        self.lines.write(line);
    }

    /// Returns the totals of the selected records that were written before this call, without reading the log.
    ///
    /// # Errors
    /// The writer has ended.
    pub async fn totals(
        &self,
        filter: &UsageFilter,
        interval: Option<Interval>,
    ) -> io::Result<UsageTotals> {
        self.lines.flush().await?;
        Ok(self.table.with(|table| table.totals(filter, interval)))
    }

    /// Folds every record that was written before this call into `state`, oldest first, and returns the result. Dropping
    /// the future ends the scan at its next record.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn read<T: Send + 'static>(
        &self,
        mut state: T,
        fold: impl Fn(&mut T, UsageRecord) + Send + 'static,
    ) -> io::Result<T> {
        let permit = Arc::clone(&self.readers).acquire_owned().await;
        let files = self.lines.files().await?;
        let left = CancellationToken::new();
        let _reader = left.clone().drop_guard();
        tokio::task::spawn_blocking(move || {
            // Held by the scan, not by its reader: a reader that leaves does not end the work at once.
            let _permit = permit;
            for file in files {
                read_lines(file, |line| {
                    if left.is_cancelled() {
                        return Err(io::ErrorKind::Interrupted.into());
                    }
                    // An invalid line is skipped.
                    if let Ok(record) = serde_json::from_slice(line) {
                        fold(&mut state, record);
                    }
                    Ok(())
                })?;
            }
            Ok(state)
        })
        .await
        .map_err(io::Error::other)?
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::path::Path;
    use std::sync::mpsc;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;
    use crate::telemetry::{TokenSource, UsageRow};

    fn record(ts: u64, client: &str) -> UsageRecord {
        UsageRecord {
            ts,
            request_id: "r".into(),
            client: client.into(),
            route: "/v1/chat/completions".into(),
            requested_model: "codex-5".into(),
            effective_model: "gpt-5".into(),
            stream: true,
            prompt_tokens: ts,
            cached_tokens: 4,
            completion_tokens: 5,
            reasoning_tokens: 2,
            total_tokens: ts + 5,
            token_source: TokenSource::Reported,
            duration_ms: 7,
            time_to_first_token_ms: Some(3),
            status: 200,
            finish_reason: None,
            error: ts.is_multiple_of(3).then(|| "codex_failed".to_owned()),
        }
    }

    fn config(directory: &Path, max_bytes: u64) -> UsageLogConfig {
        UsageLogConfig {
            path: directory.join("usage.ndjson"),
            max_bytes: NonZeroU64::new(max_bytes),
        }
    }

    /// Checks the sums of the table against those of a scan of both files.
    async fn check_sums(log: &UsageLog) {
        for client in [None, Some("a"), Some("b"), Some("missing")] {
            for times in [0..u64::MAX, 3..7] {
                for interval in [None, Some(Interval::Hour)] {
                    let filter = UsageFilter {
                        times: times.clone(),
                        client: client.map(str::to_owned),
                    };
                    let sums = log.totals(&filter, interval).await.unwrap();
                    let selected = move |totals: &mut UsageTotals, record: UsageRecord| {
                        if filter.matches(&record) {
                            totals.add(UsageRow::from(&record), interval);
                        }
                    };
                    let scanned = log.read(UsageTotals::default(), selected).await;
                    assert_eq!(sums, scanned.unwrap(), "{client:?} {times:?}");
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn sums_are_those_of_a_scan_under_rotation_and_after_a_restart(
            runs in prop::collection::vec(prop::collection::vec((0_u64..10, "[ab]"), 0..12), 1..4),
            max_bytes in 300_u64..2000,
        ) {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
            let directory = tempfile::tempdir().unwrap();
            runtime.block_on(async {
                for records in runs {
                    let (log, writer) = UsageLog::open(&config(directory.path(), max_bytes)).unwrap();
                    let writer = tokio::task::spawn_blocking(|| writer.run());
                    check_sums(&log).await;
                    for (ts, client) in records {
                        log.write(&record(ts, &client));
                        check_sums(&log).await;
                    }
                    drop(log);
                    writer.await.unwrap();
                    // A crash in the middle of a line.
                    let mut file = std::fs::File::options().append(true).open(directory.path().join("usage.ndjson")).unwrap();
                    std::io::Write::write_all(&mut file, b"{\"ts\":").unwrap();
                }
            });
        }
    }

    #[tokio::test]
    async fn sums_have_the_records_of_a_predecessor_that_writes_to_the_same_file() {
        let directory = tempfile::tempdir().unwrap();
        // About four records a file, so that both of them rotate it.
        let config = config(directory.path(), 1500);
        let open = || {
            let (log, writer) = UsageLog::open(&config).unwrap();
            (log, tokio::task::spawn_blocking(|| writer.run()))
        };
        let (predecessor, predecessor_writer) = open();
        predecessor.write(&record(1, "a"));
        check_sums(&predecessor).await;
        let (successor, successor_writer) = open();
        for ts in 1..20 {
            predecessor.write(&record(ts, "a"));
            check_sums(&predecessor).await;
            check_sums(&successor).await;
            successor.write(&record(ts, "b"));
            check_sums(&successor).await;
        }
        drop(predecessor);
        predecessor_writer.await.unwrap();
        check_sums(&successor).await;
        drop(successor);
        successor_writer.await.unwrap();
    }

    #[tokio::test]
    async fn scan_holds_its_permit_and_ends_once_its_reader_has_left() {
        let directory = tempfile::tempdir().unwrap();
        let (log, writer) = UsageLog::open(&config(directory.path(), 1 << 20)).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        for ts in 0..100 {
            log.write(&record(ts, "a"));
        }
        let (started, mut has_started) = tokio::sync::mpsc::channel(1);
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let folded = Arc::new(Mutex::new(0));
        let count = Arc::clone(&folded);
        let scan = log.read((), move |(), _record| {
            *count.lock().unwrap() += 1;
            started.try_send(()).ok();
            may_go_on.lock().unwrap().recv().ok();
        });
        tokio::select! {
            result = scan => panic!("the scan waits: {result:?}"),
            begun = has_started.recv() => begun.unwrap(),
        }
        assert_eq!(log.readers.available_permits(), READERS - 1);
        drop(go_on);
        let all = Arc::clone(&log.readers).acquire_many_owned(2);
        drop(
            tokio::time::timeout(Duration::from_secs(20), all)
                .await
                .expect("the scan ends"),
        );
        assert_eq!(
            *folded.lock().unwrap(),
            1,
            "the reader left at the first record"
        );
        drop(log);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn log_that_cannot_be_read_back_has_no_sums() {
        let config = UsageLogConfig {
            path: "/dev/null".into(),
            max_bytes: None,
        };
        let (log, writer) = UsageLog::open(&config).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        log.write(&record(1, "a"));
        check_sums(&log).await;
        drop(log);
        writer.await.unwrap();
    }
}
