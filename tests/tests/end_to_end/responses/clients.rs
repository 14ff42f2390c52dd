//! The OpenAI SDK and the checkers of the Responses API.
//! OpenAI API reference, "Responses"; Open Responses, the specification behind `llm-comply` and `openresponses-types`.

use serde_json::{Value, json};
use tests::scripted_model::Script;
use tokio::process::Command;

use super::program::{finish, text};
use crate::clients::sdks::{python, run_python};
use crate::stack::{Chain, KEY};

#[tokio::test]
async fn openai_python_uses_the_responses_api() {
    run_python("responses.py").await;
}

#[tokio::test]
async fn every_object_and_event_matches_open_responses() {
    run_python("open_responses.py").await;
}

/// The number of cases that `llm-comply` 0.5.0 has for the format open-responses.
const CASES: usize = 13;

#[tokio::test]
async fn llm_comply_passes_every_responses_case() {
    let chain = Chain::start_with_alias("gpt-5").await;
    let script = |script: Value| Script::parse(script).expect("the script is valid");
    chain
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let list = comply(&chain, &["--list"]).await;
    assert_eq!(list.matches(&"\n  ").count(), 2 * CASES, "{list}");
    chain
        .model
        .set_default(Some(script(json!({"text": "Hello there, friend."}))));
    let without_calls = comply(&chain, &["--filter", &without_tools(&list)]).await;
    let call = json!({"call": "get_weather", "arguments": {"location": "San Francisco"}});
    chain.model.set_default(Some(script(call)));
    let with_calls = comply(&chain, &["--filter", "tool-calling"]).await;
    assert_eq!(passed(&without_calls) + passed(&with_calls), CASES);
}

/// The ids of all cases but `tool-calling`, which needs a model that calls a tool.
fn without_tools(list: &str) -> String {
    let id = |line: &str| -> Option<String> {
        let rest = line.strip_prefix("  ")?;
        let word = rest.split_whitespace().next()?;
        (!rest.starts_with(' ')).then(|| word.to_owned())
    };
    list.lines()
        .filter_map(id)
        .filter(|id| id != "tool-calling")
        .collect::<Vec<_>>()
        .join(",")
}

/// Runs `llm-comply`, which must succeed, and returns its output. The model is called `gpt-5` because `llm-comply` checks
/// reasoning only for OpenAI's model names.
async fn comply(chain: &Chain, arguments: &[&str]) -> String {
    let mut comply = Command::new(python());
    comply.args(["-m", "llm_comply.cli", "--format", "open-responses"]);
    comply.args(["--json", "-m", "gpt-5", "-k", KEY, "-u", &chain.base_url()]);
    comply.args(arguments);
    let output = finish(comply).await;
    let printed = text(&output);
    assert!(output.status.success(), "{printed}");
    printed
}

fn passed(report: &str) -> usize {
    report.matches("\"status\": \"passed\"").count()
}
