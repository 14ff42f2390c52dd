//! The values of flags that need a parser or a type of their own.

use std::convert::Infallible;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::ValueEnum;

use super::types::Secret;
use crate::catalogue::ModelOverride;
use crate::store::{RedisAddress, RedisAddressError};

/// The default profile.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum ProfileArg {
    Chat,
    Agent,
}

/// The blocks that end a turn.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum StopMode {
    Burst,
    First,
}

/// A duration in milliseconds; 0 disables the timer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Timer(pub(super) Option<Duration>);

impl FromStr for Timer {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let milliseconds: u64 = text.parse()?;
        Ok(Self(
            (milliseconds > 0).then(|| Duration::from_millis(milliseconds)),
        ))
    }
}

/// The place of the sidecar's state.
#[derive(Debug, Clone)]
pub(super) enum StateArg {
    Memory,
    File(PathBuf),
    Redis(RedisAddress),
    /// An error of its own, since clap's would print the password.
    Invalid(RedisAddressError),
}

impl FromStr for StateArg {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match (text, text.strip_prefix("sqlite:")) {
            ("memory", _) => Ok(Self::Memory),
            (_, Some(path)) if !path.is_empty() => Ok(Self::File(path.into())),
            _ if RedisAddress::is_meant_by(text) => {
                Ok(text.parse().map_or_else(Self::Invalid, Self::Redis))
            }
            _ => Err("expected memory, sqlite: and the path of a file, or redis://HOST"),
        }
    }
}

/// The treatment of keys with a budget while the state is away.
#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub(super) enum UnavailableArg {
    Reject,
    Allow,
}

/// Accepts a bare TOML key only, because the name becomes part of a dotted key in an argument of Codex.
pub(super) fn parse_provider(name: &str) -> Result<String, String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if !name.is_empty() && name.chars().all(plain) {
        Ok(name.to_owned())
    } else {
        Err("expected the name of a [model_providers.NAME] table: letters, digits, - and _".into())
    }
}

/// Accepts any text. An error would print it.
pub(super) fn parse_secret(text: &str) -> Result<Secret, Infallible> {
    Ok(Secret(text.to_owned()))
}

/// The model ids of one flag value; clap would read a bare `Vec` as a flag that may be repeated.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelList(pub(super) Vec<ModelOverride>);

pub(super) fn parse_models(json: &str) -> Result<ModelList, String> {
    let models = ModelOverride::parse_all(json).map_err(|error| error.to_string())?;
    Ok(ModelList(models))
}
