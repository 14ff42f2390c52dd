//! What a run has shown: sections of tables and figures, as Markdown, JSON and SVG.

mod docs;
mod markdown;
mod table;

pub use docs::write_into;
pub use markdown::markdown;
pub use table::{Cell, Figure, Row, Section, Series, Table};
