//! HTTP: malformed requests, limits, timeouts, protocol versions, retries and streams.

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
