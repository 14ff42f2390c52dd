//! Agents: refused as the stack ships, and confined with `deploy/docker/agents.yaml`.

use serde_json::json;

use super::configuration::write_keys;
use crate::client::Answer;
use crate::stack::Stack;

const AGENT_KEY: &str = "sk-of-an-agent-0123456789";

pub(crate) fn agents_need_the_seccomp_profile(stack: &Stack<'_>) {
    write_keys(
        stack,
        &json!([{"id": "agent", "key": AGENT_KEY, "profile": "agent"}]),
    );
    let agent = stack.client().with_key(AGENT_KEY);
    agent.wait_for(|| agent.get("/v1/usage"), |answer| answer.status == 200);
    let refused = run(stack, "id");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.body.contains("sandbox"), "{refused:?}");

    stack.choose("demo", &["deploy/docker/agents.yaml"]);
    stack.compose(&["up", "--detach"]);
    stack.client().wait_for_chat();
    // The words of the answer are not those of the command, which the answer repeats.
    let command = "id -u; touch here || echo ke''pt";
    let answer = run(stack, command);
    assert_eq!(answer.status, 200, "{answer:?}");
    let said = answer.json()["choices"][0]["message"]["content"].to_string();
    for part in ["10001", "kept"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Calls of the list are refused, though the rest is allowed.
    let denied = stack.exec(
        "sidecar-demo",
        "perl -e '$! = 0; syscall(250, 0, 0); print $! + 0'",
    );
    assert_eq!(denied.trim(), "1", "keyctl(2) is EPERM");
    stack.choose("demo", &[]);
    std::fs::remove_file(stack.path("deploy/docker/config/filter.yaml")).expect("written above");
    stack.compose(&["up", "--detach"]);
    stack.client().wait_for_chat();
}

/// Makes the model call a command, and then answer with what Codex sent it.
fn run(stack: &Stack<'_>, command: &str) -> Answer {
    let call = json!({"call": "exec_command", "arguments": {"cmd": command}});
    let script = json!([[call], [{"echo": "input"}]]);
    let agent = stack.client().with_key(AGENT_KEY);
    agent.chat(&format!("[[model:{script}]]"))
}
