//! Random lives of a coordinator in a small world that knows what is really durable.

use super::coordinator::{plan, requested, Part};
use crate::coordinator::{
    ClaimMode, Coordinator, Ended, FailureKind, FailureReason, Input, Journal, Kind, Origin, Output, Plan, RequestNumber, RestorePoint,
    Standing, Status, StoppedWith, Written,
};
use crate::ids::{AttemptId, CheckpointId, Incarnation, TaskId, WorkerId};
use crate::machine::Machine;
use crate::segments::{Merging, Segments};
use crate::snapshot::{Segment, SharedFile};
use crate::timer::Timer;
use std::collections::{BTreeMap, BTreeSet};

/// Everything around the coordinator: what could happen next, and what must not.
struct World {
    plan: Plan,
    job: Coordinator<Part>,
    /// What the journal really holds.
    truth: Journal,
    in_flight: Option<Journal>,
    /// Every restore point that the journal has ever held.
    ever: BTreeSet<CheckpointId>,
    answers: Vec<Input<Part>>,
    timers: Vec<Timer>,
    /// What was once said, and may be said again.
    said: Vec<Input<Part>>,
    lives: BTreeMap<WorkerId, u64>,
    newest: CheckpointId,
    acked: BTreeMap<CheckpointId, BTreeSet<TaskId>>,
    committed: Option<CheckpointId>,
    /// What each task has published up to, as far as the coordinator was told.
    published: BTreeMap<TaskId, CheckpointId>,
    notified: Option<CheckpointId>,
    gone: BTreeSet<CheckpointId>,
    savepoints: BTreeSet<CheckpointId>,
    /// Folders of savepoints, and whether there is metadata in each.
    folders: BTreeMap<CheckpointId, bool>,
    /// Savepoints that an earlier coordinator had begun, by what was found: finished ones, and others.
    settled: (usize, usize),
    /// Whether the snapshot that the job was started from still looks like one, and whether anything is left of it.
    origin: (bool, bool),
    completions: usize,
    /// Those that have given out what they held in the attempt they were deployed in.
    drained: BTreeSet<TaskId>,
    /// Those that have left the attempt they were deployed in, or were not started in it.
    finished: BTreeSet<TaskId>,
    /// Who had finished, by what each checkpoint says.
    finished_at: BTreeMap<CheckpointId, BTreeSet<TaskId>>,
    /// How often a job was stopped with everything published, and how often not.
    stopped: (usize, usize),
    stores: BTreeMap<TaskId, Store>,
    /// What each task handed over for each checkpoint: file numbers and the names that they were uploaded under.
    parts: BTreeMap<(CheckpointId, TaskId), Store>,
    /// Where files are merged: what each task knows of its physical files, in this attempt.
    merging: Option<BTreeMap<TaskId, Segments>>,
    deleted: BTreeSet<String>,
    uploads: u64,
    /// As what each task was deployed last, and how often some were while others went on.
    deployed: BTreeMap<TaskId, AttemptId>,
    regional: usize,
}

/// A task's store: it gets a file with each checkpoint and drops one of four. Each is uploaded once, or again from a wasteful file.
type Store = BTreeMap<u64, SharedFile>;

/// What the snapshot that the job was started from has brought for a task.
fn foreign(task: TaskId) -> SharedFile {
    SharedFile { name: "f0".into(), path: format!("/s/{task}"), size_bytes: FILE_BYTES, segment: None }
}

/// Every file has so many bytes.
const FILE_BYTES: u64 = 10;

const MERGING: Merging = Merging { max_file_bytes: 45, across_checkpoints: true, max_space_amplification: 2 };

fn stopped(journal: &Journal) -> Option<&StoppedWith> {
    match &journal.ended {
        Some(Ended::Stopped(with)) => Some(with),
        Some(Ended::Finished | Ended::Failed(_) | Ended::Cancelled) | None => None,
    }
}

impl World {
    fn new(plan: Plan, merging: bool) -> Self {
        let mut out = Vec::new();
        let job = Coordinator::new(plan.clone(), &mut out);
        let mut world = Self {
            plan,
            job,
            truth: Journal::default(),
            in_flight: None,
            ever: BTreeSet::new(),
            answers: Vec::new(),
            timers: Vec::new(),
            said: Vec::new(),
            lives: BTreeMap::new(),
            newest: CheckpointId::NONE,
            acked: BTreeMap::new(),
            committed: None,
            published: BTreeMap::new(),
            notified: None,
            gone: BTreeSet::new(),
            savepoints: BTreeSet::new(),
            folders: BTreeMap::new(),
            settled: (0, 0),
            origin: (true, true),
            completions: 0,
            drained: BTreeSet::new(),
            finished: BTreeSet::new(),
            finished_at: BTreeMap::new(),
            stopped: (0, 0),
            stores: BTreeMap::new(),
            parts: BTreeMap::new(),
            merging: merging.then(BTreeMap::new),
            deleted: BTreeSet::new(),
            uploads: 0,
            deployed: BTreeMap::new(),
            regional: 0,
        };
        world.perform(out);
        world
    }

    fn step(&mut self, input: Input<Part>) {
        if let Input::Acknowledged { attempt, checkpoint, task, .. } = &input {
            if *attempt == self.job.attempt_of(*task) && self.job.missing(*checkpoint).is_some() {
                self.acked.entry(*checkpoint).or_default().insert(*task);
            }
        }
        if let Input::Committed { attempt, checkpoint, task } = &input {
            if *attempt == self.job.attempt_of(*task) {
                self.published.insert(*task, *checkpoint);
            }
        }
        if let Input::TaskDrained { attempt, task } = &input {
            if *attempt == self.job.attempt_of(*task) {
                self.drained.insert(*task);
            }
        }
        // Answers of the process to itself come once.
        if !matches!(input, Input::Journal(_) | Input::SharedListed(_)) {
            self.said.push(input.clone());
        }
        if let Input::MetadataDurable(checkpoint) = &input {
            self.folders.entry(*checkpoint).and_modify(|written| *written = true);
        }
        let mut out = Vec::new();
        self.job.step(input, &mut out);
        self.perform(out);
        self.assert_leftovers_are_named();
        let ordinary = self.job.pending().filter(|(_, kind)| !kind.is_savepoint()).count();
        assert!(ordinary <= self.plan.checkpoints.max_concurrent as usize, "at most so many checkpoints are pending");
        // Why: barriers of two checkpoints in the channels at once, of which one overtakes.
        assert!(!self.plan.checkpoints.unaligned || self.job.pending().count() <= 1, "two are pending though barriers overtake");
    }

    fn perform(&mut self, outputs: Vec<Output<Part>>) {
        for output in outputs {
            match output {
                Output::Arm { timer, from, to } => {
                    assert!(from <= to, "a range of times");
                    self.timers.retain(|armed| *armed != timer);
                    self.timers.push(timer);
                }
                Output::Disarm(timer) => self.timers.retain(|armed| *armed != timer),
                Output::Write(entry) => {
                    assert!(self.in_flight.is_none(), "one entry at a time");
                    assert!(entry.completed.is_disjoint(&self.gone), "no entry names what was deleted");
                    assert!(self.truth.ended.is_none() || self.truth.ended == entry.ended, "a job ends once");
                    if let Some(with) = stopped(&entry) {
                        assert_eq!(self.folders.get(&with.checkpoint), Some(&true), "the savepoint is there before the job has stopped");
                    }
                    if entry.ended == Some(Ended::Finished) && self.truth.ended.is_none() {
                        let newest = self.truth.completed.last();
                        let due = |task: &&TaskId| !self.finished.contains(task) && self.published.get(task) < newest;
                        let late = self.plan.committers.iter().find(due);
                        assert_eq!(late, None, "the job has finished and this task has not published all");
                    }
                    self.in_flight = Some(entry);
                }
                Output::Triggered { checkpoint, .. } => {
                    assert!(checkpoint > self.newest, "{checkpoint} is used again");
                    assert!(checkpoint <= self.truth.reserved, "{checkpoint} is not set aside");
                    self.newest = checkpoint;
                }
                Output::CreateLocation(checkpoint, kind) => {
                    if kind.is_savepoint() {
                        assert!(self.truth.begun.contains_key(&checkpoint), "{checkpoint} has a folder, and no journal knows of it");
                        self.folders.insert(checkpoint, false);
                    }
                    self.answers.push(Input::LocationReady(checkpoint));
                }
                Output::SettleSavepoint { checkpoint, target } => {
                    assert_eq!(self.truth.begun.get(&checkpoint), Some(&target), "nobody else's folder is looked at");
                    match self.folders.get(&checkpoint) {
                        Some(true) => self.settled.0 += 1,
                        Some(false) => {
                            self.settled.1 += 1;
                            self.folders.remove(&checkpoint);
                        }
                        None => {}
                    }
                    self.answers.push(Input::SavepointSettled(checkpoint));
                }
                Output::Trigger { checkpoint, tasks, kind, .. } => {
                    assert!(tasks.is_disjoint(&self.finished), "nobody who has finished is asked");
                    let hears = |task: &&TaskId| self.plan.predecessors.get(task).is_some_and(|before| !before.is_subset(&self.finished));
                    assert_eq!(tasks.iter().find(hears), None, "nobody is asked who hears of it anyway");
                    assert!(!self.may_have_stopped(), "a job that may have stopped takes no checkpoint");
                    let drains = self.plan.tasks.iter().filter(|_| kind.drains());
                    let drained = drains.map(|&task| Input::TaskDrained { attempt: self.job.attempt_of(task), task });
                    self.answers.extend(drained);
                    let first = !self.finished_at.contains_key(&checkpoint);
                    self.finished_at.entry(checkpoint).or_default();
                    for task in self.plan.tasks.difference(&self.finished).copied().filter(|_| first).collect::<Vec<_>>() {
                        let attempt = self.job.attempt_of(task);
                        let snapshot = self.take_snapshot(checkpoint, task);
                        self.answers.push(Input::Acknowledged { attempt, checkpoint, task, snapshot });
                    }
                }
                Output::SnapshotEnumerators(checkpoint) => self.answers.push(Input::EnumeratorsReady(checkpoint)),
                Output::CallHooks(checkpoint) => self.answers.push(Input::HooksReady(checkpoint)),
                Output::ListShared { checkpoints, origin } => {
                    let used = |checkpoint: &CheckpointId| {
                        let parts = self.parts.range((*checkpoint, TaskId::new(0, 0))..).take_while(|((other, _), _)| other == checkpoint);
                        parts.flat_map(|(_, part)| part.values()).map(|file| (file.path.clone(), *checkpoint)).collect::<Vec<_>>()
                    };
                    let brought = |origin: Origin| self.plan.tasks.iter().map(move |task| (foreign(*task).path, origin.checkpoint));
                    let brought = origin.into_iter().filter(|_| self.origin.1).flat_map(brought);
                    self.answers.push(Input::SharedListed(brought.chain(checkpoints.iter().flat_map(used)).collect()));
                }
                Output::DiscardShared(files) => {
                    let foreign = files.iter().find(|file| file.starts_with('/'));
                    assert!(foreign.is_none() || !self.origin.0, "the origin looks whole, and {foreign:?} of it goes");
                    self.deleted.extend(files);
                    self.assert_nothing_shared_is_missing();
                }
                Output::SweepShared { keep, before } => {
                    let (ours, everything) = (format!("e{}-", self.job.epoch().0), before.is_none());
                    let files = self.parts.values().flat_map(BTreeMap::values).map(|file| &file.path);
                    let files = files.filter(|file| !file.starts_with('/') && (everything || !file.starts_with(&ours)));
                    let gone: Vec<String> = files.filter(|file| !keep.contains(*file)).cloned().collect();
                    self.deleted.extend(gone);
                    self.assert_nothing_shared_is_missing();
                }
                Output::DiscardOrigin(origin) => {
                    assert_eq!(origin.claim, ClaimMode::Claim, "what is the user's is deleted");
                    assert_eq!(self.truth.origin, None, "and nothing begins from it any more");
                    assert_eq!(self.truth.discarding, Some(origin), "whoever takes over knows of it");
                    let over = self.truth.ended == Some(Ended::Finished) || stopped(&self.truth).is_some();
                    let taken_in = !self.ever.is_empty() || over;
                    assert!(taken_in, "what was never taken in is deleted");
                    self.origin.0 = false;
                    self.answers.push(Input::OriginDiscarded);
                }
                Output::ForgetOrigin(origin) => {
                    assert_eq!(self.truth.discarding, Some(origin), "it is being deleted");
                    assert!(!self.origin.0, "what looks whole is whole");
                    self.origin.1 = false;
                    self.deleted.extend(self.plan.tasks.iter().map(|task| foreign(*task).path));
                    self.assert_nothing_shared_is_missing();
                    self.answers.push(Input::OriginForgotten);
                }
                Output::WriteMetadata { checkpoint, kind, snapshots, finished, .. } => {
                    let late = self.plan.tasks.difference(&self.drained).next().filter(|_| kind.drains());
                    assert_eq!(late, None, "{checkpoint} is said to be drained, and this task is not");
                    assert!(finished.is_subset(&self.finished), "only who has finished is said to have");
                    let acked = self.acked.get(&checkpoint).cloned().unwrap_or_default();
                    let each = self.plan.tasks.difference(&finished).all(|task| acked.contains(task));
                    assert!(each, "{checkpoint} has the part of each task");
                    assert!(snapshots.keys().eq(self.plan.tasks.difference(&finished)), "and so has its metadata");
                    // What they had handed over for it was dropped with them.
                    self.parts.retain(|(other, task), _| *other != checkpoint || !finished.contains(task));
                    self.finished_at.insert(checkpoint, finished);
                    self.answers.push(Input::MetadataDurable(checkpoint));
                }
                Output::Completed { checkpoint, kind } => {
                    let parts = self.acked.get(&checkpoint).into_iter().flatten().chain(&self.finished_at[&checkpoint]);
                    assert!(parts.copied().collect::<BTreeSet<_>>() == self.plan.tasks, "{checkpoint} completes after each ack");
                    self.completions += 1;
                    if kind.stops() {
                        assert_eq!(stopped(&self.truth).map(|with| with.checkpoint), Some(checkpoint), "the journal says so first");
                    }
                    if kind.is_savepoint() {
                        assert_eq!(self.folders.get(&checkpoint), Some(&true), "a savepoint that its user is told of is there");
                        assert!(!self.truth.begun.contains_key(&checkpoint), "and nobody will take it for unfinished");
                        self.savepoints.insert(checkpoint);
                    } else {
                        assert!(self.truth.completed.contains(&checkpoint), "{checkpoint} is complete without being durable");
                    }
                }
                Output::NotifyComplete { checkpoint, .. } => {
                    let told = self.plan.committers.iter().filter(|task| self.job.placement().contains_key(*task));
                    let committed = told.map(|&task| Input::Committed { attempt: self.job.attempt_of(task), checkpoint, task });
                    self.answers.extend(committed);
                    let with = stopped(&self.truth).map(|with| with.checkpoint);
                    let durable = self.truth.completed.contains(&checkpoint) || with == Some(checkpoint);
                    assert!(durable, "{checkpoint} is committed without being durable");
                    // The abort of a subsumed one may have told of it already.
                    assert!(self.committed <= Some(checkpoint), "commits go forward");
                    assert!(self.notified < Some(checkpoint), "and each is told of once");
                    (self.committed, self.notified) = (Some(checkpoint), Some(checkpoint));
                }
                Output::Discard(checkpoint) => {
                    self.assert_unneeded(checkpoint);
                    self.gone.insert(checkpoint);
                    self.folders.remove(&checkpoint);
                    self.answers.push(Input::Discarded(checkpoint));
                }
                Output::DiscardSnapshot { checkpoint, .. } => self.assert_unneeded(checkpoint),
                Output::Sweep { keep, up_to } => {
                    let lost = self.truth.completed.iter().find(|kept| **kept <= up_to && !keep.contains(kept));
                    assert_eq!(lost, None, "a restore point is swept");
                }
                Output::Deploy { attempt, restore, placement } => {
                    assert!(!self.may_have_stopped(), "a job that may have stopped is deployed");
                    self.drained.retain(|task| !placement.contains_key(task));
                    self.finished.retain(|task| !placement.contains_key(task));
                    let before = restore.as_ref().and_then(|from| self.finished_at.get(&from.checkpoint()));
                    let before: BTreeSet<TaskId> =
                        before.into_iter().flatten().filter(|task| placement.contains_key(task)).copied().collect();
                    self.finished.extend(&before);
                    self.drained.extend(&before);
                    self.assert_others_go_on(attempt, &placement);
                    let of = |entry: &Journal| {
                        let own = entry.completed.last().copied().map(RestorePoint::Own);
                        own.or_else(|| entry.origin.clone().map(RestorePoint::Origin))
                    };
                    assert_eq!(restore, of(&self.truth), "the newest durable one is restored");
                    let restored_from = restore.as_ref().map(RestorePoint::checkpoint);
                    for &task in placement.keys() {
                        let store = restored_from.and_then(|from| self.parts.get(&(from, task)).cloned()).unwrap_or_default();
                        self.stores.insert(task, store);
                        if let Some(RestorePoint::Origin(Origin { claim: ClaimMode::Claim, .. })) = &restore {
                            assert!(self.origin.0, "what is begun from is whole");
                            self.stores.entry(task).or_default().insert(0, foreign(task));
                        }
                    }
                    self.merging.iter_mut().for_each(|merging| merging.retain(|task, _| !placement.contains_key(task)));
                    assert!(restored_from >= self.committed, "what was committed is not done again");
                    let next = self.in_flight.as_ref().map_or(restore.clone(), of);
                    assert_eq!(next, restore, "no entry under way changes what is restored");
                    // The process tells itself, before anybody else says something.
                    let started = placement.into_keys().filter(|task| !before.contains(task)).collect::<Vec<_>>();
                    if !before.is_empty() {
                        self.answers.push(Input::FinishedBefore { attempt, tasks: before });
                    }
                    self.answers.push(Input::Deployed { attempt });
                    self.answers.extend(started.into_iter().map(|task| Input::TaskRunning { attempt, task }));
                }
                Output::Stop { attempt } => {
                    let stopped = |&worker: &WorkerId| Input::WorkerStopped { attempt, worker };
                    self.answers.extend(self.lives.keys().map(stopped));
                }
                Output::StopTasks { attempt, tasks } => {
                    let left = self.job.placement().keys().find(|task| tasks.contains(task));
                    assert_eq!(left, None, "it stops, and has a place");
                    assert!(!self.job.placement().is_empty(), "others go on");
                    let stopped = |&worker: &WorkerId| Input::WorkerStopped { attempt, worker };
                    self.answers.extend(self.lives.keys().map(stopped));
                }
                Output::NotifyAbort { checkpoint, latest_completed, .. } => {
                    // It is committed, too, by a task that has missed the notice.
                    let latest = latest_completed.is_none_or(|latest| self.ever.contains(&latest));
                    assert!(latest, "the abort of {checkpoint} commits what was never durable");
                    self.committed = self.committed.max(latest_completed);
                }
                Output::Stopped { checkpoint, unpublished, .. } => {
                    assert_eq!(stopped(&self.truth).map(|with| with.checkpoint), Some(checkpoint), "the journal says so first");
                    let due = |task: &&TaskId| !self.finished.contains(task) && self.published.get(task) < Some(&checkpoint);
                    let late = self.plan.committers.iter().find(due);
                    assert!(late.is_none() || unpublished.is_some(), "{late:?} has not published what waited for {checkpoint}");
                    if unpublished.is_none() {
                        self.stopped.0 += 1
                    } else {
                        self.stopped.1 += 1
                    }
                }
                Output::ArmSooner { .. } | Output::Aborted { .. } | Output::Status(_) | Output::Ignored(_) => {}
                Output::SteppedDown => panic!("nobody else has taken over"),
            }
        }
    }

    /// What is deployed is all of the job, or whole regions of it; the rest is where it was, as it was.
    fn assert_others_go_on(&mut self, attempt: AttemptId, placement: &BTreeMap<TaskId, WorkerId>) {
        let others: Vec<TaskId> = self.plan.tasks.iter().filter(|task| !placement.contains_key(task)).copied().collect();
        self.regional += usize::from(!others.is_empty());
        for task in &others {
            assert!(self.job.attempt_of(*task) < attempt, "{task} goes on, and is of {attempt}");
            assert_eq!(self.deployed.get(task), Some(&self.job.attempt_of(*task)), "{task} goes on as what it was deployed as");
        }
        let whole =
            |region: &BTreeSet<TaskId>| others.iter().all(|task| !region.contains(task)) || region.iter().all(|task| others.contains(task));
        assert!(self.plan.regions.iter().all(whole), "a region is deployed in part: {placement:?}");
        self.deployed.extend(placement.keys().map(|task| (*task, attempt)));
    }

    /// The journal says so, or may say so.
    fn may_have_stopped(&self) -> bool {
        stopped(&self.truth).is_some() || self.in_flight.as_ref().is_some_and(|entry| stopped(entry).is_some())
    }

    /// Whoever takes over must find out what is not finished.
    fn assert_leftovers_are_named(&self) {
        let unfinished = self.folders.iter().find(|(checkpoint, written)| !**written && !self.truth.begun.contains_key(*checkpoint));
        assert_eq!(unfinished, None, "it is not finished, and no journal knows of it");
        let told = self.savepoints.iter().find(|checkpoint| self.folders.get(*checkpoint) != Some(&true));
        assert_eq!(told, None, "it is its user's, and is gone");
        let (whole, there) = self.origin;
        assert!(whole || !there || self.truth.discarding.is_some(), "the origin is half deleted, and no journal knows of it");
    }

    fn take_snapshot(&mut self, checkpoint: CheckpointId, task: TaskId) -> Part {
        let store = self.stores.entry(task).or_default();
        // Now the oldest, now another one, and now and then all: then nothing is left, and nothing is new.
        let empty = checkpoint.0 % 5 == 4;
        if empty {
            store.clear();
        } else if store.len() > 3 {
            let dropped = *store.keys().nth(checkpoint.0 as usize % 3).expect("there are more than three");
            store.remove(&dropped);
        }
        let segments = self.merging.as_mut().map(|merging| merging.entry(task).or_insert_with(|| Segments::new(MERGING)));
        let again = match segments {
            None => BTreeSet::new(),
            Some(segments) => {
                if self.uploads % 7 == 3 {
                    segments.broken();
                }
                segments.begin(store.values())
            }
        };
        let again: Vec<u64> = store.iter().filter(|(_, file)| again.contains(&file.name)).map(|(number, _)| *number).collect();
        for number in again.into_iter().chain((!empty).then_some(checkpoint.0)) {
            self.upload(task, number);
        }
        let part = self.stores.get(&task).cloned().unwrap_or_default();
        let files = part.values().map(|file| file.path.clone()).collect();
        self.parts.insert((checkpoint, task), part);
        Part(files)
    }

    fn upload(&mut self, task: TaskId, number: u64) {
        self.uploads += 1;
        let new = format!("e{}-{task}-{}", self.job.epoch().0, self.uploads);
        let (path, segment) = match self.merging.as_mut().and_then(|merging| merging.get_mut(&task)) {
            None => (new, None),
            Some(segments) => {
                let path = segments.place(FILE_BYTES, || new).to_owned();
                assert!(!self.deleted.contains(&path), "{path} is written to after it was deleted");
                let offset = segments.file_bytes(&path).expect("it is open");
                segments.written(offset + FILE_BYTES);
                (path, Some(Segment { offset, file_bytes: offset + FILE_BYTES }))
            }
        };
        let file = SharedFile { name: format!("f{number}"), path, size_bytes: FILE_BYTES, segment };
        self.stores.entry(task).or_default().insert(number, file);
    }

    fn assert_nothing_shared_is_missing(&self) {
        for ((checkpoint, task), part) in &self.parts {
            if self.truth.completed.contains(checkpoint) {
                let missing = part.values().find(|file| self.deleted.contains(&file.path));
                assert_eq!(missing, None, "{checkpoint} needs it for {task}");
            }
        }
    }

    fn assert_unneeded(&self, checkpoint: CheckpointId) {
        assert!(!self.truth.completed.contains(&checkpoint), "{checkpoint} is a restore point and is deleted");
        assert!(!self.savepoints.contains(&checkpoint), "{checkpoint} is a savepoint and is deleted");
        let names =
            |entry: &Journal| entry.completed.contains(&checkpoint) || stopped(entry).is_some_and(|with| with.checkpoint == checkpoint);
        assert!(!names(&self.truth), "{checkpoint} is what the job was stopped with, and is deleted");
        let named = self.in_flight.as_ref().is_some_and(names);
        assert!(!named, "{checkpoint} is deleted while an entry names it");
    }

    fn take_answer(&mut self, pick: usize) -> Option<Input<Part>> {
        (!self.answers.is_empty()).then(|| self.answers.remove(pick % self.answers.len()))
    }

    fn join(&mut self, worker: u32, slots: u32) {
        let life = self.lives.entry(WorkerId(worker)).or_insert(0);
        *life += 1;
        let incarnation = Incarnation(*life);
        self.step(Input::WorkerJoined { worker: WorkerId(worker), incarnation, slots });
    }

    fn land(&mut self, entry: Journal) {
        self.ever.extend(&entry.completed);
        self.truth = entry;
    }

    fn answer_journal(&mut self, durable: bool, landed: bool) {
        let Some(entry) = self.in_flight.take() else { return };
        if durable || landed {
            self.land(entry);
        }
        self.step(Input::Journal(if durable { Written::Durable } else { Written::Unknown }));
    }

    fn take_over(&mut self, landed: bool) {
        if let Some(entry) = self.in_flight.take().filter(|_| landed) {
            self.land(entry);
        }
        for answer in &self.answers {
            if let Input::MetadataDurable(checkpoint) = answer {
                // It was written, and nobody heard of it.
                self.folders.entry(*checkpoint).and_modify(|written| *written |= landed);
            }
        }
        (self.answers, self.timers, self.acked) = (Vec::new(), Vec::new(), BTreeMap::new());
        let mut out = Vec::new();
        self.job = Coordinator::recover(Standing { plan: self.plan.clone(), journal: self.truth.clone() }, &mut out);
        self.perform(out);
        let alive: Vec<WorkerId> = self.lives.keys().copied().collect();
        alive.into_iter().for_each(|worker| self.join(worker.0, 2));
    }

    /// A task leaves, if those before it have. What it has cut goes out first; what it has not cut it never will.
    fn finish(&mut self, task: TaskId) {
        let attempt = self.job.attempt_of(task);
        let before = self.plan.predecessors.get(&task).cloned().unwrap_or_default();
        let runs = match self.job.status() {
            Some(Status::Running(_)) => true,
            Some(Status::Deploying(latest)) => attempt < *latest,
            // Beside what is down.
            Some(Status::Failing { .. } | Status::Restarting { .. } | Status::WaitingForWorkers { .. }) => {
                self.job.placement().contains_key(&task)
            }
            Some(Status::Committing(_) | Status::Stopping { .. } | Status::Ended(_)) | None => false,
        };
        if !runs || self.finished.contains(&task) || !before.is_subset(&self.finished) {
            return;
        }
        let own = |input: &Input<Part>| matches!(input, Input::Acknowledged { task: by, .. } if *by == task);
        while let Some(at) = self.answers.iter().position(own) {
            let ack = self.answers.remove(at);
            let Input::Acknowledged { checkpoint, attempt: of, .. } = &ack else { unreachable!("it was looked for") };
            let heard = self.acked.get(checkpoint).is_some_and(|acked| before.iter().any(|task| acked.contains(task)));
            if heard || *of != attempt {
                self.step(ack);
            }
        }
        self.finished.insert(task);
        self.drained.insert(task);
        self.step(Input::TaskFinished { attempt, task });
    }

    /// One thing happens.
    fn happen(&mut self, what: u8, pick: u8) {
        let (at, odd) = (pick as usize, pick % 2 == 1);
        let task = TaskId::new(u32::from(pick % 2), u32::from(pick / 2 % 2));
        let attempt = if what == 21 { self.job.attempt() } else { self.job.attempt_of(task) };
        match what {
            0 => {
                if let Some(answer) = self.take_answer(at) {
                    self.step(answer);
                }
            }
            8 => self.answer_journal(true, true),
            10 => self.answer_journal(false, odd),
            11 => {
                // Only what is meant to fire.
                let due = |timer: &Timer| matches!(timer, Timer::Trigger(_) | Timer::MinPause(_) | Timer::Restart(_) | Timer::JournalRetry);
                if let Some(index) = self.timers.iter().position(due) {
                    let timer = self.timers.remove(index);
                    self.step(Input::Fired(timer));
                }
            }
            12 => {
                if !self.timers.is_empty() {
                    let timer = self.timers.remove(at % self.timers.len());
                    self.step(Input::Fired(timer));
                }
            }
            13 => match self.take_answer(at) {
                Some(Input::HooksReady(checkpoint)) => self.step(Input::HooksFailed(checkpoint)),
                Some(Input::LocationReady(checkpoint)) => self.step(Input::LocationFailed(checkpoint)),
                Some(Input::MetadataDurable(checkpoint)) if odd => self.step(Input::PartsRefused(checkpoint)),
                Some(Input::MetadataDurable(checkpoint)) => self.step(Input::MetadataFailed(checkpoint)),
                Some(Input::Acknowledged { attempt, checkpoint, task, .. }) => {
                    let reason = if odd { FailureReason::AsyncException } else { FailureReason::DeclinedNotReady };
                    self.step(Input::Declined { attempt, checkpoint, task, reason });
                }
                Some(Input::WorkerStopped { .. } | Input::TaskRunning { .. }) | None => {}
                Some(Input::Committed { attempt, task, .. }) => {
                    self.step(Input::TaskFailed { attempt, task, cause: "it cannot publish".into(), kind: FailureKind::Recoverable });
                }
                Some(other) => self.step(other),
            },
            14 => self.join(u32::from(pick % 4), u32::from(pick / 4 % 3)),
            15 => {
                let worker = WorkerId(u32::from(pick % 4));
                let incarnation = Incarnation(self.lives.get(&worker).copied().unwrap_or(0));
                self.step(Input::WorkerLost { worker, incarnation });
            }
            16 => self.step(requested([Kind::Savepoint(RequestNumber(0)), Kind::Requested, Kind::Periodic][at % 3])),
            23 => self.step(Input::Backlog { attempt, task, behind: odd }),
            17 => {
                if !self.said.is_empty() {
                    let again = self.said[self.said.len() - 1 - at % self.said.len()].clone();
                    self.step(again);
                }
            }
            18 => self.take_over(odd),
            24 if pick < 40 => self.step(requested(Kind::Stop { request: RequestNumber(1), drain: odd })),
            19 => self.step(Input::TaskFailed { attempt, task, cause: "power".into(), kind: FailureKind::Recoverable }),
            20 => self.step(Input::TaskDrained { attempt, task }),
            25 if pick < 60 => self.finish(task),
            21 if pick == 0 => self.step(Input::CancelRequested),
            21 if pick == 1 => self.step(Input::RestoreFailed { attempt, cause: "checksum".into(), kind: FailureKind::NonRecoverable }),
            _ => self.step(Input::Heartbeat { worker: WorkerId(u32::from(pick % 4)), incarnation: Incarnation(1) }),
        }
    }

    /// No more faults: everything is answered in order, time passes.
    fn calm(&mut self) {
        (5..8).for_each(|worker| self.join(worker, 2));
        let before = self.completions;
        for _ in 0..4000 {
            if self.completions > before || matches!(self.job.status(), Some(Status::Ended(_))) {
                return;
            }
            if self.in_flight.is_some() {
                self.answer_journal(true, true);
            } else if let Some(answer) = self.take_answer(0) {
                self.step(answer);
            } else {
                let due = self.timers.iter().position(|timer| !matches!(timer, Timer::WorkerSilent(..)));
                let timer = self.timers.remove(due.expect("something is due, or the job waits for ever"));
                self.step(Input::Fired(timer));
            }
        }
        panic!("no checkpoint completes though all is calm: {:?}", self.job);
    }
}

mod lives;
