//! The `auto` step: reasoning if the request asks for a summary, then a tool call, a structured output or a text.
//! The fields of the request are those of OpenAI's Responses API.

use serde_json::Value;

use super::schema_instance::smallest_instance;
use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::script::{
    AutoStep, CallStep, MessageContent, MessageOptions, MessageStep, ModelAction, Pace,
    ReasoningStep,
};

/// Words of a developer message that ask for a call of any tool. In a user message they are part of the conversation.
const ANY_TOOL: [&str; 4] = ["function", "functions", "tool", "tools"];

/// The actions of an `auto` step; its text is sent when the request asks for neither a tool nor a schema.
pub(crate) fn actions(auto: AutoStep, pace: Pace, request: &ModelRequest) -> Vec<ModelAction> {
    let reasoning = request.wants_summary().then(|| {
        let summary = vec!["I look at what I am asked for, and do that.".to_owned()];
        let reasoning = ReasoningStep {
            summary,
            raw: None,
            encrypted_content: None,
        };
        ModelAction::Reasoning(reasoning, pace)
    });
    let output = match (called_tool(request), request.schema()) {
        (Some(tool), _) => ModelAction::Call(call(tool), pace),
        (None, Some(schema)) => message(smallest_instance(schema).to_string(), pace),
        (None, None) => message(auto.words, pace),
    };
    reasoning.into_iter().chain([output]).collect()
}

/// The tool that the prompt names, or the first tool if the developer message asks for any; `None` after a tool output.
fn called_tool(request: &ModelRequest) -> Option<&Value> {
    if !request.tool_outputs().is_empty() {
        return None;
    }
    let prompt = request.prompt_and_later_texts().to_lowercase();
    let asked: Vec<_> = words(&prompt).collect();
    let is_named = |tool: &&Value| {
        let name = tool["name"].as_str().unwrap_or_default().to_lowercase();
        words(&name).any(|word| asked.contains(&word))
    };
    let instructions = request.later_developer_texts().to_lowercase();
    let any = words(&instructions).any(|word| ANY_TOOL.contains(&word));
    let mut tools = request.function_tools();
    let named = tools.clone().find(is_named);
    named.or_else(|| tools.next().filter(|_| any))
}

/// The words of a text, without single letters.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().nth(1).is_some())
}

fn call(tool: &Value) -> CallStep {
    CallStep {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        arguments: smallest_instance(&tool["parameters"]),
        call_id: None,
        namespace: None,
    }
}

fn message(text: String, pace: Pace) -> ModelAction {
    let message = MessageStep {
        content: MessageContent::Text(text),
        options: MessageOptions::default(),
    };
    ModelAction::Message(message, pace)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;
    use crate::scripted_model::request::ServedModels;

    #[track_caller]
    fn check(more: &Value, expected: &[&str]) {
        let mut body =
            json!({"model": "m", "stream": true, "input": "What is the weather in Oslo?"});
        let fields = body.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let request = ModelRequest::parse(
            HeaderMap::new(),
            body.to_string().as_bytes(),
            &ServedModels::Any,
        )
        .unwrap();
        let words = "Fine.".to_owned();
        let actions: Vec<_> = actions(AutoStep { words }, Pace::default(), &request)
            .into_iter()
            .map(|action| match action {
                ModelAction::Reasoning(..) => "reasoning".to_owned(),
                ModelAction::Call(call, _) => format!("{} {}", call.name, call.arguments),
                ModelAction::Message(message, _) => match message.content {
                    MessageContent::Text(text) => text,
                    other => panic!("{other:?}"),
                },
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(actions, expected, "{body}");
    }

    fn tool(name: &str) -> Value {
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        json!({"type": "function", "name": name, "parameters": city})
    }

    #[test]
    fn auto_step_follows_summary_tools_and_schema() {
        check(&json!({}), &["Fine."]);
        check(
            &json!({"reasoning": {"summary": "auto"}}),
            &["reasoning", "Fine."],
        );
        let weather = "get_weather {\"city\":\"\"}";
        check(
            &json!({"tools": [tool("stop"), tool("get_weather")]}),
            &[weather],
        );
        check(
            &json!({"tools": [tool("stop"), {"type": "web_search"}]}),
            &["Fine."],
        );
        let schema =
            json!({"type": "object", "properties": {"a": {"type": "null"}}, "required": ["a"]});
        let format = json!({"format": {"type": "json_schema", "name": "s", "schema": schema}});
        check(&json!({"text": format}), &["{\"a\":null}"]);
    }

    #[test]
    fn auto_step_calls_any_tool_on_instruction_and_none_after_a_tool_output() {
        let question = json!({"role": "user", "content": "Hm?"});
        let instruction = json!({"role": "developer", "content": "Call one of your functions."});
        let tools = json!([tool("x"), tool("y")]);
        let call = "x {\"city\":\"\"}";
        check(
            &json!({"tools": tools, "input": [instruction, question]}),
            &["Fine."],
        );
        check(
            &json!({"tools": tools, "input": [question, instruction]}),
            &[call],
        );
        let called =
            json!({"type": "function_call", "call_id": "1", "name": "x", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "1", "output": "-3 C"});
        let input = json!([question, called, output, instruction]);
        check(&json!({"tools": tools, "input": input}), &["Fine."]);
    }
}
