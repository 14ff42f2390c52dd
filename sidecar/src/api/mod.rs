//! Method and path to handler, the access log line and the usage record of each request.

mod turn_recorder;

pub use turn_recorder::{Account, Books, Entry};
