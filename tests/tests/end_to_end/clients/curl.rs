//! Runs the curl lines of our pages as a reader would paste them, and reads what they provoke.
//! The lines know the edge as `BASE`, and keys as `KEY`, `LOW_KEY` and `SLOW_KEY`.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::http::DEADLINE;
use tokio::process::Command;

use crate::stack::KEY;

/// The keys beside `KEY`: one may use `*-low` only, one may ask once a minute.
pub(crate) fn keys() -> Value {
    json!([
        {"id": "low", "key": "sk-low", "models": ["*-low"]},
        {"id": "slow", "key": "sk-slow", "rate_limit": {"requests": 1, "window_ms": 60_000}},
    ])
}

/// Asserts that a line provokes an error with this status and code; one that asks several times, at least once.
pub(crate) async fn assert_provokes(base: &str, line: &str, status: &str, code: &str) {
    let script = line.replacen(
        "curl ",
        "curl --silent --write-out '\\n%{http_code}\\n' ",
        1,
    );
    let said = shell(base, &script).await;
    let lines: Vec<_> = said.lines().collect();
    let is_it = |body: &str, answered: &str| {
        let body = serde_json::from_str::<Value>(body).unwrap_or_default();
        answered == status && body["error"]["code"] == code
    };
    let provoked = lines.windows(2).any(|pair| is_it(pair[0], pair[1]));
    assert!(provoked, "{status} {code} expected of {line}: {said}");
}

/// Runs a script and returns all that it wrote, whatever its status.
pub(crate) async fn shell(base: &str, script: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).env("BASE", base);
    shell
        .env("KEY", KEY)
        .env("LOW_KEY", "sk-low")
        .env("SLOW_KEY", "sk-slow");
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, shell.output()).await;
    let output = output.expect("curl ends").expect("bash is there");
    let (stdout, stderr) = (output.stdout, output.stderr);
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&stdout),
        String::from_utf8_lossy(&stderr)
    )
}
