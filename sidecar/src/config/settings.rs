//! The value and the source of each flag, for `--check`.
//! Both come from clap's `ArgMatches`; the groups are the headings of `--help`.

use clap::parser::ValueSource;
use clap::{Arg, ArgMatches};

use super::args;
use super::values::StateArg;

/// The flags with a secret as their value.
const SECRETS: [&str; 4] = [
    "conversation_secret",
    "otel_exporter_otlp_headers",
    "otel_exporter_otlp_metrics_headers",
    "otel_exporter_otlp_traces_headers",
];

/// The flag with an address that may have a password.
const STATE: &str = "state";

/// The value of one flag.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Heading of the flag in `--help`.
    pub group: String,
    /// Environment variable of the flag.
    pub variable: String,
    /// Unparsed value; `None` when the flag is unset and has no default.
    pub value: Option<String>,
    /// Source of the value.
    pub source: SettingSource,
}

/// The source of a value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SettingSource {
    /// The default of the flag.
    Default,
    /// The environment variable.
    Variable,
    /// The command line.
    Flag,
}

/// Returns the names of the environment variables that the sidecar reads, in the order of `--help`.
pub fn variables() -> Vec<String> {
    args::declared()
        .get_arguments()
        .filter_map(variable)
        .collect()
}

fn variable(argument: &Arg) -> Option<String> {
    Some(argument.get_env()?.to_string_lossy().into_owned())
}

/// Reads the value and the source of each flag, in the order of `--help`.
pub(super) fn read(matches: &ArgMatches) -> Vec<Setting> {
    args::declared()
        .get_arguments()
        .filter_map(|argument| read_one(argument, matches))
        .collect()
}

/// Returns `None` for a flag without a variable, such as `--check`.
fn read_one(argument: &Arg, matches: &ArgMatches) -> Option<Setting> {
    let id = argument.get_id().as_str();
    Some(Setting {
        group: argument.get_help_heading().unwrap_or_default().to_owned(),
        variable: variable(argument)?,
        value: raw_value(matches, id).map(|value| match id {
            _ if SECRETS.contains(&id) => "[redacted]".to_owned(),
            STATE => without_password(value),
            _ => value,
        }),
        source: match matches.value_source(id) {
            Some(ValueSource::CommandLine) => SettingSource::Flag,
            Some(ValueSource::EnvVariable) => SettingSource::Variable,
            // `None` is a flag without a default, which is unset.
            _ => SettingSource::Default,
        },
    })
}

fn without_password(place: String) -> String {
    match place.parse() {
        Ok(StateArg::Redis(address)) => format!("{address:?}"),
        Ok(StateArg::Invalid(_)) => "[redacted]".to_owned(),
        Ok(StateArg::Memory | StateArg::File(_)) | Err(_) => place,
    }
}

fn raw_value(matches: &ArgMatches, id: &str) -> Option<String> {
    let values: Vec<_> = matches
        .get_raw(id)?
        .map(|value| value.to_string_lossy())
        .collect();
    Some(values.join(",")).filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn setting_has_the_value_and_source_of_its_flag() {
        let args = ["sidecar", "--timeout-ms", "7", "--check"];
        let matches = args::command().try_get_matches_from(args).unwrap();
        let settings = read(&matches);
        let find = |variable: &str| {
            let setting = settings
                .iter()
                .find(|setting| setting.variable == variable)
                .unwrap();
            (
                setting.group.as_str(),
                setting.value.as_deref(),
                setting.source,
            )
        };
        assert_eq!(
            find("PROXY_TIMEOUT_MS"),
            ("Turns", Some("7"), SettingSource::Flag)
        );
        assert_eq!(
            find("PROXY_QUEUE_MAX"),
            ("Turns", Some("16"), SettingSource::Default)
        );
        assert_eq!(
            find("PROXY_CODEX_WORKDIR"),
            ("Codex", None, SettingSource::Default)
        );
        assert_eq!(
            settings.len(),
            variables().len(),
            "--check is not a setting"
        );
    }
}
