//! JSON Schemas of tools and of the output: a root that is an object, and the rules of `strict: true`.
//! OpenAI's guide "Structured model outputs", section "Supported schemas".

use serde_json::{Map, Value};

use super::field::Field;
use crate::scripted_model::error::ApiError;

/// Keywords that a strict schema may have.
const STRICT_KEYWORDS: &[&str] = &[
    "$defs",
    "$ref",
    "$schema",
    "additionalProperties",
    "anyOf",
    "const",
    "definitions",
    "description",
    "enum",
    "exclusiveMaximum",
    "exclusiveMinimum",
    "format",
    "items",
    "maxItems",
    "maximum",
    "minItems",
    "minimum",
    "multipleOf",
    "pattern",
    "properties",
    "required",
    "title",
    "type",
];

/// Values of `format` that a strict schema may have.
const STRICT_FORMATS: &[&str] = &[
    "date",
    "date-time",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "time",
    "uuid",
];

/// Whether the model's output is confined to the schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strictness {
    Strict,
    BestEffort,
}

impl Strictness {
    /// The field `strict` of a tool or of an output format.
    pub(super) fn of(holder: &Field<'_>) -> Result<Self, ApiError> {
        match holder.optional("strict") {
            None => Ok(Self::BestEffort),
            Some(field) => match field.value {
                Value::Bool(true) => Ok(Self::Strict),
                Value::Bool(false) => Ok(Self::BestEffort),
                _ => Err(field.wrong_type("a boolean")),
            },
        }
    }
}

/// Checks a schema.
///
/// # Errors
/// The reason in the words of the OpenAI API, with the place in the schema.
pub(super) fn check(schema: &Value, strictness: Strictness) -> Result<(), String> {
    let kind = &schema["type"];
    if kind != "object" {
        let got = kind.as_str().unwrap_or("None");
        return Err(format!(
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"{got}\"'."
        ));
    }
    match strictness {
        Strictness::BestEffort => Ok(()),
        Strictness::Strict => check_node(schema, &SchemaPath::default()),
    }
}

/// The path from the root of a schema to one of its nodes.
#[derive(Clone, Debug, Default)]
struct SchemaPath(Vec<String>);

impl SchemaPath {
    fn then(&self, steps: &[&str]) -> Self {
        let steps = steps.iter().copied().map(str::to_owned);
        Self(self.0.iter().cloned().chain(steps).collect())
    }

    /// A reason at this node. The service writes the path as a Python tuple.
    fn reason(&self, text: &str) -> String {
        let steps: Vec<String> = self.0.iter().map(|step| format!("'{step}'")).collect();
        let comma = if steps.len() == 1 { "," } else { "" };
        format!("In context=({}{comma}), {text}", steps.join(", "))
    }
}

fn check_node(node: &Value, path: &SchemaPath) -> Result<(), String> {
    let Some(fields) = node.as_object() else {
        return Err(path.reason("schema must be an object."));
    };
    let unsupported = |name: &&String| !STRICT_KEYWORDS.contains(&name.as_str());
    if let Some(name) = fields.keys().find(unsupported) {
        return Err(path.reason(&format!("'{name}' is not permitted.")));
    }
    let names_values = ["type", "$ref", "anyOf", "enum", "const"];
    if !names_values.iter().any(|name| fields.contains_key(*name)) {
        return Err(path.reason("schema must have a 'type' key."));
    }
    check_format(fields, path)?;
    if has_type(fields, "object") {
        check_object(fields, path)?;
    }
    if has_type(fields, "array") && !fields.contains_key("items") {
        return Err(path.reason("array schema missing items."));
    }
    check_children(fields, path)
}

fn has_type(fields: &Map<String, Value>, wanted: &str) -> bool {
    match fields.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == wanted),
        Some(kind) => kind == wanted,
        None => false,
    }
}

fn check_format(fields: &Map<String, Value>, path: &SchemaPath) -> Result<(), String> {
    match fields.get("format").and_then(Value::as_str) {
        Some(format) if !STRICT_FORMATS.contains(&format) => {
            Err(path.reason(&format!("'{format}' is not a valid format.")))
        }
        Some(_) | None => Ok(()),
    }
}

fn check_object(fields: &Map<String, Value>, path: &SchemaPath) -> Result<(), String> {
    if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(
            path.reason("'additionalProperties' is required to be supplied and to be false.")
        );
    }
    let properties: Vec<&str> = match fields.get("properties") {
        Some(Value::Object(properties)) => properties.keys().map(String::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    let required: Vec<&str> = match fields.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    let incomplete = "'required' is required to be supplied and to be an array including every key in properties.";
    if let Some(missing) = properties.iter().find(|name| !required.contains(name)) {
        return Err(path.reason(&format!("{incomplete} Missing '{missing}'.")));
    }
    match required.iter().find(|name| !properties.contains(name)) {
        Some(extra) => Err(path.reason(&format!(
            "{incomplete} Extra required key '{extra}' supplied."
        ))),
        None => Ok(()),
    }
}

fn check_children(fields: &Map<String, Value>, path: &SchemaPath) -> Result<(), String> {
    for keyword in ["properties", "$defs", "definitions"] {
        let children = fields.get(keyword).and_then(Value::as_object);
        for (name, child) in children.into_iter().flatten() {
            check_node(child, &path.then(&[keyword, name]))?;
        }
    }
    if let Some(items) = fields.get("items") {
        check_node(items, &path.then(&["items"]))?;
    }
    let variants = fields.get("anyOf").and_then(Value::as_array);
    for (index, variant) in variants.into_iter().flatten().enumerate() {
        check_node(variant, &path.then(&["anyOf", &index.to_string()]))?;
    }
    Ok(())
}
