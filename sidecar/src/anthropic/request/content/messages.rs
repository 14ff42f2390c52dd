//! Converts messages to the items of a conversation, and checks that every `tool_use` has its `tool_result`.
//! Anthropic API reference, "Create a Message", `messages`.

use std::collections::{BTreeSet, HashSet};

use super::blocks::{image, missing, result_content, text};
use super::input::{Block, InputMessage, unsupported_block};
use crate::anthropic::request::tools::ToolChange;
use crate::anthropic::response::signature;
use crate::anthropic::response::tool_input;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::request::validate::{check_call_id, check_tool_name};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{Content, Item, Message, ReasoningItem, Role, ToolCall, ToolKind, ToolOutput};

/// The text before the output of a tool that failed: the conversation of Codex has no mark for it.
const ERROR_PREFIX: &str = "Tool error: ";

/// The conversation of a request.
#[derive(Default)]
pub(in crate::anthropic::request) struct Conversation {
    pub(in crate::anthropic::request) items: Vec<Item>,
    /// The effort of the last system message with one.
    pub(in crate::anthropic::request) effort: Option<String>,
    /// The changes of the tools, in order.
    pub(in crate::anthropic::request) tool_changes: Vec<ToolChange>,
}

/// Returns the conversation of `messages`, after the items of `system`.
///
/// # Errors
/// 400 for an invalid message, a `tool_use` without its `tool_result`, and the reverse; `param` is the path.
pub(in crate::anthropic::request) fn conversation(
    system: Option<Item>,
    messages: Vec<InputMessage>,
    ignored: &mut IgnoredFields,
) -> Result<Conversation, ApiError> {
    if messages.is_empty() {
        let text = "`messages` must contain at least one message, such as {\"role\": \"user\", \"content\": \"…\"}.";
        return Err(ApiError::invalid(text).at("messages"));
    }
    check_last_role(&messages)?;
    let last_user = messages.iter().rposition(|message| message.role == "user");
    let mut builder = ConversationBuilder {
        conversation: Conversation {
            items: system.into_iter().collect(),
            ..Conversation::default()
        },
        pending_calls: BTreeSet::new(),
        known_calls: HashSet::new(),
        calling_message: 0,
        ignored,
    };
    for (index, message) in messages.into_iter().enumerate() {
        let is_cleared = last_user.is_some_and(|last| index < last);
        builder.push(index, message, is_cleared)?;
    }
    builder.check_answered()?;
    if builder.conversation.items.is_empty() {
        let text = "All messages are empty; add a user message with a text.";
        return Err(ApiError::invalid(text).at("messages"));
    }
    Ok(builder.conversation)
}

/// Rejects a conversation that ends with a message of the model, which asks the API to go on with its text: Codex begins
/// a message of its own.
fn check_last_role(messages: &[InputMessage]) -> Result<(), ApiError> {
    let last = messages
        .iter()
        .rposition(|message| message.role != "system");
    match last {
        Some(index) if messages[index].role == "assistant" => {
            let text = "Prefill is not supported: the conversation must end with a user message.";
            Err(ApiError::unsupported(
                format!("messages[{index}].role"),
                text,
            ))
        }
        _ => Ok(()),
    }
}

/// The conversation so far, with the calls that still need a result.
struct ConversationBuilder<'a> {
    conversation: Conversation,
    pending_calls: BTreeSet<String>,
    /// Every id so far: the results of two calls with one id could not be told apart.
    known_calls: HashSet<String>,
    /// The index of the message that made the pending calls.
    calling_message: usize,
    ignored: &'a mut IgnoredFields,
}

impl ConversationBuilder<'_> {
    fn push(
        &mut self,
        index: usize,
        message: InputMessage,
        before_user: bool,
    ) -> Result<(), ApiError> {
        let param = format!("messages[{index}]");
        let is_system = message.role == "system";
        self.ignored.add_if(
            "messages[].output_config",
            message.output_config.is_some() && !is_system,
        );
        self.ignored.add_if(
            "messages[].clear_at",
            message.clear_at.is_some() && !is_system,
        );
        match message.role.as_str() {
            "user" => self.push_user(message.content, &param),
            "assistant" => {
                self.calling_message = index;
                self.push_assistant(message.content, &param)
            }
            "system" => self.push_system(message, before_user, &param),
            other => {
                let text = format!("Invalid role {other:?}. Use user, assistant or system.");
                Err(ApiError::invalid(text).at(format!("{param}.role")))
            }
        }
    }

    fn push_user(
        &mut self,
        content: Option<StringOrList<Block>>,
        param: &str,
    ) -> Result<(), ApiError> {
        let blocks = match required(content, param)? {
            StringOrList::Text(text) => {
                return self.push_message(Role::User, vec![Content::Text(text)]);
            }
            StringOrList::List(blocks) => blocks,
        };
        let mut parts = Vec::new();
        for (number, mut block) in blocks.into_iter().enumerate() {
            let param = format!("{param}.content[{number}]");
            block.add_unused(self.ignored);
            match block.kind.as_str() {
                "text" => parts.push(text(block.text, &param)?),
                "image" => {
                    let image = image(block.source.take(), block.transformations.take(), &param)?;
                    parts.push(Content::Image(image));
                }
                "tool_result" => {
                    let message = std::mem::take(&mut parts);
                    self.push_message(Role::User, message)?;
                    self.push_result(block, &param)?;
                }
                _ => return Err(unsupported_block(&block.kind, &param)),
            }
        }
        self.push_message(Role::User, parts)
    }

    /// Adds a message; one without content is left out.
    fn push_message(&mut self, role: Role, mut content: Vec<Content>) -> Result<(), ApiError> {
        content.retain(|part| *part != Content::Text(String::new()));
        if content.is_empty() {
            return Ok(());
        }
        self.check_answered()?;
        self.conversation.items.push(Item::Message(Message {
            role,
            content,
            phase: None,
        }));
        Ok(())
    }

    fn push_result(&mut self, block: Block, param: &str) -> Result<(), ApiError> {
        let call_id = block
            .tool_use_id
            .ok_or_else(|| missing("tool_use_id", param))?;
        if !self.pending_calls.remove(&call_id) {
            let text = format!(
                "unexpected `tool_use_id` found in `tool_result` blocks: {call_id}. Each `tool_result` block must have a corresponding `tool_use` block in the previous message."
            );
            return Err(ApiError::invalid(text).at(format!("{param}.tool_use_id")));
        }
        let mut content = match block.content {
            None => Vec::new(),
            Some(StringOrList::Text(text)) => vec![Content::Text(text)],
            Some(StringOrList::List(blocks)) => {
                let result = result_content(blocks, param, self.ignored)?;
                let added = result.referenced_tools.into_iter().map(ToolChange::Added);
                self.conversation.tool_changes.extend(added);
                result.content
            }
        };
        if block.is_error == Some(true) {
            mark_error(&mut content);
        }
        self.conversation
            .items
            .push(Item::ToolOutput(ToolOutput { call_id, content }));
        Ok(())
    }

    fn push_assistant(
        &mut self,
        content: Option<StringOrList<Block>>,
        param: &str,
    ) -> Result<(), ApiError> {
        self.check_answered()?;
        let blocks = match required(content, param)? {
            StringOrList::Text(text) => {
                return self.push_message(Role::Assistant, vec![Content::Text(text)]);
            }
            StringOrList::List(blocks) => blocks,
        };
        for (number, block) in blocks.into_iter().enumerate() {
            let param = format!("{param}.content[{number}]");
            block.add_unused(self.ignored);
            match block.kind.as_str() {
                // Each a message of its own, as the model made them. Not `push_message`: a call of the same message may
                // come before.
                "text" => {
                    let part = text(block.text, &param)?;
                    if part != Content::Text(String::new()) {
                        self.conversation.items.push(Item::Message(Message {
                            role: Role::Assistant,
                            content: vec![part],
                            phase: None,
                        }));
                    }
                }
                "thinking" => {
                    let signature = block
                        .signature
                        .ok_or_else(|| missing("signature", &param))?;
                    let thinking = block.thinking.ok_or_else(|| missing("thinking", &param))?;
                    self.push_reasoning(&signature, "signature", thinking);
                }
                "redacted_thinking" => {
                    let data = block.data.ok_or_else(|| missing("data", &param))?;
                    self.push_reasoning(&data, "data", String::new());
                }
                "tool_use" => self.push_call(block, &param)?,
                "image" => {
                    let text =
                        "An assistant message cannot have an image; send it in a user message.";
                    return Err(ApiError::invalid(text).at(param));
                }
                _ => return Err(unsupported_block(&block.kind, &param)),
            }
        }
        Ok(())
    }

    /// Adds a reasoning item. A signature of another server has no meaning for Codex: the block is left out, so that a
    /// conversation that began elsewhere goes on.
    fn push_reasoning(&mut self, signed: &str, field: &str, thinking: String) {
        let Some(encrypted) = signature::read(signed) else {
            self.ignored
                .add_if(&format!("messages[].content[].{field}"), true);
            return;
        };
        let summary = Some(thinking).filter(|text| !text.is_empty());
        self.conversation.items.push(Item::Reasoning(ReasoningItem {
            summary: summary.into_iter().collect(),
            encrypted_content: Some(encrypted.to_owned()),
        }));
    }

    fn push_call(&mut self, block: Block, param: &str) -> Result<(), ApiError> {
        let id = block.id.ok_or_else(|| missing("id", param))?;
        let name = block.name.ok_or_else(|| missing("name", param))?;
        let input = block.input.ok_or_else(|| missing("input", param))?;
        if let Some(other) = block.caller.filter(|caller| caller.kind != "direct") {
            let text = format!("Unsupported caller {:?}. Use direct.", other.kind);
            return Err(ApiError::unsupported(format!("{param}.caller.type"), text));
        }
        check_call_id(&id, &format!("{param}.id"))?;
        check_tool_name(&name, &format!("{param}.name"))?;
        let arguments = tool_input::read(&input).ok_or_else(|| {
            ApiError::invalid("`input` must be an object.").at(format!("{param}.input"))
        })?;
        if !self.known_calls.insert(id.clone()) {
            let text = "`tool_use` ids must be unique.";
            return Err(ApiError::invalid(text).at(format!("{param}.id")));
        }
        self.pending_calls.insert(id.clone());
        self.conversation.items.push(Item::ToolCall(ToolCall {
            call_id: id,
            name,
            namespace: None,
            kind: ToolKind::Function,
            arguments,
        }));
        Ok(())
    }

    /// Adds a system message in the conversation; `before_user` if a user message follows.
    fn push_system(
        &mut self,
        message: InputMessage,
        before_user: bool,
        param: &str,
    ) -> Result<(), ApiError> {
        let is_cleared = match message.clear_at.as_deref() {
            None | Some("never") => false,
            Some("next_user_message") => before_user,
            Some(other) => {
                let text = format!("Unsupported value {other:?}. Use never or next_user_message.");
                return Err(ApiError::unsupported(format!("{param}.clear_at"), text));
            }
        };
        let effort = message.output_config.and_then(|config| config.effort);
        let has_effort = effort.is_some();
        self.conversation.effort = effort.or(self.conversation.effort.take());
        let parts = match message.content {
            None if has_effort => Vec::new(),
            content => self.system_parts(required(content, param)?, param)?,
        };
        if is_cleared {
            return Ok(());
        }
        self.push_message(Role::Developer, parts)
    }

    fn system_parts(
        &mut self,
        content: StringOrList<Block>,
        param: &str,
    ) -> Result<Vec<Content>, ApiError> {
        let blocks = match content {
            StringOrList::Text(text) => return Ok(vec![Content::Text(text)]),
            StringOrList::List(blocks) => blocks,
        };
        let mut parts = Vec::with_capacity(blocks.len());
        for (number, block) in blocks.into_iter().enumerate() {
            let param = format!("{param}.content[{number}]");
            block.add_unused(self.ignored);
            match block.kind.as_str() {
                "text" => parts.push(text(block.text, &param)?),
                "tool_addition" | "tool_removal" => {
                    let tool = block.tool.ok_or_else(|| missing("tool", &param))?;
                    let is_added = block.kind == "tool_addition";
                    let change = tool.change(is_added, &param)?;
                    self.conversation.tool_changes.push(change);
                }
                other => {
                    let text = format!("Unsupported type {other:?} in a system message. Use text.");
                    return Err(ApiError::unsupported(format!("{param}.type"), text));
                }
            }
        }
        Ok(parts)
    }

    /// Rejects calls without a result. Codex would insert one of its own, and the model would rely on it.
    fn check_answered(&self) -> Result<(), ApiError> {
        const MAX_IDS: usize = 5;
        if self.pending_calls.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = self
            .pending_calls
            .iter()
            .take(MAX_IDS)
            .map(String::as_str)
            .collect();
        let text = format!(
            "`tool_use` ids were found without `tool_result` blocks immediately after: {}. Each `tool_use` block must have a corresponding `tool_result` block at the beginning of the next message.",
            ids.join(", ")
        );
        Err(ApiError::invalid(text).at(format!("messages[{}]", self.calling_message)))
    }
}

fn required(
    content: Option<StringOrList<Block>>,
    param: &str,
) -> Result<StringOrList<Block>, ApiError> {
    content.ok_or_else(|| {
        ApiError::invalid("Missing `content` of the message.").at(format!("{param}.content"))
    })
}

/// Marks the output of a tool that failed, in its first text.
fn mark_error(content: &mut Vec<Content>) {
    match content.first_mut() {
        Some(Content::Text(text)) => text.insert_str(0, ERROR_PREFIX),
        Some(Content::Image(_)) | None => {
            content.insert(0, Content::Text(ERROR_PREFIX.trim_end().to_owned()));
        }
    }
}
