//! Figures as SVG: bars in groups, or lines, both over a logarithmic height, since what is compared differs by much.
//! Drawn by plotters; texts are SVG's own, in the reader's font.

use anyhow::anyhow;
use plotters::coord::Shift;
use plotters::prelude::*;

use crate::report::{Figure, Series};

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

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

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

fn draw(figure: &Figure, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    area.fill(&WHITE)?;
    let points = || figure.series.iter().flat_map(|series| &series.points);
    let low = points().map(|point| point.1).fold(f64::MAX, f64::min);
    let high = points().map(|point| point.1).fold(0.0, f64::max);
    let height = ((low / 2.0)..(high * 2.0)).log_scale();
    let mut builder = ChartBuilder::on(area);
    builder
        .caption(&figure.title, ("sans-serif", 16))
        .margin(12)
        .x_label_area_size(40)
        .y_label_area_size(64);
    match &figure.groups {
        Some(groups) => {
            let right = crate::stats::count(groups.len());
            let mut chart = builder.build_cartesian_2d(0.0..right, height)?;
            let name = |x: &f64| {
                let middle = (x.fract() - 0.5).abs() < 0.01;
                let group = groups
                    .iter()
                    .zip(0u32..)
                    .find(|(_, at)| f64::from(*at) == x.floor());
                group
                    .filter(|_| middle)
                    .map_or_else(String::new, |(name, _)| name.clone())
            };
            let mut mesh = chart.configure_mesh();
            mesh.disable_x_mesh()
                .x_labels(groups.len() * 2 + 1)
                .x_label_formatter(&name);
            mesh.x_desc(&figure.x).y_desc(&figure.y).draw()?;
            let wide = 0.8 / crate::stats::count(figure.series.len());
            for (number, series) in figure.series.iter().enumerate() {
                let left = 0.1 + wide * crate::stats::count(number);
                let bars = series.points.iter().map(|(group, y)| {
                    let corners = [(group + left, low / 2.0), (group + left + wide * 0.9, *y)];
                    Rectangle::new(corners, colour(number).filled())
                });
                legend(chart.draw_series(bars)?, series, number);
            }
            chart
                .configure_series_labels()
                .border_style(BLACK)
                .background_style(WHITE)
                .draw()?;
        }
        None => {
            let (left, right) = (
                points().map(|point| point.0).fold(f64::MAX, f64::min),
                points().map(|point| point.0).fold(0.0, f64::max),
            );
            let across = (left * 0.9..right * 1.1).log_scale();
            let mut chart = builder.build_cartesian_2d(across, height)?;
            chart
                .configure_mesh()
                .x_desc(&figure.x)
                .y_desc(&figure.y)
                .draw()?;
            for (number, series) in figure.series.iter().enumerate() {
                let line =
                    LineSeries::new(series.points.iter().copied(), colour(number)).point_size(3);
                legend(chart.draw_series(line)?, series, number);
            }
            chart
                .configure_series_labels()
                .border_style(BLACK)
                .background_style(WHITE)
                .draw()?;
        }
    }
    area.present()?;
    Ok(())
}

fn colour(number: usize) -> RGBColor {
    COLOURS[number % COLOURS.len()]
}

/// Names a series beside a patch of its colour.
fn legend(
    drawn: &mut plotters::chart::SeriesAnno<'_, SVGBackend<'_>>,
    series: &Series,
    number: usize,
) {
    drawn.label(&series.name).legend(move |(x, y)| {
        Rectangle::new([(x, y - 4), (x + 12, y + 4)], colour(number).filled())
    });
}
