//! The second phase of what a sink does: when a checkpoint is complete, what waited for it is published, beside the records.

use super::running::{Done, Running};
use super::{Input, Tail, TaskError, TaskReport};
use crate::connector::ConnectorError;
use crate::env::Env;
use crate::observe::{Detail, MachineStep, Moment, Step};
use crate::operator::Operator;
use cofferdam_protocol::committer::{self, Committer};
use cofferdam_protocol::{subtask, CheckpointId, Machine};
use std::collections::VecDeque;
use std::time::Duration;

/// What the committer wants, done.
pub(super) struct Commits<T> {
    machine: Committer,
    running: Option<T>,
}

impl<T> Commits<T> {
    /// Nothing is committed yet.
    pub(super) fn new(tell: impl FnOnce(Step<(), committer::Input, committer::Output>)) -> Self {
        tell(Step::Recovered(()));
        Self { machine: Committer::recover((), &mut Vec::new()), running: None }
    }
}

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    /// Everything up to and with this checkpoint is complete.
    pub(super) fn commit(&mut self, checkpoint: CheckpointId) {
        if T::COMMITS {
            let given_up = self.step_committer(committer::Input::Completed(checkpoint));
            // Why: only what has failed is given up.
            assert!(!given_up, "{checkpoint} is not given up before it is tried");
        }
    }

    fn tell_of_committer(&self, step: impl FnOnce() -> Step<(), committer::Input, committer::Output>) {
        let (attempt, task) = (self.context.attempt, self.context.task);
        self.context.env.machine(|| MachineStep::Committer(attempt, task, step()));
    }

    /// Whether it has given up.
    fn step_committer(&mut self, input: committer::Input) -> bool {
        let (mut inputs, mut given_up) = (VecDeque::from([input]), false);
        while let Some(input) = inputs.pop_front() {
            let mut outputs = Vec::new();
            self.tell_of_committer(|| Step::Input(input));
            self.commits.machine.step(input, &mut outputs);
            for output in outputs {
                self.tell_of_committer(|| Step::Output(output));
                match output {
                    committer::Output::Commit { checkpoint, wait } => {
                        if !self.begin_commit(checkpoint, wait) {
                            inputs.push_back(committer::Input::Done(checkpoint));
                        }
                    }
                    committer::Output::Report(checkpoint) => {
                        self.context.report(TaskReport::Committed(checkpoint));
                        self.due.push_back(subtask::Input::Published(checkpoint));
                    }
                    committer::Output::GiveUp(_) => given_up = true,
                    committer::Output::Ignored(_) => {}
                }
            }
        }
        given_up
    }

    /// Whether anything has waited for it.
    fn begin_commit(&mut self, checkpoint: CheckpointId, wait: Duration) -> bool {
        let Some(commit) = self.tail.commit(&self.context.env, checkpoint) else { return false };
        let (env, sender) = (self.context.env.clone(), self.written_sender.clone());
        self.commits.running = Some(self.context.env.spawn("commit", async move {
            if !wait.is_zero() {
                env.sleep(wait).await;
            }
            // The subtask is gone: nobody to tell.
            let _ = sender.send(Done::Commit(checkpoint, commit.await));
        }));
        true
    }

    /// A commit has come to an end. One that failed is tried again, together with what has become complete since.
    pub(super) fn committed(&mut self, checkpoint: CheckpointId, outcome: Result<u64, ConnectorError>) -> Result<(), TaskError> {
        self.commits.running = None;
        match outcome {
            Ok(count) => {
                self.context.observe(Moment::OutputCommitted, Some(checkpoint), Detail::Count(count));
                self.step_committer(committer::Input::Done(checkpoint));
                Ok(())
            }
            Err(error) => {
                self.context.observe(Moment::OutputCommitFailed, Some(checkpoint), Detail::Text(error.to_string()));
                let lasts = matches!(error, ConnectorError::Invalid { .. });
                if self.step_committer(committer::Input::Failed { checkpoint, lasts }) {
                    return Err(error.into());
                }
                Ok(())
            }
        }
    }
}
