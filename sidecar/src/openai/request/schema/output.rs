//! The schema of the output: enforced by the provider, or an instruction to the model.
//!
//! Codex sends each schema as strict, under a name of its own. The provider rejects a strict schema with an optional
//! property, which is valid without `strict`, OpenAI's default. Such a schema becomes an instruction, which is what the
//! provider makes of it too. OpenAI, "Structured outputs", "Supported schemas".

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::strict;
use crate::openai::IgnoredFields;
use crate::openai::request::fields::developer_instruction;
use crate::openai::request::validate;
use crate::openai::response::error::ApiError;
use crate::turn::Item;

/// A schema as the client sent it.
#[derive(Debug)]
pub(crate) struct SchemaFormat<'a> {
    pub(crate) name: Option<&'a str>,
    pub(crate) description: Option<&'a str>,
    pub(crate) schema: &'a RawValue,
    pub(crate) strict: Option<bool>,
    /// Path of the object that holds the schema.
    pub(crate) param: &'a str,
}

impl SchemaFormat<'_> {
    /// Returns the schema for Codex, or adds an instruction to the conversation and `…schema=instruction` to `ignored`.
    ///
    /// # Errors
    /// 400 for an invalid name or schema, and for a schema outside the rules of the `strict: true` that it comes with.
    pub(crate) fn apply(
        &self,
        conversation: &mut Vec<Item>,
        ignored: &mut IgnoredFields,
    ) -> Result<Option<Box<RawValue>>, ApiError> {
        validate::check_schema(self.name, self.schema, self.param)?;
        let parsed: Value = serde_json::from_str(self.schema.get()).unwrap_or_default();
        match strict::check(&parsed) {
            Ok(()) => Ok(Some(self.with_name(&parsed))),
            Err(reason) if self.strict == Some(true) => {
                let text = format!("Invalid schema for `strict: true`: {reason}");
                Err(ApiError::invalid(text).at(format!("{}.schema", self.param)))
            }
            Err(_) => {
                ignored.add_if(&format!("{}.schema=instruction", self.param), true);
                conversation.push(developer_instruction(&self.instruction()));
                Ok(None)
            }
        }
    }

    /// Returns the schema with the client's name and description, which Codex has no fields for. Written into the text:
    /// a parsed schema would lose the order of its properties, which is the order of the output.
    fn with_name(&self, parsed: &Value) -> Box<RawValue> {
        let text = self.schema.get();
        let fields: Map<String, Value> = [("title", self.name), ("description", self.description)]
            .into_iter()
            .filter(|(keyword, _)| parsed.get(keyword).is_none())
            .filter_map(|(keyword, value)| Some((keyword.to_owned(), value?.into())))
            .collect();
        let object = Value::Object(fields).to_string();
        let added = object.trim_start_matches('{').trim_end_matches('}');
        let rest = text
            .trim_start_matches(|c: char| c.is_whitespace() || c == '{')
            .trim_start();
        let comma = if added.is_empty() || rest == "}" {
            ""
        } else {
            ","
        };
        RawValue::from_string(format!("{{{added}{comma}{rest}"))
            .unwrap_or_else(|_not_an_object| self.schema.to_owned())
    }

    fn instruction(&self) -> String {
        let name = self.name.map(|name| format!(" `{name}`"));
        let about = self.description.map(|text| format!(" ({text})"));
        format!(
            "Answer with one JSON value{}{} and nothing else: no prose, no code fence. It must be valid against this JSON schema: {}",
            name.unwrap_or_default(),
            about.unwrap_or_default(),
            self.schema.get()
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::Content;

    fn apply(schema: &str, strict: Option<bool>) -> Result<String, String> {
        let schema = RawValue::from_string(schema.to_owned()).unwrap();
        let format = SchemaFormat {
            name: Some("pair"),
            description: Some("Two \"words\"."),
            schema: &schema,
            strict,
            param: "text.format",
        };
        let (mut conversation, mut ignored) = (Vec::new(), IgnoredFields::default());
        match format.apply(&mut conversation, &mut ignored).unwrap() {
            Some(schema) => {
                assert_eq!((conversation.len(), ignored.list()), (0, None));
                Ok(schema.get().to_owned())
            }
            None => {
                assert_eq!(ignored.list().unwrap(), "text.format.schema=instruction");
                let [Item::Message(message)] = conversation.as_slice() else {
                    panic!("one message: {conversation:?}");
                };
                let [Content::Text(text)] = message.content.as_slice() else {
                    panic!("one text");
                };
                Err(text.clone())
            }
        }
    }

    #[test]
    fn strict_schema_keeps_its_order_and_gets_the_name_and_description() {
        let strict = r#"{"type":"object","properties":{"z":{"type":"string"},"a":{"type":["integer","null"]}},"required":["a","z"],"additionalProperties":false}"#;
        let named = strict.replacen('{', r#"{"description":"Two \"words\".","title":"pair","#, 1);
        for flag in [None, Some(false), Some(true)] {
            assert_eq!(apply(strict, flag).as_ref(), Ok(&named), "{flag:?}");
        }
        let own = r#"{"title":"T","description":"D","type":"object","additionalProperties":false}"#;
        assert_eq!(apply(own, Some(true)).unwrap(), own);
    }

    #[test]
    fn schema_that_is_not_strict_becomes_an_instruction() {
        let object = |property: &str, required: &str| {
            format!(
                r#"{{"type":"object","properties":{{"a":{property}}},"required":{required},"additionalProperties":false}}"#
            )
        };
        assert!(apply(&object(r#"{"type":"string"}"#, r#"["a"]"#), None).is_ok());
        for schema in [
            "{}".to_owned(),
            r#"{"type":"array","items":{"type":"string"}}"#.to_owned(),
            r#"{"type":"object","properties":{"a":{"type":"string"}},"required":["a"]}"#.to_owned(),
            object(r#"{"type":"string"}"#, "[]"),
            object(r#"{"type":"string","default":"x"}"#, r#"["a"]"#),
            object(r#"{"type":"object"}"#, r#"["a"]"#),
            object(
                r#"{"anyOf":[{"type":"object","properties":{}}]}"#,
                r#"["a"]"#,
            ),
            object(r#"{"type":"array","items":{"oneOf":[]}}"#, r#"["a"]"#),
        ] {
            for flag in [None, Some(false)] {
                let text = apply(&schema, flag).unwrap_err();
                assert!(text.contains(&schema) && text.contains("`pair`"), "{text}");
                assert!(text.contains("Two \"words\"."), "{text}");
            }
            let schema = RawValue::from_string(schema).unwrap();
            let format = SchemaFormat {
                name: None,
                description: None,
                schema: &schema,
                strict: Some(true),
                param: "text.format",
            };
            let rejected = format.apply(&mut Vec::new(), &mut IgnoredFields::default());
            let body = String::from_utf8(rejected.unwrap_err().body()).unwrap();
            assert!(body.contains("\"param\":\"text.format.schema\""), "{body}");
        }
    }
}
