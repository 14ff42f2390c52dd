//! Components of a bill of materials that are not crates: the packages of an image, as `dpkg` lists them, and third-party
//! programs.
//! Package URLs: purl-spec, type `deb`.

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::saved_image::SavedImage;

const STATUS: &str = "var/lib/dpkg/status";
/// `etc/os-release` is a link to it.
const RELEASE: &str = "usr/lib/os-release";

/// Returns a component of a bill.
pub(super) fn component(name: &str, version: &str, purl: &str) -> Value {
    json!({"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl})
}

/// Returns the installed packages of an image of Debian or Ubuntu.
pub(super) fn installed(image: &SavedImage) -> Result<Vec<Value>> {
    let status = image
        .file(STATUS)?
        .context("the image has no list of packages")?;
    let release = image.file(RELEASE)?;
    Ok(of_status(
        &status,
        distribution(&release.unwrap_or_default()),
    ))
}

/// Returns the `ID` of an os-release file.
fn distribution(release: &str) -> &str {
    let mut lines = release.lines();
    let id = lines.find_map(|line| line.strip_prefix("ID="));
    id.unwrap_or("debian").trim_matches('"')
}

/// Reads the paragraphs of dpkg's status file.
fn of_status(status: &str, distribution: &str) -> Vec<Value> {
    status
        .split("\n\n")
        .filter_map(|paragraph| of_paragraph(paragraph, distribution))
        .collect()
}

fn of_paragraph(paragraph: &str, distribution: &str) -> Option<Value> {
    let field = |name: &str| {
        let mut lines = paragraph.lines();
        lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
    };
    if !field("Status")?.ends_with(" installed") {
        return None;
    }
    let (name, version) = (field("Package")?, field("Version")?);
    let arch = field("Architecture")?;
    // The characters of versions that a purl encodes; Debian allows no others of that kind.
    let encoded = version.replace('+', "%2B").replace(':', "%3A");
    let purl = format!("pkg:deb/{distribution}/{name}@{encoded}?arch={arch}");
    Some(component(name, version, &purl))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn installed_packages_are_listed_and_removed_ones_are_not() {
        let status = "Package: libstdc++6\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1:12.2.0-14+deb12u1\n\
                      Description: library\n more\n\n\
                      Package: gone\nStatus: deinstall ok config-files\nArchitecture: amd64\nVersion: 1\n";
        let listed = of_status(status, distribution("NAME=x\nID=ubuntu\n"));
        let purl = "pkg:deb/ubuntu/libstdc++6@1%3A12.2.0-14%2Bdeb12u1?arch=amd64";
        assert_eq!(
            listed,
            [component("libstdc++6", "1:12.2.0-14+deb12u1", purl)]
        );
    }
}
