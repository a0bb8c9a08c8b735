//! What a run has met: points that were reached, and states in which the protocol's machines have been.
//!
//! * Points of [`sometimes!`](cofferdam_engine::sometimes!), in the engine and here, which the linker has collected.
//! * `protocol`: situations of the machines, which are pure and tell nobody anything. They are recognised by what a step makes.
//! * Every moment of the trace.
//!
//! A state is the outline of one machine after a step: without ids, names and contents.

mod protocol;

use crate::trace::StableHasher;
use cofferdam_engine::observe::Moment;
use cofferdam_engine::sight::Sight;
use cofferdam_engine::sometimes::POINTS;
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};

/// What was met, and how often.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// By the names of [`known`].
    pub points: BTreeMap<&'static str, u64>,
    /// Hashes of outlines.
    pub states: BTreeSet<u64>,
}

/// A point that there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Known {
    /// What is the case there.
    pub name: &'static str,
    /// Where that is.
    pub place: String,
    /// How often a sweep gets there.
    pub expected: Expected,
}

/// How often a sweep of some thousand runs over all scenarios gets to a point.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Expected {
    /// Always: or it does not do what it is for.
    Sometimes,
    /// It may do without: a race of a few microseconds, or what only pinned seeds come by.
    Seldom,
    /// Not at all, and why not: only tests of the machines do.
    Never(&'static str),
}

/// Moments that only pinned seeds come by.
const SELDOM: &[Moment] = &[Moment::SteppedDown];

/// All that there are, by name.
#[must_use]
pub fn known() -> Vec<Known> {
    let frequency = |seldom: bool| if seldom { Expected::Seldom } else { Expected::Sometimes };
    let linked = POINTS.iter().map(|point| Known {
        name: point.name,
        place: format!("{}:{}", point.file, point.line),
        expected: frequency(point.seldom),
    });
    let moments = Moment::ALL.iter().map(|moment| Known {
        name: moment.name(),
        place: "a moment of the trace".into(),
        expected: frequency(SELDOM.contains(moment)),
    });
    let mut known: Vec<Known> = linked.chain(moments).chain(protocol::known()).collect();
    known.sort();
    known
}

impl Coverage {
    /// A point was reached.
    pub fn reached(&mut self, name: &'static str) {
        *self.points.entry(name).or_default() += 1;
    }

    /// A machine has made a step.
    pub fn sight(&mut self, sight: &Sight<'_>) {
        let mut hasher = StableHasher::default();
        match sight {
            Sight::Coordinator { machine, outputs } => {
                let outline = machine.outline();
                protocol::coordinator(&outline, outputs, &mut |name| self.reached(name));
                (1, outline).hash(&mut hasher);
            }
            Sight::Subtask { machine, outputs, .. } => {
                let outline = machine.outline();
                protocol::subtask(&outline, outputs, &mut |name| self.reached(name));
                (2, outline).hash(&mut hasher);
            }
            Sight::Copies { machine, outputs, .. } => {
                protocol::copies(outputs, &mut |name| self.reached(name));
                (3, machine.whole().count().min(4)).hash(&mut hasher);
            }
            Sight::Deadlines(_) => return,
        }
        self.states.insert(hasher.finish());
    }

    /// Both.
    pub fn add(&mut self, other: &Self) {
        for (name, count) in &other.points {
            *self.points.entry(name).or_default() += count;
        }
        self.states.extend(&other.states);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_point_has_a_name_of_its_own() {
        let known = known();
        let names: BTreeSet<&str> = known.iter().map(|known| known.name).collect();
        assert_eq!(names.len(), known.len());
    }
}
