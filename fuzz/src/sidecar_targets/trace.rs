//! `traceparent`: an accepted trace id can be written to a log line unchanged.

use sidecar::telemetry::trace_context::trace_id;

pub(crate) fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    if let Some(id) = trace_id(text) {
        assert_eq!(text.get(3..35), Some(id));
        let digits = id
            .bytes()
            .all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'));
        assert!(digits && id.bytes().any(|digit| digit != b'0'), "{id:?}");
    }
}
