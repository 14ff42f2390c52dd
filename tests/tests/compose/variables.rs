//! Environment variables: `.env.example`, the compose files and the programs have the same list.
//! Follows `sidecar --help` and the filter's `host_env_keys`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use serde_json::Value;
use tests::sidecar::sidecar_binary;
use xtask::command::output;
use xtask::workspace;

use crate::project::{DEV, KEY, MAIN, compose, project, services, variables};

/// Variables that the image sets, such as paths, and variables for tests only.
const SET_BY_THE_IMAGE: &[&str] = &[
    "CODEX_BIN",
    "CODEX_HOME",
    "PROTO_LOG_PATH",
    "PROXY_CODEX_WORKDIR",
    "PROXY_TEST_ENDPOINTS",
    "SIDECAR_ADMIN_LISTEN",
    "SIDECAR_LISTEN",
    "TOKEN_LOG_PATH",
];
/// Variables of the entry points, which are not settings of the sidecar or the filter.
const READ_BY_THE_IMAGE: &[&str] = &["BASE_URL", "ENVOY_CONCURRENCY", "NOFILE"];

/// The log filter, which the sidecar reads without a flag, so that `--help` does not list this variable.
const LOG_FILTER: &str = "RUST_LOG";

/// The credential that Codex itself reads, so that `--help` does not list this variable either.
const ACCESS_TOKEN: &str = "CODEX_ACCESS_TOKEN";

#[test]
fn env_example_lists_exactly_the_variables_compose_reads() {
    let documented: BTreeSet<_> = documented().into_keys().collect();
    let project = project(DEV, &["*"], KEY);
    let mut read: BTreeSet<String> = interpolated();
    for (_, service) in services(&project) {
        let environment = service["environment"].as_object();
        // A variable without a value takes the value of Compose's environment.
        let passed_on = environment
            .into_iter()
            .flatten()
            .filter(|(_, value)| value.is_null());
        read.extend(passed_on.map(|(name, _)| name.clone()));
    }
    // Docker Compose itself reads this variable.
    read.insert("COMPOSE_PROFILES".into());
    assert_eq!(documented, read);
}

#[test]
fn compose_passes_every_sidecar_variable() {
    let project = project(MAIN, &["*"], KEY);
    let settings = settings();
    let mut expected: BTreeSet<&str> = settings.keys().map(String::as_str).collect();
    for name in SET_BY_THE_IMAGE {
        expected.remove(name);
    }
    expected.extend([LOG_FILTER, ACCESS_TOKEN]);
    for sidecar in ["sidecar", "sidecar-demo"] {
        let mut passed_on = variables(&project["services"][sidecar]);
        passed_on.retain(|name| !READ_BY_THE_IMAGE.contains(name));
        assert_eq!(passed_on, expected, "{sidecar}");
    }
}

#[test]
fn compose_passes_every_filter_variable() {
    let filter = fs::read_to_string(workspace::root().join("envoy/filter.yaml")).unwrap();
    let (_, keys) = filter.split_once("host_env_keys:\n").unwrap();
    let keys: BTreeSet<_> = keys
        .lines()
        .map_while(|line| line.trim().strip_prefix("- "))
        .collect();
    assert!(keys.contains("PROXY_API_KEY"));
    let project = project(MAIN, &["*"], KEY);
    let mut passed_on = variables(&project["services"]["envoy"]);
    passed_on.retain(|name| !READ_BY_THE_IMAGE.contains(name));
    assert_eq!(passed_on, keys);
}

#[test]
fn values_reach_the_containers_and_the_api_key_only_envoy() {
    let names = documented();
    // These are not text.
    let is_text = |name: &&String| {
        !["COMPOSE_PROFILES", "CONFIG_DIR", "SIDECAR_MEMORY"].contains(&name.as_str())
            && !name.ends_with("PORT")
    };
    let set: Vec<_> = names
        .keys()
        .filter(is_text)
        .map(|name| {
            (
                name.as_str(),
                if name == "PROXY_HOST" {
                    "127.0.0.2"
                } else {
                    "a value"
                },
            )
        })
        .collect();
    let project = project(MAIN, &["*"], &set);
    for (name, service) in services(&project) {
        for (variable, value) in service["environment"].as_object().into_iter().flatten() {
            let is_documented = names.contains_key(variable);
            let expected = match variable.as_str() {
                "PROXY_HOST" => "127.0.0.2",
                _ => "a value",
            };
            assert!(
                !is_documented || value == expected,
                "{name}: {variable} is {value}"
            );
        }
        let has_key = variables(service).contains("PROXY_API_KEY");
        assert_eq!(has_key, name == "envoy", "{name}");
    }
    let address = &project["services"]["envoy"]["ports"][0]["host_ip"];
    assert_eq!(address, "127.0.0.2");
}

#[test]
fn env_example_shows_the_defaults() {
    let settings = settings();
    let mut compared = 0;
    for (name, example) in documented() {
        if let Some(default) = settings.get(&name) {
            assert_eq!(&example, default, "{name}");
            compared += 1;
        }
    }
    assert!(compared > 30, "only {compared} compared");
    let project = project(DEV, &["*"], KEY);
    let published = |service: &str, port: usize| -> Value {
        project["services"][service]["ports"][port]["published"].clone()
    };
    let documented = documented();
    assert_eq!(published("envoy", 0), documented["PORT"]);
    assert_eq!(published("prometheus", 0), documented["PROMETHEUS_PORT"]);
    assert_eq!(published("admin", 0), documented["STATUS_PORT"]);
    assert_eq!(published("grafana", 0), documented["GRAFANA_PORT"]);
    // Compose writes bytes.
    let memory = &project["services"]["sidecar"]["mem_limit"];
    assert_eq!(documented["SIDECAR_MEMORY"], "3g");
    assert_eq!(memory, &(3_u64 << 30).to_string());
    let command = project["services"]["admin"]["command"].as_array();
    assert!(command.is_some_and(|words| words.contains(&Value::from("warning"))));
    let script = fs::read_to_string(workspace::root().join("deploy/docker/envoy.sh")).unwrap();
    let default = format!("${{NOFILE:-{}}}", documented["NOFILE"]);
    assert!(script.contains(&default), "{default}");
}

/// Returns the variables of `.env.example` with their values, including those that are commented out.
fn documented() -> BTreeMap<String, String> {
    let text = fs::read_to_string(workspace::root().join(".env.example"))
        .expect("`.env.example` is in the tree");
    let mut found = BTreeMap::new();
    for line in text.lines() {
        let line = line.strip_prefix('#').unwrap_or(line);
        let Some((name, value)) = line.split_once('=') else {
            continue;
        };
        if name.chars().all(|c| c.is_ascii_uppercase() || c == '_') {
            let previous = found.insert(name.to_owned(), value.to_owned());
            assert_eq!(previous, None, "{name} occurs twice");
        }
    }
    found
}

/// Returns the variables that the compose files interpolate as `${NAME}`.
fn interpolated() -> BTreeSet<String> {
    let table =
        compose(DEV, &["*"], KEY, &["--variables"]).expect("Docker Compose accepts the files");
    table
        .lines()
        .skip(1)
        .filter_map(|row| row.split_whitespace().next())
        .map(str::to_owned)
        .collect()
}

/// Returns the variables of `sidecar --help` with their defaults; a variable without a default has an empty one.
fn settings() -> BTreeMap<String, String> {
    let mut command = std::process::Command::new(sidecar_binary());
    let text = output(command.arg("--help").env_clear()).expect("`sidecar --help` succeeds");
    // clap wraps lines; the parts must be on one line.
    let help = text.split_whitespace().collect::<Vec<_>>().join(" ");
    help.split("[env: ")
        .skip(1)
        .map(|part| {
            let (name, rest) = part.split_once(']').expect("clap writes [env: NAME]");
            let default = rest
                .split_once("[default: ")
                .and_then(|(_, rest)| rest.split_once(']'))
                .map_or("", |(value, _)| value.trim_matches('"'));
            (name.to_owned(), default.to_owned())
        })
        .collect()
}
