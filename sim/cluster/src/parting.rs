//! Where two runs part that should be the same.

use crate::verdict::Report;
use std::fmt;

/// The first event in which they differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parting {
    /// Which, counted from 0.
    pub event: usize,
    /// The line of the one before it, which both have.
    pub before: Option<String>,
    /// The line of one; none if it was over.
    pub one: Option<String>,
    /// The line of the other.
    pub other: Option<String>,
}

impl fmt::Display for Parting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let show = |line: &Option<String>| line.clone().unwrap_or_else(|| "nothing".into());
        writeln!(f, "they part at event {}", self.event)?;
        writeln!(f, "  after    {}", show(&self.before))?;
        writeln!(f, "  the one  {}", show(&self.one))?;
        write!(f, "  another  {}", show(&self.other))?;
        if self.one == self.other {
            write!(f, "\n  differing in what a line does not show: fractions of a millisecond")?;
        }
        Ok(())
    }
}

/// Compares the rolling hashes. Both runs have kept these, and a trace with a line for each.
#[must_use]
pub fn parting(one: &Report, other: &Report) -> Option<Parting> {
    let same = one.hashes.iter().zip(&other.hashes).take_while(|(one, other)| one == other).count();
    let event = (same < one.hashes.len().max(other.hashes.len())).then_some(same)?;
    let line = |run: &Report, at: usize| run.trace.get(at).filter(|_| at < run.hashes.len()).cloned();
    Some(Parting { event, before: event.checked_sub(1).and_then(|at| line(one, at)), one: line(one, event), other: line(other, event) })
}
