//! Tests of the parser: the table of fields, the items of a conversation, and the rejections with their paths.

use std::sync::Arc;

use serde_json::{Value, json};

use super::body::{
    ContextEdit, ContextManagement, MessagesBody, Metadata, OutputConfig, OutputFormat,
    ThinkingField,
};
use super::content::{
    Block, CallerField, ImageSource, ImageTransformations, InputMessage, MessageOutputConfig,
    ResultBlock, SystemBlock,
};
use super::tools::{ToolChoiceField, ToolField, ToolReference};
use super::{MessageSpec, ThinkingDisplay, count_tokens, parse};
use crate::catalogue::Catalogue;
use crate::openai::chat::ClientReasoning;
use crate::openai::models::ModelAccess;
use crate::openai::request::tests::fields_table::{self, ObjectFields, Parsed};
use crate::openai::{ApiError, Delivery};
use crate::store::{ReasoningCache, ReasoningCollector};
use crate::turn::{
    Content, Effort, Event, Item, Message, Profile, ReasoningItem, Role, Summary, ToolCall,
    ToolKind, ToolOutput, TurnObserver, TurnRequest,
};

const PIXEL: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";

/// A cache with the reasoning `gA` before the call `known`.
fn cache() -> Arc<ReasoningCache> {
    let cache = Arc::new(ReasoningCache::default());
    let mut collector = ReasoningCollector::new(Arc::clone(&cache), "a".to_owned());
    collector.on_event(&Event::ReasoningItem(reasoning("gA", "")));
    collector.on_event(&Event::ToolCall(call("known", "look", "{}")));
    cache
}

fn read(body: &str) -> Result<(TurnRequest, MessageSpec), ApiError> {
    let (cache, catalogue) = (cache(), Catalogue::of_model("gpt-x"));
    let reasoning = ClientReasoning {
        cache: &cache,
        client: "a",
    };
    let models = ModelAccess::new(catalogue, None);
    parse(body.as_bytes(), &models, Profile::Chat, reasoning)
}

/// Reads a body with these fields beside the required ones.
fn with(fields: &Value) -> Result<(TurnRequest, MessageSpec), ApiError> {
    let mut body = json!({"max_tokens": 9, "messages": [{"role": "user", "content": "Hi."}]});
    for (name, value) in fields.as_object().unwrap() {
        body[name] = value.clone();
    }
    read(&body.to_string())
}

fn messages(messages: &Value) -> Result<(TurnRequest, MessageSpec), ApiError> {
    with(&json!({"messages": messages}))
}

fn message(role: Role, text: &str) -> Item {
    Item::Message(Message {
        role,
        content: vec![Content::Text(text.to_owned())],
        phase: None,
    })
}

fn call(id: &str, name: &str, arguments: &str) -> ToolCall {
    ToolCall {
        call_id: id.to_owned(),
        name: name.to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: arguments.to_owned(),
    }
}

fn output(id: &str, text: &str) -> Item {
    Item::ToolOutput(ToolOutput {
        call_id: id.to_owned(),
        content: vec![Content::Text(text.to_owned())],
    })
}

fn reasoning(encrypted: &str, summary: &str) -> ReasoningItem {
    let summary = Some(summary.to_owned()).filter(|text| !text.is_empty());
    ReasoningItem {
        summary: summary.into_iter().collect(),
        encrypted_content: Some(encrypted.to_owned()),
    }
}

#[test]
fn the_table_of_fields_matches_the_parser() {
    let base = r#"{"max_tokens":9,"messages":[{"role":"user","content":"Hi."}]}"#;
    let objects = [
        ObjectFields::of::<InputMessage>("messages[]"),
        ObjectFields::of::<MessageOutputConfig>("messages[].output_config"),
        ObjectFields::of::<Block>("messages[].content[]"),
        ObjectFields::of::<ImageSource>("messages[].content[].source"),
        ObjectFields::of::<ImageTransformations>("messages[].content[].transformations"),
        ObjectFields::of::<CallerField>("messages[].content[].caller"),
        ObjectFields::of::<ResultBlock>("messages[].content[].content[]"),
        ObjectFields::of::<ToolReference>("messages[].content[].tool"),
        ObjectFields::of::<SystemBlock>("system[]"),
        ObjectFields::of::<ToolField>("tools[]"),
        ObjectFields::of::<ToolChoiceField>("tool_choice"),
        ObjectFields::of::<ThinkingField>("thinking"),
        ObjectFields::of::<OutputConfig>("output_config"),
        ObjectFields::of::<OutputFormat>("output_config.format"),
        ObjectFields::of::<ContextManagement>("context_management"),
        ObjectFields::of::<ContextEdit>("context_management.edits[]"),
        ObjectFields::of::<Metadata>("metadata"),
    ];
    fields_table::check::<MessagesBody>("/v1/messages", base, &objects, |body| {
        let (turn, spec) = read(std::str::from_utf8(body).unwrap())?;
        let options = spec.options;
        Ok(Parsed {
            meaning: format!(
                "{turn:?} {} {:?} {:?} {:?} {:?}",
                turn.prompt_chars(),
                options.truncation,
                options.delivery,
                spec.user_id,
                spec.thinking,
            ),
            ignored: options.ignored.list(),
        })
    });
}

#[test]
fn conversation_becomes_items_in_order() {
    let (turn, spec) = with(&json!({
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: v=1"},
            {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "Look."}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "codex.gB"},
                {"type": "redacted_thinking", "data": "codex.gC"},
                {"type": "thinking", "thinking": "Elsewhere.", "signature": "EqQB"},
                {"type": "text", "text": "I look."},
                {"type": "text", "text": ""},
                {"type": "tool_use", "id": "c1", "name": "look", "input": {"b": 1, "a": []}},
                {"type": "tool_use", "id": "c2", "name": "look", "input": {"INVALID_JSON": "{\"a\":"}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "c2", "content": "No.", "is_error": true},
                {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "Sun."}]},
                {"type": "text", "text": "Go on."},
            ]},
            {"role": "system", "content": "Be quick."},
        ],
    }))
    .unwrap();
    let expected = [
        message(Role::Developer, "Be brief."),
        message(Role::User, "Look."),
        Item::Reasoning(reasoning("gB", "Hm.")),
        Item::Reasoning(reasoning("gC", "")),
        message(Role::Assistant, "I look."),
        Item::ToolCall(call("c1", "look", r#"{"b":1,"a":[]}"#)),
        Item::ToolCall(call("c2", "look", "{\"a\":")),
        output("c2", "Tool error: No."),
        output("c1", "Sun."),
        message(Role::User, "Go on."),
        message(Role::Developer, "Be quick."),
    ];
    // `json!` sorts the keys of an object.
    let sorted = turn.conversation.iter().cloned().map(|item| match item {
        Item::ToolCall(call) if call.call_id == "c1" => Item::ToolCall(ToolCall {
            arguments: r#"{"b":1,"a":[]}"#.to_owned(),
            ..call
        }),
        item => item,
    });
    assert_eq!(sorted.collect::<Vec<_>>(), expected);
    assert_eq!(
        spec.options.ignored.list().unwrap(),
        "messages[].content[].signature, system[].cache_control, system[].text=x-anthropic-billing-header"
    );
}

#[test]
fn reasoning_that_the_client_does_not_return_comes_from_the_cache() {
    let (turn, _) = messages(&json!([
        {"role": "user", "content": "Look."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "known", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "known"}]},
    ]))
    .unwrap();
    assert_eq!(turn.conversation[1], Item::Reasoning(reasoning("gA", "")));
    let Item::ToolOutput(output) = &turn.conversation[3] else {
        panic!("{turn:?}");
    };
    assert!(output.content.is_empty());
}

#[test]
fn images_are_data_urls_and_tool_results_may_have_them() {
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}});
    let (turn, _) = messages(&json!([
        {"role": "user", "content": [image.clone()]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "look", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c", "content": [image], "is_error": true}]},
    ]))
    .unwrap();
    let urls: Vec<_> = turn.images().map(|image| image.url.clone()).collect();
    let url = format!("data:image/png;base64,{PIXEL}");
    assert_eq!(urls, [url.clone(), url]);
    let places: Vec<_> = turn
        .images()
        .filter_map(|image| image.place.as_deref())
        .collect();
    assert_eq!(
        places,
        [
            "messages[0].content[0].source.data",
            "messages[2].content[0].content[0].source.data"
        ]
    );
    let Some(Item::ToolOutput(output)) = turn.conversation.last() else {
        panic!("{turn:?}");
    };
    assert_eq!(output.content[0], Content::Text("Tool error:".to_owned()));
}

#[test]
fn thinking_selects_the_effort_and_the_summary() {
    let budget = |tokens: u64| json!({"type": "enabled", "budget_tokens": tokens});
    for (thinking, effort, summary, display, ignored) in [
        (json!(null), None, Summary::None, ThinkingDisplay::Off, None),
        (
            json!({"type": "adaptive"}),
            None,
            Summary::Auto,
            ThinkingDisplay::Summarized,
            None,
        ),
        (
            json!({"type": "adaptive", "display": "omitted"}),
            None,
            Summary::None,
            ThinkingDisplay::Omitted,
            None,
        ),
        (
            budget(1024),
            Some("low"),
            Summary::Auto,
            ThinkingDisplay::Summarized,
            Some("thinking.budget_tokens=low"),
        ),
        (
            budget(10_000),
            Some("medium"),
            Summary::Auto,
            ThinkingDisplay::Summarized,
            Some("thinking.budget_tokens=medium"),
        ),
        (
            budget(31_999),
            Some("high"),
            Summary::Auto,
            ThinkingDisplay::Summarized,
            Some("thinking.budget_tokens=high"),
        ),
        (
            json!({"type": "disabled"}),
            Some("low"),
            Summary::None,
            ThinkingDisplay::Off,
            Some("thinking.type=low"),
        ),
    ] {
        let (turn, spec) = with(&json!({"thinking": thinking})).unwrap();
        let used = turn.model.effort.as_ref().map(Effort::as_str);
        assert_eq!(
            (
                used,
                turn.summary,
                spec.thinking,
                spec.options.ignored.list().as_deref()
            ),
            (effort, summary, display, ignored),
            "{thinking}"
        );
    }
}

#[test]
fn effort_of_the_last_system_message_wins_and_max_is_the_highest_of_the_model() {
    let system = |effort: &str| json!({"role": "system", "output_config": {"effort": effort}});
    let user = json!({"role": "user", "content": "Hi."});
    for (config, messages, effort, ignored) in [
        (json!({"effort": "high"}), json!([user]), "high", None),
        (
            json!({"effort": "max"}),
            json!([user]),
            "xhigh",
            Some("output_config.effort=max"),
        ),
        (
            json!({"effort": "high"}),
            json!([user, system("low")]),
            "low",
            None,
        ),
        (
            json!({}),
            json!([system("low"), user, system("medium")]),
            "medium",
            None,
        ),
    ] {
        let fields = json!({"output_config": config, "messages": messages, "thinking": {"type": "enabled", "budget_tokens": 2000}});
        let (turn, spec) = with(&fields).unwrap();
        let used = turn.model.effort.as_ref().map(Effort::as_str);
        assert_eq!(used, Some(effort), "{fields}");
        assert_eq!(spec.options.ignored.list().as_deref(), ignored, "{fields}");
    }
}

#[test]
fn system_message_that_is_cleared_is_left_out() {
    let cleared = json!({"role": "system", "content": "Once.", "clear_at": "next_user_message"});
    let user = json!({"role": "user", "content": "Hi."});
    let (turn, _) = messages(&json!([user, cleared.clone(), user, cleared])).unwrap();
    let expected = [
        message(Role::User, "Hi."),
        message(Role::User, "Hi."),
        message(Role::Developer, "Once."),
    ];
    assert_eq!(turn.conversation, expected);
}

#[test]
fn thinking_of_earlier_turns_is_cleared() {
    let thinking = |signature: &str| json!({"role": "assistant", "content": [{"type": "thinking", "thinking": "", "signature": signature}, {"type": "text", "text": "Yes."}]});
    let user = json!({"role": "user", "content": "Hi."});
    let conversation = json!([user, thinking("codex.g1"), user, thinking("codex.g2"), user]);
    for (keep, left) in [
        (json!("all"), &["g1", "g2"][..]),
        (json!({"type": "all"}), &["g1", "g2"]),
        (json!({"type": "thinking_turns", "value": 2}), &["g1", "g2"]),
        (json!({"type": "thinking_turns", "value": 1}), &["g2"]),
        (json!(null), &["g2"]),
    ] {
        let edit = json!({"type": "clear_thinking_20251015", "keep": keep});
        let (turn, _) =
            with(&json!({"messages": conversation, "context_management": {"edits": [edit]}}))
                .unwrap();
        let reasoning = turn.conversation.iter().filter_map(|item| match item {
            Item::Reasoning(item) => item.encrypted_content.as_deref(),
            _ => None,
        });
        assert_eq!(reasoning.collect::<Vec<_>>(), left, "{keep}");
    }
}

#[test]
fn tool_choice_and_changes_decide_which_tools_are_offered() {
    let tool = |name: &str| json!({"name": name, "input_schema": {"type": "object"}});
    let deferred = |name: &str| json!({"name": name, "input_schema": {"type": "object"}, "defer_loading": true});
    let tools = json!([tool("a"), tool("b"), deferred("c")]);
    for (choice, offered, required, one) in [
        (json!({"type": "auto"}), "a b", false, false),
        (
            json!({"type": "any", "disable_parallel_tool_use": true}),
            "a b",
            true,
            true,
        ),
        (json!({"type": "tool", "name": "b"}), "b", true, false),
        (json!({"type": "none"}), "", false, false),
    ] {
        let (turn, _) = with(&json!({"tools": tools, "tool_choice": choice})).unwrap();
        let names: Vec<_> = turn
            .tools
            .offered
            .iter()
            .map(|tool| tool.name.as_str())
            .collect();
        assert_eq!(names.join(" "), offered, "{choice}");
        assert_eq!(
            (turn.tools.required, turn.tools.one_at_a_time),
            (required, one)
        );
    }
    let search = json!([
        {"role": "user", "content": "Hi."},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "s", "name": "a", "input": {}}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "s", "content": [{"type": "tool_reference", "tool_name": "c"}]}]},
        {"role": "system", "content": [
            {"type": "tool_removal", "tool": {"type": "tool_reference", "name": "b"}},
            {"type": "tool_addition", "tool": {"type": "tool_definition", "definition": tool("d")}},
        ]},
    ]);
    let (turn, _) = with(&json!({"tools": tools, "messages": search})).unwrap();
    let names: Vec<_> = turn
        .tools
        .offered
        .iter()
        .map(|tool| tool.name.as_str())
        .collect();
    assert_eq!(names, ["a", "c", "d"]);
    assert_eq!(
        turn.conversation[2],
        output("s", "The tool c is available now.")
    );
}

#[test]
fn output_format_becomes_a_schema_under_both_names() {
    let format =
        json!({"type": "json_schema", "schema": {"type": "object", "additionalProperties": false}});
    for fields in [
        json!({"output_config": {"format": format}}),
        json!({"output_format": format}),
    ] {
        let (turn, spec) = with(&fields).unwrap();
        let schema = r#"{"additionalProperties":false,"type":"object"}"#;
        assert_eq!(turn.schema.unwrap().get(), schema, "{fields}");
        assert_eq!(spec.options.ignored.list(), None);
    }
}

#[test]
fn stop_sequences_and_max_tokens_become_truncation_rules() {
    let (_, spec) = with(&json!({"stop_sequences": ["A", "B"], "stream": true})).unwrap();
    let rules = spec.options.truncation;
    assert_eq!((rules.stop.len(), rules.max_tokens), (2, Some(9)));
    assert!(matches!(spec.options.delivery, Delivery::Stream { .. }));
}

#[test]
fn invalid_requests_are_rejected_with_code_and_path() {
    let user = json!({"role": "user", "content": "Hi."});
    let tool_use = json!({"role": "assistant", "content": [{"type": "tool_use", "id": "c", "name": "f", "input": {}}]});
    let result = json!({"role": "user", "content": [{"type": "tool_result", "tool_use_id": "c"}]});
    let block = |block: Value| json!([{"role": "user", "content": [block]}]);
    let image = |source: Value| block(json!({"type": "image", "source": source}));
    for (fields, code, param) in [
        (
            json!({"max_tokens": null}),
            "invalid_request_error",
            "max_tokens",
        ),
        (
            json!({"max_tokens": 0}),
            "invalid_request_error",
            "max_tokens",
        ),
        (json!({"messages": []}), "invalid_request_error", "messages"),
        (
            json!({"messages": [{"role": "tool", "content": "x"}]}),
            "invalid_request_error",
            "messages[0].role",
        ),
        (
            json!({"messages": [{"role": "user"}]}),
            "invalid_request_error",
            "messages[0].content",
        ),
        (
            json!({"messages": [user, {"role": "assistant", "content": "The"}]}),
            "unsupported_value",
            "messages[1].role",
        ),
        (
            json!({"messages": [user, tool_use, user]}),
            "invalid_request_error",
            "messages[1]",
        ),
        (
            json!({"messages": [user, tool_use]}),
            "unsupported_value",
            "messages[1].role",
        ),
        (
            json!({"messages": [user, result]}),
            "invalid_request_error",
            "messages[1].content[0].tool_use_id",
        ),
        (
            json!({"messages": [user, tool_use, result, tool_use, result]}),
            "invalid_request_error",
            "messages[3].content[0].id",
        ),
        (
            json!({"messages": block(json!({"type": "document", "source": {"type": "text"}}))}),
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": block(json!({"type": "document", "source": {}}))}),
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": block(json!({"type": "search_result", "source": "https://a.example"}))}),
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": block(json!({"type": "server_tool_use"}))}),
            "unsupported_value",
            "messages[0].content[0].type",
        ),
        (
            json!({"messages": block(json!({"type": "text"}))}),
            "invalid_request_error",
            "messages[0].content[0].text",
        ),
        (
            json!({"messages": image(json!({"type": "url", "url": "https://a.example/b.png"}))}),
            "unsupported_value",
            "messages[0].content[0].source.url",
        ),
        (
            json!({"messages": image(json!({"type": "file", "file_id": "file_1"}))}),
            "unsupported_value",
            "messages[0].content[0].source.file_id",
        ),
        (
            json!({"messages": image(json!({"type": "base64", "media_type": "image/png", "data": "AAAA"}))}),
            "unsupported_value",
            "messages[0].content[0].source.data",
        ),
        (
            json!({"messages": image(json!({"type": "base64", "media_type": "text/html", "data": "AAAA"}))}),
            "invalid_request_error",
            "messages[0].content[0].source.media_type",
        ),
        (
            json!({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}),
            "unsupported_value",
            "tools[0].type",
        ),
        (
            json!({"tools": [{"type": "bash_20250124", "name": "bash"}]}),
            "unsupported_value",
            "tools[0].type",
        ),
        (
            json!({"tools": [{"name": "f"}]}),
            "invalid_request_error",
            "tools[0].input_schema",
        ),
        (
            json!({"tools": [{"name": "f", "input_schema": {"type": "string"}}]}),
            "invalid_function_parameters",
            "tools[0].input_schema.type",
        ),
        (
            json!({"tool_choice": {"type": "any"}}),
            "invalid_request_error",
            "tool_choice",
        ),
        (
            json!({"tool_choice": {"type": "tool"}}),
            "invalid_request_error",
            "tool_choice.name",
        ),
        (
            json!({"thinking": {"type": "between_tools"}}),
            "unsupported_value",
            "thinking.type",
        ),
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 1023}}),
            "invalid_request_error",
            "thinking.budget_tokens",
        ),
        (
            json!({"thinking": {"type": "adaptive", "display": "updates"}}),
            "unsupported_value",
            "thinking.display",
        ),
        (
            json!({"output_config": {"effort": "xxhigh"}}),
            "unsupported_value",
            "output_config.effort",
        ),
        (
            json!({"context_management": {"edits": [{"type": "clear_tool_uses_20250919"}]}}),
            "unsupported_value",
            "context_management.edits[0].type",
        ),
        (
            json!({"mcp_servers": [{}]}),
            "unsupported_value",
            "mcp_servers",
        ),
        (json!({"speed": "fast"}), "unsupported_value", "speed"),
        (
            json!({"temperature": 1.5}),
            "invalid_request_error",
            "temperature",
        ),
        (
            json!({"stop_sequences": ["a", ""]}),
            "invalid_request_error",
            "stop_sequences[1]",
        ),
        (json!({"stop": "END"}), "unsupported_parameter", "stop"),
        (json!({"model": "nope"}), "model_not_found", "model"),
    ] {
        let error = with(&fields).unwrap_err();
        let sent = error.fields();
        assert_eq!(
            (sent.code, sent.param),
            (code, Some(param)),
            "{fields}: {error:?}"
        );
    }
}

#[test]
fn count_is_an_estimate_of_texts_tools_and_images() {
    let count = |body: Value| -> Value {
        let (cache, catalogue) = (cache(), Catalogue::of_model("gpt-x"));
        let reasoning = ClientReasoning {
            cache: &cache,
            client: "a",
        };
        let models = ModelAccess::new(catalogue, None);
        let (json, _) = count_tokens(
            body.to_string().as_bytes(),
            &models,
            Profile::Chat,
            reasoning,
        )
        .unwrap();
        serde_json::from_slice(&json).unwrap()
    };
    let text = count(json!({"messages": [{"role": "user", "content": "12345678"}]}));
    assert_eq!(text, json!({"input_tokens": 2, "estimated": true}));
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}});
    let tool = json!({"name": "look", "description": "Looks.", "input_schema": {"type": "object", "properties": {}}});
    let all = count(json!({"messages": [{"role": "user", "content": [image]}], "tools": [tool]}));
    assert_eq!(all["input_tokens"], 1 + 11);
}
