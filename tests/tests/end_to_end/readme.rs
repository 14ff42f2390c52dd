//! The README's table of refusals: each of its curl lines is run, and provokes what stands beside it.

use xtask::workspace;

use crate::clients::curl::{assert_provokes, keys};
use crate::stack::Stack;

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
    let stack = Stack::start_with(|options| options.filter("keys", keys())).await;
    for Row { status, code, line } in rows {
        assert_provokes(&stack.base_url(), &line, &status, &code).await;
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
