//! The smallest value that fits a schema, for a model that has nothing to say: JSON Schema, the part that is used for
//! tools and structured outputs. What a schema asks beyond that (patterns, formats, multiples) is not looked at.

use serde_json::{Map, Value, json};

/// How deep a schema is followed; only one that contains itself without an end goes deeper.
const MAX_DEPTH: usize = 32;

/// Characters of a text and items of an array, however many a schema wants.
const MAX_LENGTH: u64 = 1024;

/// The smallest value that fits `schema`.
pub(crate) fn instance(schema: &Value) -> Value {
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
    fn it_is_the_smallest_that_fits() {
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
            assert_eq!(instance(&schema), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_contains_itself_has_an_end() {
        let schema =
            json!({"type": "object", "required": ["a"], "properties": {"a": {"$ref": "#"}}});
        let text = instance(&schema).to_string();
        assert!(
            text.starts_with("{\"a\":{\"a\":") && text.len() < 200,
            "{text}"
        );
    }
}
