//! What is held against a run whose records say where they come from: the order of channels, and that of their merging.

use super::Run;
use crate::oracle::decode::Checkpoint;
use crate::oracle::shapes::{merge, order};
use crate::scenario::{JobKind, Shape};
use crate::trace::lock;
use cofferdam_protocol::settings::Mode;

impl Run {
    /// A checkpoint or savepoint is complete: records are in it in the order of their channels.
    pub(super) fn judge_order(&self, what: &str, read: &Checkpoint) {
        let JobKind::Shaped(shape) = self.scenario.job.kind else { return };
        if self.scenario.checkpoints.mode == Mode::AtLeastOnce {
            return;
        }
        if let Err(contradiction) = order::judge(shape, read) {
            self.violated("channel-order", format!("{what}: {contradiction}"));
        }
    }

    /// At the end of a job: its output is one that some run without failures explains.
    pub(super) fn judge_merge(&self, shape: Shape) {
        let rows = self.rows();
        if let (true, Ok(rows)) = (self.keep.outcome, &rows) {
            lock(&self.seen).output.clone_from(rows);
        }
        let (mode, whole) = (self.scenario.checkpoints.mode, self.job.origin.is_none());
        if let Err(witness) = rows.and_then(|rows| merge::judge(shape, mode, whole, &self.logs, &rows)) {
            self.violated("explainable-output", witness);
        }
    }
}
