//! Output schemas: enforced by the provider where they follow the rules of `strict: true`, else asked for in words.
//! OpenAI API reference, "Structured outputs".

use serde_json::value::RawValue;

use super::strict;
use crate::openai::request::validate::check_schema;
use crate::openai::response::error::ApiError;
use crate::turn::{Content, Item, Message, Role};

/// An output schema as the client sends it.
#[derive(Debug)]
pub(in crate::openai) struct OutputSchema {
    pub(in crate::openai) name: String,
    pub(in crate::openai) schema: Box<RawValue>,
    pub(in crate::openai) strict: Option<bool>,
    /// Path of the object that holds the other fields.
    pub(in crate::openai) param: &'static str,
}

impl OutputSchema {
    /// Returns the schema for Codex, or adds an instruction to the conversation.
    ///
    /// Codex sends every schema to the provider as strict, and the provider rejects a strict schema that leaves
    /// properties optional or open. Without `strict: true` OpenAI enforces no schema, so the model is asked in words.
    ///
    /// # Errors
    /// 400 for an invalid name or schema, and for a schema outside the rules of the `strict: true` that it comes with.
    pub(in crate::openai) fn apply(
        self,
        conversation: &mut Vec<Item>,
    ) -> Result<Option<Box<RawValue>>, ApiError> {
        check_schema(&self.name, &self.schema, self.param)?;
        match strict::check(&self.schema) {
            Ok(()) => Ok(Some(self.schema)),
            Err(reason) if self.strict == Some(true) => {
                let text = format!("Invalid schema for `strict: true`: {reason}");
                Err(ApiError::invalid(text).at(format!("{}.schema", self.param)))
            }
            Err(_) => {
                conversation.push(instruction(&self.schema));
                Ok(None)
            }
        }
    }
}

fn instruction(schema: &RawValue) -> Item {
    let text = format!(
        "Answer with one JSON value that fits this JSON schema and nothing else: no prose, no code fence.\n{schema}"
    );
    Item::Message(Message {
        role: Role::Developer,
        content: vec![Content::Text(text)],
    })
}
