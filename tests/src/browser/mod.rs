//! The real Chromium without a window: pages that report to a test, and pages that a test inspects.
//! [`Page`] serves a page that makes requests and reports their results; [`Tab`] opens a page of the product.

mod page;
mod process;
mod server;
mod tab;

pub use page::Page;
pub use tab::Tab;
