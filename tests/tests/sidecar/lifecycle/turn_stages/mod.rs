//! A sidecar that ends, or whose clients disconnect, while a turn is at a given stage.

mod fixture;
mod interruption;
