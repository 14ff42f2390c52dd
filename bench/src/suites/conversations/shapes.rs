//! The recorded shapes: sizes, tools and order of the requests of known clients, with texts that are made up.

use serde_json::json;

use super::filler::prose;
use super::shape::{Dialect, Shape, ToolCall, ToolSpec, ToolStep, UserTurn};

/// Tools of the agent session, with the names and parameters of opencode's.
const AGENT_TOOLS: [(&str, &[&str]); 10] = [
    ("bash", &["command", "description"]),
    ("edit", &["filePath", "oldString", "newString"]),
    ("glob", &["pattern", "path"]),
    ("grep", &["pattern", "path", "include"]),
    ("list", &["path"]),
    ("read", &["filePath"]),
    ("task", &["description", "prompt"]),
    ("todowrite", &["todos"]),
    ("webfetch", &["url", "format"]),
    ("write", &["filePath", "content"]),
];

/// Bytes of each description, and of the system prompt: 30 kB together with the schemas.
const AGENT_DESCRIPTION_BYTES: usize = 1_700;
const AGENT_PROMPT_BYTES: usize = 11_000;

/// Tools of the loops.
const LOOP_TOOLS: [(&str, &[&str]); 3] = [
    ("search", &["query"]),
    ("read_page", &["url"]),
    ("calculate", &["expression"]),
];

/// All shapes in the order of the tables.
pub(super) fn all() -> Vec<Shape> {
    vec![
        agent_session(),
        chat(),
        tool_loop("LangChain tool loop", Dialect::ChatNullText),
        tool_loop("openai-agents loop, whole input", Dialect::ResponsesInput),
        tool_loop(
            "openai-agents loop, `previous_response_id`",
            Dialect::ResponsesStored,
        ),
    ]
}

/// The shapes of a smoke test: each API, with and without tools.
pub(super) fn quick() -> Vec<Shape> {
    let loops = all().into_iter().skip(2);
    [chat().shortened(3)]
        .into_iter()
        .chain(loops.map(|shape| shape.shortened(1)))
        .collect()
}

/// A session of a coding agent: 20 requests in 4 turns.
pub(super) fn agent_session() -> Shape {
    let turns = (0..4).map(|turn| UserTurn {
        words: format!("Task {turn}: find out why the parser drops the last line, and mend it."),
        steps: vec![
            step(
                "I look for the parser first.",
                vec![call("grep", turn, 2_000)],
            ),
            step(
                "",
                vec![call("read", turn, 4_000), call("read", turn + 10, 3_000)],
            ),
            step("", vec![call("edit", turn, 600)]),
            step("Now the tests.", vec![call("bash", turn, 2_500)]),
        ],
        answer_chars: 700,
    });
    Shape {
        name: "agent session (opencode)",
        dialect: Dialect::ChatEmptyText,
        instructions: prose("the workspace", AGENT_PROMPT_BYTES),
        tools: tools(&AGENT_TOOLS, AGENT_DESCRIPTION_BYTES),
        turns: turns.collect(),
    }
}

/// A chat of 20 turns.
pub(super) fn chat() -> Shape {
    let turns = (0..20).map(|turn| UserTurn {
        words: format!("Question {turn}. {}", prose("the garden", 300)),
        steps: Vec::new(),
        answer_chars: 1_800,
    });
    Shape {
        name: "chat",
        dialect: Dialect::ChatEmptyText,
        instructions: prose("answers", 2_000),
        tools: Vec::new(),
        turns: turns.collect(),
    }
}

/// A loop of an agent framework: 20 requests in 5 turns.
fn tool_loop(name: &'static str, dialect: Dialect) -> Shape {
    let turns = (0..5).map(|turn| UserTurn {
        words: format!("Compare the prices of item {turn} in two shops."),
        steps: vec![
            step("", vec![call("search", turn, 1_500)]),
            step(
                "",
                vec![
                    call("read_page", turn, 3_000),
                    call("read_page", turn + 10, 2_000),
                ],
            ),
            step("", vec![call("calculate", turn, 40)]),
        ],
        answer_chars: 500,
    });
    Shape {
        name,
        dialect,
        instructions: prose("the shops", 2_000),
        tools: tools(&LOOP_TOOLS, 400),
        turns: turns.collect(),
    }
}

fn tools(
    names: &[(&'static str, &'static [&'static str])],
    description_bytes: usize,
) -> Vec<ToolSpec> {
    names
        .iter()
        .map(|&(name, parameters)| ToolSpec {
            name,
            description: prose(name, description_bytes),
            parameters,
        })
        .collect()
}

fn step(words: &'static str, calls: Vec<ToolCall>) -> ToolStep {
    ToolStep { words, calls }
}

fn call(tool: &'static str, number: usize, output_bytes: usize) -> ToolCall {
    let argument = |name: &&str| ((*name).to_owned(), json!(format!("{name}-{number}")));
    ToolCall {
        tool,
        arguments: AGENT_TOOLS
            .iter()
            .chain(&LOOP_TOOLS)
            .filter(|(name, _)| *name == tool)
            .flat_map(|(_, parameters)| parameters.iter().map(argument))
            .collect(),
        output_bytes,
    }
}
