//! A log of lines: a file that one thread appends to, puts aside when it is full, and that anybody may read.
//! A line is written whole, in one call; what a crash left of the last one is a line of its own for readers to skip.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

/// Lines that may wait for the disk.
const WAITING: usize = 4096;

/// Lines that are written in one call.
const BATCH: usize = 256;

/// The log, as those see it who write to it. The writer ends when the last of them is gone.
#[derive(Debug, Clone)]
pub struct RotatingLog {
    orders: mpsc::Sender<Order>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum Order {
    /// A line without its end.
    Write(Vec<u8>),
    /// All that was written so far, older file first.
    Read(oneshot::Sender<io::Result<Vec<File>>>),
}

impl RotatingLog {
    /// Opens the log, and makes its folder. At `max_bytes` the file becomes `path` with `.1` behind it, in place of
    /// the one before. The writer is to be run on a thread of its own.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn open(path: &Path, max_bytes: Option<NonZeroU64>) -> io::Result<(Self, LineWriter)> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let (orders, received) = mpsc::channel(WAITING);
        let log = Self {
            orders,
            lost: Arc::default(),
        };
        let file = LogFile::open(path, max_bytes)?;
        let writer = LineWriter {
            orders: received,
            file,
        };
        Ok((log, writer))
    }

    /// Appends a line, at once and without waiting: when the disk hangs, it is lost and counted.
    pub fn write(&self, line: Vec<u8>) {
        if self.orders.try_send(Order::Write(line)).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(lost, "a line of a log is lost: the disk is too slow");
        }
    }

    /// The files with all lines that were written before this call, oldest first.
    ///
    /// # Errors
    /// The system's; or `BrokenPipe` when the writer has ended.
    pub async fn files(&self) -> io::Result<Vec<File>> {
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (answer, files) = oneshot::channel();
        let asked = self.orders.send(Order::Read(answer)).await;
        asked.map_err(|_ended| ended())?;
        files.await.map_err(|_ended| ended())?
    }
}

/// The one who writes.
#[derive(Debug)]
pub struct LineWriter {
    orders: mpsc::Receiver<Order>,
    file: LogFile,
}

impl LineWriter {
    /// Writes until nobody is left who could say something, and blocks the thread for it.
    pub fn run(mut self) {
        let mut orders = Vec::with_capacity(BATCH);
        let mut lines = Vec::new();
        while self.orders.blocking_recv_many(&mut orders, BATCH) > 0 {
            for order in orders.drain(..) {
                match order {
                    Order::Write(line) => {
                        lines.extend(line);
                        lines.push(b'\n');
                    }
                    Order::Read(answer) => {
                        self.file.append(&mut lines);
                        let _reader_left = answer.send(self.file.read());
                    }
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
                tracing::error!(%error, path = %self.path.display(), "a log cannot be written");
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
            Err(error) => tracing::error!(%error, "a log cannot be put aside"),
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

/// For its owner alone: it tells who does what, and when.
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

    /// Opens the log in `folder`, writes `lines`, and says what is read.
    async fn write_and_read(folder: &Path, max_bytes: u64, lines: &[&str]) -> String {
        let path = folder.join("below/log");
        let (log, writer) = RotatingLog::open(&path, NonZeroU64::new(max_bytes)).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        for line in lines {
            log.write(line.as_bytes().to_vec());
            log.files().await.unwrap(); // So that each is a batch of its own.
        }
        let mut read = String::new();
        for mut file in log.files().await.unwrap() {
            file.read_to_string(&mut read).unwrap();
        }
        drop(log);
        writer.await.unwrap();
        read
    }

    #[tokio::test]
    async fn what_is_written_is_read_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(
            write_and_read(folder.path(), 0, &["1", "2"]).await,
            "1\n2\n"
        );
        assert_eq!(write_and_read(folder.path(), 0, &["3"]).await, "1\n2\n3\n");
        let file = std::fs::metadata(folder.path().join("below/log")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn a_line_that_a_crash_tore_costs_no_other() {
        let folder = tempfile::tempdir().unwrap();
        write_and_read(folder.path(), 0, &["one"]).await;
        std::fs::write(folder.path().join("below/log"), "one\ntw").unwrap();
        let read = write_and_read(folder.path(), 0, &["three"]).await;
        assert_eq!(read, "one\ntw\nthree\n");
    }

    #[tokio::test]
    async fn a_full_file_is_put_aside_and_the_one_before_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let lines = ["1", "2", "3", "4", "5"];
        assert_eq!(write_and_read(folder.path(), 4, &lines).await, "3\n4\n5\n");
        let read = |name: &str| std::fs::read_to_string(folder.path().join("below").join(name));
        assert_eq!(
            (read("log.1").unwrap(), read("log").unwrap()),
            ("3\n4\n".into(), "5\n".into())
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
