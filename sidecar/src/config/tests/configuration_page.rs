//! docs/configuration.md: the template `page.md` with a table of flags for each heading.
//! The source is clap's `Command`, so that the page, `--help` and the parser cannot differ.

use clap::{Arg, Command};
use expect_test::expect_file;

use crate::config::args;

fn page() -> String {
    let (before, after) = include_str!("../page.md")
        .split_once("{{flags}}\n")
        .expect("the template has the placeholder");
    format!("{before}{}{after}", tables(&args::declared()))
}

/// Writes one table for each heading.
fn tables(command: &Command) -> String {
    let flags: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some())
        .collect();
    let tables = flags.chunk_by(|one, next| one.get_help_heading() == next.get_help_heading()).map(|group| {
        let heading = group[0].get_help_heading().expect("every flag has a heading");
        let rows: String = group.iter().map(|argument| row(argument)).collect();
        format!(
            "### {}\n\n| variable | flag | value | default | meaning |\n|---|---|---|---|---|\n{rows}",
            escape(heading)
        )
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn row(argument: &Arg) -> String {
    let variable = argument
        .get_env()
        .expect("the caller selects flags with a variable")
        .to_string_lossy();
    let flag = argument.get_long().expect("every flag has a long name");
    let meaning = argument.get_help().expect("every flag has a help text");
    let default = argument
        .get_default_values()
        .iter()
        .map(|value| value.to_string_lossy())
        .find(|value| !value.is_empty())
        .map(|value| format!("`{value}`"))
        .unwrap_or_default();
    format!(
        "| `{variable}` | `--{flag}` | {} | {default} | {} |\n",
        value(argument),
        escape(&meaning.to_string())
    )
}

/// Returns the possible values, or the name of the kind of value.
fn value(argument: &Arg) -> String {
    let mut values = argument.get_possible_values();
    values.retain(|value| !value.is_hide_set());
    if values.is_empty() {
        let names = argument.get_value_names().unwrap_or_default();
        return names.join(" ").to_lowercase();
    }
    values
        .iter()
        .map(|value| format!("`{}`", value.get_name()))
        .collect::<Vec<_>>()
        .join(", ")
}

/// Escapes bars, which end a cell, and angle brackets, which Markdown reads as HTML.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// `UPDATE_EXPECT=1 cargo test -p sidecar configuration_page` rewrites the page.
#[test]
fn configuration_page_matches_the_declared_flags() {
    expect_file!["../../../../docs/configuration.md"].assert_eq(&page());
}
