//! What a small obedient model does with a request: thinks aloud when asked to, calls the tool that the prompt is
//! about, fills in the shape that it is asked for, or says a few words. OpenAI's Responses API says what can be asked.

use serde_json::Value;

use super::schema_instance::instance;
use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::script::{
    Act, Auto, Call, Content, Message, MessageOptions, Pace, Reasoning,
};

/// Words of the application that ask for a call of whichever tool there is; a person may just talk about tools.
const ANY_TOOL: [&str; 4] = ["function", "functions", "tool", "tools"];

/// What such a model does; it says the words of `auto` when nothing else is asked for.
pub(crate) fn acts(auto: Auto, pace: Pace, request: &ModelRequest) -> Vec<Act> {
    let thoughts = request.wants_summary().then(|| {
        let summary = vec!["I look at what I am asked for, and do that.".to_owned()];
        let reasoning = Reasoning {
            summary,
            raw: None,
            encrypted_content: None,
        };
        Act::Reasoning(reasoning, pace)
    });
    let answer = match (called_tool(request), request.schema()) {
        (Some(tool), _) => Act::Call(call(tool), pace),
        (None, Some(schema)) => say(instance(schema).to_string(), pace),
        (None, None) => say(auto.words, pace),
    };
    thoughts.into_iter().chain([answer]).collect()
}

/// The tool that the words name, or the first one when they ask for any; once a tool has answered, the talking begins.
fn called_tool(request: &ModelRequest) -> Option<&Value> {
    if !request.tool_outputs().is_empty() {
        return None;
    }
    let asked = request.asked().to_lowercase();
    let asked: Vec<_> = words(&asked).collect();
    let is_named = |tool: &&Value| {
        let name = tool["name"].as_str().unwrap_or_default().to_lowercase();
        words(&name).any(|word| asked.contains(&word))
    };
    let told = request.instructed().to_lowercase();
    let any = words(&told).any(|word| ANY_TOOL.contains(&word));
    let mut tools = request.function_tools();
    let named = tools.clone().find(is_named);
    named.or_else(|| tools.next().filter(|_| any))
}

/// Runs of letters; one letter alone is no word that could name anything.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| word.chars().nth(1).is_some())
}

fn call(tool: &Value) -> Call {
    Call {
        name: tool["name"].as_str().unwrap_or_default().to_owned(),
        arguments: instance(&tool["parameters"]),
        call_id: None,
        namespace: None,
    }
}

fn say(text: String, pace: Pace) -> Act {
    let message = Message {
        content: Content::Text(text),
        options: MessageOptions::default(),
    };
    Act::Message(message, pace)
}

#[cfg(test)]
mod tests {
    use http::HeaderMap;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(more: &Value, expected: &[&str]) {
        let mut body =
            json!({"model": "m", "stream": true, "input": "What is the weather in Oslo?"});
        let fields = body.as_object_mut().unwrap();
        fields.extend(more.as_object().unwrap().clone());
        let request = ModelRequest::parse(HeaderMap::new(), body.to_string().as_bytes()).unwrap();
        let words = "Fine.".to_owned();
        let acts = acts(Auto { words }, Pace::default(), &request);
        let acts = acts.into_iter().map(|act| match act {
            Act::Reasoning(..) => "thinks".to_owned(),
            Act::Call(call, _) => format!("{} {}", call.name, call.arguments),
            Act::Message(message, _) => match message.content {
                Content::Text(text) => text,
                other => panic!("{other:?}"),
            },
            other => panic!("{other:?}"),
        });
        assert_eq!(acts.collect::<Vec<_>>(), expected, "{body}");
    }

    fn tool(name: &str) -> Value {
        let city = json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
        json!({"type": "function", "name": name, "parameters": city})
    }

    #[test]
    fn it_does_what_it_is_asked_for() {
        check(&json!({}), &["Fine."]);
        check(
            &json!({"reasoning": {"summary": "auto"}}),
            &["thinks", "Fine."],
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
    fn it_calls_any_tool_when_told_to_and_none_when_one_has_answered() {
        let question = json!({"role": "user", "content": "Hm?"});
        let told = json!({"role": "developer", "content": "Call one of your functions."});
        let tools = json!([tool("x"), tool("y")]);
        let call = "x {\"city\":\"\"}";
        check(
            &json!({"tools": tools, "input": [told, question]}),
            &["Fine."],
        );
        check(&json!({"tools": tools, "input": [question, told]}), &[call]);
        let called =
            json!({"type": "function_call", "call_id": "1", "name": "x", "arguments": "{}"});
        let output = json!({"type": "function_call_output", "call_id": "1", "output": "-3 C"});
        let input = json!([question, called, output, told]);
        check(&json!({"tools": tools, "input": input}), &["Fine."]);
    }
}
