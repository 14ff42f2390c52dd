//! The scanner against hand-written bodies, and against serde_json on generated ones.

use std::fmt;

use proptest::collection::vec;
use proptest::prelude::*;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;

use super::{Fault, Finding, ModelScanner};

fn scan(chunks: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Finding {
    let mut scanner = ModelScanner::default();
    for chunk in chunks {
        scanner.feed(chunk.as_ref());
    }
    scanner.finish()
}

/// Checks the finding for the body in one chunk and in chunks of several sizes.
fn check(body: impl AsRef<[u8]>, expected: &Finding) {
    let body = body.as_ref();
    assert_eq!(scan([body]), *expected, "{}", body.escape_ascii());
    for size in [1, 2, 3, 7, 16, 63, 64, 65] {
        let found = scan(body.chunks(size));
        assert_eq!(found, *expected, "{} by {size}", body.escape_ascii());
    }
}

fn check_named(body: &str, model: &str) {
    check(body, &Finding::Named(model.into()));
}

fn check_refused(body: impl AsRef<[u8]>, fault: Fault) {
    check(body, &Finding::Refused(fault));
}

#[test]
fn the_model_is_found_wherever_it_stands() {
    check_named(r#"{"model":"codex-5"}"#, "codex-5");
    check_named(r#"{"messages":[{"role":"user"}],"model":"m","n":1}"#, "m");
    check_named(
        "\r\n\t { \"a\" : [ 1 , -0.5e+3 , true ] , \"model\"\n:\t\"m\" } ",
        "m",
    );
    check_named(r#"{"model":""}"#, "");
    check_named(r#"{"model":"é東😀"}"#, "é東😀");
}

#[test]
fn what_follows_the_model_is_not_looked_at() {
    check_named(r#"{"model":"first","model":"second"}"#, "first");
    check_named(r#"{"model":"first" nonsense"#, "first");
}

#[test]
fn keys_and_names_may_be_written_with_escapes() {
    check_named(r#"{"mod\u0065l":"m"}"#, "m");
    check_named(r#"{"\u006D\u006f\u0064\u0065\u006c":"m"}"#, "m");
    check_named(r#"{"model":"\"\\\/\b\f\n\r\t"}"#, "\"\\/\u{8}\u{c}\n\r\t");
    check_named(r#"{"model":"\u0063odex\u002d\ud83d\ude00"}"#, "codex-😀");
    check(r#"{"mod\\u0065l":"m"}"#, &Finding::Unnamed);
    check(r#"{"model\u0000":"m"}"#, &Finding::Unnamed);
}

#[test]
fn a_model_further_in_is_not_the_model() {
    check(r#"{"a":{"model":"x"}}"#, &Finding::Unnamed);
    check(r#"{"a":[{"model":"x"},["model"]]}"#, &Finding::Unnamed);
    check(r#"{"a":"model","b":"\"model\":\"x\""}"#, &Finding::Unnamed);
    check_named(r#"{"a":{"model":1},"b":[{"model":2}],"model":"m"}"#, "m");
}

#[test]
fn text_ends_where_its_quote_is_not_escaped() {
    check_named(r#"{"a":"}\"]{\\","model":"m"}"#, "m");
    check_named(r#"{"a":"\\\\\\\"","model":"m"}"#, "m");
    check_refused(r#"{"a":"\\\","model":"m"}"#, Fault::Malformed);
    for len in 0..200 {
        for end in ["", r#"\""#, r"\\", r#"\\\""#] {
            let text = "x".repeat(len);
            check_named(&format!(r#"{{"a":"{text}{end}","model":"m"}}"#), "m");
        }
    }
}

#[test]
fn no_model_is_unnamed() {
    check("{}", &Finding::Unnamed);
    check(" { } \n", &Finding::Unnamed);
    check(r#"{"Model":"x","model ":"y"}"#, &Finding::Unnamed);
    check(r#"{"model":null}"#, &Finding::Unnamed);
    check(r#"{"model" : null , "n":1}"#, &Finding::Unnamed);
}

#[test]
fn a_model_that_is_no_text_is_refused() {
    for value in ["1", "-1", "0", "true", "false", "{}", "[]", r#"["m"]"#] {
        check_refused(format!(r#"{{"model":{value}}}"#), Fault::NotText);
    }
}

#[test]
fn a_name_has_at_most_256_bytes() {
    let longest = "m".repeat(256);
    let escaped = r"\u006d".repeat(256);
    check_named(&format!(r#"{{"model":"{longest}"}}"#), &longest);
    check_named(&format!(r#"{{"model":"{escaped}"}}"#), &longest);
    check_refused(format!(r#"{{"model":"{longest}m"}}"#), Fault::TooLong);
    check_refused(format!(r#"{{"model":"{escaped}m"}}"#), Fault::TooLong);
    let key = "model".repeat(10_000);
    check(format!(r#"{{"{key}":"x"}}"#), &Finding::Unnamed);
}

#[test]
fn what_is_kept_is_bounded() {
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
fn a_body_that_is_no_object_is_refused() {
    check_refused("", Fault::Empty);
    check_refused(" \n\t\r ", Fault::Empty);
    for body in [
        "[]",
        "1",
        "null",
        r#""model""#,
        "}",
        "\u{feff}{}",
        "\u{c}{}",
    ] {
        check_refused(body, Fault::NotAnObject);
    }
}

#[test]
fn a_body_that_is_no_json_is_refused() {
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
        check_refused(body, Fault::Malformed);
        assert!(first_model(body.as_bytes()).is_err(), "{body}");
    }
    for octet in (0..0x20).chain([0x80, 0xff]) {
        let body = [br#"{"model":"a"#.as_slice(), &[octet], br#"b"}"#].concat();
        check_refused(body, Fault::Malformed);
    }
}

#[test]
fn nesting_ends_where_it_ends_for_serde_json() {
    for (open, close) in [("[", "]"), (r#"{"model":"#, "}")] {
        let nested = |depth| {
            let (open, close) = (open.repeat(depth), close.repeat(depth));
            format!(r#"{{"a":{open}1{close},"model":"m"}}"#)
        };
        check_named(&nested(126), "m");
        assert!(first_model(nested(126).as_bytes()).is_ok());
        check_refused(nested(127), Fault::TooDeep);
        assert!(first_model(nested(127).as_bytes()).is_err());
    }
}

#[test]
fn a_finding_stays() {
    let mut scanner = ModelScanner::default();
    assert_eq!(scanner.feed(br#"{"model":"#), None);
    let named = Finding::Named("m".into());
    assert_eq!(scanner.feed(br#""m","#), Some(&named));
    assert_eq!(scanner.feed(b"]]]"), Some(&named));
    assert_eq!(scanner.finish(), named);
}

/// What serde_json leads to: the first top-level `model` of a body that it accepts.
fn first_model(body: &[u8]) -> serde_json::Result<Finding> {
    let FirstModel(model) = serde_json::from_slice(body)?;
    Ok(match model {
        None | Some(Value::Null) => Finding::Unnamed,
        Some(Value::String(model)) if model.len() > 256 => Finding::Refused(Fault::TooLong),
        Some(Value::String(model)) => Finding::Named(model),
        Some(_) => Finding::Refused(Fault::NotText),
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

/// Whether serde_json refuses a body for what the scanner leaves to it: the inside of strings, large numbers.
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

/// The inside of a string: pieces that are hard for a scanner, and any characters.
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

/// An object, and what may be done to it: bytes overwritten, taken out or put in, at any place.
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

/// Cuts a body into chunks of these sizes, over and over.
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
    fn the_finding_is_that_of_serde_json(body in body()) {
        let mut scanner = ModelScanner::default();
        let is_early = scanner.feed(&body).is_some();
        let found = scanner.finish();
        match first_model(&body) {
            Ok(expected) => prop_assert_eq!(found, expected),
            Err(error) if is_early || is_left_to_serde_json(&error) => {}
            Err(error) => prop_assert!(matches!(found, Finding::Refused(_)), "{error}"),
        }
    }

    #[test]
    fn the_finding_does_not_depend_on_the_chunks(body in body(), sizes in vec(1_usize..100, 1..8)) {
        let found = scan([&body]);
        prop_assert_eq!(scan(body.chunks(1)), found.clone());
        prop_assert_eq!(scan(cut(&body, &sizes)), found);
    }
}
