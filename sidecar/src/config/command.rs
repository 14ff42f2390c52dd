//! The command line as a [`Command`]: serve, or check the configuration.

use std::ffi::OsString;

use clap::FromArgMatches;
use clap::error::ErrorKind;

use super::args;
use super::settings::{self, Setting};
use super::types::Config;
use super::values::StateArg;

/// The command that the arguments select.
#[derive(Debug)]
pub enum Command {
    /// Serve requests.
    Serve(Config),
    /// Report whether the sidecar would start, with the value of each flag.
    Check(Config, Vec<Setting>),
}

impl Command {
    /// Parses the arguments and the environment.
    ///
    /// # Errors
    /// A value is invalid; the message names its flag. `--help` and `--version` are errors too, as clap has them.
    pub fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let matches = args::command().try_get_matches_from(args)?;
        let raw = args::RawArgs::from_arg_matches(&matches)?;
        if let Some(StateArg::Invalid(error)) = &raw.records.state {
            let text = format!("invalid value for '--state <PLACE>' or PROXY_STATE: {error}");
            return Err(args::command().error(ErrorKind::ValueValidation, text));
        }
        Ok(if raw.check {
            // From the matches: the configuration no longer has the source of a value.
            Self::Check(raw.into(), settings::read(&matches))
        } else {
            Self::Serve(raw.into())
        })
    }
}
