//! Journal, metadata, shared files.

use super::Turn;
use crate::moves::Outcome;
use crate::properties::{self, Promise, Situation};
use crate::state::Part;
use cofferdam_protocol::coordinator::{Input, Journal, Status, Written};
use cofferdam_protocol::{CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

impl Turn<'_> {
    /// Something becomes of the entry under way.
    pub(super) fn journal(&mut self, which: usize, outcome: Outcome) {
        let answer = match outcome {
            Outcome::Answered => self.append(which),
            Outcome::Happened => {
                self.mark(Situation::UnknownHappened);
                // Somebody else's entry in its place is an answer, not a doubt.
                self.append(which)
                    .map(|answer| if answer == Input::Journal(Written::Durable) { Input::Journal(Written::Unknown) } else { answer })
            }
            Outcome::Lost => {
                self.mark(Situation::UnknownLost);
                self.state.reigns[which].as_mut().and_then(|reign| reign.change().writing.take());
                Some(Input::Journal(Written::Unknown))
            }
        };
        self.tell_of_reign(which, None, None, "journal-answered", || format!("{outcome:?}: {answer:?}"));
        if let Some(answer) = answer {
            self.lead(which, answer);
        }
    }

    /// The entry goes where the next one belongs, unless somebody else's is there.
    pub(super) fn append(&mut self, which: usize) -> Option<Input<Part>> {
        let reign = self.state.reigns[which].as_mut()?.change();
        let entry = reign.writing.take()?;
        let (number, known) = (reign.number, reign.known_len);
        let (writer, len) = (self.state.storage.writer, self.state.storage.len);
        // What it has written itself without hearing so, it recognizes.
        if known != len && writer != number {
            return Some(Input::Journal(Written::Fenced));
        }
        self.state.reigns[which].as_mut()?.change().known_len = len + 1;
        self.land(entry, number);
        Some(Input::Journal(Written::Durable))
    }

    pub(super) fn land(&mut self, entry: Journal, writer: u8) {
        let (before, told) = (&self.state.storage.journal, self.state.storage.told);
        // What was in doubt may be taken back; what somebody was told of may not.
        let told = Some(told).filter(|told| *told > CheckpointId::NONE);
        let ended = entry.ended.is_some();
        let back = entry.epoch < before.epoch
            || entry.reserved < before.reserved
            || (!ended && entry.completed.last().copied() < told)
            || (before.ended.is_some() && entry.ended != before.ended);
        if back {
            let witness = format!("{entry:?} is written after {before:?}");
            self.breaks(Promise::JournalGoesForward, witness);
            return;
        }
        let storage = self.state.storage.change();
        for checkpoint in &entry.completed {
            storage.ever |= 1 << checkpoint.0;
            if self.setup.world.transactional {
                let parts = storage.metadata.get(checkpoint);
                storage.covered = parts.map_or(storage.covered, |parts| storage.covered.and(self.setup.before(parts)).once());
            }
        }
        (storage.journal, storage.writer) = (entry, writer);
        storage.len += 1;
        self.check_retained();
    }

    pub(super) fn stray(&mut self, arrives: bool) {
        let Some((entry, len, writer)) = self.state.storage.change().stray.take() else { return };
        self.tell_of_reign(0, None, None, "stray-entry", || format!("arrives: {arrives}"));
        if arrives && self.state.storage.len == len {
            self.mark(Situation::StrayEntry);
            self.land(entry, writer);
        }
    }

    /// Metadata appears in the checkpoint's folder; where that is gone, nothing does.
    pub(super) fn publish(&mut self, checkpoint: CheckpointId, parts: Arc<BTreeMap<TaskId, Part>>) -> Input<Part> {
        if self.state.storage.folders >> checkpoint.0 & 1 == 0 {
            return Input::MetadataFailed(checkpoint);
        }
        self.state.storage.change().metadata.insert(checkpoint, parts);
        Input::MetadataDurable(checkpoint)
    }

    pub(super) fn discard(&mut self, checkpoint: CheckpointId) {
        if self.state.storage.ever >> checkpoint.0 & 1 == 1 && !self.state.storage.journal.completed.contains(&checkpoint) {
            self.mark(Situation::DoubtSettled);
        }
        let storage = self.state.storage.change();
        storage.folders &= !(1 << checkpoint.0);
        storage.metadata.remove(&checkpoint);
        self.check_retained();
    }

    pub(super) fn sweep(&mut self, keep: &BTreeSet<CheckpointId>, up_to: CheckpointId) {
        let goes = |checkpoint: CheckpointId| checkpoint <= up_to && !keep.contains(&checkpoint);
        let storage = self.state.storage.change();
        for checkpoint in (0..crate::queue::MOST_CHECKPOINTS).map(CheckpointId).filter(|checkpoint| goes(*checkpoint)) {
            storage.folders &= !(1 << checkpoint.0);
        }
        storage.metadata.retain(|checkpoint, _| !goes(*checkpoint));
        self.check_retained();
    }

    pub(super) fn delete_shared(&mut self, mut goes: impl FnMut(&str) -> bool) {
        if self.state.storage.shared.is_empty() {
            return;
        }
        self.state.storage.change().shared.retain(|file| !goes(file));
        self.check_retained();
    }

    pub(super) fn listed(&self, checkpoints: &BTreeSet<CheckpointId>) -> BTreeMap<String, CheckpointId> {
        let mut files = BTreeMap::new();
        for checkpoint in checkpoints {
            let parts = self.state.storage.metadata.get(checkpoint).into_iter().flat_map(|parts| parts.values());
            for (_, path) in parts.flat_map(|part| part.files.iter()).flat_map(|files| files.iter()) {
                // In ascending order: the newest stays.
                files.insert(path.to_string(), *checkpoint);
            }
        }
        files
    }

    /// Whatever the journal names is there.
    fn check_retained(&mut self) {
        let storage = &self.state.storage;
        let mut witness = None;
        for checkpoint in &storage.journal.completed {
            let Some(parts) = storage.metadata.get(checkpoint) else {
                witness = Some(format!("the journal names {checkpoint}, whose metadata is not there"));
                break;
            };
            let files =
                parts.iter().flat_map(|(task, part)| part.files.iter().flat_map(move |files| files.iter().map(move |file| (task, file))));
            if let Some((task, (_, path))) = files.into_iter().find(|(_, (_, path))| !storage.shared.contains(path)) {
                witness = Some(format!("the journal names {checkpoint}, for which {task} needs {path}, which is gone"));
                break;
            }
        }
        if let Some(witness) = witness {
            self.breaks(Promise::RetainedFiles, witness);
        }
    }

    pub(super) fn completed(&mut self, which: usize, checkpoint: CheckpointId) {
        self.tell_of_reign(which, None, Some(checkpoint), "checkpoint-completed", String::new);
        self.mark(Situation::Completed);
        if self.state.storage.ever >> checkpoint.0 & 1 == 0 {
            self.breaks(Promise::ToldAfterDurable, format!("{checkpoint} is complete, and the journal has never named it"));
        }
        let Some(parts) = self.state.storage.metadata.get(&checkpoint).cloned() else { return };
        match properties::cut(self.setup, &parts) {
            Ok(midway) => {
                if midway {
                    self.mark(Situation::CompletedMidway);
                }
            }
            Err(witness) => self.breaks(Promise::ConsistentCut, format!("{checkpoint}: {witness}")),
        }
        let attempt = parts.values().next().map(|part| part.attempt).unwrap_or_default();
        if !self.is_running(attempt) {
            self.mark(Situation::CompletedAfterFailure);
        }
        if parts.len() < self.setup.layout.tasks.len() {
            self.mark(Situation::CompletedWithoutFinished);
        }
        if parts.values().any(|part| !part.in_flight.is_empty()) {
            self.mark(Situation::CompletedInFlight);
        }
        let uploaded_before = |part: &Part| part.files.as_ref().is_some_and(|files| files.len() > 1);
        if parts.values().any(uploaded_before) {
            self.mark(Situation::SharedReused);
        }
    }

    /// What nobody needs though all is quiet.
    pub(super) fn left_over(&self) -> Option<String> {
        self.setup.something_is_left(&self.state)
    }
}

impl crate::turn::Setup {
    /// Whether the job runs, and has processed every record.
    pub(crate) fn all_is_processed(&self, state: &crate::state::State) -> bool {
        let Some(reign) = &state.reigns[0] else { return false };
        if self.world.transactional {
            return matches!(reign.machine.status(), Some(Status::Ended(_)));
        }
        let attempt = reign.machine.attempt();
        reign.machine.status() == Some(&Status::Running(attempt)) && properties::all_processed(self, state, attempt)
    }

    /// What nobody needs though all is quiet.
    pub(crate) fn something_is_left(&self, state: &crate::state::State) -> Option<String> {
        let reign = state.reigns[0].as_ref()?;
        if reign.machine.pending().next().is_some() || state.reigns[1].is_some() {
            return None;
        }
        let storage = &state.storage;
        let unneeded = (1..crate::queue::MOST_CHECKPOINTS).map(CheckpointId);
        let folder = unneeded.filter(|c| storage.folders >> c.0 & 1 == 1).find(|c| !storage.journal.completed.contains(c));
        folder.map(|folder| format!("the folder of {folder}, which the journal does not name"))
    }
}
