//! Which completed checkpoints stay, and whose files go.

use super::{Coordinator, Ended, Output};
use crate::ids::CheckpointId;
use crate::settings::Retention;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt::Debug;
use core::hash::Hash;

/// The newest ones, as many as are retained, and at least one.
pub(super) fn newest(completed: &BTreeSet<CheckpointId>, retained: u32) -> BTreeSet<CheckpointId> {
    completed.iter().rev().take(retained.max(1) as usize).copied().collect()
}

/// What outlives the job (Flink: the discard flags of `CheckpointProperties`).
pub(super) fn kept_at_end(completed: &BTreeSet<CheckpointId>, ended: &Ended, retention: Retention) -> BTreeSet<CheckpointId> {
    let keeps = match (ended, retention) {
        (Ended::Finished, Retention::Never | Retention::DeleteOnCancellation | Retention::RetainOnCancellation) => false,
        (Ended::Failed(_), Retention::Never) => false,
        (Ended::Failed(_), Retention::DeleteOnCancellation | Retention::RetainOnCancellation) => true,
        (Ended::Cancelled, Retention::Never | Retention::DeleteOnCancellation) => false,
        (Ended::Cancelled, Retention::RetainOnCancellation) => true,
    };
    if keeps {
        completed.clone()
    } else {
        BTreeSet::new()
    }
}

impl<S: Clone + Eq + Hash + Debug> Coordinator<S> {
    pub(super) fn discard(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        // Why: the entry names it, and whoever takes over would restore from it.
        assert!(!self.ledger.durable.completed.contains(&checkpoint), "{checkpoint} is a restore point and is to be deleted");
        self.cleaning.insert(checkpoint);
        out.push(Output::Discard(checkpoint));
    }

    pub(super) fn discard_all(&mut self, checkpoints: BTreeSet<CheckpointId>, out: &mut Vec<Output<S>>) {
        for checkpoint in checkpoints {
            self.discard(checkpoint, out);
        }
    }

    pub(super) fn discarded(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if !self.cleaning.remove(&checkpoint) {
            out.push(Output::Ignored("it is not being discarded"));
        }
    }

    /// Deletes what no entry names: what earlier reigns, aborts and late tasks left.
    pub(super) fn sweep(&mut self, up_to: CheckpointId, out: &mut Vec<Output<S>>) {
        out.push(Output::Sweep { keep: self.ledger.durable.completed.clone(), up_to });
    }
}
