//! A message for a child as one line: what both protocols are made of.
//! JSON Lines; a line break is not allowed in a JSON string (RFC 8259, section 7).

use serde::Serialize;

/// `message` with its end, whatever JSON of a client's is in it.
pub(super) fn json_line(message: &impl Serialize) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(message).expect("our messages have string keys and no failing parts");
    // Each of them stands between two tokens, where a space will do.
    for byte in &mut line {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}
