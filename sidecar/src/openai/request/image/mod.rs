//! Images of a request: data URLs, the header of the data in them, the limits, and the data as a whole.

mod data;
mod limits;
mod url;

pub use data::check_image_data;
pub use limits::check_image_limits;
pub(crate) use url::{parse_detail, parse_image, reject_images};
