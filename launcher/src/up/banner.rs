//! The text that `up` prints when the stack is ready: URL, key, mode, status page, a command to paste.
//! The command is for POSIX shells (IEEE 1003.1, single quotes).

use std::fmt;

use super::mode::Mode;

/// The facts about a ready stack.
#[derive(Debug)]
pub(super) struct Banner<'a> {
    /// Base URL for clients, ending in `/v1`.
    pub(super) base_url: &'a str,
    pub(super) key: &'a str,
    /// URL or socket of the sidecar's status page.
    pub(super) status_page: &'a str,
    pub(super) mode: &'a Mode,
    /// The place of the sidecar's state.
    pub(super) state: &'a str,
    /// A warning about the login.
    pub(super) warning: Option<String>,
}

impl fmt::Display for Banner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "\ncodex-edge is ready; Ctrl-C stops it\n")?;
        writeln!(f, "  base URL  {}", self.base_url)?;
        writeln!(f, "  API key   {}", self.key)?;
        writeln!(f, "  mode      {}", self.mode)?;
        writeln!(f, "  state     {}", self.state)?;
        writeln!(f, "  status    {}", self.status_page)?;
        if let Some(warning) = &self.warning {
            writeln!(f, "  warning   {warning}")?;
        }
        writeln!(f)?;
        writeln!(f, "{}", curl(self.base_url, self.key))
    }
}

/// A command line that streams a chat completion.
fn curl(base_url: &str, key: &str) -> String {
    const BODY: &str =
        r#"{"model":"codex-5","stream":true,"messages":[{"role":"user","content":"Say hello."}]}"#;
    let authorization = quoted(&format!("Authorization: Bearer {key}"));
    format!(
        "curl -N {base_url}/chat/completions -H {authorization} -H 'Content-Type: application/json' -d '{BODY}'"
    )
}

/// Quotes `text` as one word of a POSIX shell.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_shell_splits_the_command_into_the_intended_words() {
        let line = curl("http://127.0.0.1:4000/v1", "it's a $KEY");
        let script = format!("curl() {{ printf '%s\\n' \"$@\"; }}; {line}");
        let output = Command::new("sh").args(["-c", &script]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap();
        let words: Vec<_> = printed.lines().collect();
        assert_eq!(
            words[..4],
            [
                "-N",
                "http://127.0.0.1:4000/v1/chat/completions",
                "-H",
                "Authorization: Bearer it's a $KEY"
            ]
        );
        assert!(
            words[7].starts_with('{') && words[7].ends_with('}'),
            "{words:?}"
        );
    }
}
