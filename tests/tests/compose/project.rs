//! The compose files as Docker Compose understands them: merged, interpolated, and checked against its own schema.
//! Follows `docker compose config`, which needs no engine.

use std::collections::BTreeSet;
use std::process::Command;

use serde_json::Value;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

/// The file for use.
pub(crate) const MAIN: &[&str] = &["docker-compose.yml"];
/// The files for work on codex-edge itself.
pub(crate) const DEV: &[&str] = &["docker-compose.yml", "docker-compose.dev.yml"];
/// What a user has to set.
pub(crate) const KEY: &[(&str, &str)] = &[("PROXY_API_KEY", "sk-of-the-compose-tests")];

/// The project that `files` make with these profiles and this environment.
pub(crate) fn project(files: &[&str], profiles: &[&str], env: &[(&str, &str)]) -> Value {
    let text = compose(files, profiles, env, &["--format", "json"]);
    let text = text.unwrap_or_else(|error| panic!("{files:?} {profiles:?}: {error}"));
    serde_json::from_str(&text).expect("Compose writes JSON")
}

/// What `docker compose config` writes, or why it refuses.
pub(crate) fn compose(
    files: &[&str],
    profiles: &[&str],
    env: &[(&str, &str)],
    arguments: &[&str],
) -> Result<String, String> {
    let program = Tools::open().executable(Tool::Compose);
    let mut command = Command::new(program.expect("Docker Compose was fetched"));
    for file in files {
        command.args(["--file", file]);
    }
    for profile in profiles {
        command.args(["--profile", profile]);
    }
    // A developer's own .env is nobody's business here.
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

/// The services of a project, by name.
pub(crate) fn services(project: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = project["services"].as_object().expect("services");
    services
        .iter()
        .map(|(name, service)| (name.as_str(), service))
}

/// The names of the variables that a service is given.
pub(crate) fn variables(service: &Value) -> BTreeSet<&str> {
    let environment = service["environment"].as_object();
    environment
        .into_iter()
        .flat_map(|map| map.keys().map(String::as_str))
        .collect()
}
