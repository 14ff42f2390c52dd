//! Results of a run: sections of tables and figures, written as Markdown and JSON.

mod docs;
mod markdown;
mod table;

pub use docs::replace_section;
pub use markdown::markdown;
pub use table::{Cell, Row, Section, Table};
