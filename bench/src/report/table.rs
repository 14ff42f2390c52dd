//! What a run has shown: sections of tables and figures, as Markdown, JSON and SVG.
//! Numbers are kept as they were measured and rounded only where they are printed.

use serde::Serialize;

/// What one suite has shown.
#[derive(Debug, Serialize)]
pub struct Section {
    /// The suite's name.
    pub name: &'static str,
    /// Tables, in the order in which they are read.
    pub tables: Vec<Table>,
    /// Figures.
    pub figures: Vec<Figure>,
}

/// Rows of numbers under one heading.
#[derive(Debug, Serialize)]
pub struct Table {
    /// What is in it.
    pub title: String,
    /// The headings of the columns behind the first, each with its unit.
    pub columns: Vec<String>,
    /// The rows.
    pub rows: Vec<Row>,
}

/// A row.
#[derive(Debug, Serialize)]
pub struct Row {
    /// What the numbers are of.
    pub name: String,
    /// A cell for each column.
    pub cells: Vec<Cell>,
}

/// A cell.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number as measured.
    Number(f64),
    /// A word.
    Text(String),
    /// Nothing was measured.
    Empty,
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::Number(crate::stats::count(count))
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Option<f64>> for Cell {
    fn from(number: Option<f64>) -> Self {
        number.map_or(Self::Empty, Self::Number)
    }
}

impl Table {
    /// A table without rows.
    pub fn new(title: impl Into<String>, columns: &[&str]) -> Self {
        Self {
            title: title.into(),
            columns: columns.iter().map(|&column| column.to_owned()).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, name: impl Into<String>, cells: impl IntoIterator<Item = Cell>) {
        self.rows.push(Row {
            name: name.into(),
            cells: cells.into_iter().collect(),
        });
    }
}

/// A picture of numbers.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// The file's name, without its ending.
    pub file: &'static str,
    /// What is seen.
    pub title: String,
    /// What is below.
    pub x: String,
    /// What is at the side.
    pub y: String,
    /// The names of the groups in order, where it has bars; the points of a line chart lie on a logarithmic axis.
    pub groups: Option<Vec<String>>,
    /// One each colour. Bars have the group's number as their first coordinate.
    pub series: Vec<Series>,
}

impl Figure {
    /// The figure as an SVG document.
    ///
    /// # Errors
    /// When it has no point that can be drawn.
    pub fn svg(&self) -> anyhow::Result<String> {
        crate::plot::svg(self)
    }
}

/// Points of one colour.
#[derive(Debug, Serialize)]
pub struct Series {
    /// What they are of.
    pub name: String,
    /// Where they are.
    pub points: Vec<(f64, f64)>,
}

impl Series {
    /// Points under a name.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points: points.into_iter().collect(),
        }
    }
}
