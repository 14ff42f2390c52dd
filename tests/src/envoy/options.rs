//! How a test's Envoy differs from the one that ships, and the files that come of it.
//! Follows the header comments of `envoy/envoy.yaml` and `envoy/filter.yaml`.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use xtask::envoy_config::Placement;

use crate::filter_wasm::filter_wasm;
use crate::http::DEADLINE;

/// How a test's Envoy differs from the one that ships.
#[derive(Clone, Debug)]
pub struct Options {
    upstream: PathBuf,
    sidecar_admin: Option<PathBuf>,
    pub(super) concurrency: u16,
    pub(super) env: Vec<(String, String)>,
    filter: Map<String, Value>,
    replacements: Vec<(String, String)>,
    filter_replacements: Vec<(String, String)>,
    pub(super) config_yaml: Option<String>,
    other_filters: Option<String>,
    pub(super) under: Vec<String>,
    pub(super) patience: Duration,
}

impl Options {
    /// The shipped configuration, one worker, no variables, and `upstream` in place of the sidecar's socket.
    pub fn new(upstream: impl Into<PathBuf>) -> Self {
        Self {
            upstream: upstream.into(),
            sidecar_admin: None,
            concurrency: 1,
            env: Vec::new(),
            filter: Map::new(),
            replacements: Vec::new(),
            filter_replacements: Vec::new(),
            config_yaml: None,
            other_filters: None,
            under: Vec::new(),
            patience: DEADLINE,
        }
    }

    /// Has `socket` in place of the sidecar's admin interface; without, nothing listens there.
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

    /// Sets a variable; nothing else is in Envoy's environment.
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

    /// Replaces `from`, which stands in `envoy.yaml` once, to turn a limit down to what a test can wait for.
    #[must_use]
    pub fn replace(mut self, from: &str, to: &str) -> Self {
        self.replacements.push((from.to_owned(), to.to_owned()));
        self
    }

    /// Hands Envoy `yaml` beside its file, which it merges into that: single fields win, lists grow.
    #[must_use]
    pub fn config_yaml(mut self, yaml: String) -> Self {
        self.config_yaml = Some(yaml);
        self
    }

    /// Has `yaml`, items of `http_filters` or none, in the place of our filter.
    #[must_use]
    pub fn filters_instead(mut self, yaml: &str) -> Self {
        self.other_filters = Some(yaml.to_owned());
        self
    }

    /// Runs Envoy under another program that takes its command line, and gives it so much time to get ready.
    #[must_use]
    pub fn under(mut self, command: &[&str], patience: Duration) -> Self {
        self.under = command.iter().map(|&word| word.to_owned()).collect();
        self.patience = patience;
        self
    }

    /// Replaces `from`, which stands in `filter.yaml` once, to load the filter as somebody else's Envoy may.
    #[must_use]
    pub fn replace_in_filter(mut self, from: &str, to: &str) -> Self {
        self.filter_replacements
            .push((from.to_owned(), to.to_owned()));
        self
    }
}

/// Writes the rendered configuration into `dir`.
pub(super) fn place(dir: &Path, options: &Options) -> Placement {
    let listen = "127.0.0.1:0".parse().expect("an address");
    let mut placement = Placement::in_dir(dir, listen);
    placement.sidecar_socket.clone_from(&options.upstream);
    if let Some(socket) = &options.sidecar_admin {
        placement.sidecar_admin_socket.clone_from(socket);
    }
    placement.filter_wasm = filter_wasm().to_owned();
    let bootstrap = dir.join(BOOTSTRAP);
    placement
        .write(&bootstrap)
        .expect("the shipped configuration can be rendered");
    rewrite(&bootstrap, |text| replace_all(text, &options.replacements));
    if let Some(yaml) = &options.other_filters {
        rewrite(&bootstrap, |text| without_filter(&text, yaml));
    }
    rewrite(&placement.filter_yaml, |text| {
        let text = replace_all(text, &options.filter_replacements);
        with_fields(&text, &options.filter)
    });
    placement
}

/// File name of the rendered `envoy.yaml`.
pub(super) const BOOTSTRAP: &str = "envoy.yaml";

fn rewrite(path: &Path, change: impl FnOnce(String) -> String) {
    let text = fs::read_to_string(path).expect("the file was just written");
    fs::write(path, change(text)).expect("the folder is ours");
}

fn replace_all(text: String, replacements: &[(String, String)]) -> String {
    replacements.iter().fold(text, |text, (from, to)| {
        assert_eq!(text.matches(from).count(), 1, "`{from}` is in it once");
        text.replace(from, to)
    })
}

/// `bootstrap` with `yaml` where our filter stands, which ends where the next item and its comment begin.
fn without_filter(bootstrap: &str, yaml: &str) -> String {
    let (before, item) = bootstrap
        .split_once("          - name: codex_edge\n")
        .expect("envoy.yaml has our filter");
    let (_item, after) = item
        .split_once("\n          # ")
        .expect("another filter follows, with its comment");
    format!("{before}{yaml}          # {after}")
}

/// `filter_yaml` with `fields` put into the JSON that the filter gets as its configuration.
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
