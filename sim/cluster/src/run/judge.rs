//! What is held against a run: each checkpoint as it completes, each restore, the end.

use super::Run;
use crate::disk::View;
use crate::local_copies::FOLDER;
use crate::oracle::expiry::Clocks;
use crate::oracle::{cut, decode, finished, output, reference, restore, space};
use crate::scenario::{BackendKind, Expect, JobKind, Scenario, StorageKind};
use crate::trace::lock;
use cofferdam_engine::sometimes;
use cofferdam_protocol::coordinator::Ended;
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// From a subtask's snapshot to the judgement of the checkpoint, where nothing goes wrong: at most so long.
const SNAPSHOT_MS: i64 = 1000;

impl Run {
    /// Reads a file as a power loss of the storage node at this moment would leave it, at least.
    pub(super) fn durable(&self, path: &str) -> Result<Vec<u8>, String> {
        if self.in_objects() {
            let url = if path.contains("://") { path.to_owned() } else { format!("{}/{path}", self.job.objects) };
            let object = self.world.objects().read_now(&url);
            return object.map(|bytes| bytes.to_vec()).ok_or_else(|| format!("{path}: it is not there"));
        }
        // A claimed snapshot's files are named by where they are.
        let full = if path.starts_with('/') { path.to_owned() } else { format!("{}/{path}", self.job.root) };
        self.world.storage(self.storage).read_now(View::Durable, &full).map_err(|error| format!("{path}: {error}"))
    }

    /// A snapshot whose paths are relative to another folder.
    pub(super) fn read_at(&self, base: &str, metadata: &str, checkpoint: CheckpointId) -> Result<decode::Checkpoint, String> {
        let (kind, disk) = (self.scenario.job.kind, self.world.storage(self.storage));
        let read = |path: &str| {
            let full = if path.starts_with('/') || path.contains("://") { path.to_owned() } else { format!("{base}/{path}") };
            if full.contains("://") {
                let object = self.world.objects().read_now(&full);
                return object.map(|bytes| bytes.to_vec()).ok_or_else(|| format!("{full}: it is not there"));
            }
            disk.read_now(View::Durable, &full).map_err(|error| format!("{full}: {error}"))
        };
        let mut read = decode::snapshot(metadata, checkpoint.0, &read, &|stored| reference::shape(kind, stored))?;
        finished::complete(kind, &self.logs, &self.read_out, &mut read);
        Ok(read)
    }

    pub(super) fn read_savepoint(&self, checkpoint: CheckpointId, folder: &str) -> Result<decode::Checkpoint, String> {
        self.read_at(folder, "_metadata", checkpoint)
    }

    /// A savepoint is complete: it is a consistent cut, and stays.
    pub(super) fn judge_savepoint(&mut self, checkpoint: CheckpointId, folder: String) {
        match self.read_savepoint(checkpoint, &folder) {
            Err(broken) => self.violated("retained-files", format!("savepoint {checkpoint} is complete, but {broken}")),
            Ok(read) => {
                let (kind, mode) = (self.scenario.job.kind, self.scenario.checkpoints.mode);
                if let Err(contradiction) = cut::judge(kind, mode, &self.logs, &read, &self.clocks()) {
                    self.violated("consistent-cut", format!("savepoint {checkpoint}: {contradiction}"));
                }
                self.judge_order(&format!("savepoint {checkpoint}"), &read);
                self.know_read_out(&read);
                self.keep_checkpoint(&read);
                let inside = read.files.iter().all(|path| !path.contains('/'));
                if !inside {
                    self.violated("restorability", format!("savepoint {checkpoint} needs files outside of its folder: {:?}", read.files));
                }
            }
        }
        self.savepoints.insert(checkpoint, folder);
    }

    pub(super) fn read_checkpoint(&self, checkpoint: CheckpointId) -> Result<decode::Checkpoint, String> {
        let kind = self.scenario.job.kind;
        let mut read = decode::checkpoint(checkpoint.0, &|path| self.durable(path), &|stored| reference::shape(kind, stored))?;
        finished::complete(kind, &self.logs, &self.read_out, &mut read);
        Ok(read)
    }

    /// From there on nobody says anything of what was read out by then.
    fn know_read_out(&mut self, read: &decode::Checkpoint) {
        sometimes!(self.world, !read.finished.is_empty(), "run/checkpoint-with-finished-tasks-judged");
        for (source, partitions) in &read.read_out {
            self.read_out.entry(source.clone()).or_default().extend(partitions);
        }
    }

    /// What state with time-to-live is judged by.
    fn clocks(&self) -> Clocks {
        let latest_ms = self.world.latest_wall_clock_ms();
        let scenario = &self.scenario;
        // Where barriers overtake, what is under way may take its time.
        let prompt = scenario.is_undisturbed() && !scenario.checkpoints.unaligned;
        let whole = prompt && scenario.cluster.backend == BackendKind::HashMap;
        Clocks { agree: scenario.clocks_agree(), latest_ms, cleaned_ms: whole.then_some(latest_ms - SNAPSHOT_MS) }
    }

    pub(super) fn is_stored(&self) -> bool {
        self.scenario.cluster.storage != StorageKind::Memory
    }

    pub(super) fn in_objects(&self) -> bool {
        self.scenario.cluster.storage == StorageKind::Object
    }

    /// Where the job has its checkpoints.
    pub(super) fn root(&self) -> &'static str {
        if self.in_objects() {
            self.job.objects
        } else {
            self.job.root
        }
    }

    /// A checkpoint is complete: everything it names is durable, and it is a consistent cut.
    pub(super) fn judge_checkpoint(&mut self, checkpoint: CheckpointId) {
        if !self.is_stored() {
            return;
        }
        self.retain(checkpoint);
        // A younger one may have subsumed it already.
        if !self.retained.contains(&checkpoint) {
            return;
        }
        match self.read_checkpoint(checkpoint) {
            Err(broken) => self.violated("retained-files", format!("{checkpoint} is complete, but {broken}")),
            Ok(read) => {
                let (kind, mode) = (self.scenario.job.kind, self.scenario.checkpoints.mode);
                if let Err(contradiction) = cut::judge(kind, mode, &self.logs, &read, &self.clocks()) {
                    self.violated("consistent-cut", format!("{checkpoint}: {contradiction}"));
                }
                self.judge_order(&checkpoint.to_string(), &read);
                if let Err(waste) = space::judge(self.scenario.cluster.merge, &read.physical) {
                    self.violated("space-amplification", format!("{checkpoint}: {waste}"));
                }
                self.judge_efficiency(checkpoint, &read);
                self.know_read_out(&read);
                self.may_be_seen(&read);
                self.take_image(checkpoint, &read);
                self.keep_checkpoint(&read);
            }
        }
        self.judge_retained();
        self.judge_shared();
    }

    /// Where nothing goes wrong, a shared file goes soon after the last retained checkpoint that needs it.
    fn judge_shared(&mut self) {
        if !self.scenario.is_undisturbed() || self.in_objects() {
            return;
        }
        let read = self.retained.iter().filter_map(|checkpoint| self.read_checkpoint(*checkpoint).ok());
        let needed = read.flat_map(|read| read.files).filter(|path| path.starts_with("shared/")).collect();
        let (live, root) = (self.world.storage(self.storage).tree_now(View::Live), self.job.root);
        let judged = self.leftovers.judge(self.world.now(), needed, |path| live.contains_key(&format!("{root}/{path}")));
        if let Err(leftover) = judged {
            self.violated("no-unreferenced-files", leftover);
        }
    }

    /// An incremental checkpoint adds what has changed, and little more.
    fn judge_efficiency(&mut self, checkpoint: CheckpointId, read: &decode::Checkpoint) {
        let Scenario { cluster, job, .. } = &self.scenario;
        // Elsewhere what comes and goes between two checkpoints leaves deletions in the files, and nothing in the state.
        let only_grows = matches!(job.kind, JobKind::WordCount | JobKind::Ledger);
        if cluster.backend != BackendKind::SortedRuns || !cluster.incremental || !only_grows {
            return;
        }
        let mut account = std::mem::take(&mut self.account);
        if let Err(contradiction) = account.completed(read, cluster.merge.map(|merge| merge.max_space_amplification)) {
            self.violated("efficiency", format!("{checkpoint}: {contradiction}"));
        }
        self.account = account;
    }

    fn keep_checkpoint(&self, read: &decode::Checkpoint) {
        // State of who had finished is gone: another run has it at the same positions.
        let gone = read.finished.contains_key(reference::keyed_operator(self.scenario.job.kind));
        if self.keep.outcome && !gone {
            lock(&self.seen).checkpoints.push(read.clone());
        }
    }

    pub(super) fn retain(&mut self, checkpoint: CheckpointId) {
        self.retained.insert(checkpoint);
        while self.retained.len() > self.scenario.checkpoints.retained.max(1) as usize {
            self.retained.pop_first();
        }
    }

    pub(super) fn judge_retained(&self) {
        for checkpoint in &self.retained {
            if let Err(broken) = self.read_checkpoint(*checkpoint) {
                self.violated("retained-files", format!("{checkpoint} is retained, but {broken}"));
            }
        }
        let given = self.claimed().map(|origin| &origin.path);
        for (checkpoint, folder) in self.savepoints.iter().filter(|(_, folder)| Some(*folder) != given) {
            if let Err(broken) = self.read_savepoint(*checkpoint, folder) {
                self.violated("retained-files", format!("savepoint {checkpoint} is its user's, but {broken}"));
            }
        }
    }

    pub(super) fn judge_restore(&mut self, attempt: AttemptId, checkpoint: CheckpointId) {
        if self.job.origin.as_ref().is_some_and(|origin| origin.checkpoint == checkpoint) {
            // Judged when it was taken; at another parallelism every subtask has something else to load.
            return;
        }
        if self.is_stored() {
            // Its coordinator may not have lived to announce it; older ones are subsumed all the same.
            self.retain(checkpoint);
            match self.read_checkpoint(checkpoint) {
                Ok(read) => {
                    self.know_read_out(&read);
                    self.may_be_seen(&read);
                    self.account.restored(&read, self.scenario.cluster.merge.is_some());
                    self.restoring.insert(attempt, read);
                }
                Err(broken) => self.violated("retained-files", format!("{attempt} begins from {checkpoint}, but {broken}")),
            }
        }
    }

    /// A subtask of an attempt that begins from a checkpoint has all that the checkpoint has for it.
    pub(super) fn judge_restored(&self, attempt: AttemptId, task: TaskId, held: u64) {
        let Some(checkpoint) = self.restoring.get(&attempt) else { return };
        if let Err(contradiction) = restore::judge(self.scenario.job.kind, checkpoint, task, held) {
            self.violated("restored-in-full", format!("{attempt}: {contradiction}"));
        }
    }

    pub(super) fn judge_end(&self, coordinator_done: bool) {
        match (&self.ended, self.scenario.expect) {
            (None, _) => {
                let bound = Duration::from_millis(self.scenario.liveness_bound_ms);
                return self.violated("liveness", format!("{bound:?} after the faults stopped the job has not ended"));
            }
            (Some(Ended::Failed(cause)), Expect::Refused) => return self.judge_refusal(cause),
            (Some(Ended::Failed(cause)), Expect::Damaged) => self.judge_damage(cause),
            (Some(Ended::Finished), Expect::Finished)
            | (Some(Ended::Failed(_)), Expect::Failed)
            | (Some(Ended::Cancelled), Expect::Cancelled)
            | (Some(Ended::Stopped(_)), Expect::Stopped | Expect::StoppedOrFinished)
            | (Some(Ended::Finished), Expect::StoppedOrFinished) => {}
            (Some(ended), expected) => {
                return self.violated("expected-end", format!("the job ended as {ended:?}, expected was {expected:?}"))
            }
        }
        if !coordinator_done {
            return self.violated("liveness", "the job has ended, but its coordinator does not come to an end".into());
        }
        let finished = self.ended == Some(Ended::Finished);
        // A job that begins from a snapshot says again only what it is asked at its end: the accounts of the ledger.
        if self.delivers() {
            self.judge_delivery();
        } else if let (true, JobKind::Shaped(shape)) = (finished, self.scenario.job.kind) {
            self.judge_merge(shape);
        } else if finished && (self.job.origin.is_none() || self.asks_again()) {
            self.judge_output();
        }
        self.judge_what_was_out_at_the_stop();
        self.judge_files();
        self.judge_savepoints();
        self.judge_local_copies();
    }

    /// Whether the ledger's accounts are asked for once more: by sources that have not finished before.
    fn asks_again(&self) -> bool {
        self.scenario.job.kind == JobKind::Ledger && !self.origin_has_finished_sources
    }

    /// A worker that was told of the end has left nothing on its disk. One that was not looks for its coordinator for ever.
    fn judge_local_copies(&self) {
        for node in self.world.nodes().into_iter().filter(|node| !self.world.is_up(*node)) {
            let there = self.world.storage(node).tree_now(View::Live);
            if let Some(path) = there.keys().find(|path| path.starts_with(FOLDER)) {
                self.violated("local-copies-pruned", format!("{} is done, and leaves {path}", self.world.name(node)));
            }
        }
    }

    /// A job that cannot begin from what another one left says why, before any of its tasks starts.
    fn judge_refusal(&self, cause: &str) {
        let wanted = ["state marks of visits", "mark v2", "mark v1"];
        if let Some(missing) = wanted.iter().find(|wanted| !cause.contains(*wanted)) {
            self.violated("expected-end", format!("the job is refused, but the reason does not say {missing:?}: {cause}"));
        }
        if self.restored_tasks > 0 {
            self.violated("expected-end", format!("the job is refused when {} of its tasks have started", self.restored_tasks));
        }
    }

    /// The finished table.
    pub(super) fn rows(&self) -> Result<BTreeMap<String, String>, String> {
        let tree = self.world.storage(self.storage).tree_now(View::Durable);
        let prefix = format!("{}/table-", self.job.output);
        let parts = tree.iter().filter(|(path, _)| path.starts_with(&prefix) && !path.ends_with(".tmp"));
        output::rows(parts.map(|(path, bytes)| (path.as_str(), bytes.as_slice())))
    }

    pub(super) fn judge_output(&self) {
        let rows = self.rows();
        let (kind, mode) = (self.scenario.job.kind, self.scenario.checkpoints.mode);
        let undisturbed = self.scenario.is_undisturbed();
        if let (true, Ok(rows)) = (self.keep.outcome, &rows) {
            lock(&self.seen).output.clone_from(rows);
        }
        match rows.and_then(|rows| output::judge(kind, mode, undisturbed, &self.logs, &rows)) {
            Ok(recounted) => lock(&self.seen).recounted = recounted,
            Err(witness) => self.violated("exactly-once-output", witness),
        }
    }

    /// After quiescence no file is unreferenced: what is left belongs to a checkpoint that retention keeps.
    pub(super) fn judge_files(&self) {
        let keeps = self.scenario.checkpoints.keeps_after(self.scenario.expect);
        let root = self.root();
        let folder = format!("{root}/chk-");
        let mut named = BTreeSet::new();
        if keeps {
            // The mark of shared files stays as long as anything does.
            named.insert(format!("{root}/shared/_location"));
            for checkpoint in &self.retained {
                // Its mark is no part of a checkpoint, and goes with it.
                named.insert(format!("{root}/chk-{}/_location", checkpoint.0));
                match self.read_checkpoint(*checkpoint) {
                    Ok(read) => named.extend(read.files.into_iter().map(|path| format!("{root}/{path}"))),
                    Err(broken) => self.violated("retained-files", format!("the job has ended and retains {checkpoint}, but {broken}")),
                }
            }
        }
        let there = if self.in_objects() { self.objects_to_judge() } else { self.files_to_judge() };
        let shared = format!("{root}/shared/");
        let judged = |path: &&String| path.starts_with(&folder) || path.starts_with(&shared);
        if let Some(path) = there.iter().filter(judged).find(|path| !named.contains(*path)) {
            self.violated("no-unreferenced-files", format!("{path} belongs to no retained checkpoint"));
        }
    }

    pub(super) fn files_to_judge(&self) -> Vec<String> {
        self.world.storage(self.storage).tree_now(View::Live).into_keys().collect()
    }

    /// Objects, and uploads that nobody has completed or aborted, but those that nobody can know of: their sender died before it
    /// was answered, or a stale listing hid them from the last sweep.
    pub(super) fn objects_to_judge(&self) -> Vec<String> {
        let (known, hidden): (Vec<_>, Vec<_>) = self.world.objects().names_now().into_iter().partition(|(_, known)| *known);
        let folder_of = |url: &str| url.rsplit_once('/').map_or(String::new(), |(folder, _)| folder.to_owned());
        // An upload is found by the object that names it.
        let nameless: BTreeSet<String> =
            hidden.iter().filter(|(url, _)| url.contains("/_upload-")).map(|(url, _)| folder_of(url)).collect();
        let unfinished = self.world.objects().unfinished_now().into_iter().filter(|url| !nameless.contains(&folder_of(url)));
        for _ in &hidden {
            self.world.count_fault("litter");
        }
        known.into_iter().map(|(url, _)| url).chain(unfinished.map(|url| format!("{url} (an upload)"))).collect()
    }
}
