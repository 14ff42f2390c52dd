//! llm-comply, a compliance suite of other people, against the chain.
//! Its prompts carry no scripts: the scripted model does what they ask for as an obedient one would.

use std::process::Stdio;

use serde_json::Value;
use tokio::process::Command;

use crate::clients::sdks::{RUN, python, start};
use crate::stack::KEY;

#[tokio::test]
async fn llm_comply_passes_all_of_its_cases() {
    let stack = start().await;
    let mut comply = Command::new(python());
    comply.args(["-m", "llm_comply.cli", "--format", "openai-chat", "--json"]);
    comply.args([
        "--model",
        "gpt-5",
        "--base-url",
        &stack.base_url(),
        "--api-key",
        KEY,
    ]);
    comply.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(RUN, comply.output()).await;
    let output = output.expect("it ends").expect("Python is there");
    let report: Value = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {output:?}"));
    let results = report["results"].as_array().expect("it has results");
    assert_eq!(results.len(), 9, "{report}");
    for result in results {
        assert_eq!(result["status"], "passed", "{result}");
    }
}
