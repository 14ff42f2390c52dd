//! Sections, tables and cells. Numbers are kept as measured and rounded only when printed.

use serde::Serialize;

use crate::plot::Figure;
use crate::stats::count;

/// The result of one suite.
#[derive(Debug, Serialize)]
pub struct Section {
    /// Name of the suite.
    pub name: &'static str,
    /// Tables in reading order.
    pub tables: Vec<Table>,
    /// Figures, printed after the tables.
    pub figures: Vec<Figure>,
}

/// Rows of numbers under one title.
#[derive(Debug, Serialize)]
pub struct Table {
    /// Title, printed above the table.
    pub title: String,
    /// Headings of the columns after the first one, each with its unit.
    pub columns: Vec<String>,
    /// Rows in reading order.
    pub rows: Vec<Row>,
}

/// A row of a table.
#[derive(Debug, Serialize)]
pub struct Row {
    /// Variant or load that the numbers belong to.
    pub name: String,
    /// One cell per column.
    pub cells: Vec<Cell>,
}

/// A cell of a row.
#[derive(Debug, Clone, Serialize)]
#[serde(untagged)]
pub enum Cell {
    /// A number as measured.
    Number(f64),
    /// A text.
    Text(String),
    /// An empty cell, for a value that was not measured.
    Empty,
}

impl From<f64> for Cell {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<usize> for Cell {
    fn from(number: usize) -> Self {
        Self::Number(count(number))
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
    /// Creates a table without rows.
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
