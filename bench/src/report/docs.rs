//! Puts a section into a page, between two comments that name it, so that no number is copied by hand.
//! The rest of the page is somebody's words.

use anyhow::Context;

use super::{Section, markdown};

/// `page` with the section in its place; its figures are in the folder `plots` beside the page.
///
/// # Errors
/// When the page has no place for it.
pub fn write_into(page: &str, section: &Section, plots: &str) -> anyhow::Result<String> {
    let name = section.name;
    let (begin, end) = (
        format!("<!-- bench {name} -->\n"),
        format!("<!-- /bench {name} -->"),
    );
    let place = page.split_once(&begin).and_then(|(before, rest)| {
        let (_old, after) = rest.split_once(&end)?;
        Some((before, after))
    });
    let (before, after) = place.with_context(|| format!("the page has no place for {name}"))?;
    let tables = markdown(section, plots);
    Ok(format!("{before}{begin}{tables}\n{end}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_replaces_what_stood_in_its_place() {
        let section = Section {
            name: "envoy",
            tables: Vec::new(),
            figures: Vec::new(),
        };
        let page = "a\n<!-- bench envoy -->\nold\n<!-- /bench envoy -->\nb\n";
        let written = write_into(page, &section, "plots").unwrap();
        assert_eq!(
            written,
            "a\n<!-- bench envoy -->\n\n<!-- /bench envoy -->\nb\n"
        );
        assert!(write_into("a", &section, "plots").is_err());
    }
}
