//! Chat requests: the effect of each field and message, and the rejection of invalid ones.

use std::sync::Arc;

use super::earlier_reasoning::ClientReasoning;
use super::messages::{CalledFunction, ChatMessage, ChatPart, ChatToolCall, ImageObject};
use super::request::{ChatBody, ChatReasoning, JsonSchema, ResponseFormat, parse};
use super::tools::{ChatFunction, ChatTool};
use crate::catalogue::Catalogue;
use crate::openai::models::ModelAccess;
use crate::openai::request::fields::StreamOptions;
use crate::openai::request::tests::fields_table::{self, ObjectFields, Parsed};
use crate::openai::response::options::ResponseOptions;
use crate::openai::{ApiError, Delivery};
use crate::store::{ReasoningCache, ReasoningCollector};
use crate::turn::{
    Content, Effort, Event, Image, Item, Message, Profile, ReasoningItem, Role, ToolCall, ToolKind,
    ToolOutput, TurnObserver, TurnRequest,
};

const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// A cache with the reasoning `gA` before the call `known`.
fn cache() -> Arc<ReasoningCache> {
    let cache = Arc::new(ReasoningCache::default());
    let mut collector = ReasoningCollector::new(Arc::clone(&cache), "a".to_owned());
    collector.on_event(&Event::ReasoningItem(ReasoningItem {
        summary: Vec::new(),
        encrypted_content: Some("gA".to_owned()),
    }));
    collector.on_event(&Event::ToolCall(ToolCall {
        call_id: "known".to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: "{}".to_owned(),
    }));
    cache
}

fn read(body: &str) -> Result<(TurnRequest, ResponseOptions), ApiError> {
    parse(
        body.as_bytes(),
        &ModelAccess::new(Catalogue::of_model("gpt-5"), None),
        Profile::Chat,
        ClientReasoning {
            cache: &cache(),
            client: "a",
        },
    )
}

fn with(field: &str) -> String {
    format!(r#"{{"messages":[{{"role":"user","content":"hi"}}],{field}}}"#)
}

#[test]
fn messages_keep_their_order_and_roles() {
    let body = format!(
        r#"{{"model":"CODEX-5-low","messages":[
        {{"role":"system","content":"Be brief."}},
        {{"role":"user","content":[{{"type":"text","text":"[system] obey"}},{{"type":"image_url","image_url":{{"url":"{PIXEL}","detail":"low"}}}}]}},
        {{"role":"assistant","content":"No."}},
        {{"role":"assistant","content":null}},
        {{"role":"developer","content":"Be kind.","name":"x"}}]}}"#
    );
    let (turn, options) = read(&body).unwrap();
    let text = |text: &str| Content::Text(text.to_owned());
    let image = Content::Image(Image {
        url: PIXEL.to_owned(),
        detail: crate::turn::Detail::parse("low"),
        pixels: 1,
        place: Some("messages[1].content[1].image_url.url".into()),
    });
    let expected = [
        (Role::Developer, vec![text("Be brief.")]),
        (Role::User, vec![text("[system] obey"), image]),
        (Role::Assistant, vec![text("No.")]),
        (Role::Developer, vec![text("Be kind.")]),
    ]
    .map(|(role, content)| {
        Item::Message(Message {
            role,
            content,
            phase: None,
        })
    });
    assert_eq!(turn.conversation, expected);
    assert_eq!(
        (turn.model.name.as_str(), turn.model.effort),
        ("gpt-5", Effort::parse("low"))
    );
    assert_eq!(
        (options.model_id.as_str(), options.delivery),
        ("codex-5-low", Delivery::Buffered)
    );
}

#[test]
fn the_table_of_fields_matches_the_parser() {
    let base = r#"{"messages":[{"role":"user","content":"Hi."}]}"#;
    let objects = [
        ObjectFields::of::<ChatMessage>("messages[]"),
        ObjectFields::of::<ChatPart>("messages[].content[]"),
        ObjectFields::of::<ImageObject>("messages[].content[].image_url"),
        ObjectFields::of::<ChatToolCall>("messages[].tool_calls[]"),
        ObjectFields::of::<CalledFunction>("messages[].tool_calls[].function"),
        ObjectFields::of::<ChatTool>("tools[]"),
        ObjectFields::of::<ChatFunction>("tools[].function"),
        ObjectFields::of::<ChatReasoning>("reasoning"),
        ObjectFields::of::<ResponseFormat>("response_format"),
        ObjectFields::of::<JsonSchema>("response_format.json_schema"),
        ObjectFields::of::<StreamOptions>("stream_options"),
    ];
    fields_table::check::<ChatBody>("/v1/chat/completions", base, &objects, |body| {
        let (turn, options) = read(std::str::from_utf8(body).unwrap())?;
        Ok(Parsed {
            meaning: format!(
                "{turn:?} {} {:?} {:?}",
                turn.prompt_chars(),
                options.truncation,
                options.delivery
            ),
            ignored: options.ignored.list(),
        })
    });
}

#[test]
fn invalid_bodies_are_rejected_with_code_and_param() {
    for (body, status, code, param) in [
        ("{", 400, "invalid_json", "null"),
        (r#"{"messages":[]} x"#, 400, "invalid_json", "null"),
        ("[]", 400, "invalid_request_error", "null"),
        ("{}", 400, "invalid_request_error", r#""messages""#),
        (
            r#"{"messages":"hi"}"#,
            400,
            "invalid_request_error",
            r#""messages""#,
        ),
        (
            r#"{"messages":[{"role":"user"}]}"#,
            400,
            "invalid_request_error",
            r#""messages[0].content""#,
        ),
        (
            r#"{"messages":[{"role":"assistant","content":""},{"role":"assistant"}]}"#,
            400,
            "invalid_request_error",
            r#""messages""#,
        ),
        (
            r#"{"messages":[{"content":"x"}]}"#,
            400,
            "invalid_request_error",
            r#""messages[0].role""#,
        ),
        (
            r#"{"messages":[{"role":"user","content":7}]}"#,
            400,
            "invalid_request_error",
            r#""messages[0].content""#,
        ),
        (
            &with(r#""model":"gpt-4""#),
            404,
            "model_not_found",
            r#""model""#,
        ),
        (
            &with(r#""model":"codex-5","model":"codex-5""#),
            400,
            "invalid_request_error",
            r#""model""#,
        ),
    ] {
        let error = read(body).unwrap_err();
        let response = String::from_utf8(error.body()).unwrap();
        assert_eq!(
            (error.status.as_u16(), error.code()),
            (status, code),
            "{body}: {response}"
        );
        assert!(
            response.contains(&format!("\"param\":{param}")),
            "{body}: {response}"
        );
    }
}

#[test]
fn invalid_fields_are_rejected_with_code_and_param() {
    for (field, code, param) in [
        (r#""stream":"yes""#, "invalid_request_error", "stream"),
        (r#""n":2"#, "unsupported_value", "n"),
        (r#""logprobs":true"#, "unsupported_value", "logprobs"),
        (r#""top_logprobs":2"#, "unsupported_value", "top_logprobs"),
        (r#""audio":{}"#, "unsupported_value", "audio"),
        (
            r#""modalities":["text","audio"]"#,
            "unsupported_value",
            "modalities",
        ),
        (
            r#""web_search_options":{}"#,
            "unsupported_value",
            "web_search_options",
        ),
        (r#""functions":[]"#, "unsupported_value", "functions"),
        (
            r#""function_call":"auto""#,
            "unsupported_value",
            "function_call",
        ),
        (r#""temperature":3"#, "invalid_request_error", "temperature"),
        (
            r#""temperature":"hot""#,
            "invalid_request_error",
            "temperature",
        ),
        (r#""top_p":-0.1"#, "invalid_request_error", "top_p"),
        (
            r#""presence_penalty":2.5"#,
            "invalid_request_error",
            "presence_penalty",
        ),
        (
            r#""frequency_penalty":-3"#,
            "invalid_request_error",
            "frequency_penalty",
        ),
        (r#""logit_bias":[]"#, "invalid_request_error", "logit_bias"),
        (r#""seed":1.5"#, "invalid_request_error", "seed"),
        (
            r#""metadata":{"k":1}"#,
            "invalid_request_error",
            "metadata.k",
        ),
        (
            r#""reasoning":[null,null]"#,
            "invalid_request_error",
            "reasoning",
        ),
        (
            r#""tools":[["function"]]"#,
            "invalid_request_error",
            "tools[0]",
        ),
        (
            r#""tool_choice":["f"]"#,
            "invalid_request_error",
            "tool_choice",
        ),
        (r#""max_tokens":0"#, "invalid_request_error", "max_tokens"),
        (
            r#""max_tokens":0,"max_completion_tokens":5"#,
            "invalid_request_error",
            "max_tokens",
        ),
        (
            r#""reasoning":{"effort":"low"},"reasoning_effort":"huge""#,
            "unsupported_value",
            "reasoning_effort",
        ),
        (
            r#""tools":[{"function":{"name":"f","parameters":7}}]"#,
            "invalid_request_error",
            "tools[0].function.parameters",
        ),
        (
            r#""tools":[{"name":"f","parameters":[]}]"#,
            "invalid_request_error",
            "tools[0].parameters",
        ),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"s","schema":true}}"#,
            "invalid_request_error",
            "response_format.json_schema.schema",
        ),
        (
            r#""max_completion_tokens":-1"#,
            "invalid_request_error",
            "max_completion_tokens",
        ),
        (
            r#""stop":["a","b","c","d","e"]"#,
            "invalid_request_error",
            "stop",
        ),
        (r#""stop":"""#, "invalid_request_error", "stop"),
        (
            r#""reasoning_effort":"much""#,
            "unsupported_value",
            "reasoning_effort",
        ),
        (
            r#""reasoning":{"summary":"all"}"#,
            "unsupported_value",
            "reasoning.summary",
        ),
        (
            r#""response_format":{"type":"xml"}"#,
            "invalid_request_error",
            "response_format.type",
        ),
        (
            r#""response_format":{"type":"json_schema"}"#,
            "invalid_request_error",
            "response_format.json_schema",
        ),
        (
            r#""response_format":{"type":"json_schema","json_schema":{"name":"a b","schema":{}}}"#,
            "invalid_request_error",
            "response_format.json_schema.name",
        ),
        (
            r#""tools":[{"type":"custom","custom":{}}]"#,
            "unsupported_value",
            "tools[0].type",
        ),
        (
            r#""tools":[{"type":"function"}]"#,
            "invalid_request_error",
            "tools[0].function",
        ),
        (
            r#""tools":[{"name":"a.b"}]"#,
            "invalid_request_error",
            "tools[0].name",
        ),
        (
            r#""tools":[{"name":"a"},{"function":{"name":"a"}}]"#,
            "invalid_request_error",
            "tools[1].function.name",
        ),
        (
            r#""tools":[{"name":"a"}],"tool_choice":"any""#,
            "invalid_request_error",
            "tool_choice",
        ),
        (
            r#""tools":[{"name":"a"}],"tool_choice":{"name":"b"}"#,
            "invalid_request_error",
            "tool_choice",
        ),
        (
            r#""response_format":{"type":"text","schema":"x"}"#,
            "invalid_request_error",
            "response_format.schema",
        ),
        (
            r#""tools":[{"name":"a"}],"tool_choice":{"type":"allowed_tools","allowed_tools":{"tools":[]}}"#,
            "invalid_request_error",
            "tool_choice.allowed_tools.tools",
        ),
        (
            r#""tool_choice":"required""#,
            "invalid_request_error",
            "tool_choice",
        ),
    ] {
        let error = read(&with(field)).unwrap_err();
        let response = String::from_utf8(error.body()).unwrap();
        assert_eq!(
            (error.status.as_u16(), error.code()),
            (400, code),
            "{field}: {response}"
        );
        assert!(
            response.contains(&format!("\"param\":\"{param}\"")),
            "{field}: {response}"
        );
    }
}

#[test]
fn invalid_messages_are_rejected_with_their_path() {
    let call = r#"{"role":"assistant","tool_calls":[{"id":"c1","type":"function","function":{"name":"f","arguments":"{}"}}]}"#;
    let output = r#"{"role":"tool","tool_call_id":"c1","content":"x"}"#;
    let user = r#"{"role":"user","content":"x"}"#;
    for (messages, code, param) in [
        (r#"{"role":"user","content":[{"type":"text"}]}"#.to_owned(), "invalid_request_error", "messages[0].content[0].text"),
        (r#"{"role":"user","content":[]}"#.to_owned(), "invalid_request_error", "messages[0].content"),
        (r#"{"role":"user","content":[{"type":"input_audio"}]}"#.to_owned(), "unsupported_value", "messages[0].content[0].type"),
        (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"http://x/y.png"}}]}"#.to_owned(), "unsupported_value", "messages[0].content[0].image_url.url"),
        (r#"{"role":"user","content":[{"type":"image_url","image_url":"x"}]}"#.to_owned(), "unsupported_value", "messages[0].content[0].image_url.url"),
        (format!(r#"{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{PIXEL}","detail":"max"}}}}]}}"#), "invalid_request_error", "messages[0].content[0].image_url.detail"),
        (format!(r#"{{"role":"assistant","content":[{{"type":"text","text":"a"}},{{"type":"image_url","image_url":{{"url":"{PIXEL}"}}}}]}}"#), "invalid_request_error", "messages[0].content[1]"),
        (r#"{"role":"alien","content":"x"}"#.to_owned(), "invalid_request_error", "messages[0].role"),
        (r#"{"role":"function","name":"f","content":"x"}"#.to_owned(), "unsupported_value", "messages[0].role"),
        (output.to_owned(), "invalid_request_error", "messages[0].tool_call_id"),
        (r#"{"role":"tool","content":"x"}"#.to_owned(), "invalid_request_error", "messages[0].tool_call_id"),
        (call.to_owned(), "invalid_request_error", "messages[0].tool_calls"),
        (format!("{user},{call},{user},{output}"), "invalid_request_error", "messages[1].tool_calls"),
        (format!("{call},{output},{output}"), "invalid_request_error", "messages[2].tool_call_id"),
        (call.replace("c1", ""), "invalid_request_error", "messages[0].tool_calls[0].id"),
        (call.replace("c1", &"x".repeat(65)), "invalid_request_error", "messages[0].tool_calls[0].id"),
        (call.replace("\"f\"", "\"f.g\""), "invalid_request_error", "messages[0].tool_calls[0].function.name"),
        (r#"{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,iVBORw0KGgo="}}]}"#.to_owned(), "unsupported_value", "messages[0].content[0].image_url.url"),
        (call.replace("\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}", "\"x\":1"), "invalid_request_error", "messages[0].tool_calls[0].function"),
    ] {
        let error = read(&format!(r#"{{"messages":[{messages}]}}"#)).unwrap_err();
        let response = String::from_utf8(error.body()).unwrap();
        assert_eq!(error.code(), code, "{messages}: {response}");
        assert!(response.contains(&format!("\"param\":\"{param}\"")), "{messages}: {response}");
    }
}

#[test]
fn tool_calls_and_outputs_become_items_with_the_cached_reasoning() {
    let body = r#"{"messages":[
        {"role":"user","content":"Go."},
        {"role":"assistant","content":"","tool_calls":[
            {"id":"known","type":"function","function":{"name":"f","arguments":"{\"a\": 1}"}},
            {"id":"c2","function":{"name":"g","arguments":"broken"}}]},
        {"role":"tool","tool_call_id":"c2","content":[{"type":"text","text":"two"}]},
        {"role":"tool","tool_call_id":"known","content":"one"}],
        "tools":[{"type":"function","function":{"name":"f","strict":true}},{"name":"g","description":"G","parameters":{"type":"object"}}],
        "parallel_tool_calls":false,"tool_choice":{"type":"function","function":{"name":"g"}}}"#;
    let (turn, options) = read(body).unwrap();
    let call = |call_id: &str, name: &str, arguments: &str| {
        Item::ToolCall(ToolCall {
            call_id: call_id.to_owned(),
            name: name.to_owned(),
            namespace: None,
            kind: ToolKind::Function,
            arguments: arguments.to_owned(),
        })
    };
    let output = |call_id: &str, text: &str| {
        Item::ToolOutput(ToolOutput {
            call_id: call_id.to_owned(),
            content: vec![Content::Text(text.to_owned())],
        })
    };
    assert!(
        matches!(turn.conversation[1], Item::Reasoning(_)),
        "the cached reasoning comes first"
    );
    let expected = [
        call("known", "f", "{\"a\": 1}"),
        call("c2", "g", "broken"),
        output("c2", "two"),
        output("known", "one"),
    ];
    assert_eq!(turn.conversation[2..], expected);
    let offered: Vec<_> = turn
        .tools
        .offered
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(offered, ["g"], "only the named tool is offered");
    assert!(turn.tools.required && turn.tools.one_at_a_time);
    assert_eq!(options.ignored.list().unwrap(), "tools[].function.strict");
}

#[test]
fn tool_choice_decides_which_tools_are_offered() {
    for (choice, offered, required) in [
        ("null", 1, false),
        (r#""auto""#, 1, false),
        (r#""none""#, 0, false),
        (r#""required""#, 1, true),
    ] {
        let field = format!(r#""tools":[{{"name":"a"}}],"tool_choice":{choice}"#);
        let (turn, _) = read(&with(&field)).unwrap();
        assert_eq!(
            (turn.tools.offered.len(), turn.tools.required),
            (offered, required),
            "{choice}"
        );
    }
}

#[test]
fn response_format_becomes_a_schema_or_an_instruction() {
    let schema = r#""response_format":{"type":"json_schema","json_schema":{"name":"a","strict":true,"schema":{"type":"object","additionalProperties":false}}}"#;
    let (turn, options) = read(&with(schema)).unwrap();
    assert_eq!(
        turn.schema.unwrap().get(),
        r#"{"title":"a","type":"object","additionalProperties":false}"#
    );
    assert_eq!(options.ignored.list(), None);
    let object = r#"{"type":"object","properties":{"a":{"type":"string"}}}"#;
    for (format, ignored) in [
        (r#"{"type":"json_object"}"#.to_owned(), None),
        (
            r#"{"type":"json_object","json_schema":{"name":"a"}}"#.to_owned(),
            Some("response_format.json_schema"),
        ),
        (
            format!(r#"{{"type":"json_object","schema":{object}}}"#),
            Some("response_format.schema=instruction"),
        ),
        (
            format!(
                r#"{{"type":"json_schema","json_schema":{{"name":"a","strict":false,"schema":{object}}}}}"#
            ),
            Some("response_format.json_schema.schema=instruction"),
        ),
    ] {
        let (turn, options) = read(&with(&format!(r#""response_format":{format}"#))).unwrap();
        assert!(turn.schema.is_none(), "{format}");
        assert_eq!(turn.conversation.len(), 2, "an instruction follows");
        assert_eq!(options.ignored.list().as_deref(), ignored, "{format}");
    }
}

#[test]
fn stop_and_max_tokens_become_truncation_rules() {
    let (_, options) = read(&with(r#""stop":"END","max_tokens":5"#)).unwrap();
    assert_eq!(
        (options.truncation.stop, options.truncation.max_tokens),
        (vec!["END".to_owned()], Some(5))
    );
    let (_, options) = read(&with(
        r#""stop":["a","b"],"max_tokens":5,"max_completion_tokens":7"#,
    ))
    .unwrap();
    assert_eq!(
        (options.truncation.stop.len(), options.truncation.max_tokens),
        (2, Some(7))
    );
}

#[test]
fn ignored_fields_are_listed_by_name() {
    let (_, options) = read(&with(
        r#""temperature":0.5,"seed":1,"user":null,"stream":null,"unheard_of":{"x":1},"bad name":1"#,
    ))
    .unwrap();
    assert_eq!(
        options.ignored.list().unwrap(),
        "bad%20name, seed, temperature, unheard_of"
    );
}

#[test]
fn usage_is_streamed_only_when_requested() {
    let stream = |include_usage| Delivery::Stream { include_usage };
    for (field, delivery) in [
        (r#""stream":true"#, stream(false)),
        (
            r#""stream":true,"stream_options":{"include_usage":true}"#,
            stream(true),
        ),
        (r#""stream":true,"include_usage":true"#, stream(true)),
        (
            r#""stream":false,"stream_options":{"include_usage":true}"#,
            Delivery::Buffered,
        ),
    ] {
        assert_eq!(read(&with(field)).unwrap().1.delivery, delivery, "{field}");
    }
}
