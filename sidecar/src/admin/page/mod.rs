//! The status page: HTML, CSS and JavaScript, served as they are in this folder.
//!
//! The page uses features that browsers have had since 2023. The files need no build step, and the page loads from this
//! listener only.

mod assets;

pub(super) use assets::asset;
