//! The smallest value that fits a JSON Schema, limited to the keywords of tools and structured outputs.
//! Patterns, formats and multiples are ignored.

use serde_json::{Map, Value, json};

/// Maximum nesting depth of a value; only a schema that contains itself without an end goes deeper.
const MAX_DEPTH: usize = 32;

/// Maximum characters of a string and items of an array, even if the schema demands more.
const MAX_LENGTH: u64 = 1024;

/// The smallest value that fits `schema`.
pub(crate) fn smallest_instance(schema: &Value) -> Value {
    of(schema, schema, MAX_DEPTH)
}

fn of(schema: &Value, root: &Value, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else {
        return Value::Null;
    };
    let chosen = ["anyOf", "oneOf", "allOf", "enum"]
        .iter()
        .find_map(|keyword| Some((*keyword, schema[*keyword].as_array()?.first()?)));
    let referred = schema["$ref"]
        .as_str()
        .and_then(|path| path.strip_prefix('#'));
    match (schema.get("const"), referred, chosen) {
        (Some(value), _, _) | (None, None, Some(("enum", value))) => value.clone(),
        (None, Some(path), _) => of(root.pointer(path).unwrap_or(&Value::Null), root, depth),
        (None, None, Some((_, choice))) => of(choice, root, depth),
        (None, None, None) => of_type(schema, root, depth),
    }
}

fn of_type(schema: &Value, root: &Value, depth: usize) -> Value {
    let kind = match &schema["type"] {
        Value::Array(kinds) => kinds.first().and_then(Value::as_str),
        kind => kind.as_str(),
    };
    let at_least = |keyword: &str| schema[keyword].as_u64().unwrap_or(0).min(MAX_LENGTH);
    match kind {
        Some("string") => {
            let text: String = (0..at_least("minLength")).map(|_| 'x').collect();
            text.into()
        }
        Some("integer" | "number") => match &schema["minimum"] {
            Value::Number(minimum) => json!(minimum),
            _ => json!(0),
        },
        Some("boolean") => json!(false),
        Some("array") => (0..at_least("minItems"))
            .map(|_| of(&schema["items"], root, depth))
            .collect(),
        Some("null") => Value::Null,
        Some(_) | None => {
            let required = schema["required"].as_array().into_iter().flatten();
            let members = required.filter_map(Value::as_str).map(|name| {
                let member = of(&schema["properties"][name], root, depth);
                (name.to_owned(), member)
            });
            Value::Object(members.collect::<Map<_, _>>())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_is_the_smallest_value_that_fits_the_schema() {
        for (schema, expected) in [
            (json!({}), json!({})),
            (json!({"type": "string", "minLength": 2}), json!("xx")),
            (json!({"type": ["integer", "null"], "minimum": 3}), json!(3)),
            (json!({"type": "number"}), json!(0)),
            (json!({"type": "boolean"}), json!(false)),
            (json!({"type": "null"}), json!(null)),
            (json!({"const": 7, "type": "string"}), json!(7)),
            (json!({"type": "string", "enum": ["b", "a"]}), json!("b")),
            (json!({"anyOf": [{"type": "boolean"}, {}]}), json!(false)),
            (json!({"type": "array", "items": {}}), json!([])),
            (
                json!({"type": "array", "minItems": 2, "items": {"type": "null"}}),
                json!([null, null]),
            ),
            (
                json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#/$defs/a"}, "b": {}}, "$defs": {"a": {"type": "string"}}}),
                json!({"a": ""}),
            ),
        ] {
            assert_eq!(smallest_instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn recursive_schema_yields_a_finite_instance() {
        let schema =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}});
        let text = smallest_instance(&schema).to_string();
        assert!(
            text.starts_with("{\"a\":{\"a\":") && text.len() < 200,
            "{text}"
        );
    }
}
