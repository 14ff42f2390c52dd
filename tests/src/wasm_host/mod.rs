//! A proxy-wasm host: runs a compiled filter in-process, offline, and reports the result of each request.
//! Follows the proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1` in proxy-wasm/spec) and the behaviour of Envoy 1.40.
//!
//! A [`Host`] stands for one Envoy with one plugin. Requests go in, [`Exchange`]s come out; a test expects no particular
//! callbacks or host calls, so that the filter may reorder them.
//!
//! ```no_run
//! use tests::wasm_host::{FilterModule, Host, Request, Response};
//!
//! let module = FilterModule::load("filter.wasm".as_ref()).expect("a filter");
//! let mut host = Host::builder(&module).config(r#"{"keys": []}"#).workers(2).start().expect("accepted");
//! let exchange = host.worker(0).exchange(Request::get("/v1/models"), |_| Response::ok());
//! assert_eq!(exchange.status(), 401);
//! assert!(exchange.upstream.is_none());
//! ```
//!
//! As strict as Envoy where a filter could notice:
//! - Request headers can be changed until the head is forwarded; later changes get `BadArgument`, which panics in the
//!   Rust SDK. The head is forwarded when its callback returns Continue, or with the body if it was held.
//! - Pause in a head callback stops everything (the request hangs, and [`Outcome::Hung`] names the callback), unless
//!   [`Builder::hold_headers`] is set.
//! - Each body callback covers the whole buffered body, or one chunk of a streamed body. A body that is followed by
//!   trailers has no callback with `end_of_stream`.
//! - Local replies of the filter and of Envoy run through the response callbacks; a reply sent from
//!   `proxy_on_response_headers` replaces the response and does not. Envoy's details are in `response.code_details`.
//! - Shared data and metrics belong to the process, writes check their `cas`, and keys cannot be removed.
//! - A trap ends its request and all that are open on that worker; the next request gets a new VM.
//! - A guest that calls an unsupported function (queues, gRPC streams, resumption after callouts) ends the test with
//!   the function's name. Callouts are rejected as for an unknown cluster.
//!
//! Stricter than Envoy, so that a filter does not rely on chance: a held head cannot be read once it was forwarded, and no
//! map can be changed in `proxy_on_log`.
//!
//! Not modelled: connection management, routes, upstreams that respond before the request has ended, the back-off of
//! `FAIL_RELOAD`, restricted capabilities. The tests with a real Envoy cover them.

pub use abi::{LogLevel, Status, decode_pairs, encode_pairs};
pub use guest::{Calls, LogLine};
pub use headers::Headers;
pub use host::{Builder, Host};
pub use state::{Clock, Metrics, SharedData};
pub use stream::{Exchange, Message, Outcome, Protocol, Request, Responder, Response};
pub use vm::{FilterModule, StartError, Trap};
pub use worker::Worker;

mod abi;
mod guest;
mod headers;
mod host;
mod imports;
mod state;
mod stream;
mod vm;
mod worker;
