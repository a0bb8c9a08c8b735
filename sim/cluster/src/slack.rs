//! How much sooner or later than it should a timer may fire: the executor's granularity, clocks that drift, and what a world does to timers.

use crate::scenario::{Scenario, What};
use std::time::Duration;

/// What chaos draws at most: `fault::drawing`.
const DRAWN_PPM: u32 = 300_000;
/// A timer that is late passes through a few tasks, each of which may be late.
const LATE: Duration = Duration::from_millis(1500);

/// How much sooner or later than it should a timer may fire.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Slack {
    per_cent: u32,
    late: Duration,
}

impl Default for Slack {
    fn default() -> Self {
        Self { per_cent: 1, late: Duration::from_millis(10) }
    }
}

impl Slack {
    /// Of a coordinator in this scenario's world.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let drifts = scenario.world.drifts.iter().map(|drift| drift.ppm.unsigned_abs());
        let pinned = scenario.faults.iter().map(|fault| match &fault.what {
            What::ClockDrift { ppm, .. } => ppm.unsigned_abs(),
            _ => 0,
        });
        let drawn = scenario.chaos.iter().flat_map(|chaos| &chaos.kinds).map(|kind| if kind == "clock-drift" { DRAWN_PPM } else { 0 });
        let most = drifts.chain(pinned).chain(drawn).max().unwrap_or(0).min(500_000);
        let plain = Self::default();
        // What a slow clock takes longer; a fast one takes less off.
        let per_cent = plain.per_cent + (most * 100).div_ceil(1_000_000 - most);
        Self { per_cent, late: if scenario.world.buggify { LATE } else { plain.late } }
    }

    /// On so long a time.
    pub(crate) fn on(self, duration: Duration) -> Duration {
        self.late + duration * self.per_cent / 100
    }
}
