//! The part of a tool's JSON schema that Codex passes on to the provider.
//!
//! Codex 0.169.0 and 0.171.0 rewrite the schema of a dynamic tool: they drop most keywords, guess missing types, and above
//! 5,000 bytes drop the descriptions and more, all without an error; other schemas they reject. [`fit`] returns a schema that
//! passes unchanged, and says whether it has lost anything that the client wrote. A test compares both with what arrives.

use serde_json::{Map, Value, json};

/// Bytes of compact JSON up to which Codex keeps descriptions, definitions and depth.
const MAX_WHOLE_BYTES: usize = 5_000;

/// Levels of a schema that stays too large without its descriptions; Codex keeps as many.
const MAX_REDUCED_LEVELS: usize = 3;

/// Names of types that Codex knows.
const TYPES: [&str; 7] = [
    "string", "number", "boolean", "integer", "object", "array", "null",
];

/// Keywords that list alternatives.
const COMBINERS: [&str; 3] = ["anyOf", "oneOf", "allOf"];

/// Keywords that hold definitions, at the root only.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Keywords that say nothing to a model.
const SILENT: [&str; 3] = ["$schema", "$id", "$comment"];

/// References from a root to a definition that are followed.
const MAX_ROOT_REFERENCES: usize = 8;

/// A schema that Codex passes on unchanged.
#[derive(Debug, PartialEq)]
pub(in crate::openai::request) struct FittedSchema {
    pub(crate) schema: Value,
    /// Whether the schema means what the client wrote.
    pub(crate) is_whole: bool,
}

/// A place in a schema that neither Codex nor the provider accepts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct InvalidSchema {
    /// The place after the schema's own path, such as `.properties.a`.
    pub(crate) place: String,
    /// What is accepted there.
    pub(crate) expected: &'static str,
}

/// Returns the part of a tool's schema that Codex passes on. The depth was checked before.
///
/// # Errors
/// A keyword has a value of the wrong type, or the root is not the schema of an object.
pub(crate) fn fit(schema: &Map<String, Value>) -> Result<FittedSchema, InvalidSchema> {
    let whole = fit_with(schema, true)?;
    if is_small(&whole.schema) {
        return Ok(whole);
    }
    // The description has the whole schema. Codex would reduce this one too, but takes seconds for hundreds of tools.
    let bare = fit_with(schema, false)?.schema;
    let reduced = if is_small(&bare) {
        bare
    } else {
        let mut levels = (1..=MAX_REDUCED_LEVELS)
            .rev()
            .map(|levels| reduced(&bare, levels));
        levels.find(is_small).unwrap_or_else(|| reduced(&bare, 1))
    };
    Ok(FittedSchema {
        schema: reduced,
        is_whole: false,
    })
}

fn is_small(schema: &Value) -> bool {
    schema.to_string().len() <= MAX_WHOLE_BYTES
}

/// Returns a schema without its definitions, and below `levels` levels only with the types.
fn reduced(schema: &Value, levels: usize) -> Value {
    let Value::Object(fields) = schema else {
        return schema.clone();
    };
    let Some(levels) = levels.checked_sub(1) else {
        return only_types(fields);
    };
    let mut kept = Map::new();
    for (key, value) in fields {
        let value = match (key.as_str(), value) {
            ("type" | "enum" | "required", _) => value.clone(),
            ("properties", Value::Object(properties)) => {
                let properties = properties.iter();
                let reduced = properties.map(|(name, node)| (name.clone(), reduced(node, levels)));
                Value::Object(reduced.collect())
            }
            ("items" | "additionalProperties", _) => reduced(value, levels),
            (_, Value::Array(variants)) if COMBINERS.contains(&key.as_str()) => {
                variants.iter().map(|node| reduced(node, levels)).collect()
            }
            _ => continue,
        };
        kept.insert(key.clone(), value);
    }
    Value::Object(kept)
}

fn only_types(fields: &Map<String, Value>) -> Value {
    let mut kept = Map::new();
    for (key, value) in fields {
        match key.as_str() {
            "type" => drop(kept.insert(key.clone(), value.clone())),
            "properties" | "items" => drop(kept.insert(key.clone(), json!({}))),
            _ => {}
        }
    }
    Value::Object(kept)
}

fn fit_with(
    schema: &Map<String, Value>,
    with_descriptions: bool,
) -> Result<FittedSchema, InvalidSchema> {
    let mut fitter = Fitter {
        root: schema,
        with_descriptions,
        is_whole: true,
        references: Vec::new(),
    };
    let schema = Value::Object(fitter.root()?);
    Ok(FittedSchema {
        schema,
        is_whole: fitter.is_whole,
    })
}

struct Fitter<'a> {
    root: &'a Map<String, Value>,
    with_descriptions: bool,
    is_whole: bool,
    /// The keyword and the name of each definition that the fitted schema refers to.
    references: Vec<(&'static str, String)>,
}

impl Fitter<'_> {
    /// Fits the root, which the provider accepts only as an object without alternatives.
    fn root(&mut self) -> Result<Map<String, Value>, InvalidSchema> {
        let mut fields = self.without_root_reference();
        // The name of the function says the same.
        fields.remove("title");
        for keyword in DEFINITIONS {
            fields.remove(keyword);
        }
        let mut fitted = self.object(&fields, "")?;
        require_object(&fitted)?;
        let mut properties = match fitted.remove("properties") {
            Some(Value::Object(properties)) => properties,
            Some(_) | None => Map::new(),
        };
        for combiner in COMBINERS {
            let variants = fitted.remove(combiner);
            for variant in variants.iter().filter_map(Value::as_array).flatten() {
                self.is_whole = false;
                let more = variant["properties"].as_object().into_iter().flatten();
                for (name, property) in more {
                    let entry = properties.entry(name.clone());
                    entry.or_insert_with(|| property.clone());
                }
            }
        }
        self.is_whole &= fitted.remove("enum").is_none();
        self.is_whole &= fitted.remove("$ref").is_none();
        fitted.insert("type".to_owned(), json!("object"));
        fitted.insert("properties".to_owned(), Value::Object(properties));
        self.add_definitions(&mut fitted)?;
        Ok(fitted)
    }

    /// Returns the fields of the root, with those of the definition that the root refers to.
    fn without_root_reference(&self) -> Map<String, Value> {
        let mut fields = self.root.clone();
        for _ in 0..MAX_ROOT_REFERENCES {
            let target = fields.get("$ref").and_then(Value::as_str);
            let Some(Value::Object(target)) = target.and_then(|text| self.definition(text)) else {
                break;
            };
            fields.remove("$ref");
            for (key, value) in target {
                let entry = fields.entry(key.clone());
                entry.or_insert_with(|| value.clone());
            }
        }
        fields
    }

    /// Returns the definition that a reference names.
    fn definition(&self, reference: &str) -> Option<&Value> {
        let (keyword, name) = parse_reference(reference)?;
        self.root.get(keyword)?.get(name)
    }

    /// Adds the definitions that are referred to. Codex drops the others, which mean nothing.
    fn add_definitions(&mut self, fitted: &mut Map<String, Value>) -> Result<(), InvalidSchema> {
        while let Some((keyword, name)) = self.references.pop() {
            let known = fitted
                .get(keyword)
                .and_then(|definitions| definitions.get(&name));
            if known.is_some() {
                continue;
            }
            let definition = &self.root[keyword][&name];
            let place = format!(".{keyword}.{name}");
            let definition = self.node(definition, &place)?;
            fitted.entry(keyword).or_insert_with(|| json!({}))[&name] = definition;
        }
        Ok(())
    }

    fn node(&mut self, schema: &Value, place: &str) -> Result<Value, InvalidSchema> {
        match schema {
            Value::Object(fields) => self.object(fields, place).map(Value::Object),
            // `true` accepts every value, as the empty schema does; no schema that passes accepts none.
            Value::Bool(accepts) => {
                self.is_whole &= accepts;
                Ok(json!({}))
            }
            _ => Err(invalid(place, "a schema: an object, true or false")),
        }
    }

    fn object(
        &mut self,
        fields: &Map<String, Value>,
        place: &str,
    ) -> Result<Map<String, Value>, InvalidSchema> {
        let mut fitted = Map::new();
        for (key, value) in fields {
            // Codex takes an optional keyword that is null for an absent one.
            if value.is_null() && !["const", "default"].contains(&key.as_str()) {
                continue;
            }
            if let Some((key, value)) = self.keyword(key, value, place)? {
                fitted.insert(key.to_owned(), value);
            }
        }
        complete_type(&mut fitted);
        // Codex drops the description of a schema without another keyword.
        if fitted.len() == 1 && fitted.remove("description").is_some() {
            self.is_whole = false;
        }
        Ok(fitted)
    }

    /// Fits a keyword; `None` if it does not pass.
    fn keyword<'k>(
        &mut self,
        key: &'k str,
        value: &Value,
        place: &str,
    ) -> Result<Option<(&'k str, Value)>, InvalidSchema> {
        let at = format!("{place}.{key}");
        let fitted = match (key, value) {
            ("type", _) => self.types(value, &at)?,
            ("description", Value::String(_)) if self.with_descriptions => value.clone(),
            ("description", Value::String(_)) => return Ok(None),
            ("description", _) => return Err(invalid(&at, "a string")),
            ("enum", Value::Array(_)) => value.clone(),
            ("enum", _) => return Err(invalid(&at, "an array")),
            ("const", _) => return Ok(Some(("enum", json!([value])))),
            ("properties", Value::Object(properties)) => self.properties(properties, &at)?,
            ("properties", _) => return Err(invalid(&at, "an object")),
            ("required", _) if is_list_of_strings(value) => value.clone(),
            ("required", _) => return Err(invalid(&at, "an array of strings")),
            // The items of a tuple. Their schemas have no place in a schema that passes.
            ("items", Value::Array(_)) => {
                self.is_whole = false;
                json!({})
            }
            ("additionalProperties", Value::Bool(_)) => value.clone(),
            ("items" | "additionalProperties", _) => self.node(value, &at)?,
            ("$ref", Value::String(reference)) => return Ok(self.reference(reference)),
            ("$ref", _) => return Err(invalid(&at, "a string")),
            (_, Value::Array(variants)) if COMBINERS.contains(&key) => {
                let variants = variants.iter().enumerate();
                let fitted =
                    variants.map(|(index, node)| self.node(node, &format!("{at}[{index}]")));
                Value::Array(fitted.collect::<Result<_, _>>()?)
            }
            _ if COMBINERS.contains(&key) => return Err(invalid(&at, "an array of schemas")),
            _ => {
                self.is_whole &= is_redundant(key, value, place);
                return Ok(None);
            }
        };
        Ok((!fitted.is_null()).then_some((key, fitted)))
    }

    fn properties(
        &mut self,
        properties: &Map<String, Value>,
        place: &str,
    ) -> Result<Value, InvalidSchema> {
        let fitted = properties.iter().map(|(name, node)| {
            let node = self.node(node, &format!("{place}.{name}"))?;
            Ok((name.clone(), node))
        });
        fitted.collect::<Result<_, _>>().map(Value::Object)
    }

    /// Fits a type or a list of types; null if none is left.
    fn types(&mut self, value: &Value, place: &str) -> Result<Value, InvalidSchema> {
        let names: Vec<&str> = match value {
            Value::String(name) => vec![name],
            Value::Array(names) if is_list_of_strings(value) => {
                names.iter().filter_map(Value::as_str).collect()
            }
            _ => return Err(invalid(place, "the name of a type, or an array of names")),
        };
        let mut known: Vec<&str> = Vec::with_capacity(names.len());
        for name in &names {
            if !TYPES.contains(name) {
                self.is_whole = false;
            } else if !known.contains(name) {
                known.push(name);
            }
        }
        Ok(match known.as_slice() {
            [] => {
                self.is_whole = false;
                Value::Null
            }
            [name] => json!(name),
            names => json!(names),
        })
    }

    /// Keeps a reference to a definition, or to the whole schema.
    fn reference<'k>(&mut self, reference: &str) -> Option<(&'k str, Value)> {
        if self.definition(reference).is_some()
            && let Some((keyword, name)) = parse_reference(reference)
        {
            self.references.push((keyword, name.to_owned()));
        } else if reference != "#" {
            self.is_whole = false;
            return None;
        }
        Some(("$ref", json!(reference)))
    }
}

/// Adds what Codex would guess where a keyword is missing: it takes enums for strings, and items for strings.
fn complete_type(fitted: &mut Map<String, Value>) {
    let is_combined = COMBINERS
        .iter()
        .chain(&["$ref"])
        .any(|key| fitted.contains_key(*key));
    if !fitted.contains_key("type") && !is_combined {
        let of_object = ["properties", "required", "additionalProperties"];
        let inferred = if of_object.iter().any(|key| fitted.contains_key(*key)) {
            json!("object")
        } else if fitted.contains_key("items") {
            json!("array")
        } else {
            types_of(fitted.get("enum"))
        };
        if !inferred.is_null() {
            fitted.insert("type".to_owned(), inferred);
        }
    }
    let has_type = |fitted: &Map<String, Value>, name: &str| match fitted.get("type") {
        Some(Value::Array(names)) => names.iter().any(|other| other == name),
        Some(other) => other == name,
        None => false,
    };
    for (name, keyword) in [("object", "properties"), ("array", "items")] {
        if has_type(fitted, name) {
            fitted.entry(keyword).or_insert_with(|| json!({}));
        }
    }
}

/// Returns the types of the values of an enum, as the value of `type`; null without values.
fn types_of(values: Option<&Value>) -> Value {
    let mut types: Vec<&str> = Vec::new();
    for value in values.and_then(Value::as_array).into_iter().flatten() {
        let name = match value {
            Value::Null => "null",
            Value::Bool(_) => "boolean",
            Value::Number(number) if number.is_f64() => "number",
            Value::Number(_) => "integer",
            Value::String(_) => "string",
            Value::Array(_) => "array",
            Value::Object(_) => "object",
        };
        if !types.contains(&name) {
            types.push(name);
        }
    }
    match types.as_slice() {
        [] => Value::Null,
        [name] => json!(name),
        names => json!(names),
    }
}

/// Whether a keyword that does not pass repeats what the model sees anyway.
fn is_redundant(key: &str, value: &Value, place: &str) -> bool {
    let property = place.rsplit('.').next().unwrap_or_default();
    let letters = |text: &str| {
        let letters = text.chars().filter(|c| c.is_alphanumeric());
        letters.flat_map(char::to_lowercase).collect::<String>()
    };
    match (key, value) {
        // Generators such as Pydantic write the property's name as its title.
        ("title", Value::String(title)) => letters(title) == letters(property),
        ("nullable" | "deprecated", Value::Bool(is_set)) => !is_set,
        _ => SILENT.contains(&key),
    }
}

fn require_object(root: &Map<String, Value>) -> Result<(), InvalidSchema> {
    let is_object = match root.get("type") {
        Some(Value::Array(names)) => names.iter().any(|name| name == "object"),
        Some(name) => name == "object",
        None => true,
    };
    is_object
        .then_some(())
        .ok_or_else(|| invalid(".type", "\"object\""))
}

/// Returns the keyword and the name of the definition that a reference names.
fn parse_reference(reference: &str) -> Option<(&'static str, &str)> {
    DEFINITIONS.into_iter().find_map(|keyword| {
        let rest = reference.strip_prefix("#/")?.strip_prefix(keyword)?;
        let name = rest.strip_prefix('/')?;
        // A longer or an escaped pointer is not followed.
        (!name.contains(['/', '~', '%'])).then_some((keyword, name))
    })
}

fn is_list_of_strings(value: &Value) -> bool {
    let items = value.as_array();
    items.is_some_and(|items| items.iter().all(Value::is_string))
}

fn invalid(place: &str, expected: &'static str) -> InvalidSchema {
    InvalidSchema {
        place: place.to_owned(),
        expected,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fit_text(schema: &str) -> Result<FittedSchema, InvalidSchema> {
        let schema: Value = serde_json::from_str(schema).unwrap();
        fit(schema.as_object().unwrap())
    }

    #[track_caller]
    fn check(property: &str, expected: &str, is_whole: bool) {
        let schema =
            |property: &str| format!(r#"{{"type":"object","properties":{{"a":{property}}}}}"#);
        let fitted = fit_text(&schema(property)).unwrap();
        assert_eq!(
            fitted.schema.to_string(),
            fit_text(&schema(expected)).unwrap().schema.to_string()
        );
        assert_eq!(
            fitted.schema["properties"]["a"].to_string(),
            expected,
            "{property}"
        );
        assert_eq!(fitted.is_whole, is_whole, "{property}");
    }

    #[test]
    fn schemas_that_pass_stay_as_they_are_and_equivalents_are_whole() {
        for same in [
            "{}",
            r#"{"type":"string"}"#,
            r#"{"description":"d","type":["string","null"]}"#,
            r#"{"anyOf":[{"type":"string"},{"type":"null"}]}"#,
            r#"{"additionalProperties":false,"properties":{"b":{"items":{"type":"string"},"type":"array"}},"required":["b"],"type":"object"}"#,
            r##"{"$ref":"#"}"##,
        ] {
            check(same, same, true);
        }
        check("true", "{}", true);
        check(r#"{"const":5}"#, r#"{"enum":[5],"type":"integer"}"#, true);
        check(
            r#"{"enum":["x",null]}"#,
            r#"{"enum":["x",null],"type":["string","null"]}"#,
            true,
        );
        check(
            r#"{"type":"array"}"#,
            r#"{"items":{},"type":"array"}"#,
            true,
        );
        check(
            r#"{"title":"A","type":"string"}"#,
            r#"{"type":"string"}"#,
            true,
        );
    }

    #[test]
    fn lost_parts_are_reported() {
        check(
            r#"{"type":"string","pattern":"x"}"#,
            r#"{"type":"string"}"#,
            false,
        );
        check(
            r#"{"type":"string","default":null}"#,
            r#"{"type":"string"}"#,
            false,
        );
        check(
            r#"{"title":"Other","type":"string"}"#,
            r#"{"type":"string"}"#,
            false,
        );
        check("false", "{}", false);
        check(r#"{"description":"alone"}"#, "{}", false);
        check(r#"{"type":"any"}"#, "{}", false);
        check(
            r#"{"type":"array","items":[{"type":"string"}]}"#,
            r#"{"items":{},"type":"array"}"#,
            false,
        );
        check(r##"{"$ref":"#/$defs/none"}"##, "{}", false);
        let long = "d".repeat(MAX_WHOLE_BYTES);
        check(
            &format!(r#"{{"type":"string","description":"{long}"}}"#),
            r#"{"type":"string"}"#,
            false,
        );
    }

    #[test]
    fn large_schema_keeps_the_levels_that_fit() {
        let leaf = r#"{"type":"object","properties":{"q":{"type":"string"}},"required":["q"],"additionalProperties":false}"#;
        let of = |count: usize| {
            let leaves: Vec<_> = (0..count)
                .map(|number| format!(r#""p{number}":{leaf}"#))
                .collect();
            let schema = format!(
                r#"{{"properties":{{"a":{{"properties":{{{}}}}}}}}}"#,
                leaves.join(",")
            );
            fit_text(&schema).unwrap()
        };
        let fitted = of(60);
        assert!(!fitted.is_whole);
        let leaves = &fitted.schema["properties"]["a"]["properties"];
        assert_eq!(
            leaves["p7"].to_string(),
            r#"{"properties":{},"type":"object"}"#
        );
        let fitted = of(600);
        let expected = r#"{"properties":{"a":{"properties":{},"type":"object"}},"type":"object"}"#;
        assert_eq!(fitted.schema.to_string(), expected);
    }

    #[test]
    fn root_becomes_an_object_without_alternatives_and_with_its_definitions() {
        for (schema, expected, is_whole) in [
            ("{}", r#"{"properties":{},"type":"object"}"#, true),
            (
                r##"{"$ref":"#/$defs/x","$defs":{"x":{"type":"object","properties":{"n":{"$ref":"#/$defs/x"}}},"y":{}}}"##,
                r##"{"$defs":{"x":{"properties":{"n":{"$ref":"#/$defs/x"}},"type":"object"}},"properties":{"n":{"$ref":"#/$defs/x"}},"type":"object"}"##,
                true,
            ),
            (
                r#"{"anyOf":[{"properties":{"a":{"type":"string"}}},{"properties":{"b":true}}]}"#,
                r#"{"properties":{"a":{"type":"string"},"b":{}},"type":"object"}"#,
                false,
            ),
        ] {
            let fitted = fit_text(schema).unwrap();
            assert_eq!(fitted.schema.to_string(), expected);
            assert_eq!(fitted.is_whole, is_whole, "{schema}");
        }
    }

    #[test]
    fn values_of_a_wrong_type_are_rejected_with_their_place() {
        let of_property = |property: &str| format!(r#"{{"properties":{{"a":{property}}}}}"#);
        for (schema, place) in [
            (r#"{"properties":[]}"#.to_owned(), ".properties"),
            (r#"{"type":"array"}"#.to_owned(), ".type"),
            (of_property("null"), ".properties.a"),
            (
                of_property(r#"{"required":true}"#),
                ".properties.a.required",
            ),
            (of_property(r#"{"enum":"a"}"#), ".properties.a.enum"),
            (
                of_property(r#"{"description":["a"]}"#),
                ".properties.a.description",
            ),
            (of_property(r#"{"anyOf":{}}"#), ".properties.a.anyOf"),
            (
                of_property(r#"{"anyOf":[{},null]}"#),
                ".properties.a.anyOf[1]",
            ),
            (of_property(r#"{"$ref":1}"#), ".properties.a.$ref"),
            (
                of_property(r#"{"additionalProperties":"x"}"#),
                ".properties.a.additionalProperties",
            ),
            (of_property(r#"{"type":{}}"#), ".properties.a.type"),
        ] {
            assert_eq!(fit_text(&schema).unwrap_err().place, place, "{schema}");
        }
    }
}
