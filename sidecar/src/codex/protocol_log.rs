//! A log of the lines between the sidecar and its children, for debugging a protocol.
//! Each text is replaced by its length, so that no prompt, completion or credential reaches the log.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::Value;

use crate::telemetry::rotating_log::RotatingLog;

/// Fields with protocol constants, ids, or model names as their values, which stay readable.
const KEPT: [&str; 19] = [
    "approvalPolicy",
    "approval_policy",
    "callId",
    "call_id",
    "effort",
    "id",
    "itemId",
    "jsonrpc",
    "method",
    "mode",
    "model",
    "phase",
    "role",
    "status",
    "threadId",
    "thread_id",
    "turnId",
    "type",
    "version",
];

/// The protocol log, if the operator has enabled one.
#[derive(Debug, Clone, Default)]
pub struct ProtocolLog(Option<RotatingLog>);

#[derive(Serialize)]
struct LogRecord<'a> {
    /// Milliseconds since the Unix epoch.
    ts: u64,
    pid: i32,
    from: &'static str,
    line: RedactedLine<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum RedactedLine<'a> {
    Json(Value),
    Other { not_json_bytes: &'a usize },
}

impl ProtocolLog {
    /// Creates a protocol log that writes to `log`.
    pub fn new(log: RotatingLog) -> Self {
        Self(Some(log))
    }

    /// Returns the log of the connection to the child `pid`.
    pub(super) fn connection(&self, pid: i32) -> ConnectionLog {
        ConnectionLog {
            log: self.0.clone(),
            pid,
        }
    }
}

/// The protocol log of the connection to one child.
#[derive(Debug)]
pub(super) struct ConnectionLog {
    log: Option<RotatingLog>,
    pid: i32,
}

impl ConnectionLog {
    /// Logs a line that the sidecar received from the child.
    pub(super) fn received(&self, line: &[u8]) {
        self.write("codex", line);
    }

    /// Logs a line that the sidecar sent to the child.
    pub(super) fn sent(&self, line: &[u8]) {
        self.write("sidecar", line);
    }

    fn write(&self, from: &'static str, line: &[u8]) {
        // Checked first: without a log, lines are not parsed a second time.
        let Some(log) = &self.log else { return };
        let bytes = line.len();
        let redacted = match serde_json::from_slice(line) {
            Ok(mut value) => {
                redact(&mut value);
                RedactedLine::Json(value)
            }
            // The length only: an invalid line may contain a prompt.
            Err(_) => RedactedLine::Other {
                not_json_bytes: &bytes,
            },
        };
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let record = LogRecord {
            ts: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
            pid: self.pid,
            from,
            line: redacted,
        };
        log.write(serde_json::to_vec(&record).expect("the keys are strings and no part fails"));
    }
}

/// Replaces each text by its length, except for the texts of `KEPT` fields.
fn redact(value: &mut Value) {
    match value {
        Value::String(text) => {
            *value = Value::String(format!("[{} characters]", text.chars().count()))
        }
        Value::Array(values) => values.iter_mut().for_each(redact),
        // A kept field with an object or array as its value is redacted like any other.
        Value::Object(fields) => fields
            .iter_mut()
            .filter(|(name, value)| !(value.is_string() && KEPT.contains(&name.as_str())))
            .for_each(|(_, value)| redact(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn texts_are_redacted_and_protocol_fields_are_kept() {
        let mut line = json!({
            "id": 7, "method": "item/agentMessage/delta",
            "params": {"threadId": "t-1", "delta": "secret", "words": ["more", {"text": "geheim"}]},
        });
        redact(&mut line);
        let expected = json!({
            "id": 7, "method": "item/agentMessage/delta",
            "params": {"threadId": "t-1", "delta": "[6 characters]", "words": ["[4 characters]", {"text": "[6 characters]"}]},
        });
        assert_eq!(line, expected);
    }
}
