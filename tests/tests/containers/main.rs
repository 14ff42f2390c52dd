//! The images and compose files, run in a real container engine: built, started, asked, killed, restarted, stopped.
//! `engine` says which engine is used, `bases` where the base images come from, `run` in which order the parts run.

mod agents;
mod bases;
mod client;
mod configuration;
mod development;
mod engine;
mod operators;
mod run;
mod stack;
mod survival;
