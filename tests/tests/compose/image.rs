//! The build context: what `.dockerignore` lets through, which has to be what the images are made of and nothing more.
//! Follows the rules of `.dockerignore` as far as ours goes: `*` first, then `!/folder` for each exception.

use std::fs;

use xtask::workspace;

/// Whether a path, seen from the root of the workspace, is sent to the builder.
pub(crate) fn is_sent(path: &str) -> bool {
    exceptions().iter().any(|exception| {
        let rest = path.strip_prefix(exception.as_str());
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    })
}

/// What is sent, without the slash before it.
fn exceptions() -> Vec<String> {
    let text = fs::read_to_string(workspace::root().join(".dockerignore"));
    let text = text.expect("there is a .dockerignore");
    let mut lines = text.lines().filter(|line| !line.starts_with('#'));
    assert_eq!(lines.next(), Some("*"), "everything is held back first");
    let exceptions = lines.map(|line| line.strip_prefix("!/").expect("an exception"));
    exceptions.map(str::to_owned).collect()
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
        assert!(!is_sent(path), "{path}");
    }
    for exception in exceptions() {
        let path = workspace::root().join(&exception);
        assert!(path.exists(), "{exception}");
    }
}
