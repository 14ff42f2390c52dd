//! Schemas of tools: the model sees what the client wrote, in the schema that Codex passes on or in the description.
//! OpenAI's guide "Function calling"; what Codex does to the schemas of dynamic tools is known by experiment.

use serde_json::{Value, json};
use tests::http::{BufferedResponse, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use xtask::tools::Tool;

use crate::stack::{ask, assert_error, start, start_codex};

/// A schema with the property `a`.
fn of_property(property: &Value) -> Value {
    json!({"type": "object", "properties": {"a": property}})
}

/// A schema with as many properties as fit into `bytes` bytes of compact JSON, exactly.
fn of_size(bytes: usize) -> Value {
    let mut schema = of_property(&json!({"type": "string", "description": ""}));
    let free = bytes - schema.to_string().len();
    schema["properties"]["a"]["description"] = json!("x".repeat(free));
    schema
}

/// A schema, what the model is sent, and whether the description must have the schema.
struct Case {
    schema: Value,
    sent: Value,
    is_described: bool,
}

fn same(schema: Value) -> Case {
    Case {
        sent: schema.clone(),
        schema,
        is_described: false,
    }
}

fn equivalent(schema: Value, sent: Value) -> Case {
    Case {
        schema,
        sent,
        is_described: false,
    }
}

fn described(schema: Value, sent: Value) -> Case {
    Case {
        schema,
        sent,
        is_described: true,
    }
}

/// Schemas of one property: those that Codex passes on, and those with an equivalent that it passes on.
fn whole_properties() -> Vec<(Value, Value)> {
    let same = [
        json!({}),
        json!({"type": "string", "description": "d"}),
        json!({"type": ["string", "null"]}),
        json!({"type": "integer", "enum": [1, 2]}),
        json!({"anyOf": [{"type": "string"}, {"type": "null"}], "description": "d"}),
        json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
        json!({"allOf": [{"type": "object", "properties": {}}]}),
        json!({"type": "array", "items": {"type": "string"}}),
        json!({"type": "object", "properties": {"b": {}}, "required": ["b"], "additionalProperties": false}),
        json!({"type": "object", "properties": {}, "additionalProperties": {"type": "string"}}),
        json!({"$ref": "#"}),
    ];
    let mut all: Vec<_> = same.map(|property| (property.clone(), property)).into();
    all.extend([
        (json!(true), json!({})),
        (json!({"const": 5}), json!({"type": "integer", "enum": [5]})),
        (
            json!({"const": "x"}),
            json!({"type": "string", "enum": ["x"]}),
        ),
        (
            json!({"enum": ["x", null]}),
            json!({"type": ["string", "null"], "enum": ["x", null]}),
        ),
        (
            json!({"type": "array"}),
            json!({"type": "array", "items": {}}),
        ),
        (
            json!({"type": "object"}),
            json!({"type": "object", "properties": {}}),
        ),
        (
            json!({"type": ["object", "null"]}),
            json!({"type": ["object", "null"], "properties": {}}),
        ),
        (
            json!({"title": "A", "type": "string"}),
            json!({"type": "string"}),
        ),
        (
            json!({"properties": {}}),
            json!({"type": "object", "properties": {}}),
        ),
        (
            json!({"anyOf": [{}], "properties": {}}),
            json!({"anyOf": [{}], "properties": {}}),
        ),
    ]);
    all
}

/// Schemas of one property that lose something.
fn lossy_properties() -> Vec<(Value, Value)> {
    let text = json!({"type": "string"});
    let number = json!({"type": "number"});
    vec![
        (
            json!({"type": "string", "pattern": "^[A-Z]{3}$", "minLength": 3, "maxLength": 3}),
            text.clone(),
        ),
        (json!({"type": "string", "format": "date"}), text.clone()),
        (json!({"type": "string", "default": "x"}), text.clone()),
        (json!({"type": "string", "examples": ["x"]}), text.clone()),
        (json!({"type": "string", "nullable": true}), text.clone()),
        (json!({"type": "string", "title": "The size"}), text),
        (
            json!({"type": "number", "minimum": 1, "exclusiveMaximum": 9}),
            number,
        ),
        (json!({"description": "Anything."}), json!({})),
        (json!({"minimum": 3}), json!({})),
        (json!({"type": "any"}), json!({})),
        (json!({"not": {"type": "string"}}), json!({})),
        (json!(false), json!({})),
        (
            json!({"type": "array", "items": {"type": "string"}, "maxItems": 3, "uniqueItems": true}),
            json!({"type": "array", "items": {"type": "string"}}),
        ),
        (
            json!({"type": "array", "items": [{"type": "string"}, {"type": "number"}]}),
            json!({"type": "array", "items": {}}),
        ),
        (
            json!({"type": "array", "prefixItems": [{"type": "string"}]}),
            json!({"type": "array", "items": {}}),
        ),
        (
            json!({"type": "object", "patternProperties": {"^x": {}}, "propertyNames": {"pattern": "x"}}),
            json!({"type": "object", "properties": {}}),
        ),
        (json!({"$ref": "https://example.com/schema"}), json!({})),
    ]
}

fn cases() -> Vec<Case> {
    let empty = || json!({"type": "object", "properties": {}});
    let named = json!({"type": "object", "properties": {"next": {"$ref": "#/$defs/x"}}});
    let with_definitions = json!({
        "type": "object", "properties": {"a": {"$ref": "#/$defs/x"}}, "$defs": {"x": named},
    });
    let mut with_unused = with_definitions.clone();
    with_unused["$defs"]["unused"] = json!({});
    let variants = json!([
        {"type": "object", "properties": {"a": {"type": "string"}}},
        {"type": "object", "properties": {"b": {"type": "number"}}},
    ]);
    let merged =
        json!({"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "number"}}});
    let mut inlined = named.clone();
    inlined["$defs"] = json!({"x": named});
    let too_long = of_size(5_001);
    let leaf = json!({"type": "object", "properties": {"q": {"type": "string"}}});
    let leaves: serde_json::Map<_, _> = (0..150)
        .map(|number| (format!("p{number}"), leaf.clone()))
        .collect();
    let deep = of_property(&json!({"type": "object", "properties": leaves}));
    let mut cases = vec![
        equivalent(json!({}), empty()),
        equivalent(json!({"type": "object"}), empty()),
        equivalent(
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "title": "Arguments", "properties": {}}),
            empty(),
        ),
        same(json!({"type": "object", "description": "d", "properties": {}, "required": []})),
        same(with_definitions.clone()),
        equivalent(with_unused, with_definitions),
        equivalent(json!({"$ref": "#/$defs/x", "$defs": {"x": named}}), inlined),
        described(json!({"anyOf": variants}), merged),
        described(
            json!({"type": "object", "if": {}, "then": {"required": ["a"]}}),
            empty(),
        ),
        same(of_size(5_000)),
        described(
            deep,
            of_property(&json!({"type": "object", "properties": {}})),
        ),
        described(too_long, of_property(&json!({"type": "string"}))),
    ];
    cases.extend(
        whole_properties()
            .into_iter()
            .map(|(property, sent)| equivalent(of_property(&property), of_property(&sent))),
    );
    cases.extend(
        lossy_properties()
            .into_iter()
            .map(|(property, sent)| described(of_property(&property), of_property(&sent))),
    );
    cases
}

#[tokio::test]
async fn model_sees_each_schema_whole() {
    for codex in [Tool::Codex, Tool::CodexOldest] {
        let (model, sidecar) = start_codex(codex, |options| options).await;
        let cases = cases();
        let tools: Vec<_> = cases
            .iter()
            .enumerate()
            .map(|(number, case)| tool(&format!("t{number}"), &case.schema))
            .collect();
        let response = ask(&sidecar, json!({"text": "x"}), json!({"tools": tools})).await;
        assert_eq!(response.status, 200, "{response:?}");
        let requests = model.requests();
        let offered = requests[0].offered_tools();
        assert_eq!(offered.len(), cases.len());
        for (case, offered) in cases.iter().zip(offered) {
            let Case {
                schema,
                sent,
                is_described,
            } = case;
            assert_eq!(&offered["parameters"], sent, "{schema} with {codex:?}");
            let expected = match is_described {
                true => format!("Looks.\n\nParameters (JSON Schema): {schema}"),
                false => "Looks.".to_owned(),
            };
            assert_eq!(offered["description"], expected, "{codex:?}");
        }
    }
}

fn tool(name: &str, schema: &Value) -> Value {
    json!({"type": "function", "function": {"name": name, "description": "Looks.", "parameters": schema}})
}

#[tokio::test]
async fn schemas_that_nobody_accepts_are_rejected_with_their_place() {
    let (model, sidecar) = start().await;
    for (schema, place) in [
        (json!({"type": "array", "items": {}}), ".type"),
        (json!({"type": "null"}), ".type"),
        (json!({"properties": []}), ".properties"),
        (of_property(&json!(null)), ".properties.a"),
        (of_property(&json!("string")), ".properties.a"),
        (
            of_property(&json!({"required": true})),
            ".properties.a.required",
        ),
        (of_property(&json!({"enum": "a"})), ".properties.a.enum"),
        (
            of_property(&json!({"description": ["a"]})),
            ".properties.a.description",
        ),
        (of_property(&json!({"anyOf": {}})), ".properties.a.anyOf"),
        (
            of_property(&json!({"anyOf": [null, {}]})),
            ".properties.a.anyOf[0]",
        ),
        (of_property(&json!({"$ref": 1})), ".properties.a.$ref"),
        (
            of_property(&json!({"additionalProperties": "x"})),
            ".properties.a.additionalProperties",
        ),
    ] {
        let tools = json!({"tools": [tool("look", &schema)]});
        let response = ask(&sidecar, json!({"text": "x"}), tools).await;
        assert_error(&response, 400, "invalid_function_parameters");
        let param = format!("tools[0].function.parameters{place}");
        assert_eq!(response.json()["error"]["param"], param);
        let flat = json!({"type": "function", "name": "look", "parameters": schema});
        let body = json!({"model": "codex-5", "input": "x", "tools": [flat]});
        let response = send(&sidecar, "/v1/responses", &body).await;
        assert_error(&response, 400, "invalid_function_parameters");
        let param = format!("tools[0].parameters{place}");
        assert_eq!(response.json()["error"]["param"], param);
    }
    assert_eq!(model.requests().len(), 0);
}

async fn send(sidecar: &Sidecar, path: &str, body: &Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    let response = client.send(post(path, body.to_string())).await;
    response.expect("a response arrives")
}

#[tokio::test]
async fn response_shows_the_schema_and_the_strict_flag_of_the_client() {
    let (_model, sidecar) = start().await;
    let schema = of_property(&json!({"type": "string", "minLength": 1}));
    let look = json!({"type": "function", "name": "look", "description": "Looks.", "parameters": schema, "strict": true});
    let body = json!({"model": "codex-5", "input": "[[model:{\"text\":\"x\"}]]", "tools": [look]});
    let response = send(&sidecar, "/v1/responses", &body).await;
    assert_eq!(response.json()["tools"], json!([look]));
    assert_eq!(response.header("x-codex-edge-ignored"), "tools[].strict");
}

/// The descriptions of the offered tools in the last request.
fn descriptions(model: &ScriptedModel) -> Vec<String> {
    let requests = model.requests();
    let offered = requests
        .last()
        .expect("the model received a request")
        .offered_tools();
    let description = |tool: &Value| tool["description"].as_str().unwrap_or_default().to_owned();
    offered.into_iter().map(description).collect()
}

#[tokio::test]
async fn five_hundred_large_schemas_reach_the_model() {
    let (model, sidecar) = start().await;
    let definitions: serde_json::Map<_, _> = (0..165).map(|number| (format!("d{number}"), json!({"type": "object", "properties": {"value": {"type": "string", "description": "A value."}}}))).collect();
    let properties: serde_json::Map<_, _> = (0..165)
        .map(|number| {
            (
                format!("p{number}"),
                json!({"$ref": format!("#/$defs/d{number}")}),
            )
        })
        .collect();
    let schema = json!({"type": "object", "properties": properties, "$defs": definitions});
    let bytes = schema.to_string().len();
    assert!((18_000..22_000).contains(&bytes), "{bytes} bytes");
    let tools: Vec<_> = (0..512)
        .map(|number| tool(&format!("t{number}"), &schema))
        .collect();
    let response = ask(&sidecar, json!({"text": "x"}), json!({"tools": tools})).await;
    assert_eq!(response.status, 200, "{response:?}");
    let descriptions = descriptions(&model);
    assert_eq!(descriptions.len(), 512);
    assert!(
        descriptions
            .iter()
            .all(|text| text.ends_with(&schema.to_string()))
    );
}
