//! What is held against a job that its user has stopped with a savepoint.

use super::Run;
use crate::disk::View;
use crate::jobs::Log;
use crate::oracle::{cut, decode, output, reference};
use crate::scenario::{JobKind, What};
use crate::trace::lock;
use cofferdam_protocol::coordinator::{Ended, StoppedWith};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;

impl Run {
    /// The savepoint, and where it is.
    pub(super) fn stopped_with(&self) -> Option<(CheckpointId, String)> {
        let Some(Ended::Stopped(StoppedWith { checkpoint, target, .. })) = &self.ended else { return None };
        Some((*checkpoint, format!("{target}/savepoint-{}-{}", checkpoint.0, self.job.name)))
    }

    /// The journal says that the job has stopped: what waits for the savepoint may be seen from now on.
    pub(super) fn judge_stop(&mut self, checkpoint: CheckpointId) {
        let read = match self.savepoints.get(&checkpoint) {
            Some(folder) => self.read_savepoint(checkpoint, folder),
            None => Err("nobody was told of it".into()),
        };
        match read {
            Ok(read) if self.delivers() => self.may_be_seen(&read),
            Ok(_) => {}
            Err(broken) => self.violated("retained-files", format!("the job has stopped with {checkpoint}, but {broken}")),
        }
    }

    /// The same, at its end: its coordinator may have died before it could say so.
    pub(super) fn judge_stopped(&mut self) {
        let Some((checkpoint, folder)) = self.stopped_with() else { return };
        if !self.savepoints.contains_key(&checkpoint) {
            self.judge_savepoint(checkpoint, folder);
        }
        self.judge_stop(checkpoint);
    }

    /// Whether nothing goes wrong but what the users want.
    fn only_users(&self) -> bool {
        let of_a_user = |what: &What| matches!(what, What::Checkpoint {} | What::Savepoint { .. } | What::Stop { .. });
        self.scenario.chaos.is_none() && self.scenario.faults.iter().all(|fault| of_a_user(&fault.what))
    }

    /// All that the savepoint has was given out, and nothing that it has not.
    pub(super) fn judge_what_was_out_at_the_stop(&self) {
        let Some((checkpoint, folder)) = self.stopped_with() else { return };
        if self.delivers() {
            if self.published_at_the_stop == Some(true) {
                self.judge_published();
            }
            return;
        }
        // An idempotent table shows what an attempt wrote that has failed, until the next one has come as far.
        if !self.only_users() || lock(&self.seen).violation.is_some() {
            return;
        }
        let judged = self.read_savepoint(checkpoint, &folder).and_then(|read| match (read.drained, self.scenario.job.kind) {
            // What they had given out stands elsewhere than what still waits for the end.
            _ if read.finished.contains_key(reference::keyed_operator(self.scenario.job.kind)) => Ok(()),
            (false, JobKind::WordCount) => self.judge_segments(&read),
            (true, JobKind::WordCount | JobKind::Windows | JobKind::Sessions | JobKind::Hops) => self.judge_drained(&read),
            (_, JobKind::Windows | JobKind::Sessions | JobKind::Hops | JobKind::Ledger | JobKind::Expiring) => Ok(()),
            (_, JobKind::Rules | JobKind::Visits | JobKind::Delivery | JobKind::Lanes | JobKind::Post | JobKind::Arrivals) => Ok(()),
            // What these give out depends on more than the input: their own oracles judge it.
            (_, JobKind::Patterns | JobKind::IdleSplit | JobKind::Shaped(_)) => Ok(()),
        });
        if let Err(witness) = judged {
            self.violated("exactly-once-output", format!("the job has stopped with {checkpoint}: {witness}"));
        }
    }

    /// The rows that wait for the end of all input say what the savepoint says.
    fn judge_segments(&self, read: &decode::Checkpoint) -> Result<(), String> {
        let mut rows = BTreeMap::new();
        for (path, bytes) in self.files_of_the_table("_pending/table-") {
            // In the order of their names: the last row of a key counts.
            rows.extend(output::rows(std::iter::once((path.as_str(), bytes.as_slice())))?);
        }
        let nothing = BTreeMap::new();
        let counts = read.keyed.get("count").and_then(|state| state.get("count")).unwrap_or(&nothing);
        for key in counts.keys().chain(rows.keys()) {
            let (row, count) = (rows.get(key), counts.get(key));
            let same = matches!((row, count), (Some(row), Some(decode::Value::Number(count))) if *row == count.to_string());
            if !same {
                return Err(format!("the row of {key} is {row:?}, the savepoint has {count:?}"));
            }
        }
        Ok(())
    }

    /// The table is what all input would make, if it ended where the savepoint was taken.
    fn judge_drained(&self, read: &decode::Checkpoint) -> Result<(), String> {
        let files = self.files_of_the_table("table-");
        let rows = output::rows(files.iter().map(|(path, bytes)| (path.as_str(), bytes.as_slice())))?;
        let (kind, mode) = (self.scenario.job.kind, self.scenario.checkpoints.mode);
        output::judge(kind, mode, false, &cut_off(&self.logs, read)?, &rows).map(|_| ())
    }

    fn files_of_the_table(&self, names: &str) -> BTreeMap<String, Vec<u8>> {
        let prefix = format!("{}/{names}", self.job.output);
        let files = self.world.storage(self.storage).tree_now(View::Durable);
        files.into_iter().filter(|(path, _)| path.starts_with(&prefix) && !path.ends_with(".tmp")).collect()
    }
}

/// The input up to a snapshot's positions.
fn cut_off(logs: &[Log], read: &decode::Checkpoint) -> Result<Vec<Log>, String> {
    let mut short = Vec::new();
    for log in logs {
        let mut partitions = Vec::new();
        for ((path, lines), index) in log.partitions.iter().zip(0..) {
            let offset = read.positions.get(log.source).and_then(|positions| positions.get(&index)).copied().unwrap_or(0);
            let count = cut::lines_before(lines, offset).ok_or_else(|| format!("offset {offset} of {path} is inside a line"))?;
            partitions.push((path.clone(), lines[..count].to_vec()));
        }
        short.push(Log { source: log.source, partitions });
    }
    Ok(short)
}
