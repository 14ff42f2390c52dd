//! The container engine, the base images, and the confinement of containers.

mod bases;
mod confinement;
mod container_engine;

pub(crate) use bases::Bases;
pub(crate) use confinement::{SHOW, assert_confined};
pub(crate) use container_engine::Engine;
