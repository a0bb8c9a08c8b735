//! What nobody else would clean up after a coordinator that dies, because it stands outside of the job's own folder: savepoints that
//! were begun and not completed, and the claimed snapshot that the job was started from, once it is being deleted.
//!
//! ```text
//! savepoint   named as begun --durable--> its files --> metadata durable --> not named any more --durable--> the user is told
//! origin      named as discarded --durable--> a snapshot no more --> what it shares goes when unneeded --> forgotten
//! ```
//!
//! A coordinator that takes over looks at the savepoints that the journal names: one with metadata stays, of others nothing does.
//! Why nobody else can complete one meanwhile: a coordinator that was replaced finds out at the entry that has to be durable before
//! it tells anybody.
//!
//! What both need is done again from the beginning by the next coordinator, as often as it takes; names that are of no use any more
//! go with whatever entry comes next.

use super::lifecycle::Job;
use super::pending::Stage;
use super::{Coordinator, Journal, Origin, Output};
use crate::ids::CheckpointId;
use crate::shared_files::is_foreign;
use crate::snapshot::Acknowledged;
use alloc::vec::Vec;

/// How far the deletion of the claimed snapshot is, in this reign.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Parting {
    /// It is needed, or there is none.
    NotBegun,
    /// It may still look like a snapshot.
    Discarding,
    /// It does not; what it shares may be needed.
    Discarded,
    /// Nothing of it is needed.
    Forgetting,
    /// Nothing of it is left.
    Over,
}

impl<S: Acknowledged> Coordinator<S> {
    /// What every entry says of them.
    pub(super) fn name_leftovers(&self, entry: &mut Journal) {
        entry.begun.clone_from(&self.begun);
        if self.parting == Parting::Over {
            entry.discarding = None;
        }
    }

    /// Whether a savepoint waits for an entry: to be begun, or to be its user's.
    pub(super) fn waits_for_being_named(&self) -> bool {
        self.in_stage(Stage::Naming).next().is_some() || !self.handing_over.is_empty()
    }

    /// An entry is durable: what waited for being named, or for not being named, goes on.
    pub(super) fn leftovers_are_named(&mut self, out: &mut Vec<Output<S>>) {
        let begun = &self.ledger.durable.begun;
        let named: Vec<CheckpointId> = self.in_stage(Stage::Naming).filter(|checkpoint| begun.contains_key(checkpoint)).collect();
        let given: Vec<CheckpointId> = self.handing_over.keys().filter(|checkpoint| !begun.contains_key(checkpoint)).copied().collect();
        for checkpoint in named {
            let pending = self.pending.get_mut(&checkpoint).expect("it is pending in this stage");
            pending.stage = Stage::Locating;
            out.push(Output::CreateLocation(checkpoint, pending.kind));
        }
        for checkpoint in given {
            if let Some(kind) = self.handing_over.remove(&checkpoint) {
                self.savepoint_complete(checkpoint, kind, out);
            }
        }
        self.discard_origin(out);
    }

    /// After a takeover: what earlier coordinators have begun.
    pub(super) fn clean_up_after_others(&mut self, out: &mut Vec<Output<S>>) {
        for (&checkpoint, target) in &self.ledger.durable.begun {
            self.left.insert(checkpoint);
            out.push(Output::SettleSavepoint { checkpoint, target: target.clone() });
        }
    }

    pub(super) fn savepoint_settled(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<S>>) {
        if self.left.remove(&checkpoint) {
            self.begun.remove(&checkpoint);
        } else {
            out.push(Output::Ignored("no savepoint of an earlier coordinator"));
        }
    }

    /// The claimed snapshot, if it is to be deleted and may still look like one: until then all that it names must stay.
    pub(super) fn whole_though_discarded(&self) -> Option<&Origin> {
        let whole = match self.parting {
            Parting::NotBegun | Parting::Discarding => true,
            Parting::Discarded | Parting::Forgetting | Parting::Over => false,
        };
        self.ledger.durable.discarding.as_ref().filter(|_| whole)
    }

    fn discard_origin(&mut self, out: &mut Vec<Output<S>>) {
        if let (Parting::NotBegun, Some(origin)) = (self.parting, &self.ledger.durable.discarding) {
            out.push(Output::DiscardOrigin(origin.clone()));
            self.parting = Parting::Discarding;
        }
    }

    pub(super) fn origin_discarded(&mut self, out: &mut Vec<Output<S>>) {
        if self.parting != Parting::Discarding {
            out.push(Output::Ignored("no snapshot is being deleted"));
            return;
        }
        self.parting = Parting::Discarded;
        self.release_shared(out);
        self.forget_origin(out);
    }

    /// Once no checkpoint uses what the claimed snapshot has brought, or the job is over and keeps none.
    pub(super) fn forget_origin(&mut self, out: &mut Vec<Output<S>>) {
        let (Parting::Discarded, Some(origin)) = (self.parting, &self.ledger.durable.discarding) else { return };
        let nothing_kept = self.job == Job::Ended && self.ledger.durable.completed.is_empty();
        let unused = self.shared_is_known && !self.shared.files().any(|file| is_foreign(file));
        if nothing_kept || unused {
            out.push(Output::ForgetOrigin(origin.clone()));
            self.parting = Parting::Forgetting;
        }
    }

    pub(super) fn origin_forgotten(&mut self, out: &mut Vec<Output<S>>) {
        if self.parting == Parting::Forgetting {
            self.parting = Parting::Over;
        } else {
            out.push(Output::Ignored("no snapshot is being forgotten"));
        }
    }

    pub(super) fn check_leftovers(&self) {
        let begun = &self.ledger.durable.begun;
        for (checkpoint, pending) in self.pending.iter().filter(|(_, pending)| pending.kind.is_savepoint()) {
            // Why: if this coordinator dies now, nobody would know that there is something to clean up.
            assert!(
                pending.stage == Stage::Naming || begun.contains_key(checkpoint),
                "{checkpoint} has files and the journal does not name it"
            );
        }
        for checkpoint in self.handing_over.keys() {
            // Why: the next entry would take what is complete for unfinished.
            assert!(!self.begun.contains_key(checkpoint), "{checkpoint} is complete and is not to be named as begun");
        }
        assert!(self.handing_over.values().all(|kind| kind.is_savepoint()), "only savepoints are handed over");
    }
}
