//! The status page: HTML, CSS and JavaScript, served as they are in this folder.
//!
//! The page uses features that browsers have had since 2023. There is no build step, and the page loads nothing from
//! other hosts.

mod assets;

pub(super) use assets::asset;
