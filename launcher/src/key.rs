//! `codex-edge key`: the command of the installed sidecar, which has the filter's own parser of keys.

use std::ffi::OsString;
use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::installed::Installed;

/// The arguments of `codex-edge key`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub struct KeyArgs {
    /// `new --id NAME`, `list FILE` or `disable --id NAME --into FILE`; --help has more
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Runs `sidecar key` in the place of this program.
///
/// # Errors
/// When the sidecar is not installed or cannot be started.
pub fn key(args: &KeyArgs, installed: &Installed) -> Result<()> {
    let sidecar = installed.sidecar()?;
    let error = Command::new(&sidecar)
        .arg("key")
        .args(sidecar_arguments(&args.arguments))
        .exec();
    Err(error).with_context(|| format!("cannot start {}", sidecar.display()))
}

/// Returns the arguments of `sidecar key`. Version 0.1.0 had `codex-edge key --id NAME` alone.
fn sidecar_arguments(arguments: &[OsString]) -> Vec<OsString> {
    let is_id = |first: &OsString| {
        first
            .to_str()
            .is_some_and(|first| first == "--id" || first.starts_with("--id="))
    };
    let new = arguments.first().is_some_and(is_id).then(|| "new".into());
    new.into_iter().chain(arguments.iter().cloned()).collect()
}

/// Makes a random API key.
///
/// # Errors
/// When the system has no random source.
pub fn new_key() -> Result<String> {
    let mut random = [0; 16];
    File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot make a key from /dev/urandom")?;
    Ok(format!(
        "sk-codex-edge-{:032x}",
        u128::from_ne_bytes(random)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_those_of_the_sidecar() {
        for (given, expected) in [
            ("--id ann", "new --id ann"),
            ("--id=ann", "new --id=ann"),
            ("new --id ann", "new --id ann"),
            ("--help", "--help"),
            ("list filter.yaml", "list filter.yaml"),
        ] {
            let words = |text: &str| -> Vec<OsString> { text.split(' ').map(Into::into).collect() };
            assert_eq!(sidecar_arguments(&words(given)), words(expected));
        }
        assert_eq!(sidecar_arguments(&[]), Vec::<OsString>::new());
    }

    #[test]
    fn a_key_is_long_and_differs_each_time() {
        let keys = [new_key().unwrap(), new_key().unwrap()];
        assert!(
            keys.iter()
                .all(|key| key.len() == "sk-codex-edge-".len() + 32),
            "{keys:?}"
        );
        assert_ne!(keys[0], keys[1]);
    }
}
