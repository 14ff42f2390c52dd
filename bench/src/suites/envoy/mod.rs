//! What our filter costs in Envoy, beside no filter, Envoy's native ones, and Lua that does the same.

mod instructions;
mod request_case;
mod throughput;
mod upstream;
mod variant;

pub(super) use throughput::run;
