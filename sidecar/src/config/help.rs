//! The texts of `--help` and `--version` other than the flags.
//! The exit codes are those of `main`; 64 is `EX_USAGE` of sysexits(3).

/// The text before the flags.
pub(super) const ABOUT: &str = "\
Runs the Codex child processes of codex-edge and serves the OpenAI API behind Envoy.

  sidecar --check                 # validate the configuration and print what would run
  sidecar key new --id alice      # make an API key; `sidecar key --help` has more
  sidecar --codex-home /var/lib/codex --listen 127.0.0.1:8787

Each flag has an environment variable. A flag overrides its variable, and an empty variable counts as unset. CORS, keys \
and rate limits are configured in Envoy's filter.";

/// The text after the flags.
pub(super) const AFTER: &str = "\
Exit codes:
  0   stopped by a signal; with --check: the sidecar would start
  1   an address or another resource of the system is unavailable
  64  invalid configuration or unusable Codex; with --check: the sidecar would not start or could never serve

Log: JSON lines on stderr, plain text on a terminal; RUST_LOG sets the level (default: info).
Docs: docs/configuration.md lists every variable; README.md has troubleshooting for clients.";

/// The text of `--version`; an end-to-end test compares the Codex versions with the pinned ones.
pub(super) const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ntested with Codex 0.171.0 and 0.169.0 (app-server), and 0.42.0 (proto)"
);

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    /// `UPDATE_EXPECT=1 cargo test -p sidecar help` rewrites the file.
    #[test]
    fn help_text_matches_the_reviewed_file() {
        let mut command = super::super::args::declared().term_width(100);
        let help = command.render_long_help().to_string();
        let lines = help.lines().map(|line| format!("{}\n", line.trim_end()));
        expect_file!["help.txt"].assert_eq(&lines.collect::<String>());
    }
}
