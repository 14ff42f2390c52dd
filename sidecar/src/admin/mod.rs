//! The operator's listener: metrics, usage, status, and a status page in the browser.
//!
//! Requests need no API key, so the listener is restricted to a Unix socket of its owner or a loopback address.

mod page;
mod service;
mod status;
mod transport;

pub use service::Admin;
