//! The tools of a request in the flat form of the Responses API, and the choice among them.
//! OpenAI API reference, "Create a model response", `tools` and `tool_choice`.

use std::borrow::Cow;
use std::sync::Arc;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::body;
use crate::openai::request::tools::{
    ToolChoice, ToolDefinition, parse_mode, retain_allowed, select_tools,
};
use crate::openai::request::validate::check_tool_name;
use crate::openai::responses::echo::{AllowedTool, ToolChoiceEcho, ToolEcho};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{ToolKind, ToolNamespace, Tools};

/// A tool of any type; the type decides which fields are required.
#[derive(Deserialize)]
pub(in crate::openai::responses) struct ResponseTool {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
    format: Option<Box<RawValue>>,
    #[serde(default, deserialize_with = "body::objects")]
    tools: Option<Vec<Self>>,
}

/// The handling of tools of a type that only OpenAI can run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherTools {
    /// Reject the request.
    Reject,
    /// Leave the tools out: the client offers all of its tools and works with fewer.
    Drop,
}

/// The tools of a request, as they are echoed and as they are offered to the model.
#[derive(Default)]
pub(super) struct RequestTools {
    pub(super) echo: Vec<ToolEcho>,
    pub(super) definitions: Vec<ToolDefinition>,
}

impl RequestTools {
    /// Adds the tools of the list at `param` that the client can run.
    ///
    /// # Errors
    /// 400 for a tool without a name, a namespace in a namespace, and another type of tool unless `others` drops it.
    pub(super) fn add(
        &mut self,
        tools: Vec<ResponseTool>,
        param: &str,
        others: OtherTools,
        ignored: &mut IgnoredFields,
    ) -> Result<(), ApiError> {
        let mut parser = ToolParser {
            namespace: None,
            others,
            definitions: &mut self.definitions,
            ignored,
        };
        self.echo.extend(parser.tools(tools, param)?);
        Ok(())
    }
}

/// The conversion of a list of tools.
struct ToolParser<'a> {
    /// The namespace that the list is in.
    namespace: Option<Arc<ToolNamespace>>,
    others: OtherTools,
    definitions: &'a mut Vec<ToolDefinition>,
    ignored: &'a mut IgnoredFields,
}

impl ToolParser<'_> {
    fn tools(&mut self, tools: Vec<ResponseTool>, param: &str) -> Result<Vec<ToolEcho>, ApiError> {
        let mut echo = Vec::with_capacity(tools.len());
        for (index, tool) in tools.into_iter().enumerate() {
            echo.extend(self.tool(tool, &format!("{param}[{index}]"))?);
        }
        Ok(echo)
    }

    /// Returns the echo of a tool, or `None` for a tool that is left out.
    fn tool(&mut self, tool: ResponseTool, param: &str) -> Result<Option<ToolEcho>, ApiError> {
        self.add_ignored(&tool);
        match tool.kind.as_str() {
            "function" => self.function(tool, param).map(Some),
            "custom" => self.custom(tool, param).map(Some),
            "namespace" if self.namespace.is_none() => self.namespace(tool, param).map(Some),
            kind if self.others == OtherTools::Drop => {
                self.ignored.add_if(&format!("tools[].type={kind}"), true);
                Ok(None)
            }
            kind => {
                let text =
                    format!("Unsupported tool type {kind:?}. Use function, custom or namespace.");
                Err(ApiError::unsupported(format!("{param}.type"), text))
            }
        }
    }

    /// Adds the fields that belong to a tool of another type.
    fn add_ignored(&mut self, tool: &ResponseTool) {
        let path = if self.namespace.is_some() {
            "tools[].tools[]"
        } else {
            "tools[]"
        };
        let (is_function, is_custom) = (tool.kind == "function", tool.kind == "custom");
        for (name, is_present) in [
            ("parameters", tool.parameters.is_some() && !is_function),
            ("strict", tool.strict == Some(true)),
            ("format", tool.format.is_some() && !is_custom),
            ("tools", tool.tools.is_some() && tool.kind != "namespace"),
        ] {
            if is_present {
                self.ignored.add_if(&format!("{path}.{name}"), true);
            }
        }
    }

    fn function(&mut self, tool: ResponseTool, param: &str) -> Result<ToolEcho, ApiError> {
        let name = named(tool.name, &tool.kind, param)?;
        self.definitions.push(ToolDefinition {
            name: name.clone(),
            namespace: self.namespace.clone(),
            kind: ToolKind::Function,
            description: tool.description.clone(),
            parameters: tool.parameters.clone(),
            schema_field: "parameters",
            param: format!("{param}.name"),
        });
        Ok(ToolEcho::Function {
            name,
            description: tool.description,
            parameters: tool.parameters,
            strict: tool.strict,
        })
    }

    /// Adds a tool that takes free text. The model is asked for the format in words: Codex cannot enforce a grammar.
    fn custom(&mut self, tool: ResponseTool, param: &str) -> Result<ToolEcho, ApiError> {
        let name = named(tool.name, &tool.kind, param)?;
        let mut description = tool.description.clone().unwrap_or_default();
        let format = tool.format.as_deref().map(RawValue::get);
        if let Some(Ok(Grammar { syntax, definition })) = format.map(serde_json::from_str) {
            self.ignored.add_if("tools[].format", true);
            let syntax = syntax.as_deref().unwrap_or("given");
            let text = format!("\n\n`input` must match this {syntax} grammar:\n{definition}");
            description.push_str(&text);
        }
        let schema = r#"{"type":"object","properties":{"input":{"type":"string","description":"The input of the tool as plain text"}},"required":["input"],"additionalProperties":false}"#;
        self.definitions.push(ToolDefinition {
            name: name.clone(),
            namespace: self.namespace.clone(),
            kind: ToolKind::Custom,
            description: Some(description),
            parameters: RawValue::from_string(schema.to_owned()).ok(),
            schema_field: "parameters",
            param: format!("{param}.name"),
        });
        Ok(ToolEcho::Custom {
            name,
            description: tool.description,
            format: tool.format,
        })
    }

    fn namespace(&mut self, tool: ResponseTool, param: &str) -> Result<ToolEcho, ApiError> {
        let name = named(tool.name, &tool.kind, param)?;
        check_tool_name(&name, &format!("{param}.name"))?;
        let mut inner = ToolParser {
            namespace: Some(Arc::new(ToolNamespace {
                name: name.clone(),
                description: tool.description.clone().unwrap_or_default(),
            })),
            others: self.others,
            definitions: self.definitions,
            ignored: self.ignored,
        };
        let tools = inner.tools(tool.tools.unwrap_or_default(), &format!("{param}.tools"))?;
        Ok(ToolEcho::Namespace {
            name,
            description: tool.description,
            tools,
        })
    }
}

/// The format of a custom tool, if it is more than plain text.
#[derive(Deserialize)]
struct Grammar<'a> {
    #[serde(borrow)]
    syntax: Option<Cow<'a, str>>,
    #[serde(borrow)]
    definition: Cow<'a, str>,
}

fn named(name: Option<String>, kind: &str, param: &str) -> Result<String, ApiError> {
    name.ok_or_else(|| {
        let text = format!("Missing `name` of the tool: {{\"type\": {kind:?}, \"name\": …}}.");
        ApiError::invalid(text).at(format!("{param}.name"))
    })
}

/// Returns the tools that are offered to the model.
///
/// # Errors
/// 400 for an invalid name, and for a choice that is unsupported or names a function that the request does not define.
pub(super) fn tools(
    mut definitions: Vec<ToolDefinition>,
    choice: &ToolChoiceEcho,
    parallel: bool,
) -> Result<Tools, ApiError> {
    let choice = match choice {
        ToolChoiceEcho::Mode(mode) => parse_mode(mode, "tool_choice")?,
        ToolChoiceEcho::Object {
            kind,
            name,
            mode,
            tools,
        } => match (kind.as_str(), name, tools) {
            ("function" | "custom", Some(name), _) => ToolChoice::Named(name.clone()),
            // The other tools stay in the echo, but are not offered: Codex cannot restrict a turn to some of its tools.
            ("allowed_tools", _, Some(allowed)) => {
                let is_function =
                    |tool: &&AllowedTool| matches!(tool.kind.as_str(), "function" | "custom");
                let names = allowed
                    .iter()
                    .map(|tool| Some(tool).filter(is_function)?.name.clone());
                retain_allowed(&mut definitions, names, "tool_choice.tools")?;
                parse_mode(mode.as_deref().unwrap_or("auto"), "tool_choice.mode")?
            }
            _ => {
                let text = "Unsupported tool choice. Use auto, none, required, {\"type\": \"function\", \"name\": …} or allowed_tools.";
                return Err(ApiError::unsupported("tool_choice", text));
            }
        },
    };
    select_tools(definitions, choice, !parallel)
}
