//! Tests of the flags, and the generated page.

mod configuration_page;
mod flags;
