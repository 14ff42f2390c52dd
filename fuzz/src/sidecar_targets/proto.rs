//! Lines of a `codex proto`: for any output of the child, the sidecar's protocol state stays valid.
//! The turn begins as soon as the child is ready, as it does behind a pool.

use sidecar::codex::Protocol;

use super::child::Child;
use super::lines;

pub(crate) fn check(input: &[u8]) {
    let mut child = Child::start(Protocol::Proto);
    for line in lines::of(input) {
        child.begin();
        if !child.receive(line) {
            break;
        }
    }
    child.advance(u8::MAX.into());
}
