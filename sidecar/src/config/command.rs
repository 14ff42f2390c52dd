//! The command line as a [`Command`]: serve, or check the configuration.

use std::ffi::OsString;

use clap::error::ErrorKind;
use clap::{FromArgMatches, Parser};

use super::args;
use super::settings::{self, Setting};
use super::types::Config;
use super::values::StateArg;
use crate::keys::KeyCommand;

/// The command that the arguments select.
#[derive(Debug)]
pub enum Command {
    /// Serve requests.
    Serve(Config),
    /// Make, list or disable API keys.
    Key(KeyCommand),
    /// Report whether the sidecar would start, with the value of each flag.
    Check(Config, Vec<Setting>),
}

impl Command {
    /// Parses the arguments and the environment.
    ///
    /// # Errors
    /// A value is invalid; the message names its flag. `--help` and `--version` are errors too, as clap has them.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let args: Vec<OsString> = args.into_iter().collect();
        if args.get(1).is_some_and(|name| name == "key") {
            return KeyCommand::try_parse_from(args.into_iter().skip(1)).map(Self::Key);
        }
        let matches = args::command().try_get_matches_from(args)?;
        let raw = args::RawArgs::from_arg_matches(&matches)?;
        if let Some(StateArg::Invalid(error)) = &raw.records.state {
            let text = format!("invalid value for '--state <PLACE>' or PROXY_STATE: {error}");
            return Err(args::command().error(ErrorKind::ValueValidation, text));
        }
        if raw.responses.responses_durable && matches!(raw.records.state, Some(StateArg::Memory)) {
            let text = "'--responses-durable' or PROXY_RESPONSES_DURABLE needs a PROXY_STATE other than memory";
            return Err(args::command().error(ErrorKind::ArgumentConflict, text));
        }
        let otel = raw
            .otel
            .parse()
            .map_err(|text| args::command().error(ErrorKind::ValueValidation, text))?;
        let check = raw.check;
        let config = Config { otel, ..raw.into() };
        Ok(if check {
            // From the matches: the configuration no longer has the source of a value.
            Self::Check(config, settings::read(&matches))
        } else {
            Self::Serve(config)
        })
    }
}
