//! What `--check` prints: a line a finding, then what would run. Pure.
//! The groups are those of `--help`.

use std::fmt;

use crate::catalogue::Catalogue;
use crate::config::{Setting, Source};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should be.
    Fine,
    /// It would start; somebody should look at this.
    Warn,
    /// It would not start, or could never serve.
    Fail,
}

impl Verdict {
    fn as_str(self) -> &'static str {
        match self {
            Self::Fine => "ok",
            Self::Warn => "warn",
            Self::Fail => "fail",
        }
    }
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub verdict: Verdict,
    /// What was looked at, in a word.
    pub subject: &'static str,
    /// What was found, and what to do.
    pub text: String,
}

impl Finding {
    pub(super) fn new(verdict: Verdict, subject: &'static str, text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            verdict,
            subject,
            text,
        }
    }
}

/// A Codex child as it would be started.
#[derive(Debug)]
pub struct Child {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// The names of its variables; their values may be secret.
    pub variables: Vec<String>,
}

/// What was found out.
#[derive(Debug)]
pub struct Report {
    /// In the order in which a start would come to them.
    pub findings: Vec<Finding>,
    /// What each flag came to.
    pub settings: Vec<Setting>,
    /// The models that clients may name.
    pub catalogue: Catalogue,
    /// What would run; `None` when nothing can.
    pub child: Option<Child>,
}

impl Report {
    /// Whether the sidecar would start and could serve.
    pub fn would_start(&self) -> bool {
        self.count(Verdict::Fail) == 0
    }

    fn count(&self, verdict: Verdict) -> usize {
        let findings = self.findings.iter();
        findings.filter(|one| one.verdict == verdict).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding {
            verdict,
            subject,
            text,
        } in &self.findings
        {
            // One finding is one line, whatever a system or Codex said.
            let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
            writeln!(out, "{:<5} {subject:<12} {text}", verdict.as_str())?;
        }
        write_settings(out, &self.settings)?;
        write_models(out, &self.catalogue)?;
        writeln!(out, "\n{FILTER}")?;
        if let Some(child) = &self.child {
            write_child(out, child)?;
        }
        let (failed, warned) = (self.count(Verdict::Fail), self.count(Verdict::Warn));
        let would = if failed == 0 { "would" } else { "would not" };
        writeln!(
            out,
            "\nthe sidecar {would} start: {failed} failed, {warned} to look at"
        )
    }
}

/// Who decides what is not in here.
const FILTER: &str = "\
In Envoy's filter (filter/README.md)
  keys, CORS, rate limits; without PROXY_CORS_ALLOWED_ORIGINS every web page may use a key that it knows";

fn write_settings(out: &mut fmt::Formatter<'_>, settings: &[Setting]) -> fmt::Result {
    for group in settings.chunk_by(|one, next| one.group == next.group) {
        let heading = group.first().map(|one| one.group.as_str());
        writeln!(out, "\n{}", heading.unwrap_or_default())?;
        for setting in group {
            let value = setting.value.as_deref().unwrap_or("-");
            let source = match setting.source {
                Source::Default => "",
                Source::Variable => "  (variable)",
                Source::Flag => "  (flag)",
            };
            writeln!(out, "  {:<32} {value}{source}", setting.variable)?;
        }
    }
    Ok(())
}

fn write_models(out: &mut fmt::Formatter<'_>, catalogue: &Catalogue) -> fmt::Result {
    writeln!(
        out,
        "\nModels that clients may name, and what Codex is asked for"
    )?;
    for (id, model, advertised) in catalogue.ids() {
        write!(out, "  {id:<32} {}", model.name)?;
        if let Some(effort) = model.effort {
            write!(out, ", effort {}", effort.as_str())?;
        }
        if let Some(window) = catalogue.context_window(id) {
            write!(out, ", {window} tokens")?;
        }
        writeln!(out, "{}", if advertised { "" } else { "  (not listed)" })?;
    }
    Ok(())
}

/// Width of a command line that is shown; the rest goes on below.
const WIDTH: usize = 110;

fn write_child(out: &mut fmt::Formatter<'_>, child: &Child) -> fmt::Result {
    writeln!(
        out,
        "\nA Codex child, $PRIVATE being a folder that each start makes"
    )?;
    let mut line = String::from(" ");
    let mut words = child.command.iter().map(|word| shell_word(word));
    while let Some(mut word) = words.next() {
        if word == "-c" {
            word = format!("-c {}", words.next().unwrap_or_default());
        }
        if line.len() + word.len() >= WIDTH {
            writeln!(out, "{line} \\")?;
            line = String::from("   ");
        }
        line = format!("{line} {word}");
    }
    writeln!(out, "{line}")?;
    writeln!(out, "  with the variables {}", child.variables.join(", "))
}

/// As a shell takes it for one word; `$PRIVATE` is left to be read.
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
    fn a_report_is_findings_then_what_would_run() {
        let words = ["codex", "app-server", "-c", "a=\"$PRIVATE/b c\""];
        let setting = |variable: &str, value: Option<&str>, source| Setting {
            group: "Turns".to_owned(),
            variable: variable.to_owned(),
            value: value.map(str::to_owned),
            source,
        };
        let report = Report {
            findings: vec![
                Finding::new(Verdict::Fine, "home", "here"),
                Finding::new(Verdict::Warn, "login", "none;\n  log in"),
                Finding::new(Verdict::Fail, "codex", "too old"),
            ],
            settings: vec![
                setting("PROXY_TIMEOUT_MS", Some("7"), Source::Flag),
                setting("PROXY_X", None, Source::Default),
            ],
            catalogue: Catalogue::new("gpt-5", "", Vec::new()),
            child: Some(Child {
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

            Models that clients may name, and what Codex is asked for
              codex-5                          gpt-5
              codex-5-low                      gpt-5, effort low
              codex-5-medium                   gpt-5, effort medium
              codex-5-high                     gpt-5, effort high
              codex-5-minimal                  gpt-5, effort minimal
              codev-5                          gpt-5  (not listed)
              codev-5-low                      gpt-5, effort low  (not listed)
              codev-5-medium                   gpt-5, effort medium  (not listed)
              codev-5-high                     gpt-5, effort high  (not listed)
              codev-5-minimal                  gpt-5, effort minimal  (not listed)
              gpt-5                            gpt-5

            In Envoy's filter (filter/README.md)
              keys, CORS, rate limits; without PROXY_CORS_ALLOWED_ORIGINS every web page may use a key that it knows

            A Codex child, $PRIVATE being a folder that each start makes
              codex app-server -c 'a="$PRIVATE/b c"'
              with the variables PATH, HOME

            the sidecar would not start: 1 failed, 1 to look at
        "#]].assert_eq(&report.to_string());
        assert!(!report.would_start());
    }

    #[test]
    fn a_word_is_quoted_where_a_shell_would_take_it_apart() {
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
