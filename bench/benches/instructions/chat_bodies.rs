//! Chat bodies of a size, with the model before or behind the messages.

/// Prose with an escape in twenty octets, as chats about code have it.
const PROSE: &str = r#"The quick brown fox jumps over a \"lazy\" dog in café Größe.\n"#;

/// Bytes of one message.
const MESSAGE_BYTES: usize = 4_000;

pub(crate) const KIB: usize = 1 << 10;

/// A body of about `size` bytes that names its model first.
pub(crate) fn model_first(size: usize) -> Vec<u8> {
    format!(
        r#"{{"model":"codex-5","stream":true,"messages":[{}]}}"#,
        messages(size)
    )
    .into()
}

/// A body of about `size` bytes that names its model last.
pub(crate) fn model_last(size: usize) -> Vec<u8> {
    format!(
        r#"{{"messages":[{}],"stream":true,"model":"codex-5"}}"#,
        messages(size)
    )
    .into()
}

fn messages(size: usize) -> String {
    let content = PROSE.repeat(size.min(MESSAGE_BYTES) / PROSE.len());
    let message = format!(r#"{{"role":"user","content":"{content}"}}"#);
    vec![message; size.div_ceil(MESSAGE_BYTES)].join(",")
}
