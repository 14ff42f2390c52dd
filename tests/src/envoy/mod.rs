//! The real Envoy with the configuration that ships, started and stopped for a test.
//! Follows Envoy's admin interface and `envoy/envoy.yaml`; [`Options`] lists the differences from that file.

mod log;
mod options;
mod process;

pub use options::Options;
pub use process::Envoy;
