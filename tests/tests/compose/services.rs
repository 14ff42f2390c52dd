//! The services of each profile, and their privileges, ports, networks and volumes.
//! Follows the Compose specification and `docker-compose.yml`.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use xtask::workspace;

use crate::dockerfile::Dockerfile;
use crate::project::{
    AGENTS, DEV, FLEET, KEY, MAIN, RATE_LIMIT, TRACING, compose, project, services,
};

#[test]
fn profiles_select_the_expected_services() {
    for (profiles, expected) in [
        (vec!["live"], "envoy sidecar"),
        (vec!["demo"], "envoy model sidecar-demo"),
        (
            vec!["live", "observability"],
            "admin envoy grafana prometheus sidecar",
        ),
        (
            vec!["demo", "observability"],
            "admin envoy grafana model prometheus sidecar-demo",
        ),
        (vec!["live", "status"], "admin envoy sidecar"),
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
        (MAIN, "admin:11436 envoy:11435 grafana:3000"),
        (DEV, "admin:11436 envoy:11435 grafana:3000 prometheus:9090"),
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
}

/// A container that shares the network of another one loses it when the engine restarts the other one.
#[test]
fn services_reach_each_other_over_networks() {
    let project = project(MAIN, &["*"], KEY);
    let mut members = BTreeSet::new();
    for (name, service) in services(&project) {
        assert_eq!(service["network_mode"], Value::Null, "{name}");
        let networks = service["networks"].as_object().expect("networks");
        members.extend(networks.keys().map(|network| format!("{network}: {name}")));
    }
    let expected = [
        "edge: envoy",
        "model: model",
        "model: sidecar-demo",
        "operators: admin",
        "operators: grafana",
        "operators: prometheus",
        "outbound: sidecar",
    ];
    assert_eq!(members.into_iter().collect::<Vec<_>>(), expected);
    assert_eq!(project["networks"]["model"]["internal"], true);
}

#[test]
fn containers_have_bounds_on_memory_processes_and_logs() {
    for files in [MAIN, DEV, RATE_LIMIT, FLEET, TRACING] {
        let project = project(files, &["*"], KEY);
        for (name, service) in services(&project) {
            assert!(service["mem_limit"].is_string(), "{name}");
            assert_eq!(service["pids_limit"], 512, "{name}");
            let logging =
                json!({"driver": "json-file", "options": {"max-size": "20m", "max-file": "5"}});
            assert_eq!(service["logging"], logging, "{name}");
            // A hard limit below this value would keep the container from its start.
            assert_eq!(service["ulimits"], Value::Null, "{name}");
        }
    }
}

#[test]
fn sidecar_alone_reaches_the_redis_of_the_fleet() {
    let project = project(FLEET, &["*"], KEY);
    let sidecar = &project["services"]["sidecar"];
    assert_eq!(sidecar["environment"]["PROXY_STATE"], "redis://state:6379");
    let on_network =
        services(&project).filter(|(_, service)| service["networks"].get("state").is_some());
    let names: Vec<_> = on_network.map(|(name, _)| name).collect();
    assert_eq!(names, ["sidecar", "state"]);
    assert!(sidecar["networks"].get("outbound").is_some());
    assert_eq!(project["services"]["state"]["ports"], Value::Null);
}

#[test]
fn envoy_and_sidecar_reach_the_collector_and_keep_their_networks() {
    let project = project(TRACING, &["*"], KEY);
    for (name, other) in [
        ("envoy", Some("edge")),
        ("sidecar", Some("outbound")),
        ("sidecar-demo", Some("model")),
        ("collector", None),
    ] {
        let networks = project["services"][name]["networks"].as_object();
        let names: BTreeSet<_> = networks
            .expect("networks")
            .keys()
            .map(String::as_str)
            .collect();
        let expected: BTreeSet<_> = other.into_iter().chain(["tracing"]).collect();
        assert_eq!(names, expected, "{name}");
    }
    let sidecar = &project["services"]["sidecar"]["environment"];
    assert_eq!(
        sidecar["OTEL_EXPORTER_OTLP_ENDPOINT"],
        "http://collector:4318"
    );
    assert_eq!(project["services"]["collector"]["ports"], Value::Null);
}

#[test]
fn envoy_stops_first_and_has_time_for_its_streams() {
    let project = project(MAIN, &["*"], KEY);
    let service = |name: &str| &project["services"][name];
    for sidecar in ["sidecar", "sidecar-demo"] {
        assert_eq!(service("envoy")["depends_on"][sidecar]["required"], false);
    }
    assert!(service("sidecar-demo")["depends_on"]["model"].is_object());
    assert_eq!(service("envoy")["stop_grace_period"], "5m30s");
    let drain = std::fs::read_to_string(workspace::root().join("deploy/systemd/drain.sh")).unwrap();
    assert!(drain.contains("seq 300"), "shorter than 5m30s");
}

#[test]
fn project_has_one_name_wherever_the_checkout_is() {
    assert_eq!(project(MAIN, &["*"], KEY)["name"], "codex-edge");
}

#[test]
fn agents_get_a_seccomp_profile_and_keep_the_other_restrictions() {
    let project = project(AGENTS, &["*"], KEY);
    let expected = json!([
        "no-new-privileges:true",
        "seccomp=deploy/docker/seccomp-agents.json",
        "apparmor=unconfined"
    ]);
    for (name, service) in services(&project) {
        let is_sidecar = name.starts_with("sidecar");
        assert_eq!(service["security_opt"] == expected, is_sidecar, "{name}");
        assert_eq!(service["cap_drop"], json!(["ALL"]), "{name}");
    }
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
