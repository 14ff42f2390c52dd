//! Tests of the configuration.

mod load;
mod readme;
