//! docs/configuration.md: `page.md` with the tables of the flags as they are declared.
//! clap's `Command` is the source, so that the page, `--help` and what is parsed cannot differ.

use clap::{Arg, Command};
use expect_test::expect_file;

use super::args;

fn page() -> String {
    let (before, after) = include_str!("page.md")
        .split_once("{{flags}}\n")
        .expect("the template says where the tables go");
    format!("{before}{}{after}", tables(&args::declared()))
}

/// A table for each heading.
fn tables(command: &Command) -> String {
    let settings: Vec<_> = command
        .get_arguments()
        .filter(|argument| argument.get_env().is_some())
        .collect();
    let groups = settings.chunk_by(|one, next| one.get_help_heading() == next.get_help_heading());
    let tables = groups.map(|group| {
        let heading = group[0].get_help_heading().expect("each is in a group");
        let rows: String = group.iter().map(|argument| row(argument)).collect();
        format!(
            "### {}\n\n| variable | flag | value | default | meaning |\n|---|---|---|---|---|\n{rows}",
            escape(heading)
        )
    });
    tables.collect::<Vec<_>>().join("\n")
}

fn row(argument: &Arg) -> String {
    let variable = argument.get_env().expect("it has one").to_string_lossy();
    let flag = argument.get_long().expect("each has one");
    let meaning = argument.get_help().expect("each says what it is for");
    let defaults = argument.get_default_values().iter();
    let default = defaults
        .map(|value| value.to_string_lossy())
        .find(|value| !value.is_empty());
    let default = default
        .map(|value| format!("`{value}`"))
        .unwrap_or_default();
    format!(
        "| `{variable}` | `--{flag}` | {} | {default} | {} |\n",
        value(argument),
        escape(&meaning.to_string())
    )
}

/// The words that it takes, or what kind of value.
fn value(argument: &Arg) -> String {
    let mut words = argument.get_possible_values();
    words.retain(|word| !word.is_hide_set());
    if words.is_empty() {
        let names = argument.get_value_names().unwrap_or_default();
        return names.join(" ").to_lowercase();
    }
    let words = words.iter().map(|word| format!("`{}`", word.get_name()));
    words.collect::<Vec<_>>().join(", ")
}

/// Angle brackets are HTML to Markdown, and bars end a cell.
fn escape(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}

/// `UPDATE_EXPECT=1 cargo test -p sidecar configuration_page` rewrites the file.
#[test]
fn configuration_page_says_what_is_parsed() {
    expect_file!["../../../docs/configuration.md"].assert_eq(&page());
}
