//! A proxy-wasm host: runs a compiled filter in-process, offline, and tells what came of each request.
//! Source: proxy-wasm ABI 0.2.1 (`abi-versions/v0.2.1` in proxy-wasm/spec); behaviour as seen in Envoy 1.40.
//!
//! A [`Host`] is one Envoy with one plugin. It answers from what the test set up and records what the filter did;
//! nothing is expected in advance, so that callbacks and host calls may be reordered freely.
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
//! - Request fields can be changed until the head goes on, then the answer is `BadArgument`, which the Rust SDK
//!   turns into a panic. The head goes on when its callback says Continue, or with the body when it was held.
//! - Pause in a head callback stops everything (the request hangs, and [`Outcome::Hung`] says where), unless
//!   [`Builder::hold_headers`] is set.
//! - A held body is seen whole in each call, a streamed one piece by piece. A body that ends with trailers never
//!   sees the end of the stream.
//! - The filter's own replies and Envoy's run through the response callbacks; a reply sent from
//!   `proxy_on_response_headers` replaces the answer and does not. Envoy's details are in `response.code_details`.
//! - Shared data and metrics belong to the process, writes show their `cas`, keys stay.
//! - A trap costs its request and all that are open on that worker; the next request gets a new VM.
//! - A guest that calls what this host lacks (queues, gRPC streams, resumption after callouts) ends the test with
//!   the function's name. Callouts are refused as for an unknown cluster.
//!
//! Stricter than Envoy, so that a filter does not come to rely on chance: a held head cannot be read any more once it
//! has gone on, and no map can be written in `proxy_on_log`.
//!
//! Not modelled: connection management, routes, upstreams that answer before the request has ended, the back-off
//! of `FAIL_RELOAD`, restricted capabilities. Tests with a real Envoy are for those.

pub use abi::{LogLevel, Status, decode_pairs, encode_pairs};
pub use guest::{Calls, LogLine};
pub use headers::Headers;
pub use host::{Builder, Host};
pub use state::{Clock, Metrics, SharedData};
pub use stream::{Answerer, Exchange, Message, Outcome, Protocol, Request, Response};
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
