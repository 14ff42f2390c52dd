//! The services of each profile, and their privileges, ports, networks and volumes.
//! Follows the Compose specification and `docker-compose.yml`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xtask::workspace;

use crate::dockerfile::Dockerfile;
use crate::project::{DEV, KEY, MAIN, compose, project, services};

#[test]
fn profiles_select_the_expected_services() {
    for (profiles, expected) in [
        (vec!["live"], "envoy sidecar"),
        (vec!["demo"], "envoy model sidecar-demo"),
        (
            vec!["live", "observability"],
            "envoy grafana prometheus sidecar",
        ),
        (
            vec!["demo", "observability"],
            "envoy grafana model prometheus sidecar-demo",
        ),
        // A profile is required; Envoy alone could not serve a request.
        (vec![], ""),
    ] {
        for files in [MAIN, DEV] {
            let names: Vec<_> = service_names(&project(files, &profiles, KEY))
                .into_iter()
                .collect();
            assert_eq!(names.join(" "), expected, "{profiles:?}");
        }
    }
}

#[test]
fn missing_api_key_is_rejected_by_compose() {
    let error = compose(MAIN, &["live"], &[], &[]).unwrap_err();
    assert!(
        error.contains("PROXY_API_KEY") && error.contains("put a key into .env"),
        "{error}"
    );
}

#[test]
fn containers_run_without_privileges() {
    for files in [MAIN, DEV] {
        let project = project(files, &["*"], KEY);
        for (name, service) in services(&project) {
            for (field, expected) in [
                ("init", json!(true)),
                ("read_only", json!(true)),
                ("cap_drop", json!(["ALL"])),
                ("security_opt", json!(["no-new-privileges:true"])),
                ("restart", json!("unless-stopped")),
            ] {
                assert_eq!(service[field], expected, "{name}: {field}");
            }
            for field in ["privileged", "cap_add", "devices", "pid", "ipc"] {
                assert_eq!(service[field], Value::Null, "{name}: {field}");
            }
            // Third-party images set an unprivileged user themselves.
            let user = if service["build"].is_object() {
                json!("10001:10001")
            } else {
                Value::Null
            };
            assert_eq!(service["user"], user, "{name}");
            assert!(service["healthcheck"]["test"].is_array(), "{name}");
        }
    }
}

#[test]
fn ports_are_published_on_loopback_by_default() {
    for (files, expected) in [
        (MAIN, "envoy:11435 grafana:3000"),
        (DEV, "envoy:11435 envoy:9090 grafana:3000"),
    ] {
        let project = project(files, &["*"], KEY);
        let mut published = BTreeSet::new();
        for (name, service) in services(&project) {
            for port in service["ports"].as_array().into_iter().flatten() {
                assert_eq!(port["host_ip"], "127.0.0.1", "{name}");
                published.insert(format!("{name}:{}", port["target"]));
            }
        }
        assert_eq!(
            published.into_iter().collect::<Vec<_>>().join(" "),
            expected
        );
    }
    let variables = [KEY[0], ("PROXY_HOST", "0.0.0.0"), ("GRAFANA_PORT", "4000")];
    let opened = project(MAIN, &["*"], &variables);
    assert_eq!(
        opened["services"]["envoy"]["ports"][0]["host_ip"],
        "0.0.0.0"
    );
    assert_eq!(
        opened["services"]["grafana"]["ports"][0]["host_ip"],
        "127.0.0.1"
    );
    assert_eq!(
        opened["services"]["grafana"]["ports"][0]["published"],
        "4000"
    );
}

#[test]
fn envoy_and_sidecar_share_only_the_socket_volume() {
    let project = project(MAIN, &["*"], KEY);
    let networks = |name: &str| -> BTreeSet<String> {
        let networks = project["services"][name]["networks"].as_object();
        networks.expect("networks").keys().cloned().collect()
    };
    for sidecar in ["sidecar", "sidecar-demo"] {
        assert!(
            networks("envoy").is_disjoint(&networks(sidecar)),
            "{sidecar}"
        );
        for name in ["envoy", sidecar] {
            let volumes = project["services"][name]["volumes"].as_array();
            let sockets = |volume: &&Value| {
                volume["source"] == "sockets" && volume["target"] == "/run/codex-edge"
            };
            assert_eq!(
                volumes.expect("volumes").iter().filter(sockets).count(),
                1,
                "{name}"
            );
        }
    }
    assert_eq!(
        project["services"]["prometheus"]["network_mode"],
        "service:envoy"
    );
}

#[test]
fn referenced_files_folders_and_stages_exist() {
    let dockerfile = Dockerfile::read();
    let project = project(DEV, &["*"], KEY);
    for (name, service) in services(&project) {
        if let Some(target) = service["build"]["target"].as_str() {
            assert!(dockerfile.has_stage(target), "{name}: {target}");
            assert_eq!(
                service["build"]["context"],
                workspace::root().to_str().unwrap()
            );
        }
        let bind_sources = service["volumes"]
            .as_array()
            .into_iter()
            .flatten()
            .filter(|volume| volume["type"] == "bind")
            .map(|volume| &volume["source"]);
        let watched = service["develop"]["watch"].as_array().into_iter().flatten();
        for value in bind_sources.chain(watched.map(|watch| &watch["path"])) {
            let path = value.as_str().expect("a path");
            assert!(std::path::Path::new(path).exists(), "{name}: {path}");
        }
    }
}

#[test]
fn third_party_images_are_pinned_by_digest() {
    let project = project(MAIN, &["*"], KEY);
    let images: Vec<_> = services(&project)
        .filter_map(|(_, service)| service["image"].as_str())
        .collect();
    assert_eq!(images.len(), 2, "{images:?}");
    for image in images {
        assert!(crate::dockerfile::has_digest(image), "{image}");
    }
}

/// Returns the names of the services of a project.
fn service_names(project: &Value) -> BTreeSet<String> {
    services(project).map(|(name, _)| name.to_owned()).collect()
}
