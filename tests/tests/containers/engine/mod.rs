//! The container engine and the base images.

mod bases;
mod container_engine;

pub(crate) use bases::Bases;
pub(crate) use container_engine::Engine;
