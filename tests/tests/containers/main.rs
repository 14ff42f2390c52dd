//! The images and compose files, run in a real container engine: built, started, asked, killed, restarted, stopped.
//! `engine` has the engine and the base images, `run` the order of the parts.

mod agents;
mod client;
mod configuration;
mod development;
mod engine;
mod neighbours;
mod operators;
mod pod;
mod run;
mod shared_limit;
mod stack;
mod survival;
