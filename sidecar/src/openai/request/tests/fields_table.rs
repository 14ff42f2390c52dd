//! Checks `docs/fields.md` against the code: every field of a request has a row, and every row is true.
//! Each row is parsed with its field and without the field; the difference is the field's effect.

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::{Map, Value};

use crate::openai::response::error::ApiError;

const TABLES: &str = include_str!("../../../../../docs/fields.md");

/// The result of parsing a request.
pub(in crate::openai) struct Parsed {
    /// The turn and the options of its response, as `Debug` shows them.
    pub(in crate::openai) meaning: String,
    /// The value of `x-codex-edge-ignored`.
    pub(in crate::openai) ignored: Option<String>,
}

impl Parsed {
    fn lists(&self, field: &str) -> bool {
        self.ignored
            .iter()
            .flat_map(|list| list.split(", "))
            .any(|name| name == field)
    }
}

struct Row<'a> {
    field: &'a str,
    sent_as: &'a str,
    claim: &'a str,
}

/// Checks the table of `path` against `Body` and `parse`; `base` is the smallest valid body.
pub(in crate::openai) fn check<Body: DeserializeOwned>(
    path: &str,
    base: &str,
    parse: impl Fn(&[u8]) -> Result<Parsed, ApiError>,
) {
    let rows = rows(path);
    for field in fields_of::<Body>() {
        let count = rows.iter().filter(|row| row.field == field).count();
        assert_eq!(count, 1, "rows for {field} of {path}");
    }
    for row in rows {
        let mut body = object(base);
        body.extend(object(&format!("{{{}}}", row.sent_as)));
        let read = |body: &Map<String, Value>| parse(&serde_json::to_vec(body).unwrap());
        let with = read(&body);
        assert!(
            body.remove(row.field).is_some(),
            "{} is not sent",
            row.field
        );
        let effect = effect(row.field, with, read(&body));
        assert_eq!(row.claim, effect, "{} of {path}", row.field);
    }
}

fn effect(
    field: &str,
    with: Result<Parsed, ApiError>,
    without: Result<Parsed, ApiError>,
) -> &'static str {
    match (with, without) {
        (Ok(with), Ok(_)) if with.lists(field) => "ignored",
        (Ok(with), Ok(without)) if with.meaning != without.meaning => "honoured",
        (Ok(_), Ok(_)) => "silently dropped",
        (Ok(_), Err(_)) => "honoured",
        (Err(error), Ok(_)) if is_rejection_of(&error, field) => "refused",
        (Err(_), _) => "wrong",
    }
}

fn is_rejection_of(error: &ApiError, field: &str) -> bool {
    let body: Value = serde_json::from_slice(&error.body()).unwrap();
    matches!(error.code(), "unsupported_value" | "unsupported_parameter")
        && body["error"]["param"] == field
}

fn rows(path: &str) -> Vec<Row<'static>> {
    let heading = format!("\n## `POST {path}`\n");
    let (_, section) = TABLES.split_once(&heading).expect("a table for the path");
    let section = section.split("\n## ").next().unwrap_or_default();
    section
        .lines()
        .filter(|line| line.starts_with("| `"))
        .map(row)
        .collect()
}

fn row(line: &str) -> Row<'_> {
    let cells: Vec<_> = line
        .split('|')
        .map(|cell| cell.trim().trim_matches('`'))
        .collect();
    let [_, field, sent_as, claim, ..] = cells.as_slice() else {
        panic!("not a row: {line}");
    };
    Row {
        field,
        sent_as,
        claim,
    }
}

fn object(json: &str) -> Map<String, Value> {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"))
}

/// Returns the names of the fields that a struct is deserialized from.
fn fields_of<T: DeserializeOwned>() -> Vec<&'static str> {
    let mut fields = Vec::new();
    let result = T::deserialize(FieldNames(&mut fields));
    assert!(
        result.is_err() && !fields.is_empty(),
        "the struct has fields"
    );
    fields
}

/// A deserializer without data; it records the field names that a derived `Deserialize` passes.
struct FieldNames<'a>(&'a mut Vec<&'static str>);

impl<'de> Deserializer<'de> for FieldNames<'_> {
    type Error = serde::de::value::Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Self::Error> {
        Err(Error::custom("the source is empty"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Self::Error> {
        self.0.extend(fields);
        self.deserialize_any(visitor)
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
