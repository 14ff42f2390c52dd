//! The real Envoy with the configuration that ships, started and stopped for a test.
//! Follows Envoy's admin interface and `envoy/envoy.yaml`; [`EnvoyOptions`] lists the differences from that file.

mod admin;
mod log;
mod options;
mod process;

pub use options::EnvoyOptions;
pub use process::Envoy;
