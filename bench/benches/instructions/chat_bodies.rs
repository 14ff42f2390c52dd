//! Chat request bodies of a given size, with `model` before or after `messages`.

/// Text with one escape sequence per 20 bytes, as in conversations about code.
const PROSE: &str = r#"The quick brown fox jumps over a \"lazy\" dog in café Größe.\n"#;

/// Length of the content of one message.
const MESSAGE_BYTES: usize = 4_000;

pub(crate) const KIB: usize = 1 << 10;

/// Returns a body of about `size` bytes with `model` as its first field.
pub(crate) fn model_first(size: usize) -> Vec<u8> {
    format!(
        r#"{{"model":"codex-5","stream":true,"messages":[{}]}}"#,
        messages(size)
    )
    .into()
}

/// Returns a body of about `size` bytes with `model` as its last field.
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
