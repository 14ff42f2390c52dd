//! Writes the addresses and paths of a run into the Envoy configuration that ships.
//! The comments at the top of `envoy/envoy.yaml` and `envoy/filter.yaml` list the literals that are replaced here. The
//! rest of each file stays as shipped, so that the tests and `up` run the files that ship.

use std::fs;
use std::net::SocketAddrV4;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

const SIDECAR_SOCKET: &str = "/run/codex-edge/sidecar.sock";
const ADMIN_SOCKET: &str = "/run/codex-edge/envoy-admin.sock";
const SIDECAR_ADMIN_SOCKET: &str = "/run/codex-edge/sidecar-admin.sock";
const METRICS_PORT: &str = "9464";
const CONFIGURATION_DIR: &str = "/etc/codex-edge";
const FILTER_YAML: &str = "/etc/codex-edge/filter.yaml";
const FILTER_WASM: &str = "/etc/codex-edge/filter.wasm";

/// The addresses and files of a running edge.
#[derive(Debug, Clone)]
pub struct Placement {
    /// Address of the public listener; port 0 lets the kernel choose.
    pub listen: SocketAddrV4,
    /// Port of the loopback listener for Prometheus; 0 lets the kernel choose.
    pub metrics_port: u16,
    /// Unix socket of the sidecar.
    pub sidecar_socket: PathBuf,
    /// Unix socket of Envoy's admin interface.
    pub admin_socket: PathBuf,
    /// Unix socket of the sidecar's admin interface.
    pub sidecar_admin_socket: PathBuf,
    /// The rendered `filter.yaml`, which Envoy watches.
    pub filter_yaml: PathBuf,
    /// The compiled filter.
    pub filter_wasm: PathBuf,
}

impl Placement {
    /// The usual file names inside `dir`.
    pub fn in_dir(dir: &Path, listen: SocketAddrV4) -> Self {
        Self {
            listen,
            metrics_port: 0,
            sidecar_socket: dir.join("sidecar.sock"),
            admin_socket: dir.join("envoy-admin.sock"),
            sidecar_admin_socket: dir.join("sidecar-admin.sock"),
            filter_yaml: dir.join("filter.yaml"),
            filter_wasm: dir.join("filter.wasm"),
        }
    }

    /// Renders the files that ship, which are in the folder `shipped`: `filter.yaml` to its place, and Envoy's bootstrap to
    /// the file `bootstrap`.
    ///
    /// # Errors
    /// When a shipped file cannot be read, lacks a literal, or the result cannot be written.
    pub fn write(&self, shipped: &Path, bootstrap: &Path) -> Result<()> {
        write(
            &self.filter_yaml,
            &self.render_filter(&read(shipped, "filter.yaml")?)?,
        )?;
        write(
            bootstrap,
            &self.render_bootstrap(&read(shipped, "envoy.yaml")?)?,
        )
    }

    /// Renders the text of `envoy/envoy.yaml`.
    ///
    /// # Errors
    /// When a literal is not in the template, or a path needs quotes in YAML.
    pub fn render_bootstrap(&self, template: &str) -> Result<String> {
        let port = self.listen.port().to_string();
        // First, since the new public port may contain the digits of the metrics port.
        let mut text = replace(template, METRICS_PORT, &self.metrics_port.to_string())?;
        text = replace(&text, "0.0.0.0", &self.listen.ip().to_string())?;
        text = replace(&text, "11435", &port)?;
        text = replace(&text, SIDECAR_SOCKET, plain(&self.sidecar_socket)?)?;
        text = replace(&text, ADMIN_SOCKET, plain(&self.admin_socket)?)?;
        text = replace(
            &text,
            SIDECAR_ADMIN_SOCKET,
            plain(&self.sidecar_admin_socket)?,
        )?;
        text = replace(&text, FILTER_YAML, plain(&self.filter_yaml)?)?;
        // After the file names are replaced, the remaining mention of the folder is the watched directory.
        let watched = self.filter_yaml.parent().unwrap_or(Path::new("/"));
        replace(&text, CONFIGURATION_DIR, plain(watched)?)
    }

    /// Renders the text of `envoy/filter.yaml`.
    ///
    /// # Errors
    /// When the literal is not in the template, or the path needs quotes in YAML.
    pub fn render_filter(&self, template: &str) -> Result<String> {
        replace(template, FILTER_WASM, plain(&self.filter_wasm)?)
    }
}

fn replace(template: &str, literal: &str, value: &str) -> Result<String> {
    ensure!(
        template.contains(literal),
        "the Envoy configuration does not have the literal `{literal}`"
    );
    Ok(template.replace(literal, value))
}

/// The text of a path that YAML reads unchanged without quotes.
fn plain(path: &Path) -> Result<&str> {
    match path.to_str() {
        Some(text)
            if text
                .chars()
                .all(|c| c.is_alphanumeric() || "/._-+~=@".contains(c)) =>
        {
            Ok(text)
        }
        _ => bail!(
            "{} has characters that YAML would interpret: set TMPDIR to a plainer path",
            path.display()
        ),
    }
}

fn read(folder: &Path, name: &str) -> Result<String> {
    let path = folder.join(name);
    fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = "0.0.0.0:11435 # 11435\n127.0.0.1:9464\n/run/codex-edge/sidecar.sock\n\
        /run/codex-edge/envoy-admin.sock\n/run/codex-edge/sidecar-admin.sock\n/etc/codex-edge/filter.yaml in /etc/codex-edge";

    fn placement(dir: &str) -> Placement {
        Placement::in_dir(Path::new(dir), "127.0.0.1:19464".parse().unwrap())
    }

    #[test]
    fn every_literal_is_replaced_by_the_value_of_the_run() {
        let text = placement("/tmp/r").render_bootstrap(TEMPLATE).unwrap();
        assert_eq!(
            text,
            "127.0.0.1:19464 # 19464\n127.0.0.1:0\n/tmp/r/sidecar.sock\n/tmp/r/envoy-admin.sock\n\
             /tmp/r/sidecar-admin.sock\n/tmp/r/filter.yaml in /tmp/r"
        );
    }

    #[test]
    fn a_template_without_a_literal_is_rejected_with_the_literal() {
        for literal in [
            "0.0.0.0",
            "11435",
            SIDECAR_SOCKET,
            METRICS_PORT,
            ADMIN_SOCKET,
            SIDECAR_ADMIN_SOCKET,
            FILTER_YAML,
        ] {
            let template = TEMPLATE.replace(literal, "elsewhere");
            let error = placement("/tmp/r").render_bootstrap(&template).unwrap_err();
            assert!(error.to_string().contains(literal), "{error}");
        }
        assert!(placement("/tmp/r").render_filter("no module here").is_err());
    }

    #[test]
    fn a_path_that_yaml_would_interpret_is_rejected() {
        for dir in ["/tmp/a b", "/tmp/a,b", "/tmp/#a", "/tmp/a: b", "/tmp/{a}"] {
            assert!(placement(dir).render_bootstrap(TEMPLATE).is_err(), "{dir}");
        }
    }

    #[test]
    fn the_shipped_files_contain_every_literal() {
        let placement = placement("/tmp/r");
        let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../envoy");
        let bootstrap = placement
            .render_bootstrap(&read(&shipped, "envoy.yaml").unwrap())
            .unwrap();
        assert!(!bootstrap.contains("/run/codex-edge/") && !bootstrap.contains("/etc/codex-edge/"));
        let filter = placement
            .render_filter(&read(&shipped, "filter.yaml").unwrap())
            .unwrap();
        assert!(filter.contains("/tmp/r/filter.wasm"));
    }
}
