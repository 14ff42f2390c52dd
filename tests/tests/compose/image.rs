//! The build context: `.dockerignore` must include the sources of the images and exclude everything else.
//! Follows the rules of `.dockerignore` that this repository uses: `*` first, then `!/folder` for each exception.

use std::fs;

use xtask::workspace;

/// Whether a path, relative to the root of the workspace, is in the build context.
pub(crate) fn is_in_context(path: &str) -> bool {
    exceptions().iter().any(|exception| {
        let rest = path.strip_prefix(exception.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// Returns the paths in the build context, without the leading slash.
fn exceptions() -> Vec<String> {
    let text = fs::read_to_string(workspace::root().join(".dockerignore"))
        .expect("`.dockerignore` is in the tree");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "the first rule excludes all paths");
    lines
        .map(|line| line.strip_prefix("!/").expect("an exception").to_owned())
        .collect()
}

#[test]
fn secrets_and_build_output_are_not_in_the_build_context() {
    for path in [
        ".env",
        ".git/config",
        ".codex-api/auth.json",
        ".tools/bin/codex",
        "target/release/sidecar",
    ] {
        assert!(!is_in_context(path), "{path}");
    }
    for exception in exceptions() {
        let path = workspace::root().join(&exception);
        assert!(path.exists(), "{exception}");
    }
}
