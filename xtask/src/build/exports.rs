//! Drops the exports of the filter that have no effect.
//!
//! The proxy-wasm SDK exports every callback of the ABI, whether the filter implements it or not. Envoy calls each
//! callback that it finds and skips the others, and a call into the VM costs about 2,000 instructions, for example at
//! each chunk of a streamed response. The SDK has no option to leave a callback out, so that the exports are dropped
//! after linking. Only the export section changes: the code is copied byte for byte, and a filter that was not processed
//! behaves the same.
//!
//! Sections are copied with `wasm-encoder` rather than `walrus`, which would parse and write all code anew.

use anyhow::{Context, Result, ensure};
use wasm_encoder::{ExportKind, ExportSection, Module, RawSection};
use wasmparser::{ExternalKind, Parser, Payload};

/// The prefix of the exports that may be dropped. `memory`, `_initialize` and `proxy_abi_version_0_2_1` lack it.
const CALLBACK_PREFIX: &str = "proxy_on_";

/// The callbacks that are kept: those that the filter implements, and those that the SDK needs.
///
/// Every other `proxy_on_*` export has the default implementation of the SDK, which returns the value that Envoy assumes
/// for an absent callback. A test compares this list with the methods of `filter/src/{root,http}_context.rs`.
pub const CALLBACKS: [&str; 9] = [
    // The SDK: memory for returned bytes, and its table of contexts.
    "proxy_on_memory_allocate",
    "proxy_on_context_create",
    "proxy_on_delete",
    // root_context.rs
    "proxy_on_configure",
    // http_context.rs
    "proxy_on_request_headers",
    "proxy_on_request_body",
    "proxy_on_request_trailers",
    "proxy_on_response_headers",
    "proxy_on_response_trailers",
];

/// Returns the module without the callbacks that are not in [`CALLBACKS`].
///
/// # Errors
/// The bytes are not a wasm module, or the module lacks one of [`CALLBACKS`].
pub fn drop_default_callbacks(wasm: &[u8]) -> Result<Vec<u8>> {
    let mut module = Module::new();
    for parsed in Parser::new(0).parse_all(wasm) {
        let payload = parsed.context("the filter is not a wasm module")?;
        if let Payload::ExportSection(exports) = payload {
            module.section(&kept_exports(exports)?);
        } else if let Some((id, range)) = payload.as_section() {
            let data = &wasm[range];
            module.section(&RawSection { id, data });
        }
    }
    Ok(module.finish())
}

fn kept_exports(exports: wasmparser::ExportSectionReader<'_>) -> Result<ExportSection> {
    let mut kept = ExportSection::new();
    let mut callbacks = 0;
    for read in exports {
        let export = read?;
        let is_callback = export.name.starts_with(CALLBACK_PREFIX);
        if !is_callback || CALLBACKS.contains(&export.name) {
            callbacks += usize::from(is_callback);
            kept.export(export.name, kind(export.kind)?, export.index);
        }
    }
    // A renamed callback would otherwise be dropped silently, and its check with it.
    ensure!(
        callbacks == CALLBACKS.len(),
        "the filter exports {callbacks} of the callbacks {CALLBACKS:?}"
    );
    Ok(kept)
}

fn kind(kind: ExternalKind) -> Result<ExportKind> {
    Ok(match kind {
        ExternalKind::Func => ExportKind::Func,
        ExternalKind::Memory => ExportKind::Memory,
        ExternalKind::Global => ExportKind::Global,
        ExternalKind::Table => ExportKind::Table,
        other => anyhow::bail!("unsupported export kind {other:?}"),
    })
}
