//! What is held against a run with transactional output: what readers see at any moment, and what they have in the end.

use super::{Run, ROOT};
use crate::disk::View;
use crate::jobs::OUTPUT;
use crate::oracle::decode::Checkpoint;
use crate::oracle::{committed_only, finished, in_flight};
use cofferdam_engine::connector::transactional_sink::STAGED;
use cofferdam_protocol::coordinator::Ended;
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;

impl Run {
    /// Whether the output is transactional.
    pub(super) fn delivers(&self) -> bool {
        self.scenario.job.kind.delivers()
    }

    /// The output folder and what is staged below it, as a power loss would leave them.
    pub(super) fn output_now(&self) -> BTreeMap<String, Vec<u8>> {
        let folder = format!("{OUTPUT}/");
        let files = self.world.storage(self.storage).tree_now(View::Durable);
        files.into_iter().filter(|(path, _)| path.starts_with(&folder)).collect()
    }

    /// The job begins from a snapshot of another one, and publishes what that holds.
    pub(super) fn origin_is_complete(&mut self) {
        let Some(origin) = self.job.origin.clone().filter(|_| self.delivers()) else { return };
        let read = match self.savepoints.get(&origin.checkpoint) {
            Some(folder) => self.read_savepoint(origin.checkpoint, folder),
            None => self.read_at(ROOT, &format!("chk-{}/_metadata", origin.checkpoint.0), origin.checkpoint),
        };
        match read {
            Ok(read) => self.may_be_seen(&read),
            Err(broken) => self.violated("retained-files", format!("a job begins from {}, but {broken}", origin.checkpoint)),
        }
    }

    /// Who had finished in what the next job begins from.
    pub(super) fn look_at_finished(&mut self, checkpoint: CheckpointId) {
        let read = match self.savepoints.get(&checkpoint) {
            Some(folder) => self.read_savepoint(checkpoint, folder),
            None => self.read_at(ROOT, &format!("chk-{}/_metadata", checkpoint.0), checkpoint),
        };
        let kind = self.scenario.job.kind;
        self.origin_has_finished_sources = read.is_ok_and(|read| finished::all_sources(kind, &read));
    }

    /// A checkpoint is complete, or one of another job that this one begins from.
    pub(super) fn may_be_seen(&mut self, checkpoint: &Checkpoint) {
        match in_flight::lines(checkpoint) {
            Ok(under_way) => self.delivered.completed(&self.logs, &checkpoint.positions, &under_way),
            Err(witness) => self.violated("consistent-cut", witness),
        }
    }

    /// Readers look into the output folder and nowhere else.
    pub(super) fn look_at_output(&mut self) {
        let disk = self.world.storage(self.storage);
        let Ok(mut names) = disk.list_now(View::Live, OUTPUT) else { return };
        names.retain(|name| name != STAGED);
        let read = |name: &str| disk.read_now(View::Live, &format!("{OUTPUT}/{name}")).map_err(|error| format!("{name}: {error}"));
        let judged = self.delivered.look(&names, &read);
        if let Err(witness) = judged {
            self.violated("committed-only", witness);
        }
    }

    /// What was held back for the newest checkpoint is there.
    pub(super) fn judge_published(&self) {
        if let Err(witness) = self.delivered.all_is_published(&self.logs) {
            self.violated("committed-only", witness);
        }
    }

    /// What the checkpoint that a job has begun from holds back is published before the first record, and nothing else is.
    pub(super) fn judge_recovered(&mut self) {
        self.look_at_output();
        self.judge_published();
    }

    /// At the end of a job.
    pub(super) fn judge_delivery(&self) {
        if self.ended != Some(Ended::Finished) {
            return;
        }
        let (files, staged) = (self.output_now(), format!("{OUTPUT}/{STAGED}"));
        let published = files.iter().filter(|(path, _)| !path.starts_with(&staged));
        let published = published.map(|(path, bytes)| (path.as_str(), bytes.as_slice()));
        if let Err(witness) = committed_only::delivered(&self.logs, published) {
            self.violated("exactly-once-output", witness);
        }
        let left = self.world.storage(self.storage).list_now(View::Live, &staged).unwrap_or_default();
        if let Some(name) = left.first().filter(|_| self.scenario.is_undisturbed() && self.job.origin.is_none()) {
            self.violated("no-unreferenced-files", format!("{name} is staged, and its job is over"));
        }
    }
}
