//! Tests of the scanner on hand-written bodies, and against serde_json on generated ones.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{ModelField, ModelScanner, ScanError};

fn scan(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> ModelField {
    let mut scanner = ModelScanner::default();
    for chunk in chunks {
        scanner.feed(chunk.as_ref());
    }
    scanner.finish()
}

/// Checks the result for the body in one chunk and in chunks of several sizes.
fn check(body: impl AsRef<[u8]>, expected: &ModelField) {
    let body = body.as_ref();
    assert_eq!(scan([body]), *expected, "{}", body.escape_ascii());
    for size in [1, 2, 3, 7, 16, 63, 64, 65] {
        let found = scan(body.chunks(size));
        assert_eq!(found, *expected, "{} by {size}", body.escape_ascii());
    }
}

fn check_named(body: &str, model: &str) {
    check(body, &ModelField::Named(model.into()));
}

fn check_invalid(body: impl AsRef<[u8]>, error: ScanError) {
    check(body, &ModelField::Invalid(error));
}

#[test]
fn model_is_found_at_any_position() {
    check_named(r#"{"model":"codex-5"}"#, "codex-5");
    check_named(r#"{"messages":[{"role":"user"}],"model":"m","n":1}"#, "m");
    check_named(
        "\r\n\t { \"a\" : [ 1 , -0.5e+3 , true ] , \"model\"\n:\t\"m\" } ",
        "m",
    );
    check_named(r#"{"model":""}"#, "");
    check_named("\u{feff}{\"model\":\"m\"}", "m");
    check_named(r#"{"model":"é東😀"}"#, "é東😀");
}

#[test]
fn bytes_after_the_model_are_ignored() {
    check_named(r#"{"model":"first","model":"second"}"#, "first");
    check_named(r#"{"model":"first" nonsense"#, "first");
}

#[test]
fn escapes_in_key_and_name_are_decoded() {
    check_named(r#"{"mod\u0065l":"m"}"#, "m");
    check_named(r#"{"\u006D\u006f\u0064\u0065\u006c":"m"}"#, "m");
    check_named(r#"{"model":"\"\\\/\b\f\n\r\t"}"#, "\"\\/\u{8}\u{c}\n\r\t");
    check_named(r#"{"model":"\u0063odex\u002d\ud83d\ude00"}"#, "codex-😀");
    check(r#"{"mod\\u0065l":"m"}"#, &ModelField::Missing);
    check(r#"{"model\u0000":"m"}"#, &ModelField::Missing);
}

#[test]
fn nested_model_is_ignored() {
    check(r#"{"a":{"model":"x"}}"#, &ModelField::Missing);
    check(r#"{"a":[{"model":"x"},["model"]]}"#, &ModelField::Missing);
    check(
        r#"{"a":"model","b":"\"model\":\"x\""}"#,
        &ModelField::Missing,
    );
    check_named(r#"{"a":{"model":1},"b":[{"model":2}],"model":"m"}"#, "m");
}

#[test]
fn string_ends_at_the_first_unescaped_quote() {
    check_named(r#"{"a":"}\"]{\\","model":"m"}"#, "m");
    check_named(r#"{"a":"\\\\\\\"","model":"m"}"#, "m");
    check_invalid(r#"{"a":"\\\","model":"m"}"#, ScanError::Malformed);
    for len in 0..200 {
        for end in ["", r#"\""#, r"\\", r#"\\\""#] {
            let text = "x".repeat(len);
            check_named(&format!(r#"{{"a":"{text}{end}","model":"m"}}"#), "m");
        }
    }
}

#[test]
fn absent_or_null_model_is_missing() {
    check("{}", &ModelField::Missing);
    check(" { } \n", &ModelField::Missing);
    check(r#"{"Model":"x","model ":"y"}"#, &ModelField::Missing);
    check(r#"{"model":null}"#, &ModelField::Missing);
    check(r#"{"model" : null , "n":1}"#, &ModelField::Missing);
}

#[test]
fn model_that_is_not_a_string_is_invalid() {
    for value in ["1", "-1", "0", "true", "false", "{}", "[]", r#"["m"]"#] {
        check_invalid(format!(r#"{{"model":{value}}}"#), ScanError::NotAString);
    }
}

#[test]
fn model_name_is_limited_to_256_bytes() {
    let longest = "m".repeat(256);
    let escaped = r"\u006d".repeat(256);
    check_named(&format!(r#"{{"model":"{longest}"}}"#), &longest);
    check_named(&format!(r#"{{"model":"{escaped}"}}"#), &longest);
    check_invalid(format!(r#"{{"model":"{longest}m"}}"#), ScanError::TooLong);
    check_invalid(format!(r#"{{"model":"{escaped}m"}}"#), ScanError::TooLong);
    let key = "model".repeat(10_000);
    check(format!(r#"{{"{key}":"x"}}"#), &ModelField::Missing);
}

#[test]
fn kept_bytes_are_bounded() {
    let mut scanner = ModelScanner::default();
    scanner.feed(br#"{"model":""#);
    let before = format!("{scanner:?}").len();
    for _ in 0..1000 {
        scanner.feed(&[b'm'; 4096]);
    }
    // At most 1537 bytes are kept, each of which `Debug` writes as at most five.
    assert!(format!("{scanner:?}").len() < before + 5 * 1537);
}

#[test]
fn body_that_is_not_an_object_is_invalid() {
    check_invalid("", ScanError::Empty);
    check_invalid(" \n\t\r ", ScanError::Empty);
    for body in ["[]", "1", "null", r#""model""#, "}", "\u{c}{}"] {
        check_invalid(body, ScanError::NotAnObject);
    }
}

#[test]
fn body_that_is_not_json_is_malformed() {
    for body in [&b"\xef{}"[..], b"\xef\xbb{}", b"\xef \xbb\xbf{}"] {
        check_invalid(body, ScanError::Malformed);
    }
    let bodies = [
        "{",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{,}",
        "{]",
        "{}}",
        "{} x",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1}}",
        "{\"a\":{]}",
        "{\"a\":[1 2]}",
        "{\"a\":01}",
        "{\"a\":-}",
        "{\"a\":+1}",
        "{\"a\":.5}",
        "{\"a\":1.}",
        "{\"a\":1.e1}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":0x1}",
        "{\"a\":--1}",
        "{\"a\":1-}",
        "{\"a\":NaN}",
        "{\"a\":tru}",
        "{\"a\":truE}",
        "{\"a\":nul}",
        "{\"a\":nulll}",
        "{\"a\":falsee}",
        "{\"a\":1\u{b}}",
        "{\"a\":1}\0",
        "{/**/}",
        "{\"model\"}",
        "{\"model\":}",
        "{\"model\":nul}",
        "{\"model\":\"m",
        "{\"model\":\"\n\"}",
        "{\"model\":\"\\x\"}",
        "{\"model\":\"\\u12\"}",
        "{\"model\":\"\\ud800\"}",
        "{\"mod\\u65l\":1}",
    ];
    for body in bodies {
        check_invalid(body, ScanError::Malformed);
        assert!(first_model(body.as_bytes()).is_err(), "{body}");
    }
    for octet in (0..0x20).chain([0x80, 0xff]) {
        let body = [br#"{"model":"a"#.as_slice(), &[octet], br#"b"}"#].concat();
        check_invalid(body, ScanError::Malformed);
    }
}

#[test]
fn nesting_limit_is_that_of_serde_json() {
    for (open, close) in [("[", "]"), (r#"{"model":"#, "}")] {
        let nested = |depth| {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            format!(r#"{{"a":{open}1{close},"model":"m"}}"#)
        };
        check_named(&nested(126), "m");
        assert!(first_model(nested(126).as_bytes()).is_ok());
        check_invalid(nested(127), ScanError::TooDeep);
        assert!(first_model(nested(127).as_bytes()).is_err());
    }
}

#[test]
fn first_result_is_final() {
    let mut scanner = ModelScanner::default();
    assert_eq!(scanner.feed(br#"{"model":"#), None);
    let named = ModelField::Named("m".into());
    assert_eq!(scanner.feed(br#""m","#), Some(&named));
    assert_eq!(scanner.feed(b"]]]"), Some(&named));
    assert_eq!(scanner.finish(), named);
}

/// The first top-level `model` of a body as serde_json reads it.
fn first_model(body: &[u8]) -> serde_json::Result<ModelField> {
    let FirstModel(model) = serde_json::from_slice(body)?;
    Ok(match model {
        None | Some(Value::Null) => ModelField::Missing,
        Some(Value::String(model)) if model.len() > 256 => ModelField::Invalid(ScanError::TooLong),
        Some(Value::String(model)) => ModelField::Named(model),
        Some(_) => ModelField::Invalid(ScanError::NotAString),
    })
}

struct FirstModel(Option<Value>);

impl<'de> Deserialize<'de> for FirstModel {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FirstModel(None))
    }
}

impl<'de> Visitor<'de> for FirstModel {
    type Value = Self;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((key, value)) = map.next_entry::<String, Value>()? {
            if key == "model" {
                self.0.get_or_insert(value);
            }
        }
        Ok(self)
    }
}

/// Whether the error is one that the scanner leaves to serde_json: string content, large numbers.
fn is_left_to_serde_json(error: &serde_json::Error) -> bool {
    let reasons = [
        "control character",
        "invalid escape",
        "invalid unicode code point",
        "hex escape",
        "number out of range",
    ];
    let error = error.to_string();
    reasons.iter().any(|reason| error.contains(reason))
}

/// The content of a string: pieces that are hard for a scanner, and any characters.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        Just(r#"\""#.to_owned()),
        Just(r"\\".to_owned()),
        Just(r"\n\/".to_owned()),
        Just(r"\u0041".to_owned()),
        Just(r"\uD83d\ude00".to_owned()),
        Just("{[]},:model".to_owned()),
        "[ -!#-\\[\\]-~]{0,80}",
        "[\u{80}-\u{10ffff}]{0,4}",
    ];
    vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn key() -> impl Strategy<Value = String> {
    let spelled = prop::sample::select(vec!["model", r"mod\u0065l", r"\u006Dodel", "Model", ""]);
    prop_oneof![spelled.prop_map(str::to_owned), text()]
}

fn space() -> impl Strategy<Value = String> {
    "[ \n\r\t]{0,2}"
}

fn object(value: impl Strategy<Value = String>) -> impl Strategy<Value = String> {
    let member = (space(), key(), space(), value)
        .prop_map(|(a, key, b, value)| format!("{a}\"{key}\"{b}:{value}"));
    vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(",")))
}

fn value() -> impl Strategy<Value = String> {
    let leaf = prop_oneof![
        text().prop_map(|text| format!("\"{text}\"")),
        "-?(0|[1-9][0-9]{0,20})(\\.[0-9]{1,4})?([eE][+-]?[0-9]{1,3})?",
        prop::sample::select(vec!["true", "false", "null", "[]", "{ }"]).prop_map(str::to_owned),
    ];
    let nested = leaf.prop_recursive(4, 24, 4, |inner| {
        let array = vec(inner.clone(), 0..4).prop_map(|all| format!("[{}]", all.join(" , ")));
        prop_oneof![array, object(inner)]
    });
    (space(), nested, space()).prop_map(|(a, value, b)| [a, value, b].concat())
}

/// An object with bytes overwritten, removed or inserted at any position.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![
        prop::sample::select(br#"{}[]:,"\tfn0-.eE u"#.to_vec()),
        any::<u8>(),
    ];
    let edits = vec((any::<prop::sample::Index>(), 0..3, byte), 0..4);
    let whole = (space(), object(value()), space());
    (whole, prop_oneof![Just(Vec::new()), edits]).prop_map(|((a, object, b), edits)| {
        let mut body = [a, object, b].concat().into_bytes();
        for (place, edit, byte) in edits {
            let at = place.index(body.len() + 1);
            match edit {
                0 => body.insert(at, byte),
                1 if at < body.len() => body[at] = byte,
                _ => drop(body.splice(at..(at + 1).min(body.len()), [])),
            }
        }
        body
    })
}

/// Cuts a body into chunks of these sizes, repeated.
fn cut<'a>(body: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut rest = body;
    let mut chunks = Vec::new();
    for size in sizes.iter().cycle().take(body.len() + 1) {
        let (chunk, after) = rest.split_at(rest.len().min(*size));
        chunks.push(chunk);
        rest = after;
    }
    chunks
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn result_is_that_of_serde_json(body in body()) {
        let mut scanner = ModelScanner::default();
        let is_early = scanner.feed(&body).is_some();
        let found = scanner.finish();
        match first_model(&body) {
            Ok(expected) => prop_assert_eq!(found, expected),
            Err(error) if is_early || is_left_to_serde_json(&error) => {}
            Err(error) => prop_assert!(matches!(found, ModelField::Invalid(_)), "{error}"),
        }
    }

    #[test]
    fn result_does_not_depend_on_the_chunks(body in body(), sizes in vec(1_usize..100, 1..8)) {
        let found = scan([&body]);
        prop_assert_eq!(scan(body.chunks(1)), found.clone());
        prop_assert_eq!(scan(cut(&body, &sizes)), found);
    }
}
