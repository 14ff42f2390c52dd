//! The report of `--check`: one line per diagnostic, then the settings, the models and the command of a child.
//! The groups of settings are those of `--help`.

use std::fmt;
use std::sync::Arc;

use crate::catalogue::Catalogue;
use crate::config::{Setting, SettingSource};

/// The severity of a diagnostic.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The check passed.
    Pass,
    /// The sidecar would start, but the operator should look at this.
    Warn,
    /// The sidecar would not start, or could never serve.
    Fail,
}

impl Severity {
    fn as_str(self) -> &'static str {
        match self {
            Self::Pass => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Severity of the result.
    pub severity: Severity,
    /// Subject of the check, in one word.
    pub subject: &'static str,
    /// Result of the check, and the remedy for a problem.
    pub text: String,
}

impl Diagnostic {
    pub(super) fn new(severity: Severity, subject: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            severity,
            subject,
            text,
        }
    }
}

/// The command that would start a Codex child.
#[derive(Debug)]
pub struct ChildCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// Names of the environment variables; values are left out because they may be secret.
    pub variables: Vec<String>,
}

/// The results of all checks, and the configuration that would take effect.
#[derive(Debug)]
pub struct CheckReport {
    /// Diagnostics in the order of a start.
    pub diagnostics: Vec<Diagnostic>,
    /// Value and source of each flag.
    pub settings: Vec<Setting>,
    /// The models that clients may name; `None` when Codex is unusable.
    pub catalogue: Option<Arc<Catalogue>>,
    /// Command of a Codex child; `None` when Codex is unusable.
    pub child: Option<ChildCommand>,
}

impl CheckReport {
    /// Whether the sidecar would start and could serve.
    pub fn would_start(&self) -> bool {
        self.count(Severity::Fail) == 0
    }

    fn count(&self, severity: Severity) -> usize {
        self.diagnostics
            .iter()
            .filter(|diagnostic| diagnostic.severity == severity)
            .count()
    }
}

impl fmt::Display for CheckReport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Diagnostic {
            severity,
            subject,
            text,
        } in &self.diagnostics
        {
            // A message of the system or of Codex may contain newlines; a diagnostic is one line.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(out, "{:<5} {subject:<12} {text}", severity.as_str())?;
        }
        write_settings(out, &self.settings)?;
        if let Some(catalogue) = &self.catalogue {
            write_models(out, catalogue)?;
        }
        writeln!(out, "\n{FILTER_NOTE}")?;
        if let Some(child) = &self.child {
            write_child(out, child)?;
        }
        let (failed, warned) = (self.count(Severity::Fail), self.count(Severity::Warn));
        let would = if failed == 0 { "would" } else { "would not" };
        writeln!(
            out,
            "\nthe sidecar {would} start (failures: {failed}, warnings: {warned})"
        )
    }
}

/// The part of the configuration that the filter alone uses. Its variables are checked, and a diagnostic names a bad one.
const FILTER_NOTE: &str = "\
Configured in Envoy's filter (filter/README.md)
  keys, CORS, rate limits; unless PROXY_CORS_ALLOWED_ORIGINS is set, CORS allows web pages of any origin";

fn write_settings(out: &mut fmt::Formatter<'_>, settings: &[Setting]) -> fmt::Result {
    for group in settings.chunk_by(|one, next| one.group == next.group) {
        let heading = group.first().map_or("", |setting| setting.group.as_str());
        writeln!(out, "\n{heading}")?;
        for setting in group {
            let value = setting.value.as_deref().unwrap_or("-");
            let source = match setting.source {
                SettingSource::Default => "",
                SettingSource::Variable => "  (variable)",
                SettingSource::Flag => "  (flag)",
            };
            writeln!(out, "  {:<32} {value}{source}", setting.variable)?;
        }
    }
    Ok(())
}

fn write_models(out: &mut fmt::Formatter<'_>, catalogue: &Catalogue) -> fmt::Result {
    writeln!(out, "\nModel ids, with the Codex model behind each")?;
    for id in catalogue.ids().chain(catalogue.wildcard()) {
        write!(out, "  {:<32} {}", id.id, id.model)?;
        if let Some(effort) = id.effort {
            write!(out, ", effort {}", effort.as_str())?;
        }
        if let Some(window) = id.codex_model.and_then(|model| model.context_window) {
            write!(out, ", {window} tokens")?;
        }
        writeln!(out, "{}", if id.is_listed { "" } else { "  (not listed)" })?;
    }
    Ok(())
}

/// Maximum width of a line of the command, in bytes; longer commands are wrapped.
const MAX_WIDTH: usize = 110;

fn write_child(out: &mut fmt::Formatter<'_>, child: &ChildCommand) -> fmt::Result {
    writeln!(
        out,
        "\nCommand of a Codex child ($PRIVATE is a temporary directory of each start)"
    )?;
    let mut line = String::from(" ");
    let mut words = child.command.iter().map(|word| shell_word(word));
    while let Some(mut word) = words.next() {
        // A setting stays on the line of its `-c`.
        if word == "-c" {
            word = format!("-c {}", words.next().unwrap_or_default());
        }
        if line.len() + word.len() >= MAX_WIDTH {
            writeln!(out, "{line} \\")?;
            line = String::from("   ");
        }
        line = format!("{line} {word}");
    }
    writeln!(out, "{line}")?;
    writeln!(out, "  environment: {}", child.variables.join(", "))
}

/// Quotes a word for a shell, except for `$PRIVATE`, which is a placeholder.
fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_=./,:+$".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    #[test]
    fn report_lists_diagnostics_then_the_configuration() {
        let words = ["codex", "app-server", "-c", "a=\"$PRIVATE/b c\""];
        let setting = |variable: &str, value: Option<&str>, source| Setting {
            group: "Turns".to_owned(),
            variable: variable.to_owned(),
            value: value.map(str::to_owned),
            source,
        };
        let report = CheckReport {
            diagnostics: vec![
                Diagnostic::new(Severity::Pass, "home", "here"),
                Diagnostic::new(Severity::Warn, "login", "none;\n  log in"),
                Diagnostic::new(Severity::Fail, "codex", "too old"),
            ],
            settings: vec![
                setting("PROXY_TIMEOUT_MS", Some("7"), SettingSource::Flag),
                setting("PROXY_X", None, SettingSource::Default),
            ],
            catalogue: Some(Catalogue::of_model("gpt-5")),
            child: Some(ChildCommand {
                command: words.map(str::to_owned).to_vec(),
                variables: vec!["PATH".to_owned(), "HOME".to_owned()],
            }),
        };
        expect![[r#"
            ok    home         here
            warn  login        none; log in
            fail  codex        too old

            Turns
              PROXY_TIMEOUT_MS                 7  (flag)
              PROXY_X                          -

            Model ids, with the Codex model behind each
              codex-5                          gpt-5
              codex-5-low                      gpt-5, effort low
              codex-5-medium                   gpt-5, effort medium
              codex-5-high                     gpt-5, effort high
              codex-5-xhigh                    gpt-5, effort xhigh
              codex-5-none                     gpt-5, effort none  (not listed)
              codex-5-minimal                  gpt-5, effort minimal  (not listed)
              codev-5                          gpt-5  (not listed)
              codev-5-low                      gpt-5, effort low  (not listed)
              codev-5-medium                   gpt-5, effort medium  (not listed)
              codev-5-high                     gpt-5, effort high  (not listed)
              codev-5-xhigh                    gpt-5, effort xhigh  (not listed)
              codev-5-none                     gpt-5, effort none  (not listed)
              codev-5-minimal                  gpt-5, effort minimal  (not listed)
              gpt-5                            gpt-5

            Configured in Envoy's filter (filter/README.md)
              keys, CORS, rate limits; unless PROXY_CORS_ALLOWED_ORIGINS is set, CORS allows web pages of any origin

            Command of a Codex child ($PRIVATE is a temporary directory of each start)
              codex app-server -c 'a="$PRIVATE/b c"'
              environment: PATH, HOME

            the sidecar would not start (failures: 1, warnings: 1)
        "#]].assert_eq(&report.to_string());
        assert!(!report.would_start());
    }

    #[test]
    fn shell_words_are_quoted_where_necessary() {
        for (word, expected) in [
            ("a=b/c.d", "a=b/c.d"),
            ("", "''"),
            ("a b", "'a b'"),
            ("it's", r"'it'\''s'"),
            ("x=\"y\"", "'x=\"y\"'"),
        ] {
            assert_eq!(shell_word(word), expected);
        }
    }
}
