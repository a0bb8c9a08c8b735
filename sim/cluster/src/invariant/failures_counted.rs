//! More consecutive counted failures than are tolerable fail the attempt, and before another checkpoint begins; fewer do not.

use super::Invariant;
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Detail, Event, Moment};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;
use std::time::Duration;

/// The consecutive counted failures so far.
pub struct FailuresCounted {
    tolerable: usize,
    failed: BTreeSet<CheckpointId>,
    newest_completed: CheckpointId,
    /// Those that are somebody's: of their failures only what a task says counts.
    savepoints: BTreeSet<CheckpointId>,
    /// The attempt has failed, and there is no other yet.
    failing: bool,
}

impl FailuresCounted {
    /// By the scenario's options.
    #[must_use]
    pub fn new(tolerable: u32) -> Self {
        let (failed, savepoints) = (BTreeSet::new(), BTreeSet::new());
        Self { tolerable: tolerable as usize, failed, newest_completed: CheckpointId::NONE, savepoints, failing: false }
    }

    fn counts(&self, checkpoint: CheckpointId, reason: FailureReason) -> bool {
        // Named again rather than asked of the engine.
        let of_a_task = matches!(reason, FailureReason::AsyncException | FailureReason::Declined);
        if self.savepoints.contains(&checkpoint) {
            return of_a_task;
        }
        matches!(
            reason,
            FailureReason::Expired
                | FailureReason::AsyncException
                | FailureReason::Declined
                | FailureReason::IoException
                | FailureReason::FinalizeFailure
        )
    }
}

impl Invariant for FailuresCounted {
    fn name(&self) -> &'static str {
        "failures-counted"
    }

    fn event(&mut self, _: Duration, _: NodeIndex, event: &Event) -> Result<(), String> {
        match (event.moment, event.checkpoint, &event.detail) {
            // Counts are the coordinator's: a new one begins anew, and so does an attempt that failed.
            (Moment::TookOver, ..) => self.failed.clear(),
            (Moment::JobFailing, _, Detail::Text(cause)) => {
                let by_checkpoints = cause.contains("checkpoints in a row failed");
                if by_checkpoints && self.failed.len() <= self.tolerable {
                    return Err(format!(
                        "the attempt fails over {} failed checkpoints, {} are tolerable",
                        self.failed.len(),
                        self.tolerable
                    ));
                }
                if by_checkpoints {
                    self.failed.clear();
                }
                self.failing = true;
            }
            (Moment::JobRunning, ..) => self.failing = false,
            (Moment::SavepointTriggered, Some(checkpoint), _) => {
                self.savepoints.insert(checkpoint);
            }
            (Moment::CheckpointCompleted | Moment::SavepointCompleted, Some(checkpoint), _) if checkpoint > self.newest_completed => {
                self.newest_completed = checkpoint;
                self.failed.clear();
            }
            (Moment::CheckpointAborted, Some(checkpoint), Detail::Reason(reason)) if self.counts(checkpoint, *reason) => {
                if checkpoint > self.newest_completed {
                    self.failed.insert(checkpoint);
                }
                // The last answers about an attempt that has failed: one too many cannot fail it again.
                if self.failing && self.failed.len() > self.tolerable {
                    self.failed.clear();
                }
            }
            (Moment::CheckpointTriggered, Some(checkpoint), _) if self.failed.len() > self.tolerable => {
                return Err(format!("{checkpoint} begins after {} failed in a row, {} are tolerable", self.failed.len(), self.tolerable));
            }
            _ => {}
        }
        Ok(())
    }
}
