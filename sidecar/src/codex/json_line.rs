//! A message for a child as one line of JSON, which both protocols use.
//! JSON Lines; a line break is not allowed inside a JSON string (RFC 8259, section 7).

use serde::Serialize;

/// Returns `message` as a line with its line break, also when the message contains a client's JSON with line breaks.
pub(super) fn json_line(message: &impl Serialize) -> Vec<u8> {
    let mut line =
        serde_json::to_vec(message).expect("the messages have string keys and infallible parts");
    // A raw line break can only stand between two tokens of the client's JSON, where a space means the same.
    for byte in &mut line {
        if *byte == b'\n' {
            *byte = b' ';
        }
    }
    line.push(b'\n');
    line
}
