//! The rules for a JSON schema with `strict: true`, which the provider enforces on every output schema of Codex.
//! OpenAI's guide "Structured model outputs", section "Supported schemas".

use serde_json::{Map, Value};

/// Keywords that such a schema may have.
const KEYWORDS: &[&str] = &[
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

/// Values of the keyword `format` that such a schema may have.
const FORMATS: &[&str] = &[
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

/// Checks a schema after the check of its depth.
///
/// # Errors
/// The first deviation, as a sentence with its place, for example `$.properties.a`.
pub(super) fn check(root: &Value) -> Result<(), String> {
    if root["type"] != "object" || root.get("anyOf").is_some() {
        return Err("its root must have the type object, and no `anyOf`.".to_owned());
    }
    check_node(root, "$")
}

fn check_node(node: &Value, place: &str) -> Result<(), String> {
    let Value::Object(fields) = node else {
        return Err(format!("{place} must be an object."));
    };
    if let Some(name) = fields
        .keys()
        .find(|name| !KEYWORDS.contains(&name.as_str()))
    {
        return Err(format!("{place} has the unsupported keyword `{name}`."));
    }
    let names_values = ["type", "$ref", "anyOf", "enum", "const"];
    if !names_values.iter().any(|name| fields.contains_key(*name)) {
        return Err(format!("{place} must have a `type`."));
    }
    match fields.get("format").and_then(Value::as_str) {
        Some(format) if !FORMATS.contains(&format) => {
            return Err(format!("{place} has the unsupported format {format:?}."));
        }
        Some(_) | None => {}
    }
    if has_type(fields, "object") {
        check_object(fields, place)?;
    }
    if has_type(fields, "array") && !fields.contains_key("items") {
        return Err(format!("{place} must have `items`."));
    }
    check_children(fields, place)
}

fn has_type(fields: &Map<String, Value>, wanted: &str) -> bool {
    match fields.get("type") {
        Some(Value::Array(types)) => types.iter().any(|kind| kind == wanted),
        Some(kind) => kind == wanted,
        None => false,
    }
}

/// Checks that an object is closed, and that it requires each of its properties and nothing else.
fn check_object(fields: &Map<String, Value>, place: &str) -> Result<(), String> {
    if fields.get("additionalProperties") != Some(&Value::Bool(false)) {
        return Err(format!("{place} must have `additionalProperties`: false."));
    }
    let properties: Vec<&str> = match fields.get("properties") {
        Some(Value::Object(properties)) => properties.keys().map(String::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    let required: Vec<&str> = match fields.get("required") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(_) | None => Vec::new(),
    };
    if let Some(optional) = properties.iter().find(|name| !required.contains(name)) {
        return Err(format!(
            "{place} must list every property in `required`; {optional:?} is missing."
        ));
    }
    match required.iter().find(|name| !properties.contains(name)) {
        Some(unknown) => Err(format!(
            "{place} requires {unknown:?}, which is not among its `properties`."
        )),
        None => Ok(()),
    }
}

fn check_children(fields: &Map<String, Value>, place: &str) -> Result<(), String> {
    for keyword in ["properties", "$defs", "definitions"] {
        let children = fields.get(keyword).and_then(Value::as_object);
        for (name, child) in children.into_iter().flatten() {
            check_node(child, &format!("{place}.{keyword}.{name}"))?;
        }
    }
    if let Some(items) = fields.get("items") {
        check_node(items, &format!("{place}.items"))?;
    }
    let variants = fields.get("anyOf").and_then(Value::as_array);
    for (index, variant) in variants.into_iter().flatten().enumerate() {
        check_node(variant, &format!("{place}.anyOf[{index}]"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_text(schema: &str) -> Result<(), String> {
        check(&serde_json::from_str(schema).unwrap())
    }

    #[test]
    fn schemas_within_the_rules_are_accepted() {
        for schema in [
            r#"{"type":"object","properties":{},"required":[],"additionalProperties":false}"#,
            r#"{"type":"object","additionalProperties":false}"#,
            r##"{"$schema":"x","type":"object","properties":{"a":{"type":["string","null"],"format":"date"},"b":{"$ref":"#/$defs/n"}},"required":["b","a"],"additionalProperties":false,"$defs":{"n":{"type":"array","items":{"enum":[1]},"minItems":1}}}"##,
        ] {
            assert_eq!(check_text(schema), Ok(()), "{schema}");
        }
    }

    #[test]
    fn first_deviation_is_named_with_its_place() {
        let object = |properties: &str, required: &str| {
            format!(
                r#"{{"type":"object","properties":{properties},"required":{required},"additionalProperties":false}}"#
            )
        };
        let open = r#"{"type":"object","properties":{}}"#;
        for (schema, part) in [
            (
                r#"{"type":"array","items":{"type":"string"}}"#.to_owned(),
                "root",
            ),
            (r#"{"anyOf":[]}"#.to_owned(), "root"),
            (open.to_owned(), "$ must have `additionalProperties`"),
            (
                object(r#"{"a":{"type":"string"}}"#, "[]"),
                r#"$ must list every property in `required`; "a""#,
            ),
            (object("{}", r#"["a"]"#), r#"$ requires "a""#),
            (
                object(&format!(r#"{{"a":{open}}}"#), r#"["a"]"#),
                "$.properties.a must have",
            ),
            (
                object(
                    &format!(r#"{{"a":{{"type":"array","items":{open}}}}}"#),
                    r#"["a"]"#,
                ),
                "$.properties.a.items",
            ),
            (
                object(
                    &format!(r#"{{"a":{{"anyOf":[{{"type":"null"}},{open}]}}}}"#),
                    r#"["a"]"#,
                ),
                "$.properties.a.anyOf[1]",
            ),
            (
                object(r#"{"a":{"type":"string","minLength":1}}"#, r#"["a"]"#),
                "keyword `minLength`",
            ),
            (
                object(r#"{"a":{"type":"string","format":"uri"}}"#, r#"["a"]"#),
                "format \"uri\"",
            ),
            (
                object(r#"{"a":{"description":"any"}}"#, r#"["a"]"#),
                "must have a `type`",
            ),
            (
                object(r#"{"a":{"type":"array"}}"#, r#"["a"]"#),
                "must have `items`",
            ),
            (
                object(r#"{"a":true}"#, r#"["a"]"#),
                "$.properties.a must be an object",
            ),
        ] {
            let reason = check_text(&schema).unwrap_err();
            assert!(reason.contains(part), "{schema}: {reason}");
        }
    }
}
