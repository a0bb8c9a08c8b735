//! What the coordinator tells the launcher, and the launcher the user.

use super::statistics::{Checkpoint, History};
use crate::console::{self, grouped, rate};
use cofferdam_engine::cluster::statistics::RestoredFrom;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Display;
use std::time::{Duration, Instant};

/// How often a line says so where nothing can be drawn.
const PLAIN_TICK: Duration = Duration::from_secs(2);
/// How long the rate is averaged over.
const RATE_OVER: Duration = Duration::from_secs(1);

/// How a job was stopped.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stopped {
    /// The savepoint.
    pub savepoint: String,
    /// Whether all that was held back was given out before.
    pub drained: bool,
    /// Whether it is known that all is published that waited for it.
    pub published: bool,
}

/// One line of JSON on the coordinator's stdout. Its figures begin at zero with each coordinator process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// What the job does, in words.
    pub status: String,
    /// Lines read, replays included.
    pub records: u64,
    /// Whether the job had to be deployed again: what was read before may have been read again.
    pub redeployed: bool,
    /// Checkpoints that were begun, or refused before they had a number.
    pub total: u64,
    /// Completed checkpoints.
    pub completed: u64,
    /// Failed ones.
    pub failed: u64,
    /// Deployments from a checkpoint.
    pub restored: u64,
    /// How long the last of them took, until all tasks ran.
    #[serde(default)]
    pub last_restore_ms: Option<u64>,
    /// What subtasks were restored from, where there are local copies.
    #[serde(default)]
    pub restored_from: RestoredFrom,
    /// Failed checkpoints by reason.
    pub failures: BTreeMap<String, u64>,
    /// Those of which something has changed since the line before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoints: Vec<Checkpoint>,
    /// In the last line of a job that failed for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// In the last line of a job that was stopped with a savepoint.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stopped: Option<Stopped>,
}

impl Told {
    /// Over two coordinators. Their checkpoints are not added up but kept, as a history.
    fn plus(&self, other: &Self) -> Self {
        let mut failures = self.failures.clone();
        for (reason, count) in &other.failures {
            *failures.entry(reason.clone()).or_default() += count;
        }
        Self {
            status: other.status.clone(),
            records: self.records + other.records,
            redeployed: self.redeployed || other.redeployed,
            total: self.total + other.total,
            completed: self.completed + other.completed,
            failed: self.failed + other.failed,
            restored: self.restored + other.restored,
            last_restore_ms: other.last_restore_ms.or(self.last_restore_ms),
            restored_from: self.restored_from.plus(other.restored_from),
            failures,
            checkpoints: Vec::new(),
            cause: other.cause.clone(),
            stopped: other.stopped.clone(),
        }
    }
}

/// What the user sees while the job runs.
pub struct Progress {
    bar: Option<ProgressBar>,
    started: Instant,
    told_at: Instant,
    rate_from: (Instant, u64),
    rate: String,
    earlier: Told,
    current: Told,
    history: History,
    deaths: u64,
}

impl Progress {
    /// From now on.
    pub fn new() -> Self {
        let bar = console::is_terminal().then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}");
            // The template is a constant; if it were wrong the default would do.
            let style = style.unwrap_or_else(|_| ProgressStyle::default_spinner());
            ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()).with_style(style)
        });
        let now = Instant::now();
        let (earlier, current) = (Told::default(), Told::default());
        let (rate, history) = ("-".to_owned(), History::default());
        Self { bar, started: now, told_at: now, rate_from: (now, 0), rate, earlier, current, history, deaths: 0 }
    }

    /// News from the coordinator.
    pub fn told(&mut self, mut told: Told) {
        self.history.told(std::mem::take(&mut told.checkpoints));
        self.current = told;
    }

    /// A process is gone, and with it what it had not told yet.
    pub fn process_died(&mut self) {
        self.deaths += 1;
    }

    /// The coordinator is gone; the next one begins at zero.
    pub fn coordinator_died(&mut self) {
        self.history.coordinator_died();
        self.earlier = self.total();
        self.current = Told { status: "waiting for a coordinator".into(), ..Told::default() };
    }

    /// Over all coordinators so far.
    pub fn total(&self) -> Told {
        self.earlier.plus(&self.current)
    }

    /// The checkpoints of all coordinators so far.
    pub fn history(&self) -> &History {
        &self.history
    }

    /// How many processes have died.
    pub fn deaths(&self) -> u64 {
        self.deaths
    }

    /// How long the job has taken.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Something that is worth a line of its own.
    pub fn line(&self, text: impl Display) {
        match &self.bar {
            Some(bar) => bar.println(text.to_string()),
            None => console::note(text),
        }
    }

    /// Draws it anew, or says it now and then.
    pub fn show(&mut self) {
        let total = self.total();
        let (since, records) = self.rate_from;
        if since.elapsed() >= RATE_OVER {
            self.rate = rate(total.records.saturating_sub(records), since.elapsed().as_secs_f64());
            self.rate_from = (Instant::now(), total.records);
        }
        let Told { status, records, completed, failed, restored, .. } = total;
        let text = format!(
            "{status}: {} records, {}/s, {completed} checkpoints completed, {failed} failed, {restored} restores",
            grouped(records),
            self.rate
        );
        if let Some(bar) = &self.bar {
            bar.set_message(text);
            bar.tick();
        } else if self.told_at.elapsed() >= PLAIN_TICK {
            self.told_at = Instant::now();
            console::note(text);
        }
    }

    /// Leaves the terminal as it was.
    pub fn close(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_add_up_over_coordinators() {
        let mut progress = Progress::new();
        let failures = |count| BTreeMap::from([("expired".to_owned(), count)]);
        progress.told(Told { records: 5, total: 3, completed: 2, failures: failures(1), ..Told::default() });
        progress.coordinator_died();
        let status = || "running".to_owned();
        progress.told(Told { records: 1, total: 4, restored: 1, failures: failures(2), status: status(), ..Told::default() });
        let expected = Told { status: status(), records: 6, total: 7, completed: 2, restored: 1, failures: failures(3), ..Told::default() };
        assert_eq!(progress.total(), expected);
    }
}
