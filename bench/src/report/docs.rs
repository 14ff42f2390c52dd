//! Replaces a section of `docs/performance.md`, between the two comments that carry the name of the section.

use anyhow::Context;

use super::{Section, markdown};

/// Returns `page` with the current `section`. The figures are in the folder `plots` beside the page.
///
/// # Errors
/// When the page lacks the comments for the section.
pub fn replace_section(page: &str, section: &Section, plots: &str) -> anyhow::Result<String> {
    let name = section.name;
    let (begin, end) = (
        format!("<!-- bench {name} -->\n"),
        format!("<!-- /bench {name} -->"),
    );
    let (before, after) = page
        .split_once(&begin)
        .and_then(|(before, rest)| Some((before, rest.split_once(&end)?.1)))
        .with_context(|| format!("the page lacks the comments for the section {name}"))?;
    let tables = markdown(section, plots);
    Ok(format!("{before}{begin}{tables}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_its_predecessor() {
        let section = Section {
            name: "envoy",
            tables: Vec::new(),
            figures: Vec::new(),
        };
        let page = "a\n<!-- bench envoy -->\nold\n<!-- /bench envoy -->\nb\n";
        let written = replace_section(page, &section, "plots").unwrap();
        assert_eq!(
            written,
            "a\n<!-- bench envoy -->\n\n<!-- /bench envoy -->\nb\n"
        );
        assert!(replace_section("a", &section, "plots").is_err());
    }
}
