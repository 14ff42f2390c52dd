//! HTTP itself: malformed requests, limits, timeouts, protocols, streams.

mod bodies;
mod buffers;
mod connections;
mod headers;
mod malformed;
mod paths;
mod protocols;
mod retries;
mod smuggling;
mod streams;
mod timeouts;
