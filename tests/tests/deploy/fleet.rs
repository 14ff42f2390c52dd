//! The overlay for several replicas: its patches meet the files that they change, and Redis forgets nothing.

use serde::Deserialize;
use serde_json::{Value, json};

use crate::files::{parse, text, yaml};
use crate::kubernetes::container;

/// A kustomize component with the fields that this one has.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Component {
    #[serde(rename = "apiVersion")]
    api_version: String,
    kind: String,
    resources: Vec<String>,
    patches: Vec<Patch>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Patch {
    target: Target,
    patch: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Target {
    kind: String,
    name: String,
}

/// An operation of a JSON patch (RFC 6902).
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Operation {
    op: String,
    path: String,
    #[serde(default)]
    value: Value,
}

/// Applies an operation as RFC 6902 says, for the operations that the component has.
fn apply(document: &mut Value, operation: Operation) {
    let Operation { op, path, value } = operation;
    let (parent, name) = path.rsplit_once('/').expect("a path");
    let parent = document
        .pointer_mut(parent)
        .unwrap_or_else(|| panic!("{path}"));
    match op.as_str() {
        "test" => assert_eq!(parent[name], value, "{path}"),
        "replace" => {
            assert!(parent.get(name).is_some(), "{path}");
            parent[name] = value;
        }
        "add" => {
            assert_eq!(name, "-", "{path}");
            parent.as_array_mut().expect("a list").push(value);
        }
        "remove" => {
            let removed = parent.as_object_mut().expect("an object").remove(name);
            assert!(removed.is_some(), "{path}");
        }
        other => panic!("{other}"),
    }
}

/// Returns the file of `deploy/kubernetes` with the patches of the component.
fn patched(kind: &str, file: &str) -> Value {
    let component: Component =
        parse(&text("fleet/kustomization.yaml")).expect("kustomize knows every field");
    assert_eq!(component.api_version, "kustomize.config.k8s.io/v1alpha1");
    assert_eq!(component.kind, "Component");
    assert_eq!(component.resources, ["kubernetes.yaml"]);
    let mut document = yaml(&text(file));
    let patches = component.patches.into_iter();
    for patch in patches.filter(|patch| patch.target.kind == kind) {
        assert_eq!(document["metadata"]["name"], patch.target.name);
        let operations: Vec<Operation> = parse(&patch.patch).expect("a JSON patch");
        for operation in operations {
            // `/0` of a path is an index for `pointer_mut` alone.
            apply(&mut document, operation);
        }
    }
    document
}

#[test]
fn replicas_share_one_state_and_need_no_affinity() {
    let set = patched("StatefulSet", "kubernetes/statefulset.yaml");
    assert_eq!(set["spec"]["replicas"], 3);
    let variables = set["spec"]["template"]["spec"]["containers"][0]["env"].clone();
    let variable = |name: &str| {
        let mut all = variables.as_array().into_iter().flatten();
        all.find(|variable| variable["name"] == name).cloned()
    };
    let state = json!({"name": "PROXY_STATE", "value": "redis://codex-edge-state:6379"});
    assert_eq!(variable("PROXY_STATE"), Some(state));
    let secret = variable("PROXY_CONVERSATION_SECRET").expect("one secret for all replicas");
    assert_eq!(
        secret["valueFrom"]["secretKeyRef"],
        json!({"name": "codex-edge", "key": "PROXY_CONVERSATION_SECRET"})
    );
    assert_ne!(container("sidecar")["env"], variables);
    let service = patched("Service", "kubernetes/service.yaml");
    assert_eq!(service["spec"]["sessionAffinity"], Value::Null);
}

#[test]
fn redis_of_both_overlays_keeps_its_state_and_evicts_nothing() {
    let expected = "redis-server --dir /data --save  --appendonly yes --maxmemory 384mb --maxmemory-policy noeviction \
                    --protected-mode no";
    let manifests = text("fleet/kubernetes.yaml");
    let set = yaml(manifests.split("\n---\n").next().expect("the StatefulSet"));
    let pod = &set["spec"]["template"]["spec"];
    let compose = yaml(&text("fleet/compose.yaml"));
    for arguments in [
        &pod["containers"][0]["args"],
        &compose["services"]["state"]["command"],
    ] {
        let arguments = arguments.as_array().expect("a list").iter();
        let words: Vec<_> = arguments
            .map(|word| word.as_str().expect("a text"))
            .collect();
        assert_eq!(words.join(" "), expected);
    }
    assert_eq!(pod["securityContext"]["runAsNonRoot"], true);
    let context = &pod["containers"][0]["securityContext"];
    assert_eq!(context["readOnlyRootFilesystem"], true);
    assert_eq!(
        set["spec"]["volumeClaimTemplates"][0]["metadata"]["name"],
        "data"
    );
}
