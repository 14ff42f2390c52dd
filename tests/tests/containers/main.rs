//! The images and compose files, run in a real container engine: built, started, asked, killed, restarted, stopped.
//! `engine` has the engine and the base images, `run` the order of the parts.

mod client;
mod engine;
mod parts;
mod run;
mod stack;
