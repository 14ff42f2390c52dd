//! The filter alone, as Istio and Envoy Gateway are told to load it.
//! Istio's own schema of `WasmPlugin` (1.29) by @kubernetes-models/istio. Envoy Gateway's is in no package: its fields
//! are written down here, from its API reference. Then the real Envoy is told what these two would tell it.

use std::process::Command;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tests::envoy::{Envoy, Options};
use tests::http::{Version, bearer, get, post, with};
use tests::upstream::{Script, Upstream};
use xtask::command::output;
use xtask::tools::Tools;

use crate::files::{parse, text, yaml};

const ISTIO: &str = "istio/wasm-plugin.yaml";
const GATEWAY: &str = "envoy-gateway/extension-policy.yaml";

/// Nobody knows a key with this sum.
const NO_KEY: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A custom resource, with nothing but these fields.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Resource<S> {
    api_version: String,
    kind: String,
    #[serde(rename = "metadata")]
    _metadata: Value,
    spec: S,
}

/// What Istio 1.29 knows; its schema says what may be in each, but lets unknown ones pass.
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
    wasm: Vec<Wasm>,
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
struct Wasm {
    #[serde(rename = "name")]
    _name: String,
    #[serde(rename = "rootID")]
    root_id: String,
    fail_open: bool,
    code: Code,
    config: Map<String, Value>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Code {
    r#type: String,
    sha256: String,
    image: CodeImage,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct CodeImage {
    url: String,
}

fn plugin() -> WasmPlugin {
    let resource: Resource<WasmPlugin> = parse(&text(ISTIO)).expect("Istio knows it");
    assert_eq!(resource.api_version, "extensions.istio.io/v1alpha1");
    assert_eq!(resource.kind, "WasmPlugin");
    resource.spec
}

fn policy() -> ExtensionPolicy {
    let resource: Resource<ExtensionPolicy> = parse(&text(GATEWAY)).expect("the gateway knows it");
    assert_eq!(resource.api_version, "gateway.envoyproxy.io/v1alpha1");
    assert_eq!(resource.kind, "EnvoyExtensionPolicy");
    resource.spec
}

/// Istio's own validation of a `WasmPlugin`.
fn validate(manifest: &Value) -> Result<String, String> {
    const SCRIPT: &str = r#"
import { WasmPlugin } from "@kubernetes-models/istio/extensions.istio.io/v1alpha1/WasmPlugin";
new WasmPlugin(JSON.parse(process.argv[1])).validate();
"#;
    let clients = Tools::open().node_clients();
    let mut node = Command::new("node");
    // Node looks for packages beside where it is.
    node.current_dir(clients.expect("it was fetched: `cargo xtask fetch`"));
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
    validate(&manifest).expect("Istio takes it");
    for (field, wrong) in [
        ("phase", json!("AUTHENTICATION")),
        ("failStrategy", json!("FAIL")),
        ("pluginConfig", json!("text")),
        ("url", Value::Null),
    ] {
        let mut manifest = manifest.clone();
        manifest["spec"][field] = wrong;
        let refusal = validate(&manifest).expect_err(field);
        assert!(refusal.contains(field), "{refusal}");
    }
}

#[test]
fn misspelt_field_is_rejected() {
    for (field, typo) in [("pluginConfig", "config"), ("phase", "fase")] {
        let plugin = text(ISTIO).replace(field, typo);
        parse::<Resource<WasmPlugin>>(&plugin).expect_err(typo);
    }
    for (field, typo) in [
        ("failOpen", "failopen"),
        ("targetRefs", "targets"),
        ("image:", "oci:"),
    ] {
        let policy = text(GATEWAY).replace(field, typo);
        parse::<Resource<ExtensionPolicy>>(&policy).expect_err(typo);
    }
}

#[test]
fn resources_name_the_filter_image_and_fail_closed() {
    let image = format!("codex-edge-filter:{}", env!("CARGO_PKG_VERSION"));
    let plugin = plugin();
    assert!(plugin.url.starts_with("oci://") && plugin.url.ends_with(&image));
    assert_eq!((&*plugin.phase, &*plugin.sha256), ("AUTHN", NO_KEY));
    assert_eq!(plugin.fail_strategy, "FAIL_RELOAD");
    let policy = policy();
    let [wasm] = &policy.wasm[..] else {
        panic!("one filter: {policy:?}");
    };
    assert!(!wasm.fail_open && wasm.code.image.url.ends_with(&image));
    assert_eq!((&*wasm.code.r#type, &*wasm.code.sha256), ("Image", NO_KEY));
    for target in &policy.target_refs {
        assert_eq!(target.group, "gateway.networking.k8s.io");
        assert!(["Gateway", "HTTPRoute"].contains(&&*target.kind));
    }
}

/// The real Envoy as both would configure it: the fields as a JSON string, that root id, no name for the VM, no
/// variables, and no leave to hold heads back; and `key` in the place of the key that nobody knows.
async fn envoy(upstream: &Upstream, root_id: &str, config: Map<String, Value>, key: &str) -> Envoy {
    let sum = Command::new("sh")
        .args(["-c", "printf %s \"$KEY\" | sha256sum"])
        .env("KEY", key)
        .output()
        .expect("sh is there");
    let sum = String::from_utf8(sum.stdout).expect("hexadecimal digits");
    let sum = sum.split(' ').next().expect("a sum");
    let config = Value::from(config).to_string().replace(NO_KEY, sum);
    let config: Map<String, Value> = serde_json::from_str(&config).expect("it was JSON");
    let root = format!("root_id: {root_id}");
    let options = Options::new(upstream.socket())
        .replace_in_filter("root_id: codex_edge", &root)
        .replace_in_filter("vm_id: codex_edge", "vm_id: ''")
        .replace_in_filter("allow_on_headers_stop_iteration: true", "fail_open: false")
        .filter("hold_headers", json!(false));
    let config = config.into_iter();
    let options = config.fold(options, |options, (field, value)| {
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
        let upstream = Upstream::start(Script::Echo);
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
            let answer = envoy.connect(Version::H1).await.send(request).await;
            let answer = answer.expect("Envoy answers");
            assert_eq!(answer.status.as_u16(), expected, "{answer:?}");
            if expected == 200 {
                assert_eq!(answer.header("x-ratelimit-limit-requests"), "60");
            }
        }
        let seen = upstream.seen().pop().expect("the upstream is asked");
        assert_eq!(seen.header("x-codex-edge-client"), "ann");
        assert_eq!(upstream.seen().len(), 1);
    }
}
