//! The Kubernetes manifests, validated against the schemas of Kubernetes and compared with the files that they refer
//! to. kubernetes-validate has the OpenAPI of Kubernetes as JSON Schema. kustomize has neither a schema nor a package,
//! so the types below accept only the fields that kustomize knows.

use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;
use xtask::command::output;
use xtask::tools::Tools;

use crate::files::{names, of_workspace, parse, path, text, yaml};

/// The first version with sidecar containers enabled, which `statefulset.yaml` uses, and a current version.
const VERSIONS: [&str; 2] = ["1.29", "1.37"];

/// The manifests, each with the number of objects in the file.
const MANIFESTS: [(&str, usize); 8] = [
    ("fleet/kubernetes.yaml", 4),
    ("kubernetes/autoscaler.yaml", 1),
    ("kubernetes/disruption-budget.yaml", 1),
    ("kubernetes/namespace.yaml", 1),
    ("kubernetes/network-policy.yaml", 1),
    ("kubernetes/service.yaml", 1),
    ("kubernetes/statefulset.yaml", 1),
    ("ratelimit/kubernetes.yaml", 7),
];

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Kustomization {
    #[serde(rename = "apiVersion")]
    _api_version: String,
    kind: String,
    namespace: String,
    resources: Vec<String>,
    images: Vec<ImageOverride>,
    config_map_generator: Vec<ConfigMapArgs>,
    generator_options: GeneratorOptions,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ImageOverride {
    name: String,
    new_name: String,
    new_tag: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ConfigMapArgs {
    name: String,
    #[serde(default)]
    files: Vec<String>,
    #[serde(default)]
    envs: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct GeneratorOptions {
    disable_name_suffix_hash: bool,
}

/// Runs kubernetes-validate on the manifests.
fn validate(manifests: &[PathBuf], version: &str) -> Result<String, String> {
    let python = Tools::open().python();
    let mut validator = Command::new(python.expect("Python was fetched: `cargo xtask fetch`"));
    validator.args(["-m", "kubernetes_validate", "--strict", "-k", version]);
    output(validator.args(manifests)).map_err(|error| error.to_string())
}

/// Returns the pod specification of the StatefulSet.
pub(crate) fn pod() -> Value {
    yaml(&text("kubernetes/statefulset.yaml"))["spec"]["template"]["spec"].take()
}

/// Returns the init containers and containers of the pod.
fn containers() -> Vec<Value> {
    let pod = pod();
    ["initContainers", "containers"]
        .into_iter()
        .flat_map(|kind| pod[kind].as_array().expect("a list of containers").clone())
        .collect()
}

/// Returns the container `name` of the pod.
pub(crate) fn container(name: &str) -> Value {
    containers()
        .into_iter()
        .find(|container| container["name"] == name)
        .unwrap_or_else(|| panic!("missing container {name}"))
}

#[test]
fn manifests_match_the_kubernetes_schemas() {
    let manifests = MANIFESTS.map(|(name, _)| path(name));
    let objects: usize = MANIFESTS.iter().map(|(_, objects)| objects).sum();
    for version in VERSIONS {
        let report = validate(&manifests, version).unwrap_or_else(|error| panic!("{error}"));
        // A kind without a schema causes only a warning, so the validated objects are counted.
        let passed = report.matches(" passed for resource ").count();
        assert_eq!(passed, objects, "{version}: {report}");
    }
}

#[test]
fn manifests_with_unknown_fields_are_rejected() {
    let typos = [
        ("statefulset.yaml", "preStop:", "beforeStop:"),
        ("statefulset.yaml", "runAsNonRoot: true", "runAsNonRoot: 1"),
        ("network-policy.yaml", "podSelector:", "pods:"),
        ("disruption-budget.yaml", "maxUnavailable", "maxGone"),
        ("service.yaml", "targetPort", "target"),
        ("autoscaler.yaml", "containerResource:", "resource:"),
        ("namespace.yaml", "labels:", "label:"),
    ];
    let dir = tempfile::TempDir::new().unwrap();
    let manifests = typos.map(|(name, field, typo)| {
        let misspelt = text(&format!("kubernetes/{name}")).replace(field, typo);
        let manifest = dir.path().join(typo).with_extension("yaml");
        std::fs::write(&manifest, misspelt).unwrap();
        manifest
    });
    let error = validate(&manifests, VERSIONS[1]).expect_err("every manifest is invalid");
    for manifest in manifests {
        let line = format!("ERROR {} did not validate", manifest.display());
        assert!(error.contains(&line), "{line}: {error}");
    }
}

/// Returns `kustomization.yaml` as text and parsed.
fn kustomization() -> (String, Kustomization) {
    let text = text("kubernetes/kustomization.yaml");
    let kustomization: Kustomization = parse(&text).expect("kustomize knows every field");
    assert_eq!(kustomization.kind, "Kustomization");
    parse::<Kustomization>(&text.replace("newTag", "tag")).expect_err("`tag` is unknown");
    (text, kustomization)
}

#[test]
fn kustomization_lists_every_file_of_the_folder() {
    let (text, kustomization) = kustomization();
    let maps = &kustomization.config_map_generator;
    let generated = maps
        .iter()
        .flat_map(|map| map.files.iter().chain(&map.envs));
    let named: Vec<_> = kustomization.resources.iter().chain(generated).collect();
    let existing = names("kubernetes");
    assert!(
        named.iter().all(|name| existing.contains(name)),
        "{named:?}"
    );
    for name in &existing {
        // Optional resources are listed in comments.
        let optional = text.contains(&format!("# - {name}"));
        let page = ["README.md", "kustomization.yaml"].contains(&&**name);
        assert!(
            page || optional || named.contains(&name),
            "{name} is not listed"
        );
    }
}

#[test]
fn config_maps_and_images_of_the_kustomization_are_used_by_the_pod() {
    let (_, kustomization) = kustomization();
    let namespace = yaml(&text("kubernetes/namespace.yaml"));
    assert_eq!(namespace["metadata"]["name"], kustomization.namespace);
    // With a hash in the name, a new key would restart the pods.
    assert!(kustomization.generator_options.disable_name_suffix_hash);
    let pod = pod().to_string();
    for map in &kustomization.config_map_generator {
        let name = format!("\"name\":\"{}\"", map.name);
        assert!(pod.contains(&name), "{name} is not used");
    }
    for container in containers() {
        let image = kustomization
            .images
            .iter()
            .find(|image| container["image"] == image.name)
            .unwrap_or_else(|| panic!("{container}"));
        assert!(image.new_name.ends_with(&image.name));
        assert_eq!(image.new_tag, env!("CARGO_PKG_VERSION"));
    }
}

/// The namespace enforces the "restricted" profile of the Pod Security Standards. The read-only root file system goes
/// beyond that profile.
#[test]
fn pod_meets_the_restricted_security_standard() {
    let pod = pod();
    let context = &pod["securityContext"];
    assert_eq!(context["runAsNonRoot"], true);
    assert_eq!(context["seccompProfile"]["type"], "RuntimeDefault");
    assert_eq!(pod["automountServiceAccountToken"], false);
    // A container in the process namespace of Envoy could read Envoy's keys from /proc.
    assert_eq!(pod.get("shareProcessNamespace"), None);
    for container in containers() {
        let context = &container["securityContext"];
        assert_eq!(context["allowPrivilegeEscalation"], false, "{container}");
        assert_eq!(context["readOnlyRootFilesystem"], true, "{container}");
        assert_eq!(context["capabilities"]["drop"][0], "ALL", "{container}");
        assert_eq!(context.get("runAsUser"), None, "{container}");
        assert!(container["resources"]["limits"]["memory"].is_string());
    }
    for volume in pod["volumes"].as_array().expect("a list of volumes") {
        assert!(volume.get("emptyDir").is_some() || volume.get("configMap").is_some());
    }
    // No key reaches the sidecar.
    let sidecar = container("sidecar").to_string();
    assert!(!sidecar.contains("secret"), "{sidecar}");
}

#[test]
fn filter_yaml_differs_from_the_shipped_one_only_in_its_module_path() {
    let without_comment = |text: &str| {
        let start = text.find("\nresources:").expect("a `resources` field");
        text[start..].to_owned()
    };
    let shipped = without_comment(&of_workspace("envoy/filter.yaml"));
    let for_pod = without_comment(&text("kubernetes/filter.yaml"));
    let moved = shipped.replace("/etc/codex-edge/filter.wasm", "/opt/codex-edge/filter.wasm");
    assert_eq!(moved, for_pod);
    assert_ne!(shipped, for_pod);
}

/// Whether `volume` is mounted at `path` in the container `name`.
fn is_mounted(name: &str, volume: &str, path: &str) -> bool {
    let container = container(name);
    let mut mounts = container["volumeMounts"].as_array().into_iter().flatten();
    mounts.any(|mount| mount["name"] == volume && mount["mountPath"] == path)
}

#[test]
fn volumes_are_mounted_where_envoy_and_sidecar_read() {
    let envoy_yaml = of_workspace("envoy/envoy.yaml");
    assert!(envoy_yaml.contains("path: /etc/codex-edge/filter.yaml"));
    assert!(is_mounted("envoy", "filter", "/etc/codex-edge"));
    assert!(is_mounted("files", "files", "/opt/codex-edge"));
    assert!(is_mounted("envoy", "files", "/opt/codex-edge"));
    let config = &container("envoy")["args"][1];
    assert_eq!(config, "/opt/codex-edge/envoy.yaml");
    for socket in ["sidecar.sock", "envoy-admin.sock"] {
        assert!(envoy_yaml.contains(&format!("/run/codex-edge/{socket}")));
    }
    for name in ["envoy", "sidecar"] {
        assert!(is_mounted(name, "sockets", "/run/codex-edge"), "{name}");
    }
    for name in ["login", "sidecar"] {
        assert!(is_mounted(name, "codex", "/var/lib/codex-edge"), "{name}");
    }
}

#[test]
fn images_contain_the_files_and_programs_the_pod_uses() {
    let dockerfile = of_workspace("Dockerfile");
    let copies = |file: &str| {
        let mut lines = dockerfile.lines().filter(|line| line.starts_with("COPY "));
        lines.any(|line| line.contains(file) && line.contains(" /etc/codex-edge/"))
    };
    let files = container("files")["command"].to_string();
    for file in ["envoy.yaml", "filter.wasm"] {
        assert!(files.contains(&format!("/etc/codex-edge/{file}")) && copies(file));
    }
    for words in [
        "ENTRYPOINT [\"codex-edge-envoy\"]",
        "exec sidecar \\\"$@\\\"\", \"sidecar\"]",
        "USER 10001:10001",
        // The probes and the preStop hook use curl.
        " curl",
        "/usr/local/bin/codex",
    ] {
        assert!(dockerfile.contains(words), "{words}");
    }
    let user = &pod()["securityContext"]["runAsUser"];
    assert_eq!(user, 10001);
}
