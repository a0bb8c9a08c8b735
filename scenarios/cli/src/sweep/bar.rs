//! Where a sweep stands: a bar where one can be drawn, a line now and then where not.

use super::schedule::Limits;
use super::tally::Tally;
use crate::console;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// How often a line says so where no bar can be drawn.
const PLAIN_TICK: Duration = Duration::from_secs(10);

/// Says how far it is.
pub struct Bar {
    bar: Option<ProgressBar>,
    total: Option<u64>,
    time: Option<Duration>,
    started: Instant,
    told: Instant,
}

impl Bar {
    /// Nothing has run.
    pub fn new(limits: Limits, targets: usize, started: Instant) -> Self {
        let total = limits.end.map(|end| (end - limits.first).saturating_mul(targets as u64));
        let bar = console::is_terminal().then(|| {
            let style = "{spinner} {wide_bar} {percent:>3} % {msg} {elapsed_precise}";
            // The template is a constant; if it were wrong the default would do.
            let style = ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar());
            ProgressBar::with_draw_target(Some(1000), ProgressDrawTarget::stderr()).with_style(style)
        });
        Self { bar, total, time: limits.time, started, told: started }
    }

    /// So much has run.
    pub fn show(&mut self, tally: &Tally) {
        let (runs, violations) = (tally.runs(), tally.violation_count());
        let of = self.total.filter(|_| self.time.is_none()).map(|total| format!("/{total}")).unwrap_or_default();
        let text = format!("{runs}{of} runs, {violations} violations");
        if let Some(bar) = &self.bar {
            bar.set_position(self.per_mille(runs));
            bar.set_message(text);
        } else if self.told.elapsed() >= PLAIN_TICK {
            self.told = Instant::now();
            console::note(format_args!("sweep: {text} after {} s", self.started.elapsed().as_secs()));
        }
    }

    /// Of the runs or of the time, whichever is further.
    fn per_mille(&self, runs: u64) -> u64 {
        let of_runs = self.total.map_or(0, |total| runs.saturating_mul(1000) / total.max(1));
        let of_time = self.time.map_or(0, |time| self.started.elapsed().as_millis().saturating_mul(1000) / time.as_millis().max(1));
        of_runs.max(u64::try_from(of_time).unwrap_or(1000)).min(1000)
    }

    /// It is over.
    pub fn close(self) {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
    }
}
