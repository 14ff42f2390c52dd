//! Runs curl lines of the documentation in a shell and checks their errors.
//! The lines use the variables `BASE` (the base URL), `KEY`, `LOW_KEY` and `SLOW_KEY`.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::http::DEADLINE;
use tokio::process::Command;

use crate::stack::KEY;

/// The keys besides `KEY`: one limited to models `*-low`, one limited to a request per minute.
pub(crate) fn keys() -> Value {
    json!([
        {"id": "low", "key": "sk-low", "models": ["*-low"]},
        {"id": "slow", "key": "sk-slow", "rate_limit": {"requests": 1, "window_ms": 60_000}},
    ])
}

/// Asserts that a curl line gets an error with this status and code, at least once if the line sends several requests.
pub(crate) async fn assert_provokes(base: &str, line: &str, status: &str, code: &str) {
    let script = line.replacen(
        "curl ",
        "curl --silent --write-out '\\n%{http_code}\\n' ",
        1,
    );
    let output = shell(base, &script).await;
    let lines: Vec<_> = output.lines().collect();
    // `--write-out` prints the status on the line after the body.
    let is_expected = |body: &str, received: &str| {
        let body = serde_json::from_str::<Value>(body).unwrap_or_default();
        received == status && body["error"]["code"] == code
    };
    let provoked = lines.windows(2).any(|pair| is_expected(pair[0], pair[1]));
    assert!(provoked, "{status} {code} expected of {line}: {output}");
}

/// Runs a script and returns its standard output and standard error. The exit status is ignored.
pub(crate) async fn shell(base: &str, script: &str) -> String {
    let mut shell = Command::new("bash");
    shell.args(["-c", script]).env("BASE", base);
    shell
        .env("KEY", KEY)
        .env("LOW_KEY", "sk-low")
        .env("SLOW_KEY", "sk-slow");
    shell.stdin(Stdio::null()).kill_on_drop(true);
    let output = tokio::time::timeout(DEADLINE * 3, shell.output())
        .await
        .expect("the script exits in time")
        .expect("bash is installed");
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}
