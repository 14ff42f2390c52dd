//! Images in a request: a URL of the web, or a data URL with an image that can be decoded.
//! OpenAI API reference, "Images and vision".

use std::io::Cursor;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use image::ImageReader;

use super::field::Field;
use crate::scripted_model::error::ApiError;

/// Checks the image of an `input_image` part. A part with a file has no URL.
pub(super) fn check(part: &Field<'_>) -> Result<(), ApiError> {
    if let Some(detail) = part.optional("detail") {
        detail.one_of(&["low", "high", "auto", "original"])?;
    }
    if part.optional("file_id").is_some() {
        return Ok(());
    }
    let field = part.required("image_url")?;
    let url = field.text()?;
    if url.starts_with("https://") || url.starts_with("http://") {
        return Ok(());
    }
    let Some(data) = url.strip_prefix("data:") else {
        let text = format!(
            "Invalid '{}'. Expected a valid URL, but got a value with an invalid format.",
            field.path
        );
        return Err(field.invalid("invalid_value", text));
    };
    let Some((_media_type, base64)) = data.split_once(";base64,") else {
        let text = format!(
            "Invalid '{}'. Expected a base64-encoded data URL.",
            field.path
        );
        return Err(field.invalid("invalid_base64_image", text));
    };
    if STANDARD.decode(base64).is_ok_and(|bytes| is_image(&bytes)) {
        return Ok(());
    }
    // Codex 0.169.0 and 0.171.0 recognise this error by its first sentence.
    let text = "The image data you provided does not represent a valid image. Please check your input and try again with one of the supported image formats: ['image/jpeg', 'image/png', 'image/gif', 'image/webp'].";
    Err(field.invalid("invalid_image", text))
}

/// Whether these bytes are a whole PNG, JPEG, GIF or WebP image.
fn is_image(bytes: &[u8]) -> bool {
    let reader = ImageReader::new(Cursor::new(bytes)).with_guessed_format();
    reader.is_ok_and(|reader| reader.decode().is_ok())
}
