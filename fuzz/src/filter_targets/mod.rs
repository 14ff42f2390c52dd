//! Targets for the filter's parsers and its rate limit.

pub(crate) mod bucket;
pub(crate) mod head;
pub(crate) mod plugin;
pub(crate) mod scanner;
