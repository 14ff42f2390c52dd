//! Images in a request: accepted only as data URLs (RFC 2397), and only in formats that the models read.
//! Codex drops an image that it cannot read without an error, so such an image is rejected here. The sidecar fetches
//! no URL for a client: a client could otherwise reach addresses of the private network through it.

use super::data::{decode_url, pixels, supported_format};
use crate::openai::response::error::ApiError;
use crate::turn::{Content, Detail, Image};

/// Bytes of the largest image; the limit of the OpenAI API.
const MAX_IMAGE_BYTES: usize = 20 << 20;

/// Checks a data URL and the header of its data, and returns the image; `place` is the field that holds the URL.
///
/// # Errors
/// 400 for another URL, another format, and data without a whole header.
pub(crate) fn parse_image(
    url: String,
    detail: Option<Detail>,
    place: String,
) -> Result<Image, ApiError> {
    match check(&url) {
        Ok(pixels) => Ok(Image {
            url,
            detail,
            pixels,
            place: Some(place.into()),
        }),
        Err(text) => Err(ApiError::unsupported(place, text)),
    }
}

/// Checks that the content of an assistant message at `param` has no image. Without the check the provider's error would
/// name a place in Codex's request.
///
/// # Errors
/// 400 for the first image.
pub(crate) fn reject_images(content: &[Content], param: &str) -> Result<(), ApiError> {
    let is_image = |part: &Content| matches!(part, Content::Image(_));
    match content.iter().position(is_image) {
        Some(index) => {
            let text = "An assistant message cannot have an image; send it in a user message.";
            Err(ApiError::invalid(text).at(format!("{param}[{index}]")))
        }
        None => Ok(()),
    }
}

/// Parses the `detail` of the image at `param`.
///
/// # Errors
/// 400 when the detail is unknown.
pub(crate) fn parse_detail(detail: Option<&str>, param: &str) -> Result<Option<Detail>, ApiError> {
    let Some(detail) = detail else {
        return Ok(None);
    };
    let unknown = || {
        let text = format!("Invalid image detail {detail:?}. Use auto, low or high.");
        ApiError::invalid(text).at(format!("{param}.detail"))
    };
    Detail::parse(detail).ok_or_else(unknown).map(Some)
}

/// Returns the number of pixels.
fn check(url: &str) -> Result<u64, String> {
    let bytes = decode_url(url)?;
    if bytes.len() > MAX_IMAGE_BYTES {
        return Err(format!(
            "Invalid image: it has {} bytes, and at most {MAX_IMAGE_BYTES} are accepted.",
            bytes.len()
        ));
    }
    let Some(format) = supported_format(&bytes) else {
        return Err("Unsupported image format: use PNG, JPEG, GIF or WebP.".to_owned());
    };
    pixels(format, &bytes)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    use super::*;

    #[test]
    fn image_in_a_data_url_is_accepted() {
        let url = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAAAAACH5BAgAAAAALAAAAAABAAEAgMgeHgAAAAICRAEAOw==";
        assert_eq!(check(url), Ok(1));
        // The media type is not compared with the data.
        assert_eq!(check(&url.replace("gif", "png")), Ok(1));
    }

    #[test]
    fn other_urls_and_formats_are_rejected_with_the_reason() {
        let wave = format!(
            "data:image/webp;base64,{}",
            STANDARD.encode(b"RIFF\0\0\0\0WAVE")
        );
        for (url, reason) in [
            ("https://example.com/cat.png", "data URLs"),
            ("file:///etc/passwd", "data URLs"),
            ("data:text/html;base64,AAAA", "data URLs"),
            ("data:image/png,AAAA", "base64"),
            ("data:image/png;base64,A", "base64"),
            ("data:image/png;base64,AAAA", "PNG, JPEG"),
            ("data:image/png;base64,", "PNG, JPEG"),
            (wave.as_str(), "PNG, JPEG"),
            (
                "data:image/png;base64,iVBORw0KGgo=",
                "the PNG data is cut off or damaged",
            ),
        ] {
            let error = check(url).unwrap_err();
            assert!(error.contains(reason), "{url}: {error}");
        }
    }

    #[test]
    fn an_image_over_the_size_limit_is_rejected() {
        let mut bytes = vec![0; MAX_IMAGE_BYTES + 1];
        bytes[..4].copy_from_slice(b"GIF8");
        let url = format!("data:image/gif;base64,{}", STANDARD.encode(bytes));
        assert!(check(&url).unwrap_err().contains("20971521 bytes"));
    }
}
