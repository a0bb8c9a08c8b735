//! Which points the runs have reached, and which none has.

use super::schedule::Run;
use super::tally::{Reached, Tally};
use crate::console::{self, grouped};
use cofferdam_sim::coverage::{self, Expected, Known};
use comfy_table::CellAlignment;
use serde::{Deserialize, Serialize};

/// What a sweep has to say of its coverage, in its JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct CoverageFigures {
    /// Points that were reached, by name.
    pub reached: Vec<PointFigures>,
    /// Points that no run has reached, and that one should.
    pub missing: Vec<MissingFigures>,
    /// Different outlines of the protocol's machines.
    pub states: u64,
}

/// A point that was reached.
#[derive(Debug, Serialize, Deserialize)]
pub struct PointFigures {
    /// Its name.
    pub name: String,
    /// How often.
    pub times: u64,
    /// In how many runs.
    pub runs: u64,
    /// The scenario of the first of them.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
}

/// A point that was not.
#[derive(Debug, Serialize, Deserialize)]
pub struct MissingFigures {
    /// Its name.
    pub name: String,
    /// Where it is.
    pub place: String,
}

/// The runs' coverage, held against all points that there are.
pub struct Coverage {
    reached: Vec<(String, Reached)>,
    /// Those that a sweep of everything gets to.
    pub missing: Vec<Known>,
    /// Those that it should not get to, and did.
    pub surprising: Vec<Known>,
    /// How many of those that are seldom come by were not.
    seldom: usize,
    states: u64,
    names: Vec<String>,
}

impl Coverage {
    /// Of all scenarios together.
    pub fn of(tally: &Tally) -> Self {
        let total = tally.total();
        let is_reached = |known: &Known| total.reached.contains_key(known.name);
        let known = coverage::known();
        Self {
            missing: known.iter().filter(|known| known.expected == Expected::Sometimes && !is_reached(known)).cloned().collect(),
            seldom: known.iter().filter(|known| known.expected == Expected::Seldom && !is_reached(known)).count(),
            surprising: known.iter().filter(|known| matches!(known.expected, Expected::Never(_)) && is_reached(known)).cloned().collect(),
            states: total.states.len() as u64,
            reached: total.reached.into_iter().collect(),
            names: tally.scenarios.iter().map(|scenario| scenario.name.clone()).collect(),
        }
    }

    /// Whether every point was reached that can be, and none that cannot.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.surprising.is_empty()
    }

    fn place(&self, run: Run) -> String {
        format!("{} --seed {}", self.names[run.target], run.seed)
    }

    /// A row for each point that was reached.
    pub fn table(&self) -> String {
        let mut table = console::table();
        table.set_header(["point", "times", "runs", "first reached by"]);
        for (name, reached) in &self.reached {
            table.add_row([name.clone(), grouped(reached.times), grouped(reached.runs), self.place(reached.first)]);
        }
        for number in [1, 2] {
            if let Some(column) = table.column_mut(number) {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        table.to_string()
    }

    /// What was reached and what was not, in a few lines.
    pub fn summary(&self) -> String {
        let (reached, of) = (self.reached.len(), self.reached.len() + self.missing.len() + self.seldom);
        let mut text = format!("{reached} of {of} points reached, {} states of the protocol's machines met.", grouped(self.states));
        if self.seldom > 0 {
            text += &format!(" {} of those that are missing are seldom reached by anybody.", self.seldom);
        }
        if !self.missing.is_empty() {
            text += "\nnot reached:";
            for known in &self.missing {
                text += &format!("\n  {}  ({})", known.name, known.place);
            }
        }
        for known in &self.surprising {
            text += &format!("\nreached, though {}: {}", why(known), known.name);
        }
        text
    }

    /// For the JSON.
    pub fn figures(&self) -> CoverageFigures {
        let point = |(name, reached): &(String, Reached)| PointFigures {
            name: name.clone(),
            times: reached.times,
            runs: reached.runs,
            scenario: self.names[reached.first.target].clone(),
            seed: reached.first.seed,
        };
        let missing = |known: &Known| MissingFigures { name: known.name.to_owned(), place: known.place.clone() };
        CoverageFigures {
            reached: self.reached.iter().map(point).collect(),
            missing: self.missing.iter().map(missing).collect(),
            states: self.states,
        }
    }
}

/// Why nobody should get there.
pub fn why(known: &Known) -> &'static str {
    match known.expected {
        Expected::Never(why) => why,
        Expected::Sometimes | Expected::Seldom => "",
    }
}
