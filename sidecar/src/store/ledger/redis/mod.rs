//! The ledger in Redis: each command is one call of a script, so that the sidecars of a fleet share one ledger.

mod answer;
mod script;
#[cfg(test)]
mod tests;
mod usage;
mod writer;

pub(super) use writer::RedisWriter;
