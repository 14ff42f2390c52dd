//! Markdown tables of a section, with numbers rounded to three significant digits.

use super::{Cell, Section, Table};

/// Returns the tables of `section`, each under its title, and links to its figures in the folder `plots`.
pub fn markdown(section: &Section, plots: &str) -> String {
    let mut text = String::new();
    for table in &section.tables {
        write_table(&mut text, table);
    }
    for figure in &section.figures {
        let (title, file) = (&figure.title, figure.file);
        text += &format!("\n![{title}]({plots}/{file}.svg)\n");
    }
    text
}

fn write_table(text: &mut String, table: &Table) {
    let columns = table.columns.join(" | ");
    let line = "---|".repeat(table.columns.len() + 1);
    *text += &format!("\n**{}**\n\n| | {columns} |\n|{line}\n", table.title);
    for row in &table.rows {
        let cells: Vec<_> = row.cells.iter().map(cell).collect();
        *text += &format!("| {} | {} |\n", row.name, cells.join(" | "));
    }
}

fn cell(cell: &Cell) -> String {
    match cell {
        Cell::Number(number) => rounded(*number),
        Cell::Text(text) => text.clone(),
        Cell::Empty => String::new(),
    }
}

/// Formats `number` with three significant digits, and with commas between thousands.
fn rounded(number: f64) -> String {
    let size = number.abs();
    match size {
        _ if size >= 1000.0 => thousands(number),
        _ if size >= 100.0 => format!("{number:.0}"),
        _ if size >= 10.0 => format!("{number:.1}"),
        // Exact zeros are common, and "0.00" would suggest a rounded value.
        _ if size < 1e-9 => "0".to_owned(),
        _ => format!("{number:.2}"),
    }
}

fn thousands(number: f64) -> String {
    let digits = format!("{:.0}", number.abs());
    let mut text = if number < 0.0 { "−" } else { "" }.to_owned();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_three_significant_digits() {
        for (number, expected) in [
            (0.0, "0"),
            (0.123, "0.12"),
            (12.34, "12.3"),
            (123.4, "123"),
            (1234.5, "1,234"),
            (-1_234_567.0, "−1,234,567"),
        ] {
            assert_eq!(rounded(number), expected);
        }
    }

    #[test]
    fn a_table_has_one_line_per_row() {
        let mut table = Table::new("times", &["p50, ms", "end"]);
        table.row("sidecar", [Cell::from(1.5), Cell::from("good")]);
        let section = Section {
            name: "x",
            tables: vec![table],
            figures: Vec::new(),
        };
        let expected =
            "\n**times**\n\n| | p50, ms | end |\n|---|---|---|\n| sidecar | 1.50 | good |\n";
        assert_eq!(markdown(&section, "plots"), expected);
    }
}
