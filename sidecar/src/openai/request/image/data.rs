//! The formats of images, and whether the data of one is whole: PNG (RFC 2083), JPEG (ITU-T T.81), GIF89a and WebP
//! (RFC 9649).
//!
//! The provider rejects an image that it cannot decode, and Codex drops one that it cannot read without an error. The
//! crate `image` decodes every pixel to find that out: a tenth of a second for a photo, and all of the memory that the
//! picture claims to need, on a thread that also serves other clients. The containers show a file that was cut off.

/// A format that the OpenAI API accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ImageFormat {
    Png,
    Jpeg,
    Gif,
    WebP,
}

impl ImageFormat {
    /// The format of the data itself, since the media type in the URL is only the client's claim.
    pub(super) fn of(bytes: &[u8]) -> Option<Self> {
        let starts = |signature: &[u8]| bytes.starts_with(signature);
        if starts(b"\x89PNG\r\n\x1a\n") {
            Some(Self::Png)
        } else if starts(b"\xff\xd8\xff") {
            Some(Self::Jpeg)
        } else if starts(b"GIF87a") || starts(b"GIF89a") {
            Some(Self::Gif)
        } else if starts(b"RIFF") && bytes.get(8..12) == Some(b"WEBP") {
            // RIFF also holds WAV and AVI; the form type follows after the size.
            Some(Self::WebP)
        } else {
            None
        }
    }

    /// Whether `bytes`, which are of this format, hold a whole picture.
    pub(super) fn is_whole(self, bytes: &[u8]) -> bool {
        let whole = match self {
            Self::Png => png(bytes),
            Self::Jpeg => jpeg(bytes),
            Self::Gif => gif(bytes),
            Self::WebP => webp(bytes),
        };
        whole.is_some()
    }

    /// The name in messages.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Png => "PNG",
            Self::Jpeg => "JPEG",
            Self::Gif => "GIF",
            Self::WebP => "WebP",
        }
    }
}

/// Chunks of length, type, data and checksum: `IHDR` first, then `IDAT`, `IEND` last.
fn png(bytes: &[u8]) -> Option<()> {
    let (mut kind, mut rest) = png_chunk(bytes.get(8..)?)?;
    if kind != *b"IHDR" {
        return None;
    }
    let mut has_pixels = false;
    while kind != *b"IEND" {
        (kind, rest) = png_chunk(rest)?;
        has_pixels |= kind == *b"IDAT";
    }
    has_pixels.then_some(())
}

/// Returns the type of the first chunk, and what follows after the chunk.
fn png_chunk(bytes: &[u8]) -> Option<([u8; 4], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (kind, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
    Some((*kind, rest.get(length.checked_add(4)?..)?))
}

/// Segments of marker, length and data up to the start of the scan; then the scan, which the end marker follows.
fn jpeg(bytes: &[u8]) -> Option<()> {
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

/// The screen and its colours, then extensions, then the first picture in blocks that an empty block ends.
fn gif(bytes: &[u8]) -> Option<()> {
    const EXTENSION: u8 = 0x21;
    const PICTURE: u8 = 0x2c;
    let mut rest = gif_colours(bytes.get(13..)?, *bytes.get(10)?)?;
    loop {
        match *rest.first()? {
            EXTENSION => rest = gif_blocks(rest.get(2..)?)?,
            PICTURE => {
                let data = gif_colours(rest.get(10..)?, *rest.get(9)?)?;
                return gif_blocks(data.get(1..)?).map(|_| ());
            }
            _ => return None,
        }
    }
}

/// Returns what follows after the colour table that `flags` announce.
fn gif_colours(bytes: &[u8], flags: u8) -> Option<&[u8]> {
    let has_table = flags & 0x80 != 0;
    let size = if has_table { 3 << ((flags & 7) + 1) } else { 0 };
    bytes.get(size..)
}

/// Returns what follows after the blocks, each with its length in front.
fn gif_blocks(mut bytes: &[u8]) -> Option<&[u8]> {
    loop {
        let (length, rest) = bytes.split_first()?;
        bytes = rest.get(usize::from(*length)..)?;
        if *length == 0 {
            return Some(bytes);
        }
    }
}

/// A RIFF container as long as it says, with a picture in it.
fn webp(bytes: &[u8]) -> Option<()> {
    let size = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    let chunks = bytes.get(12..usize::try_from(size).ok()?.checked_add(8)?)?;
    let kind = chunks.get(..4)?;
    let length = u32::from_le_bytes(*chunks.get(4..)?.first_chunk()?);
    let is_picture = [b"VP8 ", b"VP8L", b"VP8X"]
        .iter()
        .any(|known| kind == *known);
    let is_inside = chunks.len().checked_sub(8)? >= usize::try_from(length).ok()?;
    (is_picture && is_inside && length > 0).then_some(())
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

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

    #[test]
    fn whole_images_are_accepted_and_cut_ones_are_not() {
        for (format, base64) in PIXELS {
            let bytes = STANDARD.decode(base64).unwrap();
            assert_eq!(ImageFormat::of(&bytes), Some(format));
            assert!(format.is_whole(&bytes), "{format:?}");
            // The trailer of a GIF, its last byte, is not needed.
            let last = bytes.len() - usize::from(format == ImageFormat::Gif);
            for length in 0..last {
                assert!(!format.is_whole(&bytes[..length]), "{format:?} {length}");
            }
        }
    }

    #[test]
    fn data_after_the_signature_must_be_of_the_format() {
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
            let format = ImageFormat::of(bytes).expect("the signature is known");
            assert!(!format.is_whole(bytes), "{}", bytes.escape_ascii());
        }
        for bytes in [&b"RIFF\0\0\0\0WAVE"[..], b"BM", b""] {
            assert_eq!(ImageFormat::of(bytes), None);
        }
    }
}
