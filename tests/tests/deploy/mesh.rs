//! The filter without the sidecar, as Istio and Envoy Gateway load it. Istio's schema of `WasmPlugin` (1.29) comes from
//! @kubernetes-models/istio. Envoy Gateway's schema is not in a package; the fields below come from its API reference.
//! The real Envoy then runs the configuration that both would generate.

use std::process::Command;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tests::envoy::{Envoy, EnvoyOptions};
use tests::http::{Version, bearer, get, post, with};
use tests::upstream::{Behavior, Upstream};
use xtask::command::output;
use xtask::tools::Tools;

use crate::files::{parse, text, yaml};

const ISTIO: &str = "istio/wasm-plugin.yaml";
const GATEWAY: &str = "envoy-gateway/extension-policy.yaml";

/// The placeholder for a SHA-256 hash in the manifests. A key with this hash is not known.
const PLACEHOLDER_HASH: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A custom resource that has only these fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct CustomResource<S> {
    api_version: String,
    kind: String,
    #[serde(rename = "metadata")]
    _metadata: Value,
    spec: S,
}

/// The fields of Istio 1.29 that the manifest uses. Istio's schema checks the values but accepts unknown fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WasmPlugin {
    #[serde(rename = "selector")]
    _selector: Value,
    url: String,
    sha256: String,
    phase: String,
    fail_strategy: String,
    plugin_name: String,
    plugin_config: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct ExtensionPolicy {
    target_refs: Vec<TargetRef>,
    wasm: Vec<WasmExtension>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct TargetRef {
    group: String,
    kind: String,
    #[serde(rename = "name")]
    _name: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WasmExtension {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "rootID")]
    root_id: String,
    fail_open: bool,
    code: WasmCode,
    config: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct WasmCode {
    r#type: String,
    sha256: String,
    image: WasmCodeImage,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WasmCodeImage {
    url: String,
}

fn plugin() -> WasmPlugin {
    let resource: CustomResource<WasmPlugin> =
        parse(&text(ISTIO)).expect("Istio knows every field");
    assert_eq!(resource.api_version, "extensions.istio.io/v1alpha1");
    assert_eq!(resource.kind, "WasmPlugin");
    resource.spec
}

fn policy() -> ExtensionPolicy {
    let resource: CustomResource<ExtensionPolicy> =
        parse(&text(GATEWAY)).expect("Envoy Gateway knows every field");
    assert_eq!(resource.api_version, "gateway.envoyproxy.io/v1alpha1");
    assert_eq!(resource.kind, "EnvoyExtensionPolicy");
    resource.spec
}

/// Validates a `WasmPlugin` against Istio's schema.
fn validate(manifest: &Value) -> Result<String, String> {
    const SCRIPT: &str = r#"
import { WasmPlugin } from "@kubernetes-models/istio/extensions.istio.io/v1alpha1/WasmPlugin";
new WasmPlugin(JSON.parse(process.argv[1])).validate();
"#;
    let clients = Tools::open().node_clients();
    let mut node = Command::new("node");
    // Node resolves packages relative to the working directory.
    node.current_dir(clients.expect("the Node packages were fetched: `cargo xtask fetch`"));
    node.args([
        "--input-type=module",
        "--eval",
        SCRIPT,
        &manifest.to_string(),
    ]);
    output(&mut node).map_err(|error| error.to_string())
}

#[test]
fn istio_accepts_the_plugin_and_rejects_invalid_values() {
    let manifest = yaml(&text(ISTIO));
    validate(&manifest).expect("Istio accepts the manifest");
    for (field, wrong) in [
        ("phase", json!("AUTHENTICATION")),
        ("failStrategy", json!("FAIL")),
        ("pluginConfig", json!("text")),
        ("url", Value::Null),
    ] {
        let mut manifest = manifest.clone();
        manifest["spec"][field] = wrong;
        let error = validate(&manifest).expect_err(field);
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn misspelt_field_is_rejected() {
    for (field, typo) in [("pluginConfig", "config"), ("phase", "fase")] {
        let plugin = text(ISTIO).replace(field, typo);
        parse::<CustomResource<WasmPlugin>>(&plugin).expect_err(typo);
    }
    for (field, typo) in [
        ("failOpen", "failopen"),
        ("targetRefs", "targets"),
        ("image:", "oci:"),
    ] {
        let policy = text(GATEWAY).replace(field, typo);
        parse::<CustomResource<ExtensionPolicy>>(&policy).expect_err(typo);
    }
}

#[test]
fn resources_name_the_filter_image_and_fail_closed() {
    let image = format!("codex-edge-filter:{}", env!("CARGO_PKG_VERSION"));
    let plugin = plugin();
    assert!(plugin.url.starts_with("oci://") && plugin.url.ends_with(&image));
    assert_eq!(
        (&*plugin.phase, &*plugin.sha256),
        ("AUTHN", PLACEHOLDER_HASH)
    );
    assert_eq!(plugin.fail_strategy, "FAIL_RELOAD");
    let policy = policy();
    let [wasm] = &policy.wasm[..] else {
        panic!("one filter: {policy:?}");
    };
    assert!(!wasm.fail_open && wasm.code.image.url.ends_with(&image));
    assert_eq!(
        (&*wasm.code.r#type, &*wasm.code.sha256),
        ("Image", PLACEHOLDER_HASH)
    );
    for target in &policy.target_refs {
        assert_eq!(target.group, "gateway.networking.k8s.io");
        assert!(["Gateway", "HTTPRoute"].contains(&&*target.kind));
    }
}

/// Starts the real Envoy as both would configure it: the filter configuration as a JSON string, `root_id`, an empty VM
/// id, no environment variables, and without `allow_on_headers_stop_iteration`. The hash of `key` replaces the
/// placeholder.
async fn envoy(upstream: &Upstream, root_id: &str, config: Map<String, Value>, key: &str) -> Envoy {
    let sha256sum = Command::new("sh")
        .args(["-c", "printf %s \"$KEY\" | sha256sum"])
        .env("KEY", key)
        .output()
        .expect("sh is installed");
    let line = String::from_utf8(sha256sum.stdout).expect("hexadecimal digits");
    let hash = line.split(' ').next().expect("a hash");
    let text = Value::from(config)
        .to_string()
        .replace(PLACEHOLDER_HASH, hash);
    let fields: Map<String, Value> = serde_json::from_str(&text).expect("valid JSON");
    let root = format!("root_id: {root_id}");
    let base = EnvoyOptions::new(upstream.socket())
        .replace_in_filter("root_id: codex_edge", &root)
        .replace_in_filter("vm_id: codex_edge", "vm_id: ''")
        .replace_in_filter("allow_on_headers_stop_iteration: true", "fail_open: false")
        .filter("hold_headers", json!(false));
    let options = fields.into_iter().fold(base, |options, (field, value)| {
        options.filter(&field, value)
    });
    Envoy::start(options.replace_in_filter("failure_policy: FAIL_RELOAD", "")).await
}

#[tokio::test]
async fn filter_configured_by_a_mesh_requires_a_key() {
    let (plugin, mut policy) = (plugin(), policy());
    let wasm = policy.wasm.remove(0);
    for (root_id, config) in [
        (plugin.plugin_name, plugin.plugin_config),
        (wasm.root_id, wasm.config),
    ] {
        let upstream = Upstream::start(Behavior::Echo);
        let envoy = envoy(&upstream, &root_id, config, "sk-of-ann").await;
        let chat = || {
            let chat = post("/v1/chat/completions", r#"{"model":"anything"}"#);
            with(chat, "content-type", "application/json")
        };
        for (request, expected) in [
            (chat(), 401),
            (bearer(chat(), "wrong"), 401),
            (get("/anything"), 401),
            (bearer(chat(), "sk-of-ann"), 200),
        ] {
            let mut client = envoy.connect(Version::H1).await;
            let response = client.send(request).await.expect("Envoy answers");
            assert_eq!(response.status.as_u16(), expected, "{response:?}");
            if expected == 200 {
                assert_eq!(response.header("x-ratelimit-limit-requests"), "60");
            }
        }
        let received = upstream
            .requests()
            .pop()
            .expect("a request reached the upstream");
        assert_eq!(received.header("x-codex-edge-client"), "ann");
        assert_eq!(upstream.requests().len(), 1);
    }
}
