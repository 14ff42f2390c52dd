//! The limits on the images of a request. Only headers have been read by then, so a refusal costs nothing.

use crate::openai::response::error::ApiError;
use crate::turn::{Image, ImageLimits};

/// Pixels of the unit in messages and in the variables.
const MEGAPIXEL: u64 = 1_000_000;

/// Checks number and pixels of `images`, the images of a whole conversation.
///
/// # Errors
/// 400 for the first image over a limit.
pub fn check_image_limits<'a>(
    images: impl Iterator<Item = &'a Image>,
    limits: &ImageLimits,
) -> Result<(), ApiError> {
    let mut pixels: u64 = 0;
    for (index, image) in images.enumerate() {
        pixels = pixels.saturating_add(image.pixels);
        let refusal = too_many(index + 1, limits)
            .or_else(|| too_large(image.pixels, limits))
            .or_else(|| too_large_together(pixels, limits));
        if let Some(refusal) = refusal {
            // Without a place, an earlier request has sent the image, and this one has added others.
            return Err(match &image.place {
                Some(place) => refusal.at(&**place),
                None => refusal,
            });
        }
    }
    Ok(())
}

fn too_many(images: usize, limits: &ImageLimits) -> Option<ApiError> {
    let max = limits.images.filter(|max| images > max.get())?;
    let text = format!(
        "Invalid number of images: at most {max} are accepted in a conversation. Leave out earlier ones, or ask the operator to raise `PROXY_IMAGES_MAX`."
    );
    Some(ApiError::bad_request("too_many_images", text))
}

fn too_large(pixels: u64, limits: &ImageLimits) -> Option<ApiError> {
    let max = limits.pixels.filter(|max| pixels > max.get())?;
    let text = format!(
        "Invalid image: it has {} megapixels, and at most {} are accepted. Scale it down, or ask the operator to raise `PROXY_IMAGE_MAX_MPX`.",
        pixels.div_ceil(MEGAPIXEL),
        max.get() / MEGAPIXEL
    );
    Some(ApiError::bad_request("image_too_large", text))
}

fn too_large_together(pixels: u64, limits: &ImageLimits) -> Option<ApiError> {
    let max = limits.request_pixels.filter(|max| pixels > max.get())?;
    let text = format!(
        "Invalid image: with it, the images of the conversation have {} megapixels, and at most {} are accepted. Scale them down, or ask the operator to raise `PROXY_IMAGES_MAX_MPX`.",
        pixels.div_ceil(MEGAPIXEL),
        max.get() / MEGAPIXEL
    );
    Some(ApiError::bad_request("image_too_large", text))
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU64, NonZeroUsize};

    use super::*;

    fn check(megapixels: &[u64]) -> Option<(String, String)> {
        let images: Vec<_> = megapixels
            .iter()
            .enumerate()
            .map(|(index, megapixels)| Image {
                url: String::new(),
                detail: None,
                pixels: megapixels * MEGAPIXEL,
                place: Some(index.to_string().into()),
            })
            .collect();
        let limits = ImageLimits {
            images: NonZeroUsize::new(3),
            pixels: NonZeroU64::new(4 * MEGAPIXEL),
            request_pixels: NonZeroU64::new(6 * MEGAPIXEL),
        };
        let error = check_image_limits(images.iter(), &limits).err()?;
        let place = error.fields().param.unwrap_or_default().to_owned();
        Some((error.code().to_owned(), place))
    }

    #[test]
    fn images_up_to_each_limit_are_accepted() {
        for accepted in [&[][..], &[4], &[2, 2, 2]] {
            assert_eq!(check(accepted), None, "{accepted:?}");
        }
        for (rejected, code, place) in [
            (&[5][..], "image_too_large", "0"),
            (&[1, 5], "image_too_large", "1"),
            (&[3, 3, 1], "image_too_large", "2"),
            (&[1, 1, 1, 1], "too_many_images", "3"),
        ] {
            let expected = Some((code.to_owned(), place.to_owned()));
            assert_eq!(check(rejected), expected, "{rejected:?}");
        }
    }

    #[test]
    fn without_limits_any_image_is_accepted() {
        let image = Image {
            url: String::new(),
            detail: None,
            pixels: u64::MAX,
            place: None,
        };
        let images = [&image, &image];
        assert!(check_image_limits(images.into_iter(), &ImageLimits::default()).is_ok());
    }
}
