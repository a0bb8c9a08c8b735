//! Which completed checkpoints stay, and whose files go.

use super::lifecycle::Job;
use super::{ClaimMode, Coordinator, Ended, Journal, Origin, Output};
use crate::ids::{CheckpointId, Epoch};
use crate::settings::Retention;
use crate::shared_files::FileId;
use crate::snapshot::Acknowledged;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;

/// The newest ones, as many as are retained, and at least one.
pub(super) fn newest(completed: &BTreeSet<CheckpointId>, retained: u32) -> BTreeSet<CheckpointId> {
    completed.iter().rev().take(retained.max(1) as usize).copied().collect()
}

/// The snapshot that the job was started from is the oldest of its checkpoints if it is claimed, and forgotten once there is a
/// checkpoint of its own if not.
pub(super) fn subsume_origin(entry: &mut Journal, retained: u32) {
    let stays = |origin: &Origin| origin.claim == ClaimMode::Claim && entry.completed.len() < retained as usize;
    if !entry.origin.as_ref().is_some_and(stays) {
        let origin = entry.origin.take();
        let_go(entry, origin);
    }
}

/// The job's last entry keeps nothing. A claimed snapshot goes with the job only if the job has taken it in: a checkpoint has been built
/// upon it, or all input has gone through. Otherwise it may be the only thing that somebody can begin from.
pub(super) fn keep_nothing(entry: &mut Journal, ended: &Ended) {
    let taken_in = !entry.completed.is_empty()
        || match ended {
            // What the job stops with holds all that it was given.
            Ended::Finished | Ended::Stopped(_) => true,
            Ended::Failed(_) | Ended::Cancelled => false,
        };
    entry.completed.clear();
    let origin = entry.origin.take().filter(|_| taken_in);
    let_go(entry, origin);
}

/// The journal does not name it any more: if it was claimed, it is to be deleted.
pub(super) fn let_go(entry: &mut Journal, origin: Option<Origin>) {
    if let Some(origin) = origin.filter(|origin| origin.claim == ClaimMode::Claim) {
        entry.discarding = Some(origin);
    }
}

/// Whether checkpoints outlive the job (Flink: the discard flags of `CheckpointProperties`).
pub(super) fn keeps_at_end(ended: &Ended, retention: Retention) -> bool {
    match (ended, retention) {
        (Ended::Finished, Retention::Never | Retention::DeleteOnCancellation | Retention::RetainOnCancellation) => false,
        (Ended::Stopped(_), Retention::Never | Retention::DeleteOnCancellation | Retention::RetainOnCancellation) => false,
        (Ended::Failed(_), Retention::Never) => false,
        (Ended::Failed(_), Retention::DeleteOnCancellation | Retention::RetainOnCancellation) => true,
        (Ended::Cancelled, Retention::Never | Retention::DeleteOnCancellation) => false,
        (Ended::Cancelled, Retention::RetainOnCancellation) => true,
    }
}

impl<S: Acknowledged> Coordinator<S> {
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

    /// Deletes the shared files that no retained snapshot has used.
    pub(super) fn release_shared(&mut self, out: &mut Vec<Output<S>>) {
        if !self.shared_is_known {
            return;
        }
        let retained = &self.ledger.durable;
        let origin = retained.origin.as_ref().filter(|origin| origin.claim == ClaimMode::Claim);
        // What still looks like a snapshot has all that it names.
        let origin = origin.or(self.whole_though_discarded()).map(|origin| origin.checkpoint);
        // Of what is in doubt it is not known whether it is retained.
        let oldest = origin.into_iter().chain(retained.completed.iter().copied()).chain(self.doubtful.iter().copied()).min();
        // With nothing retained a checkpoint may be on its way whose parts are acknowledged: only the end clears everything.
        let Some(oldest) = oldest else { return };
        let released = self.shared.release_below(Some(oldest));
        if !released.is_empty() {
            out.push(Output::DiscardShared(released));
        }
    }

    /// What the retained snapshots need is known: what earlier reigns left and nobody needs can go.
    pub(super) fn shared_listed(&mut self, files: BTreeMap<FileId, CheckpointId>, out: &mut Vec<Output<S>>) {
        if self.shared_is_known {
            out.push(Output::Ignored("it is known already"));
            return;
        }
        self.shared_is_known = true;
        for (file, checkpoint) in files {
            self.shared.register(&file, checkpoint);
        }
        // Of a job that was over when this coordinator took over, nobody writes any more.
        let before = (self.job != Job::Ended).then_some(self.epoch);
        self.sweep_shared(before, out);
        if self.ledger.durable.discarding.is_some() {
            // What only that has used was not deleted to the end.
            self.release_shared(out);
            self.forget_origin(out);
        }
    }

    /// Deletes the shared files that nobody needs, known or not.
    pub(super) fn sweep_shared(&mut self, before: Option<Epoch>, out: &mut Vec<Output<S>>) {
        if self.shared_is_known {
            out.push(Output::SweepShared { keep: self.shared.files().cloned().collect(), before });
        }
    }

    pub(super) fn discarded(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if !self.cleaning.remove(&checkpoint) {
            out.push(Output::Ignored("it is not being discarded"));
        } else {
            self.begun.remove(&checkpoint);
        }
    }

    /// Deletes what no entry names: what earlier reigns, aborts and late tasks left.
    pub(super) fn sweep(&mut self, up_to: CheckpointId, out: &mut Vec<Output<S>>) {
        out.push(Output::Sweep { keep: self.ledger.durable.completed.clone(), up_to });
    }
}
