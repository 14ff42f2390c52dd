//! The order of the checks, and the decision on a request.

mod checks;

pub use checks::{Answer, Decision, Host, Verdict, on_request_head};

#[cfg(test)]
mod tests;
