//! The README's table of refusals: each of its curl lines is run, and provokes what stands beside it.

use std::process::Stdio;

use serde_json::{Value, json};
use tests::http::DEADLINE;
use tokio::process::Command;
use xtask::workspace;

use crate::stack::{KEY, Stack};

/// A row of the table.
struct Row {
    status: String,
    code: String,
    line: String,
}

#[tokio::test]
async fn every_curl_line_of_the_readme_provokes_its_refusal() {
    let readme =
        std::fs::read_to_string(workspace::root().join("README.md")).expect("there is a README");
    let rows: Vec<Row> = readme.lines().filter_map(row).collect();
    assert!(rows.len() >= 13, "only {} rows are left", rows.len());
    let keys = json!([
        {"id": "low", "key": "sk-low", "models": ["*-low"]},
        {"id": "slow", "key": "sk-slow", "rate_limit": {"requests": 1, "window_ms": 60_000}},
    ]);
    let stack = Stack::start_with(|options| options.filter("keys", keys)).await;
    for Row { status, code, line } in rows {
        let script = line.replacen("curl ", "curl --silent --write-out '\\n%{http_code}' ", 1);
        let mut shell = Command::new("bash");
        shell
            .args(["-c", &script])
            .env("BASE", stack.base_url())
            .env("KEY", KEY)
            .env("LOW_KEY", "sk-low")
            .env("SLOW_KEY", "sk-slow");
        shell.stdin(Stdio::null()).kill_on_drop(true);
        let output = tokio::time::timeout(DEADLINE, shell.output()).await;
        let output = output.expect("curl ends").expect("bash is there");
        let said = String::from_utf8_lossy(&output.stdout);
        let (body, answered) = said
            .rsplit_once('\n')
            .expect("curl writes the status behind the body");
        assert_eq!(answered, status, "{line}: {said}");
        // A line that asks several times is about the last answer.
        let body = &body[body.rfind(r#"{"error""#).unwrap_or_default()..];
        let body: Value =
            serde_json::from_str(body).unwrap_or_else(|error| panic!("{line}: {error}: {body}"));
        assert_eq!(body["error"]["code"], code, "{line}: {body}");
    }
}

/// `| 401 | `code` | `curl …` |`, where the line's own pipes are escaped.
fn row(line: &str) -> Option<Row> {
    let (status, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
    let (code, rest) = rest.split_once("` | `")?;
    let line = rest.strip_suffix("` |")?.replace("\\|", "|");
    line.contains("curl ").then(|| Row {
        status: status.to_owned(),
        code: code.to_owned(),
        line,
    })
}
