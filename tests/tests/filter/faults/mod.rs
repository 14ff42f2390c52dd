//! Faults: malformed input, host calls that fail, and traps. No fault admits a request.

mod failing_calls;
mod malformed;
mod traps;
