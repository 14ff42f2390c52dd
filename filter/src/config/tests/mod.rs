//! Tests of the configuration, and of its table in `README.md`.

mod load;
mod readme;
