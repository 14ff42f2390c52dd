//! Installation of the missing programs, by apt-get on Debian.
//! Debian starts the services that it installs unless `policy-rc.d` exits with 101; the tests start their servers themselves.

use std::process::Command;

use anyhow::{Result, bail};
use clap::Args;
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
    let missing = missing(&args.without);
    if missing.is_empty() {
        return Ok(());
    }
    for need in &missing {
        report!("missing: {}", need.title());
    }
    let packages = packages(&missing);
    let has_apt = output(Command::new("apt-get").arg("--version")).is_ok();
    let is_root = Uid::effective().is_root();
    if !has_apt || !(is_root || args.install) {
        bail!(advice(&packages, has_apt));
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
    let all = missing.iter().flat_map(|need| need.packages);
    all.copied().collect()
}

/// Returns the command that installs the packages, or their names where apt-get does not exist.
fn advice(packages: &[&str], has_apt: bool) -> String {
    let names = packages.join(" ");
    let hint = "or leave parts out: `cargo xtask test --without PART,...`";
    if !has_apt {
        return format!("install what Debian packages as {names}, {hint}");
    }
    format!(
        "run `cargo xtask test --install`, which asks sudo for `apt-get install {names}`, {hint}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advice_names_one_command_and_a_way_without() {
        let text = advice(&["nginx", "chromium"], true);
        assert!(
            text.starts_with("run `cargo xtask test --install`"),
            "{text}"
        );
        assert!(
            text.contains("install nginx chromium`") && text.contains("--without"),
            "{text}"
        );
        let text = advice(&["nginx"], false);
        assert!(
            text.starts_with("install what Debian packages as nginx"),
            "{text}"
        );
    }
}
