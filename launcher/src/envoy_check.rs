//! Validates an Envoy configuration, with the filter and its plugin configuration.
//! `envoy --mode validate` does not load discovered resources, so `filter.yaml` is also validated inside a listener.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::output;

/// A listener up to the name of the filter; the filter's `typed_config` follows.
const LISTENER: &str = r#"
static_resources:
  listeners:
  - name: check
    address: { socket_address: { address: 127.0.0.1, port_value: 0 } }
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: check
          route_config: {}
          http_filters:
          - name: codex_edge
"#;
/// The end of every filter chain.
const ROUTER: &str = r#"
          - name: envoy.filters.http.router
            typed_config: { "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router }
"#;
/// Indentation of the filter's `typed_config` below its name in [`LISTENER`], in addition to that of `filter.yaml`.
const INDENT: &str = "          ";

/// Validates a bootstrap; `more` are further arguments of Envoy.
///
/// # Errors
/// When Envoy rejects the configuration; the message has Envoy's reason.
pub fn bootstrap(envoy: &Path, bootstrap: &Path, more: &[&str]) -> Result<()> {
    let mut command = Command::new(envoy);
    command.args(["--mode", "validate", "--log-level", "warning", "-c"]);
    // The filter rejects a configuration without a key; any key that is long enough will do.
    let key = "any-key-that-is-long-enough";
    output(command.arg(bootstrap).args(more).env("PROXY_API_KEY", key))?;
    Ok(())
}

/// Validates a `filter.yaml`, in a bootstrap of its own that is written to `scratch`.
///
/// # Errors
/// When the file has another shape than the one that ships, or Envoy or the filter rejects it.
pub fn filter(envoy: &Path, filter_yaml: &Path, scratch: &Path) -> Result<()> {
    let text = fs::read_to_string(filter_yaml)
        .with_context(|| format!("cannot read {}", filter_yaml.display()))?;
    fs::write(scratch, inlined(&text)?)?;
    bootstrap(envoy, scratch, &[])
}

/// A bootstrap with the filter of `filter_yaml` in a listener.
fn inlined(filter_yaml: &str) -> Result<String> {
    let mut text = LISTENER.to_owned();
    let mut lines = filter_yaml
        .lines()
        .skip_while(|line| *line != "  typed_config:")
        .peekable();
    lines
        .peek()
        .context("filter.yaml has no line `  typed_config:`")?;
    for line in lines {
        text.push_str(INDENT);
        text.push_str(line);
        text.push('\n');
    }
    text.push_str(ROUTER);
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_typed_config_is_indented_below_the_filter_name() {
        let text = inlined("resources:\n- name: x\n  typed_config:\n    a: b\n").unwrap();
        let expected =
            "          - name: codex_edge\n            typed_config:\n              a: b\n";
        assert!(text.contains(expected), "{text}");
        assert!(inlined("resources: []\n").is_err());
    }
}
