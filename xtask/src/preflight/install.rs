//! Installation of the missing programs, by apt-get on Debian.
//! Debian starts the services that it installs unless `policy-rc.d` exits with 101; the tests start their servers themselves.

use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use codex_edge::report;
use nix::unistd::Uid;

use super::need::{Need, Part, missing};
use crate::command::{output, run};

/// The packages are installed by this script; its arguments are their names.
const SCRIPT: &str = r#"set -eu
policy=/usr/sbin/policy-rc.d
if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
fi
export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install --yes --no-install-recommends "$@""#;

/// The arguments of the installation.
#[derive(Debug, Args)]
pub struct InstallArgs {
    /// Install missing packages with sudo; root installs them in any case
    #[arg(long)]
    install: bool,
    /// Leave out the tests of these parts, and the programs that they need
    #[arg(long, value_enum, value_delimiter = ',', value_name = "PARTS")]
    pub(crate) without: Vec<Part>,
}

impl InstallArgs {
    /// Returns the last line of a run that left parts out.
    pub(crate) fn left_out(&self) -> Option<String> {
        let names: Vec<_> = self.without.iter().map(|part| part.name()).collect();
        (!names.is_empty()).then(|| format!("not tested, by --without: {}", names.join(", ")))
    }
}

/// Finds the missing programs and installs them, where this user may.
///
/// # Errors
/// When the installation fails, or this user may not install; the message then has the command that does.
pub fn prepare(args: &InstallArgs) -> Result<()> {
    let is_root = Uid::effective().is_root();
    let forbidden: Vec<_> = Part::value_variants()
        .iter()
        .filter(|part| !is_root && part.needs_root() && !args.without.contains(part))
        .copied()
        .collect();
    let left_out = [&args.without[..], &forbidden].concat();
    let missing = missing(&left_out);
    if missing.is_empty() && forbidden.is_empty() {
        return Ok(());
    }
    for need in &missing {
        report!("missing: {}", need.title());
    }
    let packages = packages(&missing);
    let has_apt = output(Command::new("apt-get").arg("--version")).is_ok();
    if !has_apt || !(is_root || args.install) || !forbidden.is_empty() {
        bail!(advice(&packages, has_apt, &forbidden, &left_out));
    }
    let mut install = Command::new(if is_root { "sh" } else { "sudo" });
    if !is_root {
        install.arg("sh");
    }
    install.args(["-c", SCRIPT, "sh"]).args(&packages);
    run(&mut install)?;
    let still = super::need::missing(&args.without);
    if let Some(need) = still.first() {
        bail!("{} fails after the installation", need.title());
    }
    Ok(())
}

fn packages(missing: &[&Need]) -> Vec<&'static str> {
    let mut packages: Vec<_> = missing.iter().flat_map(|need| need.packages).collect();
    packages.dedup();
    packages.into_iter().copied().collect()
}

/// Returns the command that installs the packages, or their names where apt-get does not exist. The command leaves out the
/// parts that this user may not run.
fn advice(packages: &[&str], has_apt: bool, forbidden: &[Part], left_out: &[Part]) -> String {
    let mut command = "cargo xtask test".to_owned();
    let mut remarks = Vec::new();
    if !packages.is_empty() && has_apt {
        command += " --install";
        let names = packages.join(" ");
        remarks.push(format!("sudo asks for `apt-get install {names}`"));
    }
    if !left_out.is_empty() {
        command = command + " --without " + &names_of(left_out);
    }
    if !forbidden.is_empty() {
        remarks.push(format!("root alone can run {}", names_of(forbidden)));
    }
    let hint = match left_out {
        [] => "; --without PART,... leaves parts out",
        _ => "",
    };
    let why = remarks.join("; ");
    if has_apt || packages.is_empty() {
        return format!("run `{command}` ({why}{hint})");
    }
    let names = packages.join(" ");
    let in_brackets = match &why[..] {
        "" => String::new(),
        _ => format!(" ({why})"),
    };
    format!("install what Debian packages as {names}, then run `{command}`{in_brackets}{hint}")
}

fn names_of(parts: &[Part]) -> String {
    let names: Vec<_> = parts.iter().map(|part| part.name()).collect();
    names.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_is_one_command_for_this_user_and_machine() {
        let root_only = [Part::Compose, Part::Setup];
        for (packages, has_apt, forbidden, expected) in [
            (
                &["nginx", "chromium"][..],
                true,
                &[][..],
                "run `cargo xtask test --install` (sudo asks for `apt-get install nginx chromium`; --without PART,... leaves parts out)",
            ),
            (
                &["nginx"],
                true,
                &root_only,
                "run `cargo xtask test --install --without compose,setup` (sudo asks for `apt-get install nginx`; root alone can run compose,setup)",
            ),
            (
                &[],
                true,
                &root_only,
                "run `cargo xtask test --without compose,setup` (root alone can run compose,setup)",
            ),
            (
                &["nginx"],
                false,
                &[],
                "install what Debian packages as nginx, then run `cargo xtask test`; --without PART,... leaves parts out",
            ),
            (
                &["nginx"],
                false,
                &root_only,
                "install what Debian packages as nginx, then run `cargo xtask test --without compose,setup` (root alone can run compose,setup)",
            ),
        ] {
            assert_eq!(advice(packages, has_apt, forbidden, forbidden), expected);
        }
    }
}
