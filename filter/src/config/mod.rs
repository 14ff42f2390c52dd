//! The plugin's JSON and its environment, read into a validated [`Config`].

mod environment;
mod fields;
mod keys;
mod load;
#[cfg(test)]
mod tests;

pub use environment::Environment;
pub use fields::ConfigError;
pub use load::{Auth, Config};
