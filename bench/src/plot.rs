//! Figures as SVG: bars in groups, or lines, both over a logarithmic height, since what is compared differs by much.
//! Drawn by plotters; texts are SVG's own, in the reader's font.

use std::error::Error;
use std::ops::Range;

use anyhow::anyhow;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::Figure;
use crate::stats::count;

/// Width and height.
const SIZE: (u32, u32) = (720, 360);

/// Told apart by people who see colours differently too (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

const FONT: (&str, u32) = ("sans-serif", 12);

/// The height of the row that names the series, and of the patch of colour before each name.
const LEGEND_ROW: i32 = 18;
const PATCH: i32 = 12;

/// The most that a letter takes of the legend's row; a reader's font is not known here.
const LETTER: i32 = 7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// The figure as an SVG document.
///
/// # Errors
/// When it has no point that can be drawn.
pub(crate) fn svg(figure: &Figure) -> anyhow::Result<String> {
    let mut text = String::new();
    let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
    draw(figure, &area).map_err(|error| anyhow!("{}: {error}", figure.file))?;
    drop(area);
    Ok(text)
}

fn draw(figure: &Figure, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    let area = area.titled(&figure.title, ("sans-serif", 16))?;
    let (names, below) = area.split_vertically(LEGEND_ROW);
    if figure.series.len() > 1 {
        draw_legend(figure, &names)?;
    }
    match &figure.groups {
        Some(groups) => draw_bars(figure, groups, &below)?,
        None => draw_lines(figure, &below)?,
    }
    area.present()?;
    Ok(())
}

/// Names of the series in a row above the chart, where they hide nothing of it.
fn draw_legend(figure: &Figure, row: &Area<'_>) -> Drawn {
    let mut left = 80;
    for (number, series) in figure.series.iter().enumerate() {
        let patch = [(left, 3), (left + PATCH, 3 + PATCH)];
        row.draw(&Rectangle::new(patch, colour(number).filled()))?;
        let text = left + PATCH + 5;
        row.draw(&Text::new(series.name.as_str(), (text, 3), FONT))?;
        left = text + LETTER * i32::try_from(series.name.len())? + 20;
    }
    Ok(())
}

fn draw_bars(figure: &Figure, groups: &[String], area: &Area<'_>) -> Drawn {
    let height = range(figure, |point| point.1, 2.0);
    let floor = height.start;
    let across = 0.0..count(groups.len());
    let mut chart = chart(area).build_cartesian_2d(across, height.log_scale())?;
    let name = |x: &f64| group_name(groups, *x);
    chart
        .configure_mesh()
        .max_light_lines(1)
        .disable_x_mesh()
        .x_labels(groups.len() * 2 + 1)
        .x_label_formatter(&name)
        .y_label_formatter(&label)
        .x_desc(&figure.x)
        .y_desc(&figure.y)
        .draw()?;
    let wide = 0.8 / count(figure.series.len());
    for (number, series) in figure.series.iter().enumerate() {
        let left = 0.1 + wide * count(number);
        chart.draw_series(series.points.iter().map(|(group, y)| {
            let corners = [(group + left, floor), (group + left + wide * 0.9, *y)];
            Rectangle::new(corners, colour(number).filled())
        }))?;
    }
    Ok(())
}

fn draw_lines(figure: &Figure, area: &Area<'_>) -> Drawn {
    let across = range(figure, |point| point.0, 1.1).log_scale();
    let height = range(figure, |point| point.1, 2.0).log_scale();
    let mut chart = chart(area).build_cartesian_2d(across, height)?;
    chart
        .configure_mesh()
        .max_light_lines(1)
        .x_label_formatter(&label)
        .y_label_formatter(&label)
        .x_desc(&figure.x)
        .y_desc(&figure.y)
        .draw()?;
    for (number, series) in figure.series.iter().enumerate() {
        let points = series.points.iter().copied();
        chart.draw_series(LineSeries::new(points, colour(number)).point_size(3))?;
    }
    Ok(())
}

fn chart<'a, 'b>(area: &'a Area<'b>) -> ChartBuilder<'a, 'b, SVGBackend<'b>> {
    let mut chart = ChartBuilder::on(area);
    chart.margin(12).x_label_area_size(40).y_label_area_size(64);
    chart
}

/// What a coordinate covers, and so many times as much on either side.
fn range(figure: &Figure, of: fn(&(f64, f64)) -> f64, room: f64) -> Range<f64> {
    let values = || {
        figure
            .series
            .iter()
            .flat_map(|series| &series.points)
            .map(of)
    };
    let (low, high) = (
        values().fold(f64::MAX, f64::min),
        values().fold(0.0, f64::max),
    );
    low / room..high * room
}

/// A group's name below its middle.
fn group_name(groups: &[String], x: f64) -> String {
    let mut named = groups.iter().zip(0u32..);
    let group = named.find(|(_, at)| (x - f64::from(*at) - 0.5).abs() < 0.01);
    group.map_or_else(String::new, |(name, _)| name.clone())
}

/// A number without the digits that a binary fraction makes of it.
fn label(value: &f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}
