//! The command line, variables and files of each service.
//! The arguments follow `envoy --help`, the sidecar's configuration and the scripted model.

use std::fs;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::admin;
use super::login::enabled_keys;
use super::mode::{self, Mode};
use super::source::StackFiles;
use crate::envoy_config::Placement;

/// The settings of a run, from which the commands are built.
#[derive(Debug)]
pub(crate) struct Services<'a> {
    pub(crate) run_dir: &'a Path,
    pub(crate) listen: SocketAddrV4,
    /// Address of the sidecar's status page.
    pub(crate) admin_listen: String,
    pub(crate) concurrency: Option<NonZeroU32>,
    pub(crate) key: String,
    pub(crate) envoy: PathBuf,
    pub(crate) codex: PathBuf,
    pub(crate) mode: Mode,
    pub(crate) files: StackFiles,
}

impl Services<'_> {
    /// Address of the public listener for a client on this machine.
    pub(crate) fn reachable(&self) -> SocketAddrV4 {
        let mut edge = self.listen;
        if edge.ip().is_unspecified() {
            edge.set_ip(Ipv4Addr::LOCALHOST);
        }
        edge
    }

    pub(crate) fn model(&self) -> Command {
        let mut model = Command::new(&self.files.scripted_model);
        model.args(["--listen", "127.0.0.1:0"]);
        // As strict as the service: it serves the models that this Codex lists, and no other.
        model.arg("--codex").arg(&self.codex);
        model
    }

    /// Creates the demo's Codex home from the first line of the scripted model.
    pub(crate) fn write_demo_home(&self, first_line: &str) -> Result<()> {
        let base_url = mode::announced_url(first_line)
            .with_context(|| format!("the scripted model announced no URL: {first_line}"))?;
        mode::write_demo_home(&self.demo_home(), base_url)
    }

    pub(crate) fn sidecar(&self) -> Command {
        let mut sidecar = Command::new(&self.files.sidecar);
        let socket = self.placement().sidecar_socket;
        sidecar
            .env("SIDECAR_LISTEN", format!("unix:{}", socket.display()))
            .env(admin::VARIABLE, &self.admin_listen)
            .env("CODEX_BIN", &self.codex)
            // Temporary files are removed with the run folder, even if the sidecar is killed.
            .env("TMPDIR", self.run_dir)
            // The filter checks API keys; the sidecar must not see them.
            .env_remove("PROXY_API_KEY");
        match &self.mode {
            Mode::Live { codex_home, .. } => sidecar.env("CODEX_HOME", codex_home),
            Mode::Demo => sidecar
                .env("CODEX_HOME", self.demo_home())
                .env("CODEX_FORCE_PROVIDER", "demo"),
        };
        sidecar
    }

    /// Writes Envoy's configuration, with a copy of the filter that a later build does not change.
    pub(crate) fn envoy(&self) -> Result<Command> {
        let placement = self.placement();
        fs::copy(&self.files.filter_wasm, &placement.filter_wasm)
            .context("cannot copy the compiled filter")?;
        let bootstrap = self.bootstrap();
        placement.write(&self.files.configuration, &bootstrap)?;
        let mut envoy = Command::new(&self.envoy);
        envoy.arg("-c").arg(bootstrap);
        // Hot restart would leave shared memory behind; below the level of warnings only access logs are useful.
        envoy.args(["--disable-hot-restart", "--log-level", "warning"]);
        // Envoy rejects a misspelt field in filter.yaml instead of ignoring it.
        envoy.arg("--reject-unknown-dynamic-fields");
        if let Some(concurrency) = self.concurrency {
            envoy.args(["--concurrency", &concurrency.to_string()]);
        }
        envoy.env("PROXY_API_KEY", &self.key);
        envoy.env("PROXY_HOST", self.listen.ip().to_string());
        Ok(envoy)
    }

    /// Returns a warning if others can use a ChatGPT login.
    pub(crate) fn login_warning(&self) -> Result<Option<String>> {
        let Mode::Live { login, .. } = self.mode else {
            return Ok(None);
        };
        let filter = fs::read_to_string(self.placement().filter_yaml)
            .context("cannot read the filter's configuration")?;
        Ok(login.warning(*self.listen.ip(), enabled_keys(&filter)))
    }

    pub(crate) fn placement(&self) -> Placement {
        Placement::in_dir(self.run_dir, self.listen)
    }

    /// The rendered `envoy.yaml`.
    pub(crate) fn bootstrap(&self) -> PathBuf {
        self.run_dir.join("envoy.yaml")
    }

    fn demo_home(&self) -> PathBuf {
        self.run_dir.join("codex-home")
    }
}
