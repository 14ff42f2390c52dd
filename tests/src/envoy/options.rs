//! Options of an Envoy under test, and the configuration files that result from them.
//! Follows the header comments of `envoy/envoy.yaml` and `envoy/filter.yaml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use xtask::envoy_config::Placement;
use xtask::tools::Tool;
use xtask::workspace;

use crate::filter_wasm::filter_wasm;
use crate::http::DEADLINE;

/// The differences between a test's Envoy and the one that ships.
#[derive(Clone, Debug)]
pub struct EnvoyOptions {
    pub(super) tool: Tool,
    upstream: PathBuf,
    bootstrap: Option<&'static str>,
    sidecar_admin: Option<PathBuf>,
    pub(super) concurrency: u16,
    pub(super) env: Vec<(String, String)>,
    filter: Map<String, Value>,
    replacements: Vec<(String, String)>,
    filter_replacements: Vec<(String, String)>,
    pub(super) config_yaml: Option<String>,
    filters_instead: Option<String>,
    pub(super) wrapper: Vec<String>,
    pub(super) start_timeout: Duration,
}

impl EnvoyOptions {
    /// The shipped configuration, one worker, no variables, and `upstream` in place of the sidecar's socket.
    pub fn new(upstream: impl Into<PathBuf>) -> Self {
        Self {
            tool: Tool::Envoy,
            upstream: upstream.into(),
            bootstrap: None,
            sidecar_admin: None,
            concurrency: 1,
            env: Vec::new(),
            filter: Map::new(),
            replacements: Vec::new(),
            filter_replacements: Vec::new(),
            config_yaml: None,
            filters_instead: None,
            wrapper: Vec::new(),
            start_timeout: DEADLINE,
        }
    }

    /// Runs the oldest pinned Envoy with `bootstrap` in place of `envoy.yaml`, of which only the paths are replaced.
    #[must_use]
    pub fn oldest(mut self, bootstrap: &'static str) -> Self {
        self.tool = Tool::EnvoyOldest;
        self.bootstrap = Some(bootstrap);
        self
    }

    /// Uses `socket` as the sidecar's admin interface; by default no server listens there.
    #[must_use]
    pub fn sidecar_admin(mut self, socket: impl Into<PathBuf>) -> Self {
        self.sidecar_admin = Some(socket.into());
        self
    }

    /// Runs this many workers.
    #[must_use]
    pub fn concurrency(mut self, workers: u16) -> Self {
        self.concurrency = workers;
        self
    }

    /// Sets a variable; Envoy's environment holds only the variables that are set here.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Adds a field to the filter's plugin configuration, or replaces it.
    #[must_use]
    pub fn filter(mut self, field: &str, value: Value) -> Self {
        self.filter.insert(field.to_owned(), value);
        self
    }

    /// Replaces `from`, which occurs once in `envoy.yaml`, for example to shorten a timeout.
    #[must_use]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        self.replacements.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Passes `yaml` to Envoy in addition to its file. Envoy merges both: single fields of `yaml` win, lists are appended.
    #[must_use]
    pub fn config_yaml(mut self, yaml: String) -> Self {
        self.config_yaml = Some(yaml);
        self
    }

    /// Replaces the filter by `yaml`, which holds items of `http_filters` or is empty.
    #[must_use]
    pub fn filters_instead(mut self, yaml: &str) -> Self {
        self.filters_instead = Some(yaml.to_owned());
        self
    }

    /// Runs Envoy under another program that takes Envoy's command line, with a deadline for the start.
    #[must_use]
    pub fn wrapper(mut self, command: &[&str], start_timeout: Duration) -> Self {
        self.wrapper = command.iter().map(|&word| word.to_owned()).collect();
        self.start_timeout = start_timeout;
        self
    }

    /// Replaces `from`, which occurs once in `filter.yaml`, for example to load the filter under another name.
    #[must_use]
    pub fn replace_in_filter(mut self, from: &str, to: &str) -> Self {
        self.filter_replacements
            .push((from.to_owned(), to.to_owned()));
        self
    }
}

/// Writes the rendered configuration into `dir`.
pub(super) fn place(dir: &Path, options: &EnvoyOptions) -> Placement {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut placement = Placement::in_dir(dir, listen);
    placement.sidecar_socket.clone_from(&options.upstream);
    if let Some(socket) = &options.sidecar_admin {
        placement.sidecar_admin_socket.clone_from(socket);
    }
    placement.filter_wasm = filter_wasm().to_owned();
    let bootstrap = dir.join(BOOTSTRAP);
    placement
        .write(&workspace::configuration(), &bootstrap)
        .expect("the shipped configuration can be rendered");
    if let Some(text) = options.bootstrap {
        rewrite(&bootstrap, |_| with_paths(text, dir, &options.upstream));
    }
    rewrite(&bootstrap, |text| replace_all(text, &options.replacements));
    if let Some(yaml) = &options.filters_instead {
        rewrite(&bootstrap, |text| without_filter(&text, yaml));
    }
    rewrite(&placement.filter_yaml, |text| {
        let text = replace_all(text, &options.filter_replacements);
        with_fields(&text, &options.filter)
    });
    placement
}

/// `bootstrap` with the folder `dir` and the socket `upstream` in place of the shipped paths.
fn with_paths(bootstrap: &str, dir: &Path, upstream: &Path) -> String {
    let dir = dir.to_string_lossy();
    bootstrap
        .replace("/run/codex-edge/sidecar.sock", &upstream.to_string_lossy())
        .replace("/run/codex-edge", &dir)
        .replace("/etc/codex-edge", &dir)
}

/// File name of the rendered `envoy.yaml`.
pub(super) const BOOTSTRAP: &str = "envoy.yaml";

fn rewrite(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("the file was just written");
    fs::write(path, change(text)).expect("the temporary folder is writable");
}

fn replace_all(text: String, replacements: &[(String, String)]) -> String {
    replacements.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` occurs once");
        text.replace(from, to)
    })
}

/// `bootstrap` with `yaml` in place of the filter, which ends at the next item and its comment.
fn without_filter(bootstrap: &str, yaml: &str) -> String {
    let (before, item) = bootstrap
        .split_once("          - name: codex_edge\n")
        .expect("envoy.yaml has the filter");
    let (_item, after) = item
        .split_once("\n          # ")
        .expect("another filter follows, with its comment");
    format!("{before}{yaml}          # {after}")
}

/// `filter_yaml` with `fields` added to the JSON of the filter's configuration.
pub(super) fn with_fields(filter_yaml: &str, fields: &Map<String, Value>) -> String {
    let (before, rest) = filter_yaml
        .split_once("value: '")
        .expect("filter.yaml has one quoted value");
    let (json, after) = rest
        .split_once("'\n")
        .expect("the quoted value ends its line");
    let mut config: Map<String, Value> = serde_json::from_str(json).expect("the value is JSON");
    config.extend(fields.clone());
    let json = Value::from(config).to_string().replace('\'', "''");
    format!("{before}value: '{json}'\n{after}")
}
