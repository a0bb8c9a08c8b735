//! Which run is next: seed by seed, and for each seed scenario by scenario. Threads take runs one at a time, so that none
//! idles while another still has many.

use super::resume::Ledger;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a sweep is bounded by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The first seed.
    pub first: u64,
    /// The one behind the last.
    pub end: Option<u64>,
    /// No run begins later than this.
    pub time: Option<Duration>,
}

impl fmt::Display for Limits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..", self.first)?;
        match self.end {
            Some(end) => write!(f, "{end}"),
            None => Ok(()),
        }
    }
}

/// One run to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its number, from 0, in an order that does not depend on threads.
    pub index: u64,
    /// Which scenario.
    pub target: usize,
    /// With which seed.
    pub seed: u64,
}

/// Hands out runs.
pub struct Schedule {
    limits: Limits,
    deadline: Option<Instant>,
    next: AtomicU64,
    stopped: AtomicBool,
    interrupted: Arc<AtomicBool>,
    given_up: Vec<AtomicBool>,
    /// Runs that need not be done any more.
    done: Ledger,
}

impl Schedule {
    /// Nothing is handed out yet; the time runs from now on.
    pub fn new(target_count: usize, limits: Limits, interrupted: Arc<AtomicBool>) -> Self {
        let deadline = limits.time.and_then(|time| Instant::now().checked_add(time));
        let given_up = (0..target_count).map(|_| AtomicBool::new(false)).collect();
        Self { limits, deadline, next: AtomicU64::new(0), stopped: AtomicBool::new(false), interrupted, given_up, done: Ledger::default() }
    }

    /// These runs are done already.
    pub fn without(self, done: Ledger) -> Self {
        Self { next: AtomicU64::new(done.below), done, ..self }
    }

    /// Whether nobody does this run any more.
    pub fn is_skipped(&self, index: u64) -> bool {
        let target = usize::try_from(index % self.given_up.len() as u64).expect("less than the number of targets");
        self.given_up[target].load(Ordering::Relaxed)
    }

    /// What bounds it.
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// The next run, or `None` once there is none for anybody.
    pub fn next(&self) -> Option<Run> {
        let count = self.given_up.len() as u64;
        loop {
            let over = self.deadline.is_some_and(|deadline| Instant::now() >= deadline);
            let stopped = self.stopped.load(Ordering::Relaxed) || self.interrupted.load(Ordering::Relaxed);
            if over || stopped || self.given_up.iter().all(|given_up| given_up.load(Ordering::Relaxed)) {
                return None;
            }
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let seed = self.limits.first.checked_add(index / count)?;
            if self.limits.end.is_some_and(|end| seed >= end) {
                return None;
            }
            let target = usize::try_from(index % count).expect("less than the number of targets");
            if !self.done.has(index) && !self.given_up[target].load(Ordering::Relaxed) {
                return Some(Run { index, target, seed });
            }
        }
    }

    /// Hands out no more runs of this target.
    pub fn give_up(&self, target: usize) {
        self.given_up[target].store(true, Ordering::Relaxed);
    }

    /// Hands out no more runs.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(targets: usize, first: u64, end: Option<u64>) -> Schedule {
        Schedule::new(targets, Limits { first, end, time: None }, Arc::default())
    }

    #[test]
    fn each_seed_goes_through_all_scenarios_before_the_next_one() {
        let schedule = schedule(2, 7, Some(9));
        let runs: Vec<(usize, u64)> = std::iter::from_fn(|| schedule.next()).map(|run| (run.target, run.seed)).collect();
        assert_eq!(runs, [(0, 7), (1, 7), (0, 8), (1, 8)]);
    }

    #[test]
    fn a_scenario_that_is_given_up_leaves_the_others_going() {
        let schedule = schedule(2, 0, Some(2));
        schedule.give_up(0);
        let runs: Vec<usize> = std::iter::from_fn(|| schedule.next()).map(|run| run.target).collect();
        assert_eq!(runs, [1, 1]);
        schedule.give_up(1);
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn what_is_done_is_not_handed_out() {
        let mut done = Ledger::default();
        [0, 2].into_iter().for_each(|index| done.done(index, |_| false));
        let schedule = schedule(2, 7, Some(9)).without(done);
        let runs: Vec<u64> = std::iter::from_fn(|| schedule.next()).map(|run| run.index).collect();
        assert_eq!(runs, [1, 3]);
    }

    #[test]
    fn an_open_range_ends_when_it_is_stopped() {
        let schedule = schedule(1, 5, None);
        assert_eq!(schedule.next(), Some(Run { index: 0, target: 0, seed: 5 }));
        schedule.stop();
        assert_eq!(schedule.next(), None);
    }

    #[test]
    fn seeds_end_where_numbers_do() {
        let schedule = schedule(1, u64::MAX, None);
        assert_eq!(schedule.next().map(|run| run.seed), Some(u64::MAX));
        assert_eq!(schedule.next(), None);
    }
}
