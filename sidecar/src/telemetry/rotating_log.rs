//! A log file of lines with one writer thread, rotation by size, and any number of readers.
//! Lines are written whole, in one call. A partial line that a crash left is terminated, so that readers can skip it.

use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::num::NonZeroU64;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{mpsc, oneshot};

use crate::private_dir;

/// Capacity of the queue to the writer, in lines. A line that finds the queue full is dropped.
const QUEUE: usize = 4096;

/// Maximum length of a line that is read, in bytes; records have less than a thousand.
const MAX_LINE: u64 = 64 << 10;

/// Maximum number of lines in one write call.
const BATCH: usize = 256;

/// Observes the lines that the files hold: each one that is found at the start or later, without its newline. During an
/// upgrade two sidecars write to one file.
pub trait LineObserver: std::fmt::Debug + Send {
    /// Whether the writer reads the lines back to show them.
    const READS_LINES: bool = true;

    /// Processes a line of the current file.
    fn on_line(&mut self, line: &[u8]);

    /// Processes a rotation: the lines so far are those of the rotated file, and the earlier rotated file is gone.
    fn on_rotation(&mut self);
}

/// The observer of a log that needs none.
impl LineObserver for () {
    const READS_LINES: bool = false;

    fn on_line(&mut self, _line: &[u8]) {}

    fn on_rotation(&mut self) {}
}

/// A handle to the log. The writer ends when the last handle is dropped.
#[derive(Debug, Clone)]
pub struct RotatingLog {
    commands: mpsc::Sender<WriterCommand>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum WriterCommand {
    /// Append a line, given without its newline.
    Write(Vec<u8>),
    /// Open the files with everything written so far, oldest first.
    Read(oneshot::Sender<io::Result<Vec<File>>>),
    /// Report that everything queued so far is written.
    Flush(oneshot::Sender<()>),
}

impl RotatingLog {
    /// Opens the log and creates its directory. At `max_bytes` the file is renamed to `path` with the suffix `.1`,
    /// replacing the previous one. Run the writer on its own thread; it also calls `observer`.
    ///
    /// # Errors
    /// The file cannot be opened for writing.
    pub fn open<O: LineObserver>(
        path: &Path,
        max_bytes: Option<NonZeroU64>,
        observer: O,
    ) -> io::Result<(Self, LogWriter<O>)> {
        if let Some(directory) = path.parent() {
            private_dir::create(directory)?;
        }
        let (commands, received) = mpsc::channel(QUEUE);
        let log = Self {
            commands,
            lost: Arc::default(),
        };
        let file = LogFile::open(path, max_bytes)?;
        let writer = LogWriter {
            commands: received,
            file,
            observer,
        };
        Ok((log, writer))
    }

    /// Queues a line without waiting. When the queue is full because the disk is slow, the line is dropped and counted.
    pub fn write(&self, line: Vec<u8>) {
        if self.commands.try_send(WriterCommand::Write(line)).is_err() {
            let lost = self.lost.fetch_add(1, Ordering::Relaxed) + 1;
            tracing::error!(lost, "log line dropped, writer queue full");
        }
    }

    /// Opens the files with all lines that were written before this call, oldest first.
    ///
    /// # Errors
    /// A file cannot be opened; or `BrokenPipe` when the writer has ended.
    pub async fn files(&self) -> io::Result<Vec<File>> {
        let ended = || io::Error::from(io::ErrorKind::BrokenPipe);
        let (reply, files) = oneshot::channel();
        self.commands
            .send(WriterCommand::Read(reply))
            .await
            .map_err(|_| ended())?;
        files.await.map_err(|_| ended())?
    }

    /// Waits until the lines that were queued before this call are written, and observed.
    ///
    /// # Errors
    /// `BrokenPipe` when the writer has ended.
    pub async fn flush(&self) -> io::Result<()> {
        let ended = |()| io::Error::from(io::ErrorKind::BrokenPipe);
        let (reply, written) = oneshot::channel();
        let flush = WriterCommand::Flush(reply);
        self.commands.send(flush).await.map_err(|_| ended(()))?;
        written.await.map_err(|_| ended(()))
    }
}

/// The writer of the log.
#[derive(Debug)]
pub struct LogWriter<O> {
    commands: mpsc::Receiver<WriterCommand>,
    file: LogFile,
    observer: O,
}

impl<O: LineObserver> LogWriter<O> {
    /// Writes until the last handle is dropped. Blocks the thread.
    pub fn run(mut self) {
        self.file.observe(&mut self.observer);
        let mut commands = Vec::with_capacity(BATCH);
        let mut lines = Vec::new();
        while self.commands.blocking_recv_many(&mut commands, BATCH) > 0 {
            for command in commands.drain(..) {
                match command {
                    WriterCommand::Write(line) => {
                        lines.extend(line);
                        lines.push(b'\n');
                    }
                    WriterCommand::Read(reply) => {
                        // First the lines that were queued before this command.
                        self.file.append(&mut lines, &mut self.observer);
                        reply.send(self.file.open_files()).ok(); // The reader may have left.
                    }
                    WriterCommand::Flush(reply) => {
                        self.file.append(&mut lines, &mut self.observer);
                        self.file.follow(&mut self.observer);
                        self.file.observe_new(&mut self.observer);
                        reply.send(()).ok(); // As above.
                    }
                }
            }
            self.file.append(&mut lines, &mut self.observer);
        }
    }
}

/// The current file and, by its name, the rotated one.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    /// Bytes at the start of the file whose lines the observer has seen.
    observed: u64,
    /// `None` also for a file that cannot be rotated, such as a device.
    max_bytes: Option<NonZeroU64>,
    /// Whether lines can be read back; false for a device such as `/dev/null`.
    is_regular: bool,
    /// Whether the file may end in a partial line, after a failed write or a crash.
    is_torn: bool,
}

impl LogFile {
    fn open(path: &Path, max_bytes: Option<NonZeroU64>) -> io::Result<Self> {
        let mut file = open(path)?;
        let metadata = file.metadata()?;
        let is_torn = metadata.is_file() && !ends_in_newline(&mut file)?;
        Ok(Self {
            path: path.to_owned(),
            bytes: metadata.len(),
            observed: 0,
            max_bytes: max_bytes.filter(|_| metadata.is_file()),
            is_regular: metadata.is_file(),
            file,
            is_torn,
        })
    }

    /// Appends whole lines and clears `lines`. Lines of a failed write are dropped; a series of failures is logged once.
    fn append(&mut self, lines: &mut Vec<u8>, observer: &mut impl LineObserver) {
        if lines.is_empty() {
            return;
        }
        self.follow(observer);
        let full = self.bytes + lines.len() as u64;
        if self.bytes > 0 && self.max_bytes.is_some_and(|max| full > max.get()) {
            self.rotate(observer);
        }
        if self.is_torn {
            lines.insert(0, b'\n');
        }
        match self.file.write_all(lines) {
            Ok(()) => {
                self.is_torn = false;
                self.observe_new(observer);
            }
            Err(error) if !self.is_torn => {
                tracing::error!(%error, path = %self.path.display(), "log write failed");
                self.is_torn = true;
            }
            Err(_) => {}
        }
        self.bytes += lines.len() as u64;
        lines.clear();
    }

    /// Renames the current file to `.1`, replacing the previous one, and opens a new file.
    fn rotate(&mut self, observer: &mut impl LineObserver) {
        self.observe_new(observer);
        let renamed = std::fs::rename(&self.path, rotated(&self.path));
        if renamed.is_ok() {
            observer.on_rotation();
        }
        match renamed.and_then(|()| open(&self.path)) {
            Ok(file) => {
                self.observed = 0;
                let rotated = std::mem::replace(&mut self.file, file);
                rotated.sync_all().ok(); // Best effort: the lines are written, whatever a later crash keeps.
            }
            Err(error) => tracing::error!(%error, "log rotation failed"),
        }
        // After a failure too: the next attempt comes after another `max_bytes`, not with every line.
        self.bytes = 0;
    }

    /// Opens the file of this name if another process has rotated it: the predecessor, which drains during an upgrade.
    fn follow(&mut self, observer: &mut impl LineObserver) {
        let is_same =
            |found: Metadata, own: Metadata| (found.dev(), found.ino()) == (own.dev(), own.ino());
        let found = std::fs::metadata(&self.path)
            .and_then(|found| Ok(is_same(found, self.file.metadata()?)));
        if !self.is_regular || found.unwrap_or(true) {
            return;
        }
        self.observe_new(observer);
        match Self::open(&self.path, self.max_bytes) {
            Ok(file) => {
                *self = file;
                observer.on_rotation();
                self.observe_new(observer);
            }
            Err(error) => tracing::error!(%error, path = %self.path.display(), "log open failed"),
        }
    }

    /// Shows the lines of both files to the observer.
    fn observe<O: LineObserver>(&mut self, observer: &mut O) {
        if !self.is_regular || !O::READS_LINES {
            return;
        }
        match File::open(rotated(&self.path)) {
            Ok(older) => self.report(read_lines(older, |line| {
                observer.on_line(line);
                Ok(())
            })),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => self.report(Err(error)),
        }
        observer.on_rotation();
        self.observe_new(observer);
    }

    /// Shows the lines to the observer that were appended since the last call, by this process or another one.
    fn observe_new<O: LineObserver>(&mut self, observer: &mut O) {
        if self.is_regular && O::READS_LINES {
            let read = self.read_new(observer);
            self.report(read);
        }
    }

    fn read_new(&mut self, observer: &mut impl LineObserver) -> io::Result<()> {
        // Appending does not depend on the position.
        self.file.seek(SeekFrom::Start(self.observed))?;
        let mut reader = BufReader::new(&self.file);
        let mut line = Vec::new();
        loop {
            line.clear();
            let length = (&mut reader).take(MAX_LINE).read_until(b'\n', &mut line)? as u64;
            // The end of the file, or a line that is not whole yet.
            if !line.ends_with(b"\n") && length < MAX_LINE {
                return Ok(());
            }
            self.observed += length;
            observer.on_line(line.strip_suffix(b"\n").unwrap_or(&line));
        }
    }

    fn report(&self, read: io::Result<()>) {
        if let Err(error) = read {
            tracing::error!(%error, path = %self.path.display(), "log read failed");
        }
    }

    /// Opens both files. The open files are not affected by a later rotation.
    fn open_files(&self) -> io::Result<Vec<File>> {
        let older = match File::open(rotated(&self.path)) {
            Ok(file) => Some(file),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(error),
        };
        let current = File::open(&self.path)?;
        Ok(older.into_iter().chain([current]).collect())
    }
}

/// Reads the lines of a file, each without its newline, until `on_line` fails. A line beyond [`MAX_LINE`] is read in
/// pieces.
pub(super) fn read_lines(
    file: File,
    mut on_line: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut file = BufReader::with_capacity(256 << 10, file);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = (&mut file).take(MAX_LINE).read_until(b'\n', &mut line)?;
        if read == 0 {
            return Ok(());
        }
        on_line(line.strip_suffix(b"\n").unwrap_or(&line))?;
    }
}

/// Opens the file with mode 0600, because the records show the activity of clients.
fn open(path: &Path) -> io::Result<File> {
    let mut options = File::options();
    options.read(true).append(true).create(true).mode(0o600);
    options.open(path)
}

fn rotated(path: &Path) -> PathBuf {
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

    /// Opens the log in `directory`, writes `lines`, and returns the text of all files.
    async fn write_and_read(directory: &Path, max_bytes: u64, lines: &[&str]) -> String {
        let path = directory.join("below/log");
        let (log, writer) = RotatingLog::open(&path, NonZeroU64::new(max_bytes), ()).unwrap();
        let writer = tokio::task::spawn_blocking(|| writer.run());
        for line in lines {
            log.write(line.as_bytes().to_vec());
            log.files().await.unwrap(); // Each line becomes its own batch.
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
    async fn written_lines_survive_a_restart_in_a_private_file() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(
            write_and_read(directory.path(), 0, &["1", "2"]).await,
            "1\n2\n"
        );
        assert_eq!(
            write_and_read(directory.path(), 0, &["3"]).await,
            "1\n2\n3\n"
        );
        let file = std::fs::metadata(directory.path().join("below/log")).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::mode(&file.permissions());
        assert_eq!(mode & 0o777, 0o600);
    }

    #[tokio::test]
    async fn partial_line_of_a_crash_does_not_corrupt_the_next_line() {
        let directory = tempfile::tempdir().unwrap();
        write_and_read(directory.path(), 0, &["one"]).await;
        std::fs::write(directory.path().join("below/log"), "one\ntw").unwrap();
        let read = write_and_read(directory.path(), 0, &["three"]).await;
        assert_eq!(read, "one\ntw\nthree\n");
    }

    #[tokio::test]
    async fn full_file_is_rotated_and_replaces_the_previous_one() {
        let directory = tempfile::tempdir().unwrap();
        let lines = ["1", "2", "3", "4", "5"];
        assert_eq!(
            write_and_read(directory.path(), 4, &lines).await,
            "3\n4\n5\n"
        );
        let read = |name: &str| std::fs::read_to_string(directory.path().join("below").join(name));
        assert_eq!(
            (read("log.1").unwrap(), read("log").unwrap()),
            ("3\n4\n".into(), "5\n".into())
        );
    }

    #[test]
    fn device_is_never_rotated() {
        let mut file = LogFile::open(Path::new("/dev/null"), NonZeroU64::new(1)).unwrap();
        for _ in 0..3 {
            file.append(&mut b"line\n".to_vec(), &mut ());
        }
        assert!(file.max_bytes.is_none() && !Path::new("/dev/null.1").exists());
    }
}
