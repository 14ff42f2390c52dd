//! Images of a request: data URLs, and the data in them.

mod data;
mod url;

pub(in crate::openai) use url::{parse_detail, parse_image, reject_images};
