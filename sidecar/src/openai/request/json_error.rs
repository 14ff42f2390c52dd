//! Errors of a body that is not JSON or has a field of the wrong type, in the words of JSON and of the OpenAI API.
//! serde and serde_json name Rust's types in their messages and have no other interface, so the messages are read here.

use std::fmt::{self, Write};
use std::str::Utf8Error;

use serde_json::error::Category;
use serde_path_to_error::{Path, Segment};

use crate::openai::response::error::ApiError;

/// Code of a body that is not JSON.
const INVALID_JSON: &str = "invalid_json";

/// Returns the rejection of a body; `path` is the place of the error.
pub(super) fn rejection(error: &serde_json::Error, path: &Path) -> ApiError {
    let position = format!(" at line {} column {}", error.line(), error.column());
    let text = error.to_string();
    let message = text.strip_suffix(&position).unwrap_or(&text);
    let path = written(path);
    if error.classify() == Category::Data {
        wrong_field(message, path)
    } else {
        not_json(error, message, path)
    }
}

/// Returns the rejection of a body that is not UTF-8.
pub(super) fn not_utf8(error: Utf8Error) -> ApiError {
    let at = error.valid_up_to();
    let text = format!("Invalid JSON in the request body: byte {at} is not UTF-8.");
    ApiError::bad_request(INVALID_JSON, text)
}

/// The path in the form of OpenAI's `param`. Segments that serde does not know are left out.
fn written(path: &Path) -> String {
    let mut text = String::new();
    for segment in path {
        // Writing to a `String` cannot fail.
        let _ = match segment {
            Segment::Seq { index } => write!(text, "[{index}]"),
            Segment::Map { key: name } | Segment::Enum { variant: name } => {
                let dot = if text.is_empty() { "" } else { "." };
                write!(text, "{dot}{name}")
            }
            Segment::Unknown => Ok(()),
        };
    }
    text
}

fn wrong_field(message: &str, path: String) -> ApiError {
    if let Some(name) = quoted_after(message, "missing field ") {
        let field = inside(&path, name);
        return ApiError::invalid(format!("Missing `{field}`.")).at(field);
    }
    if let Some(name) = quoted_after(message, "duplicate field ") {
        // serde has entered the second field when it finds the first.
        let parent = path.strip_suffix(name).unwrap_or(&path);
        let field = inside(parent.trim_end_matches('.'), name);
        return ApiError::invalid(format!("`{field}` must not be given twice.")).at(field);
    }
    let subject = if path.is_empty() {
        "The request body".to_owned()
    } else {
        format!("`{path}`")
    };
    let text = match message.rsplit_once(", expected ") {
        Some((found, expected)) => {
            format!(
                "{subject} must be {}, not {}.",
                accepted(expected),
                sent(found)
            )
        }
        // The `expecting` of an untagged enum, which does not say what was sent.
        None => match message.strip_prefix("expected ") {
            Some(expected) => format!("{subject} must be {expected}."),
            None => format!("Invalid {subject}: {message}."),
        },
    };
    let error = ApiError::invalid(text);
    if path.is_empty() {
        error
    } else {
        error.at(path)
    }
}

fn quoted_after<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    let quoted = message.strip_prefix(prefix)?;
    quoted.strip_prefix('`')?.strip_suffix('`')
}

fn inside(path: &str, name: &str) -> String {
    if path.is_empty() {
        name.to_owned()
    } else {
        format!("{path}.{name}")
    }
}

/// The type that serde expected, as JSON names it.
fn accepted(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "i8" | "i16" | "i32" | "i64" | "isize" => "an integer",
        "u8" | "u16" | "u32" | "u64" | "usize" => "an integer of at least 0",
        "a sequence" => "an array",
        "a map" | "an object" => "an object",
        other if other.starts_with("struct ") => "an object",
        other => other,
    }
}

/// The value that serde found, such as `` invalid type: integer `7` ``. The text of a string is left out: it may be long.
fn sent(found: &str) -> &str {
    // An array in place of a struct, whose fields serde would take in order.
    if found.starts_with("invalid length") {
        return "an array";
    }
    let (_, value) = found.split_once(": ").unwrap_or(("", found));
    let number = value.split('`').nth(1);
    match value.split([' ', '`']).next() {
        Some("string" | "character") => "a string",
        Some("sequence") => "an array",
        Some("map") => "an object",
        Some("null" | "unit") => "null",
        Some("integer" | "floating" | "boolean") => number.unwrap_or("a number"),
        _ => "this value",
    }
}

fn not_json(error: &serde_json::Error, message: &str, path: String) -> ApiError {
    if is_lone_surrogate(message) && !path.is_empty() {
        return lone_surrogate(path);
    }
    let reason = Reason(message);
    let (line, column) = (error.line(), error.column());
    let text = format!("Invalid JSON in the request body, line {line}, column {column}: {reason}.");
    ApiError::bad_request(INVALID_JSON, text)
}

/// Whether serde_json's message is about half of a surrogate pair. It names the half in one way if text follows, and in
/// the other if an escape follows.
fn is_lone_surrogate(message: &str) -> bool {
    message.contains("surrogate") || message.contains("unexpected end of hex escape")
}

/// Returns the rejection of a value at `path` whose text serde_json kept unread until `error`, if that is about half of a
/// surrogate pair.
pub(super) fn surrogate_in_value(error: &serde_json::Error, path: &str) -> Option<ApiError> {
    is_lone_surrogate(&error.to_string()).then(|| lone_surrogate(path.to_owned()))
}

fn lone_surrogate(path: String) -> ApiError {
    let text = format!(
        "Invalid JSON in the request body: `{path}` has a lone surrogate, an escape such as \\ud83d that is half of a character. Send both halves, or the character itself."
    );
    ApiError::bad_request(INVALID_JSON, text).at(path)
}

/// The reason for which a text is not JSON (RFC 8259).
struct Reason<'a>(&'a str);

impl fmt::Display for Reason<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            message if message.starts_with("EOF while parsing") => {
                "the body ends before the value is complete"
            }
            "trailing characters" => "text follows the end of the value",
            "recursion limit exceeded" => "the value is nested too deeply",
            "key must be a string" => "a name must be a string in double quotes",
            "expected value" | "expected ident" => {
                "a value must be an object, an array, a string, a number, true, false or null"
            }
            "invalid number" | "number out of range" => "invalid number",
            "trailing comma" => "a comma must not follow the last element",
            message if message.starts_with("control character") => {
                "a control character in a string must be escaped"
            }
            message if message.contains("surrogate") || message.contains("hex escape") => {
                "a \\u escape must have four digits, and a surrogate its other half"
            }
            "invalid escape" => "invalid escape in a string",
            // The marks of the grammar alone: "expected `,` or `}`".
            message if message.starts_with("expected `") => message,
            _ => "the text is not JSON",
        })
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::Value;

    use crate::openai::IgnoredFields;
    use crate::openai::request::body::read;
    use crate::openai::request::fields::StopField;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the types of the fields matter")]
    struct Known {
        known: Option<Value>,
        number: Option<f64>,
        count: Option<u64>,
        flag: Option<bool>,
        names: Option<Vec<String>>,
        inner: Option<Inner>,
        stop: Option<StopField>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only the type of the field matters")]
    struct Inner {
        name: String,
    }

    #[track_caller]
    fn check(body: &[u8], code: &str, param: Option<&str>, message: &str) {
        let error = read::<Known>(body, &mut IgnoredFields::default()).unwrap_err();
        let fields = error.fields();
        assert_eq!((fields.code, fields.param), (code, param), "{error:?}");
        assert_eq!(fields.message, message);
    }

    #[test]
    fn wrong_type_is_named_in_the_words_of_json() {
        for (body, param, message) in [
            (
                r#"{"number":"hot"}"#,
                "number",
                "`number` must be a number, not a string.",
            ),
            (
                r#"{"number":null,"count":"9"}"#,
                "count",
                "`count` must be an integer of at least 0, not a string.",
            ),
            (
                r#"{"count":-1}"#,
                "count",
                "`count` must be an integer of at least 0, not -1.",
            ),
            (
                r#"{"count":1.5}"#,
                "count",
                "`count` must be an integer of at least 0, not 1.5.",
            ),
            (
                r#"{"flag":"a: b, expected f64"}"#,
                "flag",
                "`flag` must be a boolean, not a string.",
            ),
            (
                r#"{"names":["a",7]}"#,
                "names[1]",
                "`names[1]` must be a string, not 7.",
            ),
            (
                r#"{"names":["a",true]}"#,
                "names[1]",
                "`names[1]` must be a string, not true.",
            ),
            (
                r#"{"names":[null]}"#,
                "names[0]",
                "`names[0]` must be a string, not null.",
            ),
            (
                r#"{"names":{}}"#,
                "names",
                "`names` must be an array, not an object.",
            ),
            (
                r#"{"inner":[]}"#,
                "inner",
                "`inner` must be an object, not an array.",
            ),
            (
                r#"{"inner":7}"#,
                "inner",
                "`inner` must be an object, not 7.",
            ),
            (r#"{"inner":{}}"#, "inner.name", "Missing `inner.name`."),
            (
                r#"{"inner":{"name":"a","name":"b"}}"#,
                "inner.name",
                "`inner.name` must not be given twice.",
            ),
            (
                r#"{"count":1,"count":2}"#,
                "count",
                "`count` must not be given twice.",
            ),
            (
                r#"{"stop":7}"#,
                "stop",
                "`stop` must be a string or an array of strings.",
            ),
        ] {
            check(
                body.as_bytes(),
                "invalid_request_error",
                Some(param),
                message,
            );
        }
        let array = "The request body must be an object, not an array.";
        check(b"[]", "invalid_request_error", None, array);
    }

    #[test]
    fn text_that_is_not_json_has_a_reason_without_terms_of_the_parser() {
        for (body, place, reason) in [
            (
                r#"{"known":"#,
                "line 1, column 9",
                "the body ends before the value is complete",
            ),
            (
                "{\"known\":1,\n}",
                "line 2, column 1",
                "a comma must not follow the last element",
            ),
            (
                r#"{"known":1} x"#,
                "line 1, column 13",
                "text follows the end of the value",
            ),
            (
                r#"{"known":hot}"#,
                "line 1, column 10",
                "a value must be an object, an array, a string, a number, true, false or null",
            ),
            (
                "{known:1}",
                "line 1, column 2",
                "a name must be a string in double quotes",
            ),
            (
                r#"{"known":"\x"}"#,
                "line 1, column 12",
                "invalid escape in a string",
            ),
            (
                r#"{"known":1 "x":2}"#,
                "line 1, column 12",
                "expected `,` or `}`",
            ),
        ] {
            let message = format!("Invalid JSON in the request body, {place}: {reason}.");
            check(body.as_bytes(), "invalid_json", None, &message);
        }
    }

    #[test]
    fn lone_surrogate_is_named_with_its_field() {
        for escape in [
            r"cut \ud83d here",
            r"\ud83d",
            r"\ud83d\n",
            r"\ude00",
            r"\ud83d\u0041",
        ] {
            let body = format!(r#"{{"names":["a","{escape}"]}}"#);
            let message = "Invalid JSON in the request body: `names[1]` has a lone surrogate, an escape such as \\ud83d that is half of a character. Send both halves, or the character itself.";
            check(body.as_bytes(), "invalid_json", Some("names[1]"), message);
        }
        let pair = br#"{"names":["\ud83d\ude00"]}"#;
        assert!(read::<Known>(pair, &mut IgnoredFields::default()).is_ok());
    }

    #[test]
    fn text_that_is_not_utf8_is_rejected_in_known_and_unknown_fields() {
        for (body, at) in [
            (&b"{\"known\":\"\xff\"}"[..], 10),
            (b"{\"unknown\":\"\xff\"}", 12),
        ] {
            let message = format!("Invalid JSON in the request body: byte {at} is not UTF-8.");
            check(body, "invalid_json", None, &message);
        }
    }

    #[test]
    fn byte_order_mark_is_skipped_once() {
        let body = "\u{feff}{\"count\":1}";
        assert!(read::<Known>(body.as_bytes(), &mut IgnoredFields::default()).is_ok());
        let twice = format!("\u{feff}{body}");
        assert!(read::<Known>(twice.as_bytes(), &mut IgnoredFields::default()).is_err());
    }
}
