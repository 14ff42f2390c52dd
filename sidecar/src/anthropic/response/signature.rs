//! Signatures of thinking blocks: the encrypted reasoning of the provider, which a client returns unread.
//! Anthropic API reference, "Extended thinking": a signature is opaque to clients.

/// The start of a signature. Anthropic's own are plain base64, which has no point.
const PREFIX: &str = "codex.";

/// Returns the signature of a reasoning item; `encrypted` is `None` if the provider did not send the reasoning.
pub(super) fn write(encrypted: Option<&str>) -> String {
    format!("{PREFIX}{}", encrypted.unwrap_or_default())
}

/// Returns the encrypted reasoning in a signature; `None` for a signature without reasoning, and for one of another server.
pub(in crate::anthropic) fn read(signature: &str) -> Option<&str> {
    let encrypted = signature.strip_prefix(PREFIX)?;
    (!encrypted.is_empty()).then_some(encrypted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signature_survives_the_round_trip_and_foreign_ones_are_not_read() {
        assert_eq!(read(&write(Some("gAAAA=="))), Some("gAAAA=="));
        for other in ["", "codex.", "EqQBCkYIBRgC", "Codex.gA"] {
            assert_eq!(read(other), None, "{other}");
        }
    }
}
