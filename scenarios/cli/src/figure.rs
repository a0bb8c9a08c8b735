//! `cofferdam figure`: figures of papers, from simulated runs in which every invariant is checked.
//!
//! *alignment*: the duration of checkpoints against the slowness of the operator that all records end up at, as in FLIP-76. Virtual time, so
//! the same on any machine.

use crate::args::{FigureArguments, FigureName};
use crate::console;
use crate::failure::{Failure, Outcome};
use cofferdam_scenarios::Scenario;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::{Keep, Violation};
use plotters::coord::CoordTranslate;
use plotters::prelude::*;
use serde::Serialize;
use std::path::Path;
use std::time::Duration;

/// How long the last operator takes for each record, in microseconds.
const SLOWNESS_US: &[u64] = &[0, 1000, 2000, 4000, 8000, 12_000, 16_000];
/// After which time barriers overtake in the third line, in milliseconds.
const TIMEOUT_MS: u64 = 200;

/// One line of the figure.
struct Line {
    name: &'static str,
    unaligned: bool,
    timeout_ms: u64,
    colour: RGBColor,
}

const LINES: &[Line] = &[
    Line { name: "aligned", unaligned: false, timeout_ms: 0, colour: RGBColor(200, 60, 40) },
    Line { name: "unaligned", unaligned: true, timeout_ms: 0, colour: RGBColor(30, 110, 190) },
    Line { name: "within 200 ms", unaligned: true, timeout_ms: TIMEOUT_MS, colour: RGBColor(60, 150, 80) },
];

/// One point of one line.
#[derive(Debug, Serialize)]
struct Point {
    line: &'static str,
    slowness_us: u64,
    checkpoints: usize,
    median_ms: f64,
    p90_ms: f64,
}

/// Runs it, prints it, draws it.
///
/// # Errors
/// The plot cannot be written.
pub fn figure(arguments: &FigureArguments) -> Result<Outcome, Failure> {
    let FigureName::Alignment = arguments.figure;
    let mut points = Vec::new();
    for line in LINES {
        for &slowness_us in SLOWNESS_US {
            match point(line, slowness_us, arguments) {
                Ok(point) => points.push(point),
                Err((seed, violation)) => {
                    console::say(format_args!(
                        "VIOLATED {} on the line {} at {slowness_us} us with seed {seed}",
                        violation.invariant, line.name
                    ));
                    console::say(format_args!("  witness  {}", violation.witness));
                    return Ok(Outcome::Red);
                }
            }
        }
    }
    if let Some(path) = &arguments.plot {
        let written = plot(path, &points).map_err(|error| std::io::Error::other(error.to_string()));
        written.map_err(|source| Failure::Path { purpose: "draw into", path: path.clone(), source })?;
    }
    if arguments.json {
        console::say(serde_json::to_string_pretty(&points).expect("text and finite numbers"));
    } else {
        console::say(table(&points));
    }
    Ok(Outcome::Green)
}

fn scenario(line: &Line, slowness_us: u64) -> Scenario {
    let mut scenario = (cofferdam_scenarios::find("steady-run").expect("built in").expand)(0);
    (scenario.job.sink_us, scenario.job.pace_ms, scenario.job.chunk_bytes, scenario.job.lines) = (slowness_us, 5, 64, 400);
    (scenario.checkpoints.interval_ms, scenario.checkpoints.timeout_ms) = (150, 60_000);
    (scenario.checkpoints.unaligned, scenario.checkpoints.aligned_timeout_ms) = (line.unaligned, line.timeout_ms);
    scenario
}

fn point(line: &Line, slowness_us: u64, arguments: &FigureArguments) -> Result<Point, (u64, Violation)> {
    let scenario = scenario(line, slowness_us);
    let mut durations = Vec::new();
    for seed in arguments.seeds.first..arguments.seeds.end {
        let report = simulate(&scenario, seed, Keep::default());
        if let Some(violation) = report.violation {
            return Err((seed, violation));
        }
        // The final one comes when all records are through, whatever the mode.
        let counted = report.durations.len().saturating_sub(1);
        durations.extend(report.durations.into_iter().take(counted));
    }
    durations.sort_unstable();
    let quantile = |share: f64| {
        let place = (durations.len().saturating_sub(1) as f64 * share).round() as usize;
        durations.get(place).map_or(0.0, |duration: &Duration| duration.as_secs_f64() * 1000.0)
    };
    Ok(Point { line: line.name, slowness_us, checkpoints: durations.len(), median_ms: quantile(0.5), p90_ms: quantile(0.9) })
}

fn table(points: &[Point]) -> String {
    let mut table = console::table();
    let mut header = vec!["us per record".to_owned()];
    header.extend(LINES.iter().map(|line| format!("{}: median / p90 ms", line.name)));
    table.set_header(header);
    for &slowness_us in SLOWNESS_US {
        let mut row = vec![slowness_us.to_string()];
        row.extend(LINES.iter().map(|line| {
            let point = points.iter().find(|point| point.line == line.name && point.slowness_us == slowness_us);
            point
                .map_or(String::new(), |point| format!("{:.0} / {:.0}  ({} checkpoints)", point.median_ms, point.p90_ms, point.checkpoints))
        }));
        table.add_row(row);
    }
    table.to_string()
}

/// Says which line is which, where there is room for it.
pub(crate) fn explain<'a, B: DrawingBackend + 'a, C: CoordTranslate>(
    chart: &mut ChartContext<'a, B, C>,
) -> Result<(), DrawingAreaErrorKind<B::ErrorType>> {
    let labels = &mut chart.configure_series_labels();
    labels.position(SeriesLabelPosition::UpperLeft).background_style(WHITE.mix(0.8)).border_style(BLACK).draw()
}

fn plot(path: &Path, points: &[Point]) -> Result<(), Box<dyn std::error::Error>> {
    let most_ms = points.iter().map(|point| point.median_ms).fold(1.0, f64::max) * 1.1;
    let most_us = SLOWNESS_US.iter().copied().max().unwrap_or(1) as f64;
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (760, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .caption("Duration of checkpoints against the slowness of the last operator", ("sans-serif", 18))
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..most_us / 1000.0, 0.0..most_ms)?;
        chart.configure_mesh().x_desc("ms per record").y_desc("median, ms").draw()?;
        for line in LINES {
            let colour = line.colour;
            let of_line = points.iter().filter(|point| point.line == line.name);
            let series = LineSeries::new(of_line.map(|point| (point.slowness_us as f64 / 1000.0, point.median_ms)), colour.stroke_width(2));
            let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(series)?.label(line.name).legend(legend);
        }
        explain(&mut chart)?;
        area.present()?;
    }
    std::fs::write(path, text)?;
    Ok(())
}
