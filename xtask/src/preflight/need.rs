//! The needs of the tests: a probe, and the packages of Debian that meet it.

use std::env;
use std::ffi::OsString;
use std::process::{Command, Stdio};

use clap::ValueEnum;

/// A part of the tests that can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// The pages and the web client in Chromium
    Browser,
    /// The images and compose files, in a container engine: that of DOCKER_HOST, else one that root starts
    Compose,
    /// The filter's OCI image, read by skopeo
    Image,
    /// nginx in front of Envoy, and as the service that checks keys
    Nginx,
    /// The alerts and the scrape configuration, in Prometheus
    Prometheus,
    /// Redis as the store of several sidecars
    Redis,
    /// The commands of the README in a new Debian, in a folder that root makes
    Setup,
    /// The units, verified by systemd-analyze
    Systemd,
    /// The instruction counts, under Valgrind
    Valgrind,
}

impl Part {
    /// Whether only root can run the tests of the part on this machine.
    pub(super) fn needs_root(self) -> bool {
        match self {
            Self::Compose => !is_set(ENGINE),
            Self::Setup => true,
            Self::Browser
            | Self::Image
            | Self::Nginx
            | Self::Prometheus
            | Self::Redis
            | Self::Systemd
            | Self::Valgrind => false,
        }
    }

    /// Returns the name on the command line.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Browser => "browser",
            Self::Compose => "compose",
            Self::Image => "image",
            Self::Nginx => "nginx",
            Self::Prometheus => "prometheus",
            Self::Redis => "redis",
            Self::Setup => "setup",
            Self::Systemd => "systemd",
            Self::Valgrind => "valgrind",
        }
    }

    /// Returns the tests of the part, as test binary and start of the path in it.
    pub(crate) fn tests(self) -> &'static [(&'static str, &'static str)] {
        match self {
            Self::Browser => &[
                ("end_to_end", "clients::browser::"),
                ("end_to_end", "status_page::"),
            ],
            Self::Compose => &[("containers", "run::")],
            Self::Image => &[
                ("deploy", "image::manifest_has_the_media_types"),
                ("deploy", "image::modified_layer_fails"),
            ],
            Self::Nginx => &[
                ("edge", "auth::forward_auth::"),
                ("end_to_end", "docs::deployment::"),
            ],
            Self::Prometheus => &[("compose", "prometheus::")],
            Self::Redis => &[
                ("end_to_end", "fleet::network_cut::"),
                ("end_to_end", "fleet::replicas::"),
                (
                    "sidecar",
                    "budgets::state::sigkill_with_redis_as_the_store_grants_no_more_than_the_budget",
                ),
                (SIDECAR_LIB, "store::archive::tests::"),
                (SIDECAR_LIB, "store::ledger::redis::tests::"),
            ],
            Self::Setup => &[("setup", "commands::")],
            Self::Systemd => &[("deploy", "systemd::")],
            Self::Valgrind => &[],
        }
    }
}

/// The unit tests of the sidecar.
const SIDECAR_LIB: &str = "sidecar (lib)";

/// A probe, which is a command that succeeds where the need is met.
#[derive(Debug)]
pub(super) struct Need {
    probe: &'static [&'static str],
    /// The packages of Debian.
    pub(super) packages: &'static [&'static str],
    /// `None` for a need of every part.
    part: Option<Part>,
    /// A variable that names something else in the place of the program.
    replaced_by: Option<&'static str>,
}

/// The address of a container engine, for its clients.
const ENGINE: &str = "DOCKER_HOST";

const NEEDS: &[Need] = &[
    need(&["cc", "--version"], &["gcc", "libc6-dev"], None),
    need(&["tar", "--version"], &["tar"], None),
    need(&["curl", "--version"], &["curl"], None),
    need(&["openssl", "version"], &["openssl"], None),
    need(&["npm", "--version"], &["nodejs", "npm"], None),
    need(
        &["python3", "-m", "pip", "--version"],
        &["python3", "python3-pip"],
        None,
    ),
    // Debian's module `venv` alone cannot create an environment with pip.
    need(
        &["python3", "-c", "import venv, ensurepip"],
        &["python3-venv"],
        None,
    ),
    need(
        &["valgrind", "--version"],
        &["valgrind"],
        Some(Part::Valgrind),
    ),
    need(&["nginx", "-v"], &["nginx"], Some(Part::Nginx)),
    need(
        &["chromium", "--version"],
        &["chromium"],
        Some(Part::Browser),
    ),
    need(&["skopeo", "--version"], &["skopeo"], Some(Part::Image)),
    need(
        &["redis-server", "--version"],
        &["redis-server"],
        Some(Part::Redis),
    ),
    need(
        &["systemd-analyze", "--version"],
        &["systemd"],
        Some(Part::Systemd),
    ),
    need(
        &["promtool", "--version"],
        &["prometheus"],
        Some(Part::Prometheus),
    ),
    need(
        &["docker", "--version"],
        &["docker.io"],
        Some(Part::Compose),
    ),
    need(
        &["dockerd", "--version"],
        &["docker.io"],
        Some(Part::Compose),
    )
    .replaced_by(ENGINE),
    need(
        &["iptables", "--version"],
        &["iptables"],
        Some(Part::Compose),
    )
    .replaced_by(ENGINE),
    need(
        &["debootstrap", "--version"],
        &["debootstrap"],
        Some(Part::Compose),
    )
    .replaced_by(ENGINE),
    need(
        &["debootstrap", "--version"],
        &["debootstrap"],
        Some(Part::Setup),
    ),
];

const fn need(
    probe: &'static [&'static str],
    packages: &'static [&'static str],
    part: Option<Part>,
) -> Need {
    Need {
        probe,
        packages,
        part,
        replaced_by: None,
    }
}

/// Returns the needs that this machine does not meet, without those of the parts `left_out`.
pub(super) fn missing(left_out: &[Part]) -> Vec<&'static Need> {
    let is_wanted = |need: &&Need| need.part.is_none_or(|part| !left_out.contains(&part));
    let wanted = NEEDS.iter().filter(is_wanted);
    wanted.filter(|need| !need.is_met()).collect()
}

impl Need {
    const fn replaced_by(mut self, variable: &'static str) -> Self {
        self.replaced_by = Some(variable);
        self
    }

    fn is_met(&self) -> bool {
        if self.replaced_by.is_some_and(is_set) {
            return true;
        }
        let [program, arguments @ ..] = self.probe else {
            return true;
        };
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("PATH", search_path())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    }

    /// Returns the program with the part that needs it.
    pub(super) fn title(&self) -> String {
        let program = self.probe.join(" ");
        let part = self.part.map(|part| format!(" (part {})", part.name()));
        format!("`{program}`{}", part.unwrap_or_default())
    }
}

/// `PATH` with the folders of the administrator's programs, which Debian's users do not have.
fn search_path() -> OsString {
    let mut path = env::var_os("PATH").unwrap_or_default();
    path.push(":/usr/sbin:/sbin");
    path
}

fn is_set(variable: &str) -> bool {
    env::var_os(variable).is_some_and(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// A filter that matches no test would leave out nothing.
    #[test]
    fn tests_of_each_part_exist() {
        for part in Part::value_variants() {
            let clap_name = part.to_possible_value().expect("every part has a name");
            assert_eq!(clap_name.get_name(), part.name());
            for (binary, path) in part.tests() {
                let (module, test) = path.rsplit_once("::").expect("a path of a module");
                let folder = match *binary {
                    SIDECAR_LIB => "sidecar/src".to_owned(),
                    binary => format!("tests/tests/{binary}"),
                };
                let file = format!("{folder}/{}.rs", module.replace("::", "/"));
                let text = std::fs::read_to_string(workspace::root().join(&file))
                    .unwrap_or_else(|error| panic!("{file}: {error}"));
                assert!(text.contains(&format!("fn {test}")), "{file} {test}");
            }
        }
    }
}
