//! Images of a conversation, and the limits on them.

use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use serde::{Deserialize, Serialize};

/// An image for the model.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// A data URL (RFC 2397).
    pub url: String,
    /// The requested detail; `None` is the provider's default.
    pub detail: Option<Detail>,
    /// Width times height, from the header of the data.
    pub pixels: u64,
    /// The field of the request that holds the image. `None` for an image of an earlier request, which was checked then.
    #[serde(skip)]
    pub place: Option<Box<str>>,
}

impl fmt::Debug for Image {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Image([redacted], {:?})", self.detail)
    }
}

/// The detail at which a model reads an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Detail {
    /// The provider decides.
    Auto,
    /// A scaled-down copy.
    Low,
    /// The full resolution.
    High,
}

impl Detail {
    /// Returns the name in OpenAI's API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Low => "low",
            Self::High => "high",
        }
    }

    /// Parses a name.
    pub fn parse(name: &str) -> Option<Self> {
        match name {
            "auto" => Some(Self::Auto),
            "low" => Some(Self::Low),
            "high" => Some(Self::High),
            _ => None,
        }
    }
}

/// Limits on the images of a request, those of the responses that it continues included; `None` disables a limit.
#[derive(Debug, Clone, Copy, Default)]
pub struct ImageLimits {
    /// Maximum number of images.
    pub images: Option<NonZeroUsize>,
    /// Maximum number of pixels of an image.
    pub pixels: Option<NonZeroU64>,
    /// Maximum number of pixels of all images together.
    pub request_pixels: Option<NonZeroU64>,
}
