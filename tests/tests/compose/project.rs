//! The compose files after `docker compose config`, which merges, interpolates and validates them without an engine.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

/// The file for users.
pub(crate) const MAIN: &[&str] = &["docker-compose.yml"];
/// The files for development of codex-edge.
pub(crate) const DEV: &[&str] = &["docker-compose.yml", "docker-compose.dev.yml"];
/// The files for agents.
pub(crate) const AGENTS: &[&str] = &["docker-compose.yml", "deploy/docker/agents.yaml"];
/// The files for one rate limit over several Envoys.
pub(crate) const RATE_LIMIT: &[&str] = &["docker-compose.yml", "deploy/ratelimit/compose.yaml"];
/// The files for a state that several sidecars share.
pub(crate) const FLEET: &[&str] = &["docker-compose.yml", "deploy/fleet/compose.yaml"];
/// The files for traces and metrics.
pub(crate) const TRACING: &[&str] = &["docker-compose.yml", "deploy/tracing/compose.yaml"];
/// The only variable that a user must set.
pub(crate) const KEY: &[(&str, &str)] = &[("PROXY_API_KEY", "sk-of-the-compose-tests")];

/// Returns the project that results from `files`, `profiles` and the environment `env`.
pub(crate) fn project(files: &[&str], profiles: &[&str], env: &[(&str, &str)]) -> Value {
    let text = compose(files, profiles, env, &["--format", "json"])
        .unwrap_or_else(|error| panic!("{files:?} {profiles:?}: {error}"));
    serde_json::from_str(&text).expect("Compose writes JSON")
}

/// Runs `docker compose config` and returns its standard output, or its standard error if the command fails.
pub(crate) fn compose(
    files: &[&str],
    profiles: &[&str],
    env: &[(&str, &str)],
    arguments: &[&str],
) -> Result<String, String> {
    let program = Tools::open().executable(Tool::Compose);
    let mut command =
        Command::new(program.expect("Docker Compose was fetched: `cargo xtask fetch`"));
    for file in files {
        command.args(["--file", file]);
    }
    for profile in profiles {
        command.args(["--profile", profile]);
    }
    // The `.env` file of a developer must not change the result.
    command.args(["--env-file", "/dev/null", "config"]);
    command
        .args(arguments)
        .current_dir(workspace::root())
        .env_clear()
        .envs(env.iter().copied());
    let output = command.output().expect("Docker Compose is executable");
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    Ok(String::from_utf8(output.stdout).expect("Compose writes UTF-8"))
}

/// Returns the services of a project with their names.
pub(crate) fn services(project: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = project["services"].as_object().expect("services");
    services
        .iter()
        .map(|(name, service)| (name.as_str(), service))
}

/// Returns the names of the environment variables of a service.
pub(crate) fn variables(service: &Value) -> BTreeSet<&str> {
    let environment = service["environment"].as_object();
    environment
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect()
}
