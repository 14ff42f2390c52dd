//! Tests of the protocol: recorded transcripts of real children, and turns against a scripted peer.

mod transcripts;
mod turns;
