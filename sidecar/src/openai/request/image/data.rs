//! The data of an image, read with the crate `image`, as Codex does: its header, and its pixels as a whole.
//!
//! The provider rejects an image that it cannot decode, and Codex drops one that it cannot read without an error. Codex
//! decodes the first picture of an animation only, and so does this module.

use std::io::Cursor;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::{ImageDecoder, ImageFormat, ImageReader, ImageResult, Limits};

use crate::openai::response::error::ApiError;
use crate::turn::Image;

/// Bytes that a decoder may allocate beside the pixels: 64 MiB, for a colour profile and the longest row of a PNG.
const MAX_SIDE_BYTES: u64 = 64 << 20;

/// Decodes an image whole.
///
/// # Errors
/// 400 for data that is cut off or damaged.
pub fn check_image_data(image: &Image) -> Result<(), ApiError> {
    let checked = decode_url(&image.url).and_then(|bytes| {
        let format = supported_format(&bytes).ok_or("Unsupported image format.")?;
        let is_whole = decode(format, &bytes)
            .inspect_err(|error| tracing::debug!(%error, "image decoding failed"))
            .is_ok_and(|()| format != ImageFormat::Jpeg || jpeg_end(&bytes).is_some());
        is_whole.then_some(()).ok_or_else(|| damaged(format))
    });
    let place = image.place.as_deref().unwrap_or_default();
    checked.map_err(|text| ApiError::unsupported(place, text))
}

/// Returns the data in a URL.
///
/// # Errors
/// The sentence for the client when it is not a data URL of an image in base64.
pub(super) fn decode_url(url: &str) -> Result<Vec<u8>, String> {
    let Some(rest) = url.strip_prefix("data:image/") else {
        return Err("Unsupported image URL: only data URLs are accepted, data:image/png;base64,…. This server fetches no URLs for its clients.".to_owned());
    };
    let Some((_media_type, data)) = rest.split_once(";base64,") else {
        return Err(
            "Unsupported image encoding: the data URL must be base64, data:image/png;base64,…."
                .to_owned(),
        );
    };
    STANDARD
        .decode(data)
        .map_err(|error| format!("Invalid image: the data is not valid base64: {error}."))
}

/// Returns the format of the data itself, since the media type in the URL is only the client's claim. `None` for a
/// format that the OpenAI API does not accept.
pub(super) fn supported_format(bytes: &[u8]) -> Option<ImageFormat> {
    let format = image::guess_format(bytes).ok()?;
    name(format).map(|_name| format)
}

/// Returns width times height, from the header.
///
/// # Errors
/// The sentence for the client when the header is cut off or damaged.
pub(super) fn pixels(format: ImageFormat, bytes: &[u8]) -> Result<u64, String> {
    let decoder = decoder(format, bytes).map_err(|_unreadable| damaged(format))?;
    let (width, height) = decoder.dimensions();
    Ok(u64::from(width) * u64::from(height))
}

fn decoder(format: ImageFormat, bytes: &[u8]) -> ImageResult<impl ImageDecoder + '_> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    reader.limits(memory(MAX_SIDE_BYTES));
    reader.into_decoder()
}

fn decode(format: ImageFormat, bytes: &[u8]) -> ImageResult<()> {
    let mut decoder = decoder(format, bytes)?;
    let size = decoder.total_bytes();
    // The picture of a GIF may be larger than the screen in the header, and is allocated in addition.
    decoder.set_limits(memory(size.saturating_add(MAX_SIDE_BYTES)))?;
    let mut allowed = memory(size);
    allowed.reserve(size)?;
    let mut pixels = vec![0; usize::try_from(size).unwrap_or(usize::MAX)];
    decoder.read_image(&mut pixels)
}

fn memory(bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(bytes);
    limits
}

/// Finds the end marker of a JPEG (ITU-T T.81, annex B): segments of marker, length and data up to the start of the
/// scan, then the scan, which the end marker follows. `image` fills the missing part of a picture with grey instead of an
/// error, and has no stricter mode.
fn jpeg_end(bytes: &[u8]) -> Option<()> {
    const START_OF_SCAN: u8 = 0xda;
    const END_OF_IMAGE: [u8; 2] = [0xff, 0xd9];
    let mut rest = bytes.get(2..)?;
    loop {
        let (marker, segment) = rest.split_first_chunk::<2>()?;
        match *marker {
            // A marker may be preceded by any number of fill bytes.
            [0xff, 0xff] => rest = rest.get(1..)?,
            [0xff, kind] => {
                let length = usize::from(u16::from_be_bytes(*segment.first_chunk()?));
                rest = segment.get(length.max(2)..)?;
                if kind == START_OF_SCAN {
                    break;
                }
            }
            _ => return None,
        }
    }
    let has_end = rest.windows(2).any(|pair| pair == END_OF_IMAGE);
    has_end.then_some(())
}

/// Returns the name of an accepted format.
fn name(format: ImageFormat) -> Option<&'static str> {
    match format {
        ImageFormat::Png => Some("PNG"),
        ImageFormat::Jpeg => Some("JPEG"),
        ImageFormat::Gif => Some("GIF"),
        ImageFormat::WebP => Some("WebP"),
        _ => None,
    }
}

fn damaged(format: ImageFormat) -> String {
    let name = name(format).unwrap_or_default();
    format!("Invalid image: the {name} data is cut off or damaged. Send the whole file.")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One pixel in each format, as the crate `image` 0.25 writes it.
    const PIXELS: [(ImageFormat, &str); 4] = [
        (
            ImageFormat::Png,
            "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAAD0lEQVR4AQEEAPv/AMgeHgK2AQUOEk8pAAAAAElFTkSuQmCC",
        ),
        (ImageFormat::Jpeg, JPEG),
        (
            ImageFormat::Gif,
            "R0lGODlhAQABAIAAAAAAAAAAACH5BAgAAAAALAAAAAABAAEAgMgeHgAAAAICRAEAOw==",
        ),
        (
            ImageFormat::WebP,
            "UklGRhwAAABXRUJQVlA4TA8AAAAvAAAAAM1VICIC9ahqRAIA",
        ),
    ];

    const JPEG: &str = concat!(
        "/9j/4AAQSkZJRgABAgAAAQABAAD/wAARCAABAAEDAREAAhEBAxEB/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0a",
        "Hx4dGhwcICQuJyAiLCMcHCg3KSwwMTQ0NB8nOT04MjwuMzQy/9sAQwEJCQkMCwwYDQ0YMiEcITIyMjIyMjIyMjIyMjIyMjIy",
        "MjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIyMjIy/8QAHwAAAQUBAQEBAQEAAAAAAAAAAAECAwQFBgcICQoL/8QAtRAA",
        "AgEDAwIEAwUFBAQAAAF9AQIDAAQRBRIhMUEGE1FhByJxFDKBkaEII0KxwRVS0fAkM2JyggkKFhcYGRolJicoKSo0NTY3ODk6",
        "Q0RFRkdISUpTVFVWV1hZWmNkZWZnaGlqc3R1dnd4eXqDhIWGh4iJipKTlJWWl5iZmqKjpKWmp6ipqrKztLW2t7i5usLDxMXG",
        "x8jJytLT1NXW19jZ2uHi4+Tl5ufo6erx8vP09fb3+Pn6/8QAHwEAAwEBAQEBAQEBAQAAAAAAAAECAwQFBgcICQoL/8QAtREA",
        "AgECBAQDBAcFBAQAAQJ3AAECAxEEBSExBhJBUQdhcRMiMoEIFEKRobHBCSMzUvAVYnLRChYkNOEl8RcYGRomJygpKjU2Nzg5",
        "OkNERUZHSElKU1RVVldYWVpjZGVmZ2hpanN0dXZ3eHl6goOEhYaHiImKkpOUlZaXmJmaoqOkpaanqKmqsrO0tba3uLm6wsPE",
        "xcbHyMnK0tPU1dbX2Nna4uPk5ebn6Onq8vP09fb3+Pn6/9oADAMBAAIRAxEAPwDkK8U/TD//2Q==",
    );

    fn is_whole(bytes: &[u8]) -> bool {
        let image = Image {
            url: format!("data:image/png;base64,{}", STANDARD.encode(bytes)),
            detail: None,
            pixels: 1,
            place: Some("here".into()),
        };
        check_image_data(&image).is_ok()
    }

    #[test]
    fn whole_images_are_accepted_and_cut_ones_are_not() {
        for (format, base64) in PIXELS {
            let bytes = STANDARD.decode(base64).unwrap();
            assert_eq!(supported_format(&bytes), Some(format));
            assert_eq!(pixels(format, &bytes), Ok(1), "{format:?}");
            assert!(is_whole(&bytes), "{format:?}");
            // No decoder needs the trailer of a GIF, the padding of a WebP or the last chunk of a PNG.
            let trailer = match format {
                ImageFormat::Gif | ImageFormat::WebP => 1,
                ImageFormat::Png => 12,
                _ => 0,
            };
            for length in 0..bytes.len() - trailer {
                assert!(!is_whole(&bytes[..length]), "{format:?} {length}");
            }
        }
    }

    #[test]
    fn damaged_data_is_rejected() {
        for bytes in [
            &b"\x89PNG\r\n\x1a\n...."[..],
            b"\x89PNG\r\n\x1a\n\0\0\0\0IEND\xae\x42\x60\x82",
            b"\xff\xd8\xff\xe0\0\x02\xff\xd9",
            b"\xff\xd8\xff\xff\xff\xff\xff",
            b"GIF89a",
            b"GIF89a\x01\0\x01\0\0\0\0;",
            b"RIFF\x04\0\0\0WEBP",
            b"RIFF\xff\xff\xff\xffWEBPVP8 ",
        ] {
            assert!(supported_format(bytes).is_some(), "the signature is known");
            assert!(!is_whole(bytes), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"RIFF\0\0\0\0WAVE"[..], b"BM", b""] {
            assert_eq!(supported_format(bytes), None);
        }
    }

    #[test]
    fn picture_of_a_gif_that_is_larger_than_its_screen_is_rejected() {
        let mut bytes = STANDARD.decode(PIXELS[2].1).unwrap();
        let descriptor = bytes.iter().position(|byte| *byte == b',').unwrap();
        // Width and height, little endian.
        bytes[descriptor + 5..descriptor + 9].copy_from_slice(&[0xff; 4]);
        assert!(!is_whole(&bytes));
    }
}
