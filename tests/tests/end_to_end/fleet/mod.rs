//! Two Envoys and two sidecars with one Redis.

mod fixture;
mod network_cut;
mod replicas;
