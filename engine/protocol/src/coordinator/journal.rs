//! The coordinator's journal: one entry under way at a time, the rest waits in order.
//!
//! An entry whose outcome is unknown may be durable or not. A later durable entry decides it, as each is the whole journal.

use super::lifecycle::Job;
use super::pending::{By, Stage};
use super::{Coordinator, Ended, FailureReason, Journal, Output, Written};
use crate::ids::{CheckpointId, Epoch};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use alloc::collections::{BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::time::Duration;

/// How many numbers one entry sets aside.
const BLOCK: u64 = 8;
/// How long to wait after an unknown outcome.
const RETRY: Duration = Duration::from_secs(1);

/// Why an entry is written.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Change {
    /// A new epoch and its first numbers.
    TakeOver,
    /// More numbers.
    Reserve,
    /// A checkpoint becomes a restore point.
    Complete(CheckpointId),
    /// Nothing but what each entry says anyway: it decides what an earlier one of unknown outcome left open, and names savepoints.
    Settle,
    /// The job has stopped with this savepoint.
    Stop(CheckpointId),
    /// The job is over.
    End(Ended),
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Writing {
    pub(super) change: Change,
    pub(super) entry: Journal,
}

/// What is durable, what is being written, what waits.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ledger {
    pub(super) durable: Journal,
    pub(super) writing: Option<Writing>,
    pub(super) wanted: VecDeque<Change>,
    pub(super) retrying: bool,
}

impl Ledger {
    pub(super) fn taking_over(durable: Journal) -> Self {
        Self { durable, writing: None, wanted: VecDeque::from([Change::TakeOver]), retrying: false }
    }

    fn wants(&self, change: &Change) -> bool {
        self.wanted.contains(change) || self.writing.as_ref().is_some_and(|writing| writing.change == *change)
    }
}

impl<S: Acknowledged> Coordinator<S> {
    /// Whether it is certain which checkpoint is the newest restore point.
    pub(super) fn restore_point_is_certain(&self) -> bool {
        self.doubtful.is_empty() && self.in_stage(Stage::Storing).next().is_none()
    }

    pub(super) fn reserve_numbers(&mut self) {
        if !self.ledger.wants(&Change::Reserve) {
            self.ledger.wanted.push_back(Change::Reserve);
        }
    }

    /// Writes the next entry if none is unanswered.
    pub(super) fn write_next(&mut self, out: &mut Vec<Output<S>>) {
        if self.job == Job::SteppedDown || self.ledger.retrying || self.ledger.writing.is_some() {
            return;
        }
        let settle = self.has_something_to_settle().then_some(Change::Settle);
        let Some(change) = self.ledger.wanted.pop_front().or(settle) else { return };
        if let Change::Complete(checkpoint) | Change::Stop(checkpoint) = change {
            let pending = self.pending.get_mut(&checkpoint).expect("an aborted checkpoint leaves the queue of the journal");
            pending.stage = Stage::Storing;
        }
        let entry = self.entry(&change);
        if let Change::Stop(checkpoint) = change {
            self.no_way_back(checkpoint, out);
        }
        self.ledger.writing = Some(Writing { change, entry: entry.clone() });
        out.push(Output::Write(entry));
    }

    fn entry(&self, change: &Change) -> Journal {
        let mut entry = self.ledger.durable.clone();
        self.name_leftovers(&mut entry);
        match change {
            Change::TakeOver => {
                if entry.epoch == Epoch::default() {
                    // The job's first coordinator: numbers go on above those of the snapshot that it begins from.
                    entry.origin.clone_from(&self.plan.origin);
                    entry.reserved = entry.origin.as_ref().map_or(entry.reserved, |origin| origin.checkpoint);
                }
                entry.epoch = self.epoch;
                entry.reserved = CheckpointId(entry.reserved.0 + BLOCK);
            }
            Change::Reserve => entry.reserved = CheckpointId(entry.reserved.0 + BLOCK),
            Change::Complete(checkpoint) => {
                let added = entry.completed.insert(*checkpoint);
                assert!(added, "{checkpoint} completes only once");
                entry.completed = super::retention::newest(&entry.completed, self.plan.checkpoints.retained);
                // Why: an older one would put back in time what tasks have already committed.
                assert_eq!(entry.completed.last(), Some(checkpoint), "a checkpoint that completes is the newest");
                super::retention::subsume_origin(&mut entry, self.plan.checkpoints.retained);
            }
            Change::Settle => {}
            Change::Stop(checkpoint) => self.stop_entry(*checkpoint, &mut entry),
            Change::End(ended) => {
                let keeps = super::retention::keeps_at_end(ended, self.plan.checkpoints.retention);
                if !keeps {
                    super::retention::keep_nothing(&mut entry, ended);
                }
                entry.ended = Some(ended.clone());
            }
        }
        entry
    }

    pub(super) fn written(&mut self, written: Written, out: &mut Vec<Output<S>>) {
        match written {
            Written::Fenced => {
                self.job = Job::SteppedDown;
                out.push(Output::SteppedDown);
            }
            Written::Durable => match self.ledger.writing.take() {
                Some(writing) => self.entry_durable(writing, out),
                None => out.push(Output::Ignored("no journal entry is unanswered")),
            },
            Written::Unknown => match self.ledger.writing.take() {
                Some(writing) => self.entry_unknown(writing.change, out),
                None => out.push(Output::Ignored("no journal entry is unanswered")),
            },
        }
    }

    fn entry_durable(&mut self, Writing { change, entry }: Writing, out: &mut Vec<Output<S>>) {
        let before = core::mem::replace(&mut self.ledger.durable, entry);
        let now = &self.ledger.durable;
        let mut unneeded: BTreeSet<CheckpointId> = before.completed.difference(&now.completed).copied().collect();
        unneeded.append(&mut self.doubtful);
        match change {
            Change::TakeOver => self.taken_over(before.reserved, out),
            Change::Reserve | Change::Settle => self.discard_all(unneeded, out),
            Change::Complete(checkpoint) => self.stored(checkpoint, unneeded, out),
            Change::Stop(checkpoint) => self.stop_durable(checkpoint, unneeded, out),
            Change::End(ended) => self.end_durable(ended, unneeded, out),
        }
        self.leftovers_are_named(out);
    }

    fn has_something_to_settle(&self) -> bool {
        !self.doubtful.is_empty() || self.waits_for_being_named()
    }

    fn entry_unknown(&mut self, change: Change, out: &mut Vec<Output<S>>) {
        self.ledger.retrying = true;
        out.push(Output::Arm { timer: Timer::JournalRetry, from: RETRY, to: RETRY });
        match change {
            Change::TakeOver | Change::Reserve | Change::End(_) => self.ledger.wanted.push_front(change),
            Change::Stop(checkpoint) => {
                let pending = self.pending.get_mut(&checkpoint).expect("a savepoint is pending until its entry is answered");
                pending.stage = Stage::Queued;
                // Why not given up: whoever takes over may find that the job has stopped.
                self.ledger.wanted.push_front(change);
            }
            // Settling is asked for anew as long as there is something to settle.
            Change::Settle => {}
            Change::Complete(checkpoint) => {
                let pending = self.pending.remove(&checkpoint).expect("a checkpoint is pending until its entry is answered");
                self.doubtful.insert(checkpoint);
                self.tell_aborted(checkpoint, &pending, FailureReason::FinalizeFailure, out);
                self.after_abort(checkpoint, &pending, FailureReason::FinalizeFailure, By::Answer, out);
            }
        }
    }

    pub(super) fn check_ledger(&self) {
        let ledger = &self.ledger;
        assert!(ledger.wanted.is_empty() || ledger.writing.is_some() || ledger.retrying, "what can be written is being written");
        // Why: nobody would ever settle it, and no restart could begin.
        let unsettled = ledger.writing.is_none() && !ledger.retrying;
        assert!(!self.has_something_to_settle() || !unsettled, "what is in doubt is being settled");
        let storing: Vec<CheckpointId> = self.in_stage(Stage::Storing).collect();
        let Some(writing) = &ledger.writing else {
            assert!(storing.is_empty(), "only what is being written is being stored");
            return;
        };
        assert_eq!(writing.entry.epoch, self.epoch, "an entry is written in the writer's name");
        assert!(writing.entry.reserved >= ledger.durable.reserved, "numbers are never given back");
        for checkpoint in &writing.entry.completed {
            // Why: once durable it is a restore point, and its files are gone or may go.
            assert!(!self.let_go(*checkpoint), "{checkpoint} is given up and named by an entry under way");
        }
        let expected: &[CheckpointId] = match &writing.change {
            Change::Complete(checkpoint) | Change::Stop(checkpoint) => core::slice::from_ref(checkpoint),
            Change::TakeOver | Change::Reserve | Change::Settle | Change::End(_) => &[],
        };
        assert_eq!(storing, expected, "only what is being written is being stored");
        for checkpoint in &storing {
            let kind = self.pending[checkpoint].kind;
            assert!(!kind.is_savepoint() || kind.stops(), "a savepoint is in the journal only if the job stops with it");
        }
    }
}
