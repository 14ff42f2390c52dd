//! Checks `docs/fields.md` against the code: every field of a request has a row, at any depth, and every row is true.
//! Each row is parsed with its field and without the field; the difference is the field's effect. Then it is parsed with
//! values of other types, which are rejected under the field's name.

use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::{Map, Value, json};

use crate::openai::response::error::ApiError;

const TABLES: &str = include_str!("../../../../../docs/fields.md");

/// The result of parsing a request.
pub(crate) struct Parsed {
    /// The turn and the options of its response, as `Debug` shows them.
    pub(crate) meaning: String,
    /// The value of `x-codex-edge-ignored`.
    pub(crate) ignored: Option<String>,
}

impl Parsed {
    fn lists(&self, field: &str) -> bool {
        // An ignored list is named by its elements.
        let elements = format!("{field}[]");
        self.ignored
            .iter()
            .flat_map(|list| list.split(", "))
            .any(|name| name == field || name == elements)
    }
}

/// The fields of an object inside a body.
pub(crate) struct ObjectFields {
    path: &'static str,
    names: Vec<&'static str>,
}

impl ObjectFields {
    /// Returns the fields of the objects at `path`, which `T` is deserialized from.
    pub(crate) fn of<T: DeserializeOwned>(path: &'static str) -> Self {
        Self {
            path,
            names: fields_of::<T>(),
        }
    }
}

struct Row<'a> {
    field: &'a str,
    sent_as: &'a str,
    claim: &'a str,
    notes: &'a str,
}

/// Checks the tables of `path` against `Body`, the objects inside it, and `parse`; `base` is the smallest valid body.
pub(crate) fn check<Body: DeserializeOwned>(
    path: &str,
    base: &str,
    objects: &[ObjectFields],
    parse: impl Fn(&[u8]) -> Result<Parsed, ApiError>,
) {
    let rows = rows(path);
    let inside = objects.iter().flat_map(|ObjectFields { path, names }| {
        names.iter().map(move |name| format!("{path}.{name}"))
    });
    let top = fields_of::<Body>().into_iter().map(str::to_owned);
    for field in top.chain(inside) {
        let count = rows.iter().filter(|row| row.field == field).count();
        assert_eq!(count, 1, "rows for {field} of {path}");
    }
    for row in rows {
        let mut body = object(base);
        body.extend(object(&format!("{{{}}}", row.sent_as)));
        let body = Value::Object(body);
        let read = |body: &Value| parse(&serde_json::to_vec(body).unwrap());
        let effect = effect(&row, &body, read);
        assert_eq!(row.claim, effect, "{} of {path}", row.field);
        // Fields of no API that is described here: other servers send them, in forms of their own.
        if !row.notes.contains("any type") {
            check_type(&row, &body, read);
        }
    }
}

fn effect(
    row: &Row<'_>,
    body: &Value,
    read: impl Fn(&Value) -> Result<Parsed, ApiError>,
) -> &'static str {
    let field = row.field;
    let mut without = body.clone();
    let was_sent = at_field(&mut without, field, &|object, name| {
        object.remove(name).is_some()
    });
    assert!(was_sent, "{field} is not sent");
    match (read(body), read(&without)) {
        (Ok(with), Ok(_)) if with.lists(field) => "ignored",
        (Ok(with), Ok(without)) if with.meaning != without.meaning => "honoured",
        (Ok(_), Ok(_)) if is_rejected(field, &with_value(body, field, &json!("x")), read) => {
            "checked"
        }
        (Ok(_), Ok(_)) => "silently dropped",
        (Ok(_), Err(_)) => "honoured",
        (Err(error), Ok(_) | Err(_)) if is_unsupported(&error, field) => "refused",
        // A field can forbid the value of another one, as `strict` does.
        (Err(error), Ok(_)) if names(&error, field) => "honoured",
        (Err(error), _) => panic!("{field}: {error:?}"),
    }
}

/// Checks that a value of another type is rejected, and that each rejection has the field as its `param`.
fn check_type(row: &Row<'_>, body: &Value, read: impl Fn(&Value) -> Result<Parsed, ApiError>) {
    let field = row.field;
    let mut rejections = 0;
    for wrong in [json!(true), json!(7), json!("x"), json!([]), json!({})] {
        let body = with_value(body, field, &wrong);
        if let Err(error) = read(&body) {
            let param = param(&error);
            // A value of the right type can be wrong beside another field, such as an output without its call.
            assert_eq!(first(&param), first(field), "{field}={wrong}: {error:?}");
            rejections += usize::from(param.starts_with(field));
        }
    }
    assert!(rejections > 0, "{field} is checked");
}

fn with_value(body: &Value, field: &str, value: &Value) -> Value {
    let mut body = body.clone();
    at_field(&mut body, field, &|object, name| {
        object
            .get_mut(name)
            .map(|field| *field = value.clone())
            .is_some()
    });
    body
}

/// Applies `change` to every object that can have the field at this path, such as `messages[].name`, with the name of the
/// field. Returns whether it changed one.
fn at_field(
    value: &mut Value,
    path: &str,
    change: &dyn Fn(&mut Map<String, Value>, &str) -> bool,
) -> bool {
    let Some((first, rest)) = path.split_once('.') else {
        return value
            .as_object_mut()
            .is_some_and(|object| change(object, path));
    };
    let (name, is_list) = match first.strip_suffix("[]") {
        Some(name) => (name, true),
        None => (first, false),
    };
    let Some(inner) = value.get_mut(name) else {
        return false;
    };
    if !is_list {
        return at_field(inner, rest, change);
    }
    let elements = inner.as_array_mut().into_iter().flatten();
    // Not `any`, which would end at the first.
    elements
        .map(|element| at_field(element, rest, change))
        .fold(false, |changed, next| changed | next)
}

fn is_rejected(
    field: &str,
    body: &Value,
    read: impl Fn(&Value) -> Result<Parsed, ApiError>,
) -> bool {
    read(body).is_err_and(|error| param(&error) == field)
}

fn is_unsupported(error: &ApiError, field: &str) -> bool {
    let codes = [
        "unsupported_value",
        "unsupported_parameter",
        "thread_unsupported_request",
    ];
    codes.contains(&error.code()) && param(error) == field
}

/// Whether the message of an error has the name of the field.
fn names(error: &ApiError, field: &str) -> bool {
    let name = field.rsplit('.').next().unwrap_or_default();
    error.fields().message.contains(&format!("`{name}"))
}

/// Returns the name of the field at the top of a path.
fn first(path: &str) -> &str {
    path.split(['.', '[']).next().unwrap_or_default()
}

/// Returns the `param` of an error without indices.
fn param(error: &ApiError) -> String {
    let param = error.fields().param.unwrap_or_default().to_owned();
    let mut is_index = false;
    let keeps = |character: &char| {
        let keeps = !(is_index && character.is_ascii_digit());
        is_index = *character == '[' || (is_index && character.is_ascii_digit());
        keeps
    };
    param.chars().filter(keeps).collect()
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
    let [_, field, sent_as, claim, notes, ..] = cells.as_slice() else {
        panic!("not a row: {line}");
    };
    Row {
        field,
        sent_as,
        claim,
        notes,
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
