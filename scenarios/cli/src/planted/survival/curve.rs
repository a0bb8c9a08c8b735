//! What the searches come to: shares over time, as a table and as curves.

use crate::console;
use crate::figure::explain;
use plotters::prelude::*;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;

/// A way to search.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Strategy {
    /// Random faults at random times in one world.
    Random,
    /// Everything is drawn.
    Swarm,
    /// As the first, with crashes at moments of the protocol.
    RandomMoments,
}

impl Strategy {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Random, Self::Swarm, Self::RandomMoments];

    /// What is swept.
    pub fn scenario(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Swarm => "swarm",
            Self::RandomMoments => "random-moments",
        }
    }

    /// For people.
    fn name(self) -> &'static str {
        match self {
            Self::Random => "random",
            Self::Swarm => "swarm",
            Self::RandomMoments => "random with moments",
        }
    }

    fn colour(self) -> RGBColor {
        match self {
            Self::Random => RGBColor(200, 60, 40),
            Self::Swarm => RGBColor(30, 110, 190),
            Self::RandomMoments => RGBColor(60, 150, 80),
        }
    }
}

/// One bug, searched in one way.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Searched {
    /// The bug.
    pub id: String,
    /// Its number where it was first met, or `own`.
    pub bug: String,
    /// How.
    pub strategy: Strategy,
    /// For how many processor seconds.
    pub cpu_s: f64,
    /// Over how many runs, those of a search that was cut off not included.
    pub runs: u64,
    /// The invariant; none if it was not caught.
    pub caught_by: Option<String>,
}

impl fmt::Display for Searched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, strategy, cpu_s, caught_by, .. } = self;
        match caught_by {
            Some(invariant) => write!(f, "{id}: {} has it after {cpu_s:.2} CPU s, {invariant}", strategy.name()),
            None => write!(f, "{id}: {} does not have it after {cpu_s:.2} CPU s", strategy.name()),
        }
    }
}

/// The rows of the table, as far as the limit goes; and the limit.
const TIMES_S: &[f64] = &[0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0];
/// Where the drawing begins.
const LEAST_S: f64 = 0.02;

fn of(searched: &[Searched], strategy: Strategy) -> impl Iterator<Item = &Searched> {
    searched.iter().filter(move |searched| searched.strategy == strategy)
}

/// How many are caught within so many processor seconds, and of how many.
fn caught_within(searched: &[Searched], strategy: Strategy, time_s: f64) -> (usize, usize) {
    let caught = of(searched, strategy).filter(|searched| searched.caught_by.is_some() && searched.cpu_s <= time_s).count();
    (caught, of(searched, strategy).count())
}

fn percent(caught: usize, all: usize) -> f64 {
    // A few hundred bugs.
    #[allow(clippy::cast_precision_loss)]
    match all {
        0 => 0.0,
        all => caught as f64 * 100.0 / all as f64,
    }
}

/// The corners of a curve: the share in percent goes up at each catch, and nowhere else.
fn corners(searched: &[Searched], strategy: Strategy, limit_s: f64) -> Vec<(f64, f64)> {
    let all = of(searched, strategy).count();
    let caught = of(searched, strategy).filter(|searched| searched.caught_by.is_some());
    let mut times: Vec<f64> = caught.map(|searched| searched.cpu_s.clamp(LEAST_S, limit_s)).collect();
    times.sort_by(f64::total_cmp);
    let mut corners = vec![(LEAST_S, 0.0)];
    for (before, time) in times.into_iter().enumerate() {
        corners.extend([(time, percent(before, all)), (time, percent(before + 1, all))]);
    }
    let last = corners.last().map_or(0.0, |(_, share)| *share);
    corners.push((limit_s, last));
    corners
}

/// How many each has caught after how much time.
pub fn table(searched: &[Searched], limit_s: f64) -> String {
    let mut table = console::table();
    let mut header = vec!["CPU s per bug".to_owned()];
    header.extend(Strategy::ALL.map(|strategy| strategy.name().to_owned()));
    table.set_header(header);
    for time_s in TIMES_S.iter().copied().filter(|time_s| *time_s < limit_s).chain([limit_s]) {
        let mut row = vec![format!("{time_s}")];
        row.extend(Strategy::ALL.map(|strategy| {
            let (caught, all) = caught_within(searched, strategy, time_s);
            format!("{caught} of {all}, {:.0} %", percent(caught, all))
        }));
        table.add_row(row);
    }
    table.to_string()
}

/// What only one of them has caught, and what none has.
pub fn only(searched: &[Searched]) -> String {
    let mut by: BTreeMap<&str, BTreeSet<Strategy>> = BTreeMap::new();
    for Searched { id, strategy, caught_by, .. } in searched {
        let caught = by.entry(id).or_default();
        if caught_by.is_some() {
            caught.insert(*strategy);
        }
    }
    let line = |what: &str, wanted: &BTreeSet<Strategy>| {
        let ids: Vec<&str> = by.iter().filter(|(_, caught)| *caught == wanted).map(|(id, _)| *id).collect();
        format!("{what}: {}{}{}", ids.len(), if ids.is_empty() { "" } else { ", " }, ids.join(", "))
    };
    let mut lines: Vec<String> =
        Strategy::ALL.iter().map(|strategy| line(&format!("only {}", strategy.name()), &BTreeSet::from([*strategy]))).collect();
    lines.push(line("all three", &BTreeSet::from(Strategy::ALL)));
    lines.push(line("none", &BTreeSet::new()));
    lines.join("\n")
}

/// Draws the curves.
///
/// # Errors
/// The file cannot be written.
pub fn plot(path: &Path, searched: &[Searched], limit_s: f64) -> Result<(), Box<dyn std::error::Error>> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, (760, 460)).into_drawing_area();
        area.fill(&WHITE)?;
        let mut chart = ChartBuilder::on(&area)
            .margin(16)
            .caption("Planted bugs caught against the time of the search", ("sans-serif", 18))
            .x_label_area_size(44)
            .y_label_area_size(64)
            .build_cartesian_2d((LEAST_S..limit_s).log_scale(), 0.0..100.0)?;
        chart.configure_mesh().x_desc("processor seconds per bug").y_desc("percent of the bugs").draw()?;
        for strategy in Strategy::ALL {
            let colour = strategy.colour();
            let series = LineSeries::new(corners(searched, strategy, limit_s), colour.stroke_width(2));
            let legend = move |(x, y)| PathElement::new(vec![(x, y), (x + 18, y)], colour.stroke_width(2));
            chart.draw_series(series)?.label(strategy.name()).legend(legend);
        }
        explain(&mut chart)?;
        area.present()?;
    }
    std::fs::write(path, text)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn searched(id: &str, strategy: Strategy, cpu_s: f64, caught: bool) -> Searched {
        let caught_by = caught.then(|| "consistent-cut".to_owned());
        Searched { id: id.into(), bug: "own".into(), strategy, cpu_s, runs: 1, caught_by }
    }

    /// Two bugs: one that everybody finds, and one that only moments find.
    fn made_up() -> Vec<Searched> {
        vec![
            searched("easy", Strategy::Random, 4.0, true),
            searched("easy", Strategy::Swarm, 0.5, true),
            searched("easy", Strategy::RandomMoments, 0.1, true),
            searched("hard", Strategy::Random, 20.0, false),
            searched("hard", Strategy::Swarm, 20.0, false),
            searched("hard", Strategy::RandomMoments, 7.0, true),
        ]
    }

    #[test]
    fn what_is_caught_later_does_not_count_yet() {
        assert_eq!(caught_within(&made_up(), Strategy::Random, 3.9), (0, 2));
        assert_eq!(caught_within(&made_up(), Strategy::Random, 4.0), (1, 2));
        assert_eq!(caught_within(&made_up(), Strategy::Random, 20.0), (1, 2), "what was cut off at the limit is not caught");
        assert_eq!(caught_within(&made_up(), Strategy::RandomMoments, 20.0), (2, 2));
    }

    #[test]
    fn a_curve_is_level_between_two_catches() {
        let corners = corners(&made_up(), Strategy::RandomMoments, 20.0);
        assert_eq!(corners, [(LEAST_S, 0.0), (0.1, 0.0), (0.1, 50.0), (7.0, 50.0), (7.0, 100.0), (20.0, 100.0)]);
    }

    #[test]
    fn the_table_ends_with_the_limit() {
        let text = table(&made_up(), 20.0);
        let last = text.lines().rev().find(|line| line.contains(" of ")).expect("a row");
        assert!(last.contains("20 ") && last.contains("1 of 2, 50 %") && last.contains("2 of 2, 100 %"), "{text}");
        assert_eq!(table(&[], 1.0).lines().filter(|line| line.contains("0 of 0, 0 %")).count(), 5);
    }

    #[test]
    fn what_one_alone_has_caught_is_named() {
        let text = only(&made_up());
        assert!(text.contains("only random with moments: 1, hard"), "{text}");
        assert!(text.contains("only swarm: 0") && text.contains("all three: 1, easy") && text.contains("none: 0"), "{text}");
    }

    #[test]
    fn curves_are_drawn() {
        let path = std::env::temp_dir().join(format!("cofferdam-survival-{}.svg", std::process::id()));
        plot(&path, &made_up(), 20.0).expect("it can be drawn");
        let text = std::fs::read_to_string(&path).expect("it was written");
        std::fs::remove_file(&path).expect("it is there");
        assert!(text.contains("<svg") && Strategy::ALL.iter().all(|strategy| text.contains(strategy.name())), "{text}");
        assert!(text.matches("<polyline").count() >= 6, "three curves, and as many lines in the legend");
    }
}
