//! Tests of the protocol: recorded transcripts of real children, and turns against a scripted peer.

mod images;
mod peer;
mod rebuilt;
mod session;
mod threads;
mod tool_calls;
mod transcripts;
mod turns;
