//! What `--help` and `--version` say beside the flags.
//! The exit codes are those of `main`: sysexits(3) has 64 for a wrong use.

/// The opening paragraph.
pub(super) const ABOUT: &str = "\
Owns the Codex child processes of codex-edge and answers the OpenAI-shaped requests that Envoy lets through.

  sidecar --check                 # would it start here, and what would run?
  sidecar --codex-home /var/lib/codex --listen 127.0.0.1:8787

Each flag has a variable; the flag counts where both are set, and an empty variable counts as not set. CORS, keys and \
rate limits are those of the filter in Envoy.";

/// What follows the flags.
pub(super) const AFTER: &str = "\
Exit codes:
  0   it was told to stop and did; with --check: it would start
  1   it cannot listen, or the system refuses it something
  64  a value or Codex cannot be used; with --check: it would not start, or could never serve

Log: RUST_LOG (info), JSON lines to stderr, text on a terminal.
Docs: docs/configuration.md for every variable of the edge, README.md for what to do when a client does not work.";

/// What `--version` says; a test of the whole chain holds the Codex versions against the pinned ones.
pub(super) const VERSION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    "\ntested with Codex 0.169.0 (app-server) and 0.42.0 (proto)"
);

#[cfg(test)]
mod tests {
    use expect_test::expect_file;

    /// `UPDATE_EXPECT=1 cargo test -p sidecar help` rewrites the file.
    #[test]
    fn the_help_reads_as_it_was_reviewed() {
        let mut command = super::super::args::declared().term_width(100);
        let help = command.render_long_help().to_string();
        let lines = help.lines().map(|line| format!("{}\n", line.trim_end()));
        expect_file!["help.txt"].assert_eq(&lines.collect::<String>());
    }
}
