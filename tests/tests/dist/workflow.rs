//! The release workflow: GitHub's workflow syntax, as far as it can be checked without its host.

use std::fs;
use std::process::Command;

use serde_json::Value;
use xtask::command::output;
use xtask::tools::{Tool, Tools};
use xtask::workspace;

fn text() -> String {
    fs::read_to_string(workspace::root().join(".github/workflows/release.yml"))
        .expect("the workflow is in the tree")
}

/// The jobs by name.
pub(crate) fn jobs() -> Value {
    let workflow: Value = serde_saphyr::from_str(&text()).expect("the workflow is YAML");
    workflow["jobs"].clone()
}

/// The steps of a job.
pub(crate) fn steps(job: &Value) -> impl Iterator<Item = &Value> {
    job["steps"].as_array().expect("a job has steps").iter()
}

#[test]
fn every_action_is_pinned_by_a_commit_with_its_version() {
    let mut actions = 0;
    for line in text().lines() {
        let Some((_, action)) = line.split_once("uses: ") else {
            continue;
        };
        let (_, pin) = action.split_once('@').expect("an action has a version");
        let (commit, version) = pin.split_once(" # v").expect("the version is a comment");
        let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        assert!(commit.len() == 40 && commit.bytes().all(is_hex), "{action}");
        assert_eq!(version.split('.').count(), 3, "{action}");
        actions += 1;
    }
    assert!(actions > 8, "{actions}");
}

/// Only the job that signs may write; a job that runs code of dependencies may not.
#[test]
fn jobs_that_build_have_no_write_access() {
    let workflow: Value = serde_saphyr::from_str(&text()).unwrap();
    assert_eq!(
        workflow["permissions"],
        serde_json::json!({"contents": "read"})
    );
    let jobs = jobs();
    for (name, job) in jobs.as_object().expect("jobs have names") {
        let may_write = ["publish", "pypi"].contains(&name.as_str());
        assert_eq!(job.get("permissions").is_some(), may_write, "{name}");
        assert_eq!(job.get("if").is_some(), may_write, "{name}");
        assert!(job["timeout-minutes"].is_u64(), "{name}");
    }
}

#[test]
fn bash_parses_every_script() {
    let jobs = jobs();
    let mut scripts = 0;
    for job in jobs.as_object().expect("jobs have names").values() {
        for script in steps(job).filter_map(|step| step["run"].as_str()) {
            output(Command::new("bash").args(["-n", "-c", script]))
                .unwrap_or_else(|error| panic!("{error}"));
            // An expression in a script would let a tag's name become a command.
            assert!(!script.contains("${{"), "{script}");
            scripts += 1;
        }
    }
    assert!(scripts > 8, "{scripts}");
}

#[test]
fn workflow_installs_the_pinned_codex() {
    let version = Tool::Codex.version().unwrap();
    let install = format!("npm install --global @openai/codex@{version} ");
    assert!(text().contains(&install), "{install}");
}

/// zizmor reads a workflow as its host does, and knows the traps of the actions. Offline, it looks nothing up.
#[test]
fn linter_reports_no_findings() {
    let program = Tools::open()
        .executable(Tool::Zizmor)
        .expect("zizmor was fetched: `cargo xtask fetch`");
    let mut zizmor = Command::new(program);
    zizmor
        .args(["--offline", "--pedantic", "--strict-collection", "--quiet"])
        .arg(".github/workflows")
        .current_dir(workspace::root());
    output(&mut zizmor).unwrap_or_else(|error| panic!("{error:#}"));
}

/// The images of a release are those of the compose stack: every target of the Dockerfile with an entry point.
#[test]
fn every_image_of_the_dockerfile_is_built_and_pushed() {
    let dockerfile = fs::read_to_string(workspace::root().join("Dockerfile")).unwrap();
    let parsed = parse_dockerfile::parse(&dockerfile).expect("the Dockerfile is valid");
    let intermediate = ["build", "codex"];
    let mut images: Vec<_> = parsed
        .stages()
        .filter_map(|stage| stage.from.as_.as_ref())
        .map(|(_, name)| name.value.to_string())
        .filter(|name| !intermediate.contains(&name.as_str()))
        .collect();
    let jobs = jobs();
    let built = &jobs["images"]["strategy"]["matrix"]["target"];
    assert_eq!(*built, Value::from(images.clone()));
    let pushed = format!("for target in {}; do", images.join(" "));
    assert!(text().contains(&pushed), "{pushed}");
    let compose = fs::read_to_string(workspace::root().join("docker-compose.yml")).unwrap();
    let compose: Value = serde_saphyr::from_str(&compose).unwrap();
    let services = compose["services"].as_object().unwrap().values();
    let mut started: Vec<_> = services
        .filter_map(|service| service["build"]["target"].as_str())
        .map(str::to_owned)
        .collect();
    started.sort();
    started.dedup();
    images.sort();
    assert_eq!(images, started);
}
