//! The README's table of errors: each curl line is run and must get the status and code of its row.

use xtask::workspace;

use crate::clients::curl::{assert_provokes, keys};
use crate::stack::Chain;

/// A row of the table.
struct ErrorRow {
    status: String,
    code: String,
    line: String,
}

#[tokio::test]
async fn every_curl_line_of_the_readme_gets_its_error() {
    let readme = std::fs::read_to_string(workspace::root().join("README.md"))
        .expect("README.md is readable");
    let rows: Vec<ErrorRow> = readme.lines().filter_map(row).collect();
    assert!(rows.len() >= 13, "only {} rows are left", rows.len());
    let chain = Chain::start_with(|options| options.filter("keys", keys())).await;
    for ErrorRow { status, code, line } in rows {
        assert_provokes(&chain.base_url(), &line, &status, &code).await;
    }
}

/// Parses a row, ``| 401 | `code` | `curl …` |``. Pipes in the curl line are escaped.
fn row(line: &str) -> Option<ErrorRow> {
    let (status, rest) = line.strip_prefix("| ")?.split_once(" | `")?;
    let (code, rest) = rest.split_once("` | `")?;
    let line = rest.strip_suffix("` |")?.replace("\\|", "|");
    line.contains("curl ").then(|| ErrorRow {
        status: status.to_owned(),
        code: code.to_owned(),
        line,
    })
}
