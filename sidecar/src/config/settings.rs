//! What each flag came to, and who said so, for `--check`.
//! clap's `ArgMatches` tells both; groups are the headings of `--help`.

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::args;

/// One flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// The heading that it stands under.
    pub group: String,
    /// Its variable.
    pub variable: String,
    /// Its value as it was written; `None` when it has none.
    pub value: Option<String>,
    /// Who said so.
    pub source: Source,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// The variable.
    Variable,
    /// The flag.
    Flag,
}

/// The variables that the sidecar reads, in the order of `--help`.
pub fn variables() -> Vec<String> {
    let command = args::declared();
    let arguments = command.get_arguments();
    arguments.filter_map(variable).collect()
}

fn variable(argument: &clap::Arg) -> Option<String> {
    Some(argument.get_env()?.to_string_lossy().into_owned())
}

/// What the flags came to, in the order of `--help`.
pub(super) fn read(matches: &ArgMatches) -> Vec<Setting> {
    let command = args::declared();
    let settings = command.get_arguments().filter_map(|argument| {
        let id = argument.get_id().as_str();
        let values = matches.get_raw(id).map(|values| {
            let values: Vec<_> = values.map(|value| value.to_string_lossy()).collect();
            values.join(",")
        });
        Some(Setting {
            group: argument.get_help_heading().unwrap_or_default().to_owned(),
            variable: variable(argument)?,
            value: values.filter(|value| !value.is_empty()),
            source: match matches.value_source(id) {
                Some(ValueSource::CommandLine) => Source::Flag,
                Some(ValueSource::EnvVariable) => Source::Variable,
                _ => Source::Default,
            },
        })
    });
    settings.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_has_its_value_and_its_source() {
        let args = ["sidecar", "--timeout-ms", "7", "--check"];
        let matches = args::command().try_get_matches_from(args).unwrap();
        let settings = read(&matches);
        let find = |variable: &str| {
            let setting = settings.iter().find(|one| one.variable == variable);
            let setting = setting.unwrap();
            (
                setting.group.as_str(),
                setting.value.as_deref(),
                setting.source,
            )
        };
        assert_eq!(find("PROXY_TIMEOUT_MS"), ("Turns", Some("7"), Source::Flag));
        assert_eq!(
            find("PROXY_QUEUE_MAX"),
            ("Turns", Some("16"), Source::Default)
        );
        assert_eq!(
            find("PROXY_CODEX_WORKDIR"),
            ("Codex", None, Source::Default)
        );
        assert_eq!(settings.len(), variables().len(), "--check is no setting");
    }
}
