//! What the host asks the filter: the exports, and which plugin or stream each is about.
//! The proxy-wasm ABI 0.2.1, "Functions exposed by the Wasm module", written out here instead of taken from the Rust
//! SDK. That exports every callback that there is, and a host enters the VM for each, whether anything is done there or
//! not: 2,000 instructions a time, at every piece of an answer that goes by. And a status that it does not expect ends
//! the VM; here (`host`) it refuses a request.
//!
//! A host enters the VM from one thread, and from within a call of ours for memory only, so that no callback ever
//! meets the contexts borrowed.

#![expect(
    unsafe_code,
    reason = "an export's name is unsafe to choose: the linker takes it as it is"
)]

use std::cell::RefCell;
use std::rc::Rc;

use hashbrown::HashMap;

use crate::root_context::Plugin;
use crate::http_context::{Action, Stream};

thread_local! {
    static CONTEXTS: RefCell<Contexts> = RefCell::default();
}

/// What the host knows by a number.
#[derive(Debug, Default)]
struct Contexts {
    /// One a configuration, also while streams of an earlier one last.
    plugins: HashMap<u32, Rc<Plugin>>,
    streams: HashMap<u32, Stream>,
}

/// Marks the version of the ABI.
#[unsafe(no_mangle)]
extern "C" fn proxy_abi_version_0_2_1() {}

/// Runs once, before anything else.
#[cfg(target_family = "wasm")]
#[unsafe(no_mangle)]
extern "C" fn _initialize() {
    unsafe extern "C" {
        fn __wasm_call_ctors();
    }
    // SAFETY: the linker's own function, which wants to be called once, before anything else.
    unsafe { __wasm_call_ctors() };
}

/// Memory for bytes that the host returns; `host` takes it back.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_memory_allocate(size: usize) -> *mut u8 {
    Box::into_raw(Box::<[u8]>::new_uninit_slice(size)).cast()
}

/// A new stream; or a new plugin, which has no parent and begins with its configuration.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_context_create(id: u32, parent: u32) {
    if parent != 0 {
        CONTEXTS.with_borrow_mut(|contexts| {
            let stream = Stream::new(contexts.plugins.get(&parent).cloned());
            contexts.streams.insert(id, stream);
        });
    }
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_configure(id: u32, size: usize) -> bool {
    let plugin = Plugin::configure(size);
    let is_accepted = plugin.is_some();
    if let Some(plugin) = plugin {
        CONTEXTS.with_borrow_mut(|contexts| contexts.plugins.insert(id, Rc::new(plugin)));
    }
    is_accepted
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_headers(id: u32, _: u32, end_of_stream: bool) -> Action {
    in_stream(id, |stream| stream.on_request_head(end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_body(id: u32, size: usize, end_of_stream: bool) -> Action {
    in_stream(id, |stream| stream.on_request_body(size, end_of_stream))
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_request_trailers(id: u32, _: u32) -> Action {
    in_stream(id, Stream::on_request_trailers)
}

#[unsafe(no_mangle)]
extern "C" fn proxy_on_response_headers(id: u32, _: u32, _: bool) -> Action {
    in_stream(id, Stream::on_response_head)
}

/// The end of a stream or a plugin.
#[unsafe(no_mangle)]
extern "C" fn proxy_on_delete(id: u32) {
    CONTEXTS.with_borrow_mut(|contexts| {
        if contexts.streams.remove(&id).is_none() {
            contexts.plugins.remove(&id);
        }
    });
}

/// A stream that was never announced belongs to no plugin, and is refused as such.
fn in_stream(id: u32, callback: impl FnOnce(&mut Stream) -> Action) -> Action {
    CONTEXTS.with_borrow_mut(|contexts| {
        let stream = contexts.streams.entry(id);
        callback(stream.or_insert_with(|| Stream::new(None)))
    })
}
