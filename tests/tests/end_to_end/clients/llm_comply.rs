//! llm-comply, a third-party compliance suite, against the chain.
//! The suite's prompts have no scripts, so the scripted model runs in its `auto` mode.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::clients::sdks::{RUN, python, respond_as_a_small_model};
use crate::stack::{Chain, KEY};

#[tokio::test]
async fn llm_comply_passes_every_chat_case() {
    passes("openai-chat", "gpt-5").await;
}

#[tokio::test]
async fn llm_comply_passes_every_case_of_the_messages_api() {
    passes("anthropic", "claude-sonnet-4-5").await;
}

/// Runs the nine cases of a format, which must pass. The suite knows the model names of the providers.
async fn passes(format: &str, model: &str) {
    let chain = Chain::start_with_alias(model).await;
    respond_as_a_small_model(&chain);
    let mut comply = Command::new(python());
    comply.args(["-m", "llm_comply.cli", "--format", format, "--json"]);
    comply.args([
        "--model",
        model,
        "--base-url",
        &chain.base_url(),
        "--api-key",
        KEY,
    ]);
    comply.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(RUN, comply.output())
        .await
        .expect("llm-comply exits in time")
        .expect("Python is installed");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let results = report["results"]
        .as_array()
        .expect("the report has results");
    assert_eq!(results.len(), 9, "{report}");
    for result in results {
        assert_eq!(result["status"], "passed", "{result}");
    }
}
