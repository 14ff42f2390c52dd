//! The exports of the filter: as it ships, only the callbacks that it implements.
//! Follows `xtask/src/build/exports.rs`.

use std::collections::BTreeSet;

use tests::filter_wasm::FilterBuild;
use tests::wasm_host::FilterModule;
use xtask::build::CALLBACKS;

/// The exports of the SDK that are not callbacks.
const FRAMEWORK: [&str; 3] = ["_initialize", "memory", "proxy_abi_version_0_2_1"];

/// The callbacks that the SDK handles itself, without a method of a context.
const OF_THE_SDK: [&str; 3] = [
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_delete",
];

fn exports(build: FilterBuild) -> BTreeSet<String> {
    let module = FilterModule::load(build.path()).expect("the filter loads");
    module.exports().into_iter().collect()
}

fn callbacks(exports: &BTreeSet<String>) -> BTreeSet<&str> {
    let names = exports.iter().map(String::as_str);
    names.filter(|name| name.starts_with("proxy_on_")).collect()
}

/// The callbacks for the `on_*` methods of the contexts: the SDK calls `on_http_request_headers` for
/// `proxy_on_request_headers`.
fn implemented() -> BTreeSet<String> {
    let sources = [
        include_str!("../../../../filter/src/root_context.rs"),
        include_str!("../../../../filter/src/http_context.rs"),
    ];
    let methods = sources.iter().flat_map(|source| source.split("    fn on_"));
    let names = methods.filter_map(|rest| rest.split_once("(&mut self").map(|(name, _)| name));
    names
        .filter(|name| {
            name.bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        })
        .map(|name| format!("proxy_on_{}", name.trim_start_matches("http_")))
        .collect()
}

#[test]
fn kept_callbacks_are_those_of_the_contexts_and_of_the_sdk() {
    let mut expected = implemented();
    assert_eq!(expected.len(), 6, "{expected:?}");
    expected.extend(OF_THE_SDK.map(str::to_owned));
    assert_eq!(BTreeSet::from(CALLBACKS.map(str::to_owned)), expected);
}

#[test]
fn shipped_filter_exports_its_own_callbacks_only() {
    let shipped = exports(FilterBuild::Shipped);
    assert_eq!(callbacks(&shipped), CALLBACKS.into());
    assert_eq!(shipped.len(), CALLBACKS.len() + FRAMEWORK.len());
    for name in FRAMEWORK {
        assert!(shipped.contains(name), "{name}");
    }
    let built = exports(FilterBuild::Cargo);
    assert!(callbacks(&built).len() > 20, "{built:?}");
    assert!(shipped.is_subset(&built));
}

#[test]
fn shipped_filter_has_the_same_imports() {
    let [shipped, built] = FilterBuild::ALL
        .map(|build| FilterModule::load(build.path()).expect("the filter loads"))
        .map(|module| module.imports());
    assert_eq!(shipped, built);
}
