//! What a user can set. Names and defaults follow Flink's `CheckpointingOptions` and `RestartStrategyOptions`.

use alloc::string::String;
use core::time::Duration;
use serde::{Deserialize, Serialize};

/// What a checkpoint promises (`execution.checkpointing.mode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Channels are aligned: each record is in exactly one of state, in flight, to be replayed.
    #[default]
    ExactlyOnce,
    /// No channel is held back; after a restore a record may count twice (`CheckpointBarrierTracker`).
    AtLeastOnce,
}

/// What happens to completed checkpoints when the job ends
/// (`execution.checkpointing.externalized-checkpoint-retention`). All kinds are deleted when the job finishes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Retention {
    /// Deleted however the job ends (`NO_EXTERNALIZED_CHECKPOINTS`).
    #[default]
    Never,
    /// Kept on failure, deleted on cancellation (`DELETE_ON_CANCELLATION`).
    DeleteOnCancellation,
    /// Kept on failure and on cancellation (`RETAIN_ON_CANCELLATION`).
    RetainOnCancellation,
}

/// `execution.checkpointing.*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointSettings {
    /// Time between two periodic triggers; `None` switches periodic checkpoints off.
    pub interval: Option<Duration>,
    /// The same while a source is behind what there is to read; zero: no periodic checkpoints then; `None`: as always
    /// (`execution.checkpointing.interval-during-backlog`).
    pub interval_during_backlog: Option<Duration>,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// A checkpoint that takes longer expires. Counted from its registration, before any barrier.
    pub timeout: Duration,
    /// Least time from the last completed checkpoint to the next periodic trigger. Failures do not move it.
    pub min_pause: Duration,
    /// How many checkpoints may be pending at once.
    pub max_concurrent: u32,
    /// How many consecutive counted failures the job survives.
    pub tolerable_failures: u32,
    /// How many completed checkpoints are kept.
    pub retained: u32,
    /// What happens to them when the job ends.
    pub retention: Retention,
    /// Whether barriers may overtake what is in flight, which then becomes part of the checkpoint: its duration no longer follows from how
    /// fast records are processed (`execution.checkpointing.unaligned.enabled`). Never those of savepoints.
    pub unaligned: bool,
    /// How old a checkpoint becomes, counted from its trigger, before its barriers overtake; zero: they do at once
    /// (`execution.checkpointing.aligned-checkpoint-timeout`).
    pub aligned_timeout: Duration,
}

impl Default for CheckpointSettings {
    fn default() -> Self {
        Self {
            interval: None,
            interval_during_backlog: None,
            mode: Mode::ExactlyOnce,
            timeout: Duration::from_secs(600),
            min_pause: Duration::ZERO,
            max_concurrent: 1,
            tolerable_failures: 0,
            retained: 1,
            retention: Retention::Never,
            unaligned: false,
            aligned_timeout: Duration::ZERO,
        }
    }
}

/// Least interval and timeout (`MINIMAL_CHECKPOINT_TIME`).
pub const LEAST_CHECKPOINT_TIME: Duration = Duration::from_millis(10);

/// A setting that cannot be. Correct the named option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// Below [`LEAST_CHECKPOINT_TIME`].
    #[error("{option} is {value:?}, but at least {LEAST_CHECKPOINT_TIME:?} is needed")]
    TooShort {
        /// The option's name.
        option: String,
        /// What it was set to.
        value: Duration,
    },
    /// Checkpoints during a backlog are rarer, or as frequent, or off.
    #[error("interval-during-backlog is {value:?}, but it must be 0 or at least as long as interval")]
    BacklogInterval {
        /// What it was set to.
        value: Duration,
    },
    /// Zero where one is the least.
    #[error("{option} is 0, but at least 1 is needed")]
    Zero {
        /// The option's name.
        option: String,
    },
    /// Of several checkpoints in flight at once at most one can take what is in the channels with it (Flink refuses it as well).
    #[error("unaligned is on, but max-concurrent is {max_concurrent}: set it to 1")]
    UnalignedConcurrent {
        /// What it was set to.
        max_concurrent: u32,
    },
    /// At least once no channel is held back, so there is nothing to overtake for.
    #[error("unaligned is on, but mode is at-least-once, which never waits for barriers: set mode to exactly-once, or unaligned to off")]
    UnalignedAtLeastOnce,
    /// It would have no effect.
    #[error("aligned-timeout is {value:?}, but unaligned is off, so that no barrier ever overtakes: set unaligned to on")]
    AlignedTimeoutAlone {
        /// What it was set to.
        value: Duration,
    },
}

impl CheckpointSettings {
    /// Checks the options against each other and raises an interval below min-pause to it, as Flink does.
    ///
    /// # Errors
    /// The first option that is out of its range.
    pub fn validated(mut self) -> Result<Self, SettingsError> {
        let too_short = |option: &str, value| SettingsError::TooShort { option: option.into(), value };
        if let Some(interval) = self.interval {
            if interval < LEAST_CHECKPOINT_TIME {
                return Err(too_short("interval", interval));
            }
            self.interval = Some(interval.max(self.min_pause));
        }
        if let Some(during) = self.interval_during_backlog.filter(|during| !during.is_zero()) {
            if during < LEAST_CHECKPOINT_TIME || self.interval.is_none_or(|interval| during < interval) {
                return Err(SettingsError::BacklogInterval { value: during });
            }
        }
        if self.timeout < LEAST_CHECKPOINT_TIME {
            return Err(too_short("timeout", self.timeout));
        }
        if self.max_concurrent == 0 {
            return Err(SettingsError::Zero { option: "max-concurrent".into() });
        }
        if self.unaligned && self.max_concurrent > 1 {
            return Err(SettingsError::UnalignedConcurrent { max_concurrent: self.max_concurrent });
        }
        if self.unaligned && self.mode == Mode::AtLeastOnce {
            return Err(SettingsError::UnalignedAtLeastOnce);
        }
        if !self.unaligned && !self.aligned_timeout.is_zero() {
            return Err(SettingsError::AlignedTimeoutAlone { value: self.aligned_timeout });
        }
        self.retained = self.retained.max(1);
        Ok(self)
    }
}

/// What restarts when a task fails (`jobmanager.execution.failover-strategy`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailoverStrategy {
    /// The tasks that records go to from it or come from, over whatever way. The others go on.
    #[default]
    Region,
    /// The whole job.
    Full,
}

/// `restart-strategy.*`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind", deny_unknown_fields)]
pub enum RestartStrategy {
    /// The first failure ends the job.
    None,
    /// A bounded number of restarts, each after the same delay.
    FixedDelay {
        /// How many restarts before the job fails.
        attempts: u32,
        /// Between failure and restart.
        delay: Duration,
    },
    /// Ever longer delays, unlimited in number (the default with checkpointing).
    ExponentialDelay {
        /// After the first failure.
        initial: Duration,
        /// The longest delay.
        max: Duration,
        /// Growth per failure in percent of the delay before: 150 is half as long again.
        growth_percent: u32,
        /// The driver adds or takes off up to this share of the delay.
        jitter_percent: u32,
        /// Running for so long without a failure resets the delay.
        reset_after: Duration,
    },
    /// Up to a number of failures per interval.
    FailureRate {
        /// More failures than this within the interval fail the job.
        failures: u32,
        /// How long a failure counts.
        interval: Duration,
        /// Between failure and restart.
        delay: Duration,
    },
}

impl Default for RestartStrategy {
    fn default() -> Self {
        Self::ExponentialDelay {
            initial: Duration::from_secs(1),
            max: Duration::from_secs(60),
            growth_percent: 150,
            jitter_percent: 10,
            reset_after: Duration::from_secs(3600),
        }
    }
}

#[cfg(test)]
mod tests;
