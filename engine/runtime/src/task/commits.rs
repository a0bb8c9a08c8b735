//! The second phase of what a sink does: when a checkpoint is complete, what waited for it is published, beside the records.

use super::running::{Done, Running};
use super::{Input, Tail, TaskError, TaskReport};
use crate::connector::ConnectorError;
use crate::env::Env;
use crate::observe::{Detail, Moment};
use crate::operator::Operator;
use cofferdam_protocol::CheckpointId;
use std::time::Duration;

/// So many times in a row a commit may fail before the task does. What it leaves is committed by the next attempt.
const MOST_TRIES: u32 = 5;
/// Before the second try; each further one waits twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(100);

/// One commit at a time: two would publish in no particular order.
pub(super) struct Commits<T> {
    running: Option<T>,
    /// The newest checkpoint that is complete and not committed yet; it stands for those before it.
    wanted: Option<CheckpointId>,
    /// How many have failed in a row.
    failed: u32,
}

impl<T> Default for Commits<T> {
    fn default() -> Self {
        Self { running: None, wanted: None, failed: 0 }
    }
}

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    /// Everything up to and with this checkpoint is complete.
    pub(super) fn commit(&mut self, checkpoint: CheckpointId) {
        if T::COMMITS {
            self.commits.wanted = self.commits.wanted.max(Some(checkpoint));
            self.commit_next(Duration::ZERO);
        }
    }

    fn commit_next(&mut self, wait: Duration) {
        if self.commits.running.is_some() {
            return;
        }
        let Some(checkpoint) = self.commits.wanted.take() else { return };
        let Some(commit) = self.tail.commit(&self.context.env, checkpoint) else {
            self.context.report(TaskReport::Committed(checkpoint));
            return;
        };
        let (env, sender) = (self.context.env.clone(), self.written_sender.clone());
        self.commits.running = Some(self.context.env.spawn("commit", async move {
            if !wait.is_zero() {
                env.sleep(wait).await;
            }
            // The subtask is gone: nobody to tell.
            let _ = sender.send(Done::Commit(checkpoint, commit.await));
        }));
    }

    /// A commit has come to an end. One that failed is tried again, together with what has become complete since.
    pub(super) fn committed(&mut self, checkpoint: CheckpointId, outcome: Result<u64, ConnectorError>) -> Result<(), TaskError> {
        self.commits.running = None;
        match outcome {
            Ok(count) => {
                self.commits.failed = 0;
                self.context.observe(Moment::OutputCommitted, Some(checkpoint), Detail::Count(count));
                self.context.report(TaskReport::Committed(checkpoint));
                self.commit_next(Duration::ZERO);
            }
            Err(error) => {
                self.context.observe(Moment::OutputCommitFailed, Some(checkpoint), Detail::Text(error.to_string()));
                self.commits.failed += 1;
                if self.commits.failed >= MOST_TRIES || matches!(error, ConnectorError::Invalid { .. }) {
                    return Err(error.into());
                }
                self.commits.wanted = self.commits.wanted.max(Some(checkpoint));
                self.commit_next(FIRST_WAIT * (1 << (self.commits.failed - 1)));
            }
        }
        Ok(())
    }
}
