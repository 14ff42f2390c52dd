//! The images of other projects in the Dockerfile, the compose files and `deploy/`: each is pinned by a digest, or is listed
//! here. A tag can be moved to another image; a digest cannot.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use codex_edge::report;

use crate::workspace;

/// Images that are pinned by a tag alone. A digest is learned from the image's registry, which the machines that this
/// project is built on cannot reach.
const BY_TAG_ALONE: &[&str] = &[
    "envoyproxy/envoy:v1.40.0",
    "envoyproxy/ratelimit:1e50889b",
    "otel/opentelemetry-collector:0.128.0",
    "redis:7-alpine",
];

/// Prefixes of the images that this project builds.
const OURS: &[&str] = &["codex-edge", "registry.example/"];

/// The file with an image, and the image's reference.
type Reference = (PathBuf, String);

/// Prints the images that are pinned by a tag alone.
///
/// # Errors
/// When another image has no digest, or a listed one is not used any more.
pub(super) fn images() -> Result<()> {
    let references = references()?;
    let unpinned: Vec<_> = references
        .iter()
        .filter(|(_, image)| !has_digest(image))
        .collect();
    let mut faults = Vec::new();
    for (file, image) in &unpinned {
        let shown = file.display();
        if BY_TAG_ALONE.contains(&image.as_str()) {
            report!("pinned by a tag alone: {image} in {shown}");
        } else {
            faults.push(format!("{image} in {shown} has no digest"));
        }
    }
    for listed in BY_TAG_ALONE {
        if !unpinned.iter().any(|(_, image)| image == listed) {
            faults.push(format!("{listed} is listed as pinned by a tag alone"));
        }
    }
    if !faults.is_empty() {
        bail!("{}", faults.join("\n"));
    }
    Ok(())
}

fn references() -> Result<Vec<Reference>> {
    let root = workspace::root();
    let mut files = vec![
        PathBuf::from("Dockerfile"),
        PathBuf::from("docker-compose.yml"),
        PathBuf::from("docker-compose.dev.yml"),
    ];
    add_yaml_files(root, Path::new("deploy"), &mut files)?;
    let mut references = Vec::new();
    for file in files {
        let text = fs::read_to_string(root.join(&file))
            .with_context(|| format!("cannot read {}", file.display()))?;
        references.extend(images_in(&text).map(|image| (file.clone(), image)));
    }
    Ok(references)
}

fn add_yaml_files(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    for entry in fs::read_dir(root.join(folder))? {
        let entry = entry?;
        let path = folder.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            add_yaml_files(root, &path, files)?;
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(())
}

/// The images of other projects in a Dockerfile or a YAML file. A stage of a Dockerfile has no tag.
fn images_in(text: &str) -> impl Iterator<Item = String> + '_ {
    text.lines()
        .filter_map(|line| {
            let line = line.trim().trim_start_matches("- ");
            let reference = line
                .strip_prefix("FROM ")
                .or_else(|| line.strip_prefix("image: "))
                .or_else(|| default_of_build_argument(line))?;
            reference.split_whitespace().next()
        })
        .map(|image| image.trim_matches('"').to_owned())
        .filter(|image| image.contains(':') && !OURS.iter().any(|ours| image.starts_with(ours)))
}

/// The image in a line such as `ARG ENVOY_IMAGE=envoyproxy/envoy:v1.40.0`.
fn default_of_build_argument(line: &str) -> Option<&str> {
    let (name, image) = line.strip_prefix("ARG ")?.split_once('=')?;
    name.ends_with("_IMAGE").then_some(image)
}

fn has_digest(image: &str) -> bool {
    image.split_once("@sha256:").is_some_and(|(_, digest)| {
        digest.len() == 64 && digest.bytes().all(|byte| byte.is_ascii_hexdigit())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_are_read_from_dockerfiles_and_yaml() {
        let digest = "0".repeat(64);
        let text = format!(
            "ARG BASE_IMAGE=b:3\nARG PORT=a:1\nFROM ${{BASE_IMAGE}}\nFROM rust:1@sha256:{digest} AS build\nFROM build\n  image: redis:7\n  - image: codex-edge-envoy:1\nimage: \"a/b:2\"\n"
        );
        let images: Vec<_> = images_in(&text).collect();
        let pinned = format!("rust:1@sha256:{digest}");
        assert_eq!(images, ["b:3", pinned.as_str(), "redis:7", "a/b:2"]);
        assert!(has_digest(&pinned) && !has_digest("redis:7") && !has_digest("a@sha256:12"));
    }

    #[test]
    fn each_image_without_a_digest_is_listed() {
        images().unwrap();
    }
}
