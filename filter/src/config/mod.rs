//! The plugin's JSON and its environment, read into a validated [`Config`].
//! `README.md` lists the fields. An invalid or unknown field rejects the whole configuration.

mod environment;
mod fields;
mod keys;
mod load;
#[cfg(test)]
mod tests;
mod values;

pub use environment::Environment;
pub use fields::ConfigError;
pub use load::Config;
pub use values::Auth;
