//! Envoy's output: the access log on stdout, other logs on stderr.
//! Follows `access_log` in `envoy/envoy.yaml`: one JSON object a line.

use std::sync::{Arc, Mutex};

use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};

/// The lines read so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    access: Mutex<Vec<Value>>,
    stderr: Mutex<String>,
}

impl Log {
    /// The access log's entries.
    pub(super) fn access(&self) -> Vec<Value> {
        self.access.lock().expect("no holder panics").clone()
    }

    /// The lines of stderr.
    pub(super) fn stderr(&self) -> String {
        self.stderr.lock().expect("no holder panics").clone()
    }

    /// Adds a line of stdout.
    pub(super) fn add_access(&self, line: &str) {
        let entry = serde_json::from_str(line).unwrap_or_else(|_| panic!("not JSON: {line}"));
        self.access.lock().expect("no holder panics").push(entry);
    }

    /// Adds a line of stderr.
    pub(super) fn add_stderr(&self, line: &str) {
        let mut stderr = self.stderr.lock().expect("no holder panics");
        stderr.push_str(line);
        stderr.push('\n');
    }
}

/// Passes every line of `stream` to `add`.
pub(super) async fn read_lines(stream: impl AsyncRead + Unpin, log: Arc<Log>, add: fn(&Log, &str)) {
    let mut lines = BufReader::new(stream).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        add(&log, &line);
    }
}
