//! The trace id of a request, which connects its log lines with a trace.
//! W3C Trace Context, section 3.2 ("traceparent").

use http::{HeaderMap, HeaderName};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Returns the trace id of the caller, from its `traceparent`; `None` without a valid one.
pub fn caller_trace_id(headers: &HeaderMap) -> Option<&str> {
    trace_id(headers.get(TRACEPARENT)?.to_str().ok()?)
}

/// Returns the trace id of a `traceparent` header; `None` when the header is invalid. Later versions may append fields.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    let mut fields = traceparent.splitn(4, '-');
    let (version, trace, parent) = (fields.next()?, fields.next()?, fields.next()?);
    let flags = fields.next()?;
    // Version 00 has exactly four fields; `flags` would contain the rest of a longer header.
    let known = version != "00" || flags.len() == 2;
    let valid = is_hex(version, 2)
        && version != "ff"
        && is_hex(trace, 32)
        && is_hex(parent, 16)
        && flags.get(..2).is_some_and(|flags| is_hex(flags, 2));
    let zero = |id: &str| id.bytes().all(|digit| digit == b'0');
    (known && valid && !zero(trace) && !zero(parent)).then_some(trace)
}

fn is_hex(text: &str, digits: usize) -> bool {
    let lower = |digit: u8| digit.is_ascii_digit() || (b'a'..=b'f').contains(&digit);
    text.len() == digits && text.bytes().all(lower)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trace_id_is_read_from_valid_traceparents_only() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        for (text, expected) in [
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                Some(TRACE),
            ),
            (
                "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what-the-future",
                Some(TRACE),
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                None,
            ),
            (
                "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                None,
            ),
            (
                "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                None,
            ),
            ("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7", None),
            ("00-4bf92f3577b34da6-00f067aa0ba902b7-01", None),
            ("", None),
        ] {
            assert_eq!(trace_id(text), expected, "{text}");
        }
    }
}
