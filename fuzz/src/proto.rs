//! Lines of a `codex proto`: it may say anything, and our side stays whole.
//! The turn begins as soon as the child is ready, as it does behind a pool.

use sidecar::codex::Protocol;

use crate::child::Child;
use crate::lines;

pub(crate) fn check(input: &[u8]) {
    let mut child = Child::start(Protocol::Proto);
    for line in lines::of(input) {
        child.begin();
        if !child.says(line) {
            break;
        }
    }
    child.is_silent(u8::MAX.into());
}
