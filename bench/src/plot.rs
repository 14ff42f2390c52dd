//! Figures as SVG: grouped bars, or lines, drawn by plotters.
//!
//! The vertical axis is logarithmic, because compared values differ by orders of magnitude. Texts are SVG text elements,
//! rendered in a font of the viewer.

use std::error::Error;
use std::ops::Range;

use anyhow::anyhow;
use plotters::chart::ChartBuilder;
use plotters::coord::Shift;
use plotters::prelude::*;
use serde::Serialize;

use crate::stats::count;

/// Width and height in pixels.
const SIZE: (u32, u32) = (720, 360);

/// Colours of the series, distinguishable with colour vision deficiencies (Okabe and Ito).
const COLOURS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
];

const FONT: (&str, u32) = ("sans-serif", 12);

/// Height of the legend in pixels.
const LEGEND_ROW: i32 = 18;

/// Size of the patch of colour before each name in the legend, in pixels.
const PATCH: i32 = 12;

/// Upper bound of a letter's width in the legend, in pixels; the actual font depends on the viewer.
const LETTER: i32 = 7;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error>>;

/// A chart of measured values.
#[derive(Debug, Serialize)]
pub struct Figure {
    /// Name of the file, without its extension.
    pub file: &'static str,
    /// Title, drawn above the chart.
    pub title: String,
    /// Label of the horizontal axis.
    pub x: String,
    /// Label of the vertical axis.
    pub y: String,
    /// Names of the groups of a bar chart, in order. A figure without groups is a line chart with a logarithmic
    /// horizontal axis.
    pub groups: Option<Vec<String>>,
    /// Series in the order of their colours. The first coordinate of a bar is the number of its group.
    pub series: Vec<Series>,
}

/// Points of one colour.
#[derive(Debug, Serialize)]
pub struct Series {
    /// Name in the legend.
    pub name: String,
    /// Coordinates, horizontal and vertical.
    pub points: Vec<(f64, f64)>,
}

impl Figure {
    /// Draws the figure as an SVG document.
    ///
    /// # Errors
    /// When a point cannot be drawn.
    pub fn svg(&self) -> anyhow::Result<String> {
        let mut text = String::new();
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        draw(self, &area).map_err(|error| anyhow!("{}: {error}", self.file))?;
        // The backend holds the only reference to the text.
        drop(area);
        Ok(text)
    }
}

impl Series {
    /// Creates a series from its points.
    pub fn new(name: impl Into<String>, points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        Self {
            name: name.into(),
            points: points.into_iter().collect(),
        }
    }
}

fn draw(figure: &Figure, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    let below_title = area.titled(&figure.title, ("sans-serif", 16))?;
    let (legend, chart) = below_title.split_vertically(LEGEND_ROW);
    if figure.series.len() > 1 {
        draw_legend(figure, &legend)?;
    }
    match &figure.groups {
        Some(groups) => draw_bars(figure, groups, &chart)?,
        None => draw_lines(figure, &chart)?,
    }
    area.present()?;
    Ok(())
}

/// Draws the names of the series above the chart, where they do not cover a bar or a line.
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
    // The lower end of the axis: bars cannot start at 0 on a logarithmic axis.
    let floor = height.start;
    let across = 0.0..count(groups.len());
    let mut chart = chart(area).build_cartesian_2d(across, height.log_scale())?;
    let name = |x: &f64| group_name(groups, *x);
    chart
        .configure_mesh()
        .max_light_lines(1)
        .disable_x_mesh()
        // Labels at the edges of the groups too; `group_name` leaves those empty.
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

/// Returns the range of a coordinate over all points, extended by the factor `room` on both sides.
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

/// Returns the name of the group with its centre at `x`, or an empty label.
fn group_name(groups: &[String], x: f64) -> String {
    groups
        .iter()
        .zip(0u32..)
        .find(|(_, number)| (x - f64::from(*number) - 0.5).abs() < 0.01)
        .map_or_else(String::new, |(name, _)| name.clone())
}

/// Formats an axis label, rounded so that 0.3 does not become 0.30000000000000004.
fn label(value: &f64) -> String {
    ((value * 1000.0).round() / 1000.0).to_string()
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}
