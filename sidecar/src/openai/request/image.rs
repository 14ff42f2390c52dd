//! Images that a client sends along: only in data URLs (RFC 2397), and only what a model can look at.
//! Codex leaves out what it cannot read and says nothing; so it is refused here. It fetches no address for a client.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::openai::response::error::ApiError;
use crate::turn::{Detail, Image};

/// The largest image, in bytes; what the OpenAI API takes.
const MAX_IMAGE_BYTES: usize = 20 << 20;

/// The kinds that the OpenAI API takes, by the bytes that each begins with; of WebP the RIFF header comes first.
const KINDS: [&[u8]; 5] = [
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff",
    b"GIF87a",
    b"GIF89a",
    b"RIFF",
];

/// An image of a data URL.
///
/// # Errors
/// What is wrong with it, as a sentence.
pub(in crate::openai) fn read(url: String, detail: Option<Detail>) -> Result<Image, String> {
    check(&url)?;
    Ok(Image { url, detail })
}

/// How closely a client wants an image to be looked at; `param` is where the image stands.
///
/// # Errors
/// The word is none for it.
pub(in crate::openai) fn detail(
    word: Option<&str>,
    param: &str,
) -> Result<Option<Detail>, ApiError> {
    let Some(word) = word else {
        return Ok(None);
    };
    let unknown = || {
        let text = format!("{word:?} is no detail; use auto, low or high.");
        ApiError::invalid(text).at(format!("{param}.detail"))
    };
    Detail::parse(word).ok_or_else(unknown).map(Some)
}

fn check(url: &str) -> Result<(), String> {
    let Some(rest) = url.strip_prefix("data:image/") else {
        return Err("Images are taken in data URLs only, data:image/png;base64,…: this server fetches no address for its clients.".to_owned());
    };
    let Some((_kind, data)) = rest.split_once(";base64,") else {
        return Err("An image has to be base64: data:image/png;base64,….".to_owned());
    };
    let bytes = STANDARD
        .decode(data)
        .map_err(|error| format!("The image is not valid base64: {error}."))?;
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(format!(
            "The image has {} bytes; at most {MAX_IMAGE_BYTES} are taken.",
            bytes.len()
        ));
    }
    if is_known(&bytes) {
        Ok(())
    } else {
        Err("The image is none that a model can look at: use PNG, JPEG, GIF or WebP.".to_owned())
    }
}

fn is_known(bytes: &[u8]) -> bool {
    let riff = bytes.starts_with(b"RIFF");
    let webp = bytes.get(8..12) == Some(b"WEBP");
    KINDS.iter().any(|kind| bytes.starts_with(kind)) && riff == webp
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_model_can_look_at_is_taken() {
        for (kind, bytes) in [
            ("png", &b"\x89PNG\r\n\x1a\n...."[..]),
            ("jpeg", b"\xff\xd8\xff\xe0"),
            ("gif", b"GIF89a"),
            ("webp", b"RIFF\0\0\0\0WEBPVP8 "),
        ] {
            let url = format!("data:image/{kind};base64,{}", STANDARD.encode(bytes));
            assert_eq!(check(&url), Ok(()), "{url}");
        }
    }

    #[test]
    fn everything_else_is_refused_with_the_reason() {
        let wave = format!(
            "data:image/webp;base64,{}",
            STANDARD.encode(b"RIFF\0\0\0\0WAVE")
        );
        for (url, why) in [
            ("https://example.com/cat.png", "data URLs"),
            ("file:///etc/passwd", "data URLs"),
            ("data:text/html;base64,AAAA", "data URLs"),
            ("data:image/png,AAAA", "base64"),
            ("data:image/png;base64,A", "base64"),
            ("data:image/png;base64,AAAA", "PNG, JPEG"),
            ("data:image/png;base64,", "PNG, JPEG"),
            (wave.as_str(), "PNG, JPEG"),
        ] {
            let error = check(url).unwrap_err();
            assert!(error.contains(why), "{url}: {error}");
        }
    }

    #[test]
    fn an_image_that_is_too_large_is_refused_by_its_size() {
        let mut bytes = vec![0; MAX_IMAGE_BYTES + 1];
        bytes[..4].copy_from_slice(b"GIF8");
        let url = format!("data:image/gif;base64,{}", STANDARD.encode(bytes));
        assert!(check(&url).unwrap_err().contains("20971521 bytes"));
    }
}
