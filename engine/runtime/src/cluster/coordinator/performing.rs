//! What the machine wants done, done.

use super::super::message::ToWorker;
use super::enumerators::claimed;
use super::{retry, CoordinatorError, Driver, Inbox, Published};
use crate::env::Env;
use crate::job::JobGraph;
use crate::observe::{Actor, Detail, Event, Moment};
use crate::record::{Alignment, SnapshotRequest};
use crate::sometimes;
use crate::storage::{CheckpointStore, StorageError};
use crate::task::TaskControl;
use cofferdam_protocol::coordinator::{FailureKind, Input, Kind, Origin, Output, RestorePoint, Status};
use cofferdam_protocol::local::Taken;
use cofferdam_protocol::metadata::{CheckpointMetadata, CollectError, EnumeratorState, HookState, SnapshotKind};
use cofferdam_protocol::restore::{self, TaskRestore, UnclaimedState};
use cofferdam_protocol::snapshot::{OperatorSnapshot, TaskSnapshot};
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

/// Why no job goes on from there.
pub const DRAINED: &str =
    "its job was drained when it stopped: what was open, such as windows, was closed and given out, as at the end of all input";

impl<E: Env> Driver<E> {
    pub(super) fn perform(&mut self, output: Output<TaskSnapshot>) -> Result<(), CoordinatorError> {
        match output {
            Output::Arm { timer, from, to } => {
                let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX - 1);
                let drawn = if span == 0 { 0 } else { self.env.random() % (span + 1) };
                self.deadlines.insert(timer, self.env.now() + from + Duration::from_micros(drawn));
                self.set_alarm();
            }
            Output::ArmSooner { timer, after } => {
                let sooner = self.env.now() + after;
                let deadline = self.deadlines.entry(timer).or_insert(sooner);
                *deadline = sooner.min(*deadline);
                self.set_alarm();
            }
            Output::Disarm(timer) => {
                self.deadlines.remove(&timer);
            }
            Output::Write(journal) => {
                // The journal's task lives as long as this driver.
                let _ = self.journal_sender.send(journal);
            }
            Output::CreateLocation(checkpoint, kind) => {
                self.unanswered.insert(checkpoint);
                let (env, store) = (self.env.clone(), self.store.clone());
                let savepoint = self.savepoints.begin(kind, checkpoint, &self.settings.job);
                self.ask("create location", async move {
                    let created = match &savepoint {
                        Some(folder) => store.create_savepoint(&env, folder).await,
                        None => store.create_location(&env, checkpoint).await,
                    };
                    Inbox::Answer(match created {
                        Ok(()) => Input::LocationReady(checkpoint),
                        Err(_) => Input::LocationFailed(checkpoint),
                    })
                });
            }
            Output::SnapshotEnumerators(checkpoint) => self.snapshot_enumerators(checkpoint)?,
            Output::CallHooks(checkpoint) => self.call_hooks(checkpoint),
            Output::Trigger { attempt: _, checkpoint, kind: _, full, tasks } => {
                let request = self.savepoints.request(checkpoint).unwrap_or(self.checkpoint_request(full));
                self.tell_tasks(&tasks, &TaskControl::Trigger(checkpoint, request));
            }
            Output::WriteMetadata { attempt, checkpoint, kind, snapshots, finished } => {
                self.write_metadata(attempt, checkpoint, kind, &Parts { snapshots, finished });
            }
            Output::NotifyComplete { attempt, checkpoint } => {
                self.tell_tasks(&BTreeSet::new(), &TaskControl::Completed(checkpoint));
                self.observe(Moment::CompletionNotified, Some(attempt), Some(checkpoint), Detail::None);
                self.tell_enumerators_completed(checkpoint)?;
            }
            Output::NotifyAbort { attempt: _, checkpoint, latest_completed } => {
                self.tell_tasks(&BTreeSet::new(), &TaskControl::Aborted { checkpoint, latest_completed });
                self.tell_enumerators_aborted(checkpoint)?;
            }
            Output::Discard(checkpoint) => {
                self.observe(Moment::Discarding, None, Some(checkpoint), Detail::None);
                self.discarding.insert(checkpoint);
                self.hook_states.remove(&checkpoint);
                let (env, store) = (self.env.clone(), self.store.clone());
                let savepoint = self.savepoints.given_up(checkpoint);
                self.ask("discard", async move {
                    // What cannot be deleted now is found by the sweep of a later coordinator or of the job's end.
                    let _ = match &savepoint {
                        Some(folder) => retry(&env, || store.discard_savepoint(&env, folder)).await,
                        None => retry(&env, || store.discard(&env, checkpoint)).await,
                    };
                    Inbox::Answer(Input::Discarded(checkpoint))
                });
            }
            Output::DiscardShared(files) => {
                let (env, store) = (self.env.clone(), self.store.clone());
                let claimed = self.claimed();
                self.sweeping += 1;
                self.ask("discard shared", async move {
                    // As with discards.
                    let _ = retry(&env, || store.storage().discard_shared(&env, &files, claimed.as_deref())).await;
                    Inbox::SweepDone
                });
            }
            Output::SettleSavepoint { checkpoint, target } => self.settle_savepoint(checkpoint, &target),
            Output::DiscardOrigin(origin) => self.discard_origin(origin),
            Output::ForgetOrigin(origin) => self.forget_origin(origin),
            Output::ListShared { checkpoints, origin } => self.list_shared(checkpoints, origin),
            Output::SweepShared { keep, before } => {
                let (env, store) = (self.env.clone(), self.store.clone());
                self.sweeping += 1;
                self.ask("sweep shared", async move {
                    // As with discards.
                    let _ = retry(&env, || store.sweep_shared(&env, &keep, before)).await;
                    Inbox::SweepDone
                });
            }
            Output::DiscardSnapshot { snapshot, .. } => {
                let (env, store) = (self.env.clone(), self.store.clone());
                self.io.spawn("discard snapshot", async move {
                    for location in snapshot.operators.iter().flat_map(OperatorSnapshot::locations) {
                        // As with discards.
                        let _ = store.storage().discard_location(&env, location).await;
                    }
                });
            }
            Output::Sweep { keep, up_to } => {
                self.sweeping += 1;
                let (env, store) = (self.env.clone(), self.store.clone());
                self.ask("sweep", async move {
                    // As with discards.
                    let _ = retry(&env, || store.sweep(&env, &keep, up_to)).await;
                    Inbox::SweepDone
                });
            }
            Output::Deploy { attempt, restore, placement } => self.plan_deployment(attempt, restore, placement),
            Output::Stop { attempt } => {
                for connection in self.connections.values() {
                    // As with `tell`.
                    let _ = connection.outgoing.send(ToWorker::Stop { attempt });
                }
            }
            Output::StopTasks { attempt, tasks } => {
                self.placement.retain(|task, _| !tasks.contains(task));
                for connection in self.connections.values() {
                    // As with `tell`.
                    let _ = connection.outgoing.send(ToWorker::StopTasks { attempt, tasks: tasks.clone() });
                }
            }
            Output::Triggered { checkpoint, kind } => {
                let now = self.env.now();
                self.progress.send_modify(|progress| progress.statistics.triggered(checkpoint, now));
                let moment = if kind.is_savepoint() { Moment::SavepointTriggered } else { Moment::CheckpointTriggered };
                self.observe(moment, None, Some(checkpoint), Detail::None);
            }
            Output::Completed { checkpoint, kind } => {
                let now = self.env.now();
                self.progress.send_modify(|progress| progress.statistics.completed(checkpoint, now));
                match self.savepoints.completed(checkpoint, kind) {
                    Some(folder) => self.observe(Moment::SavepointCompleted, None, Some(checkpoint), Detail::Text(folder)),
                    None => self.observe(Moment::CheckpointCompleted, None, Some(checkpoint), Detail::None),
                }
            }
            Output::Aborted { checkpoint, kind, reason } => {
                self.savepoints.failed(kind, reason);
                self.progress.send_modify(|progress| progress.statistics.failed(checkpoint, reason));
                let moment = if checkpoint.is_some() { Moment::CheckpointAborted } else { Moment::RequestRefused };
                self.observe(moment, None, checkpoint, Detail::Reason(reason));
            }
            Output::Stopped { request, checkpoint, unpublished } => {
                self.savepoints.stopped(request, checkpoint, &self.settings.job, unpublished.clone());
                let detail = unpublished.clone().map_or(Detail::None, Detail::Text);
                self.observe(Moment::StopAnswered, None, Some(checkpoint), detail);
                self.progress.send_modify(|progress| progress.published = unpublished.map_or(Published::All, Published::NotAll));
            }
            Output::Status(status) => self.status(status),
            Output::SteppedDown => {
                self.observe(Moment::SteppedDown, None, None, Detail::None);
                return Err(CoordinatorError::SteppedDown(self.epoch));
            }
            Output::Ignored(_) => {}
        }
        Ok(())
    }

    fn status(&mut self, status: Status) {
        let text = match &status {
            Status::WaitingForWorkers { slots_missing } => format!("waiting for {slots_missing} slots"),
            Status::Deploying(attempt) => format!("deploying {attempt}"),
            Status::Running(attempt) => format!("running {attempt}"),
            Status::Committing(attempt) => format!("committing the end of {attempt}"),
            Status::Stopping { attempt, checkpoint } => format!("stopping {attempt} with {checkpoint}"),
            Status::Failing { attempt, cause } => format!("{attempt} failed: {cause}"),
            Status::Restarting { after } => format!("restarting after {after}"),
            Status::Ended(ended) => format!("{ended:?}"),
        };
        self.progress.send_modify(|progress| progress.status = text);
        match status {
            Status::WaitingForWorkers { slots_missing } => {
                self.observe(Moment::JobWaiting, None, None, Detail::Count(u64::from(slots_missing)))
            }
            // Observed with its checkpoint when it is planned.
            Status::Deploying(_) => {}
            Status::Running(attempt) => {
                let now = self.env.now();
                self.progress.send_modify(|progress| progress.statistics.running(now));
                self.observe(Moment::JobRunning, Some(attempt), None, Detail::None);
            }
            Status::Committing(attempt) => self.observe(Moment::JobCommitting, Some(attempt), None, Detail::None),
            Status::Stopping { attempt, checkpoint } => self.observe(Moment::JobStopping, Some(attempt), Some(checkpoint), Detail::None),
            Status::Failing { attempt, cause } => self.observe(Moment::JobFailing, Some(attempt), None, Detail::Text(cause)),
            Status::Restarting { after } => self.observe(Moment::JobRestarting, Some(after), None, Detail::None),
            Status::Ended(ended) => {
                self.observe(Moment::JobEnded, None, None, Detail::Ended(ended.clone()));
                self.ended = Some(ended);
            }
        }
    }

    fn list_shared(&mut self, checkpoints: BTreeSet<CheckpointId>, origin: Option<Origin>) {
        let (env, store, inbox) = (self.env.clone(), self.store.clone(), self.inbox_sender.clone());
        self.sweeping += 1;
        self.io.spawn("list shared", async move {
            // Without an answer nothing shared is deleted: what cannot be read may need it.
            if let Some(files) = shared_files(&env, &store, &checkpoints, origin.as_ref()).await {
                // The coordinator is over already.
                let _ = inbox.send(Inbox::Answer(Input::SharedListed(files)));
            }
            // As above.
            let _ = inbox.send(Inbox::SweepDone);
        });
    }

    fn call_hooks(&mut self, checkpoint: CheckpointId) {
        let (env, graph) = (self.env.clone(), self.graph.clone());
        self.ask("hooks", async move {
            let mut states = Vec::new();
            for hook in &graph.hooks {
                match hook.snapshot(&env, checkpoint).await {
                    Ok(bytes) => states.push(HookState { name: hook.name().to_owned(), bytes }),
                    Err(cause) => return Inbox::Hooked(checkpoint, Err(format!("hook {}: {cause}", hook.name()))),
                }
            }
            states.sort();
            Inbox::Hooked(checkpoint, Ok(states))
        });
    }

    fn checkpoint_request(&self, full: bool) -> SnapshotRequest {
        let checkpoints = &self.settings.plan.checkpoints;
        let alignment = match u64::try_from(checkpoints.aligned_timeout.as_millis()).unwrap_or(u64::MAX) {
            _ if !checkpoints.unaligned => Alignment::Aligned,
            0 => Alignment::Overtaking,
            timeout_ms => Alignment::Within { timeout_ms },
        };
        SnapshotRequest::Checkpoint { full, triggered_ms: self.env.wall_clock_ms(), alignment }
    }

    fn write_metadata(&mut self, attempt: AttemptId, checkpoint: CheckpointId, kind: Kind, Parts { snapshots, finished }: &Parts) {
        self.unanswered.insert(checkpoint);
        self.observe(Moment::AllAcked, Some(attempt), Some(checkpoint), Detail::None);
        self.remember_makers(attempt, checkpoint);
        let savepoint = self.savepoints.folder(checkpoint);
        let kind = match kind {
            Kind::Requested | Kind::Periodic => SnapshotKind::Checkpoint,
            Kind::Savepoint(_) | Kind::Stop { drain: false, .. } => SnapshotKind::Savepoint,
            Kind::Stop { drain: true, .. } => SnapshotKind::Drained,
        };
        sometimes!(self.env, !finished.is_empty(), "cluster/checkpoint-after-tasks-finished");
        let shapes = self.graph.shapes_of(snapshots, finished);
        let metadata = CheckpointMetadata::collect(&self.settings.job, checkpoint, attempt, kind, &shapes, snapshots, finished);
        let mut metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                self.observe(Moment::SnapshotFailed, Some(attempt), Some(checkpoint), Detail::Text(error.to_string()));
                let answer = match error {
                    CollectError::PartiallyFinishedUnion { .. } => Input::PartsRefused(checkpoint),
                    CollectError::DuplicateOperator { .. }
                    | CollectError::TaskMissing { .. }
                    | CollectError::UnexpectedState { .. }
                    | CollectError::OtherStates { .. }
                    | CollectError::InFlightInSavepoint { .. }
                    | CollectError::Inconsistent(_) => Input::MetadataFailed(checkpoint),
                };
                self.ask("metadata failed", std::future::ready(Inbox::Answer(answer)));
                return;
            }
        };
        metadata.enumerators = self.enumerators.take_states(checkpoint);
        metadata.hooks = self.hook_states.remove(&checkpoint).unwrap_or_default();
        let (env, store, epoch) = (self.env.clone(), self.store.clone(), self.epoch);
        self.ask("write metadata", async move {
            let observer = env.clone();
            let observe = |moment| {
                let actor = Actor::Coordinator(epoch);
                observer.observe(Event { actor, attempt: Some(attempt), checkpoint: Some(checkpoint), moment, detail: Detail::None });
            };
            let published = match &savepoint {
                Some(folder) => store.publish_savepoint(&env, folder, &metadata, observe).await,
                None => store.publish_metadata(&env, &metadata, observe).await,
            };
            Inbox::Answer(match published {
                Ok(()) => {
                    observe(Moment::MetadataDurable);
                    Input::MetadataDurable(checkpoint)
                }
                Err(_) => Input::MetadataFailed(checkpoint),
            })
        });
    }

    /// Where regions were restarted, tasks of several attempts take a checkpoint, and copies have their maker's.
    fn remember_makers(&mut self, attempt: AttemptId, checkpoint: CheckpointId) {
        let completed = self.machine.completed();
        self.makers.retain(|checkpoint, _| completed.contains(checkpoint) || Some(checkpoint) > completed.last());
        if self.placement.values().any(|(_, deployed)| *deployed != attempt) {
            self.makers.insert(checkpoint, self.placement.iter().map(|(task, (_, deployed))| (*task, *deployed)).collect());
        }
    }

    fn plan_deployment(&mut self, attempt: AttemptId, from: Option<RestorePoint>, placement: BTreeMap<TaskId, WorkerId>) {
        let in_part = placement.len() < self.settings.plan.tasks.len();
        sometimes!(self.env, in_part, "cluster/region-deployed");
        let detail = if in_part { Detail::Count(placement.len() as u64) } else { Detail::None };
        self.observe(Moment::Deploying, Some(attempt), from.as_ref().map(RestorePoint::checkpoint), detail);
        let (from_checkpoint, now) = (from.is_some(), self.env.now());
        self.progress.send_modify(|progress| progress.statistics.deployed(from_checkpoint, now));
        let (env, store, graph) = (self.env.clone(), self.store.clone(), self.graph.clone());
        let (unclaimed, may_be_drained) = (self.settings.unclaimed, self.settings.allow_drained);
        self.ask("plan", async move {
            let failed = |cause, kind| Inbox::Answer(Input::RestoreFailed { attempt, cause, kind });
            let unread = |error: StorageError| {
                // What is denied may be granted again.
                let lasts = error.is_gone() || error.is_damage();
                failed(error.to_string(), if lasts { FailureKind::NonRecoverable } else { FailureKind::Recoverable })
            };
            let metadata = match &from {
                None => None,
                Some(RestorePoint::Own(checkpoint)) => match retry(&env, || store.read_metadata(&env, *checkpoint)).await {
                    Ok(metadata) => Some(metadata),
                    Err(error) => return unread(error),
                },
                Some(RestorePoint::Origin(origin)) => match retry(&env, || store.read_origin(&env, &origin.path)).await {
                    Ok(metadata) if metadata.kind == SnapshotKind::Drained && !may_be_drained => {
                        return failed(format!("{}: {DRAINED}", origin.path), FailureKind::NonRecoverable);
                    }
                    Ok(metadata) => Some(metadata),
                    Err(error) => return unread(error),
                },
            };
            if let Err((cause, kind)) = restore_hooks(&env, &graph, metadata.as_ref(), unclaimed).await {
                return failed(cause, kind);
            }
            let Some(metadata) = metadata else { return Inbox::Planned(attempt, placement, Beginning::default()) };
            let enumerators = match claimed(&graph, &metadata, unclaimed) {
                Ok(states) => states,
                Err((cause, kind)) => return failed(cause, kind),
            };
            let from = Some(Taken { checkpoint: metadata.checkpoint, attempt: metadata.attempt });
            let shapes = graph.shapes();
            let finished = restore::finished(&metadata, &shapes, &graph.predecessors());
            match (restore::plan(&metadata, &shapes, unclaimed), finished) {
                (Ok(restores), Ok(mut finished)) => {
                    // What goes on is no matter of this attempt.
                    finished.retain(|task| placement.contains_key(task));
                    Inbox::Planned(attempt, placement, Beginning { from, restores: Some(restores), finished, enumerators })
                }
                (Err(error), _) | (_, Err(error)) => failed(error.to_string(), FailureKind::NonRecoverable),
            }
        });
    }

    pub(super) fn deploy(
        &mut self,
        attempt: AttemptId,
        placement: &BTreeMap<TaskId, WorkerId>,
        Beginning { from, mut restores, finished, enumerators: _ }: Beginning,
    ) {
        let address =
            |worker: &WorkerId| self.latest.get(worker).and_then(|incarnation| self.connections.get(incarnation)).map(|c| c.data_address);
        let addresses: BTreeMap<TaskId, SocketAddr> =
            placement.iter().filter_map(|(task, worker)| Some((*task, address(worker)?))).collect();
        let mut by_worker: BTreeMap<WorkerId, Vec<(TaskId, Option<TaskRestore>)>> = BTreeMap::new();
        for (task, worker) in placement.iter().filter(|(task, _)| !finished.contains(task)) {
            let restore = restores.as_mut().map(|restores| restores.remove(task).unwrap_or_default());
            by_worker.entry(*worker).or_default().push((*task, restore));
        }
        let whole = placement.len() == self.settings.plan.tasks.len();
        let local = self.settings.plan.local_recovery;
        if local && whole {
            for worker in self.latest.keys() {
                let tasks = by_worker.get(worker).into_iter().flatten().map(|(task, _)| *task);
                let each = from.filter(|from| self.makers.contains_key(&from.checkpoint));
                self.tell(
                    *worker,
                    match each {
                        None => ToWorker::Local { attempt, from, tasks: tasks.collect() },
                        Some(_) => ToWorker::LocalEach { attempt, tasks: self.copies_of(tasks, from) },
                    },
                );
            }
        }
        for (worker, tasks) in by_worker {
            let (finished, placement) = (finished.clone(), addresses.clone());
            self.tell(
                worker,
                match whole {
                    true => ToWorker::Deploy { attempt, tasks, finished, placement },
                    false => {
                        let from = self.copies_of(tasks.iter().map(|(task, _)| *task).filter(|_| local), from);
                        ToWorker::DeployBeside { attempt, tasks, finished, placement, from }
                    }
                },
            );
        }
        self.placement.extend(placement.iter().map(|(task, worker)| (*task, (*worker, attempt))));
    }

    /// Which copy each task would begin from: that of the attempt in which it took its part.
    fn copies_of(&self, tasks: impl Iterator<Item = TaskId>, from: Option<Taken>) -> BTreeMap<TaskId, Option<Taken>> {
        let makers = from.and_then(|from| self.makers.get(&from.checkpoint));
        let attempt = |task: TaskId, from: Taken| makers.and_then(|makers| makers.get(&task)).copied().unwrap_or(from.attempt);
        tasks.map(|task| (task, from.map(|from| Taken { attempt: attempt(task, from), ..from }))).collect()
    }

    /// What the attempt begins from says so.
    pub(super) fn tell_of_finished(&mut self, attempt: AttemptId, tasks: BTreeSet<TaskId>) -> Result<(), CoordinatorError> {
        if tasks.is_empty() {
            return Ok(());
        }
        sometimes!(self.env, "cluster/began-with-finished-tasks");
        tasks.iter().for_each(|task| self.observe(Moment::FinishedBefore, Some(attempt), None, Detail::Task(*task)));
        self.step(Input::FinishedBefore { attempt, tasks })
    }
}

/// What a checkpoint is made of.
struct Parts {
    snapshots: BTreeMap<TaskId, TaskSnapshot>,
    finished: BTreeSet<TaskId>,
}

/// What an attempt begins from.
#[derive(Default)]
pub(super) struct Beginning {
    from: Option<Taken>,
    /// `None`: from nothing.
    restores: Option<BTreeMap<TaskId, TaskRestore>>,
    /// These are not started.
    pub(super) finished: BTreeSet<TaskId>,
    pub(super) enumerators: Vec<EnumeratorState>,
}

/// Each hook gets what it put in, or begins anew; state of a hook that is not there any more is lost only if that was asked for.
async fn restore_hooks<E: Env>(
    env: &E,
    graph: &JobGraph<E>,
    metadata: Option<&CheckpointMetadata>,
    unclaimed: UnclaimedState,
) -> Result<(), (String, FailureKind)> {
    let states = metadata.map_or(&[][..], |metadata| &metadata.hooks);
    let unmatched = states.iter().find(|state| !graph.hooks.iter().any(|hook| hook.name() == state.name));
    if let (Some(state), UnclaimedState::Refuse) = (unmatched, unclaimed) {
        let cause = format!("the checkpoint has state of the hook {}, which is not in the job", state.name);
        return Err((cause, FailureKind::NonRecoverable));
    }
    for hook in &graph.hooks {
        let state = states.iter().find(|state| state.name == hook.name()).map(|state| state.bytes.clone());
        // What it talks to may not be there now.
        let failed = |cause| (format!("hook {}: {cause}", hook.name()), FailureKind::Recoverable);
        hook.restore(env, state).await.map_err(failed)?;
    }
    Ok(())
}

/// The shared files of these snapshots, with the newest that uses each. `None` if one of them cannot be read.
async fn shared_files<E: Env>(
    env: &E,
    store: &CheckpointStore,
    checkpoints: &BTreeSet<CheckpointId>,
    origin: Option<&Origin>,
) -> Option<BTreeMap<String, CheckpointId>> {
    let mut snapshots = Vec::new();
    if let Some(origin) = origin {
        snapshots.push(retry(env, || store.read_claimed(env, &origin.path)).await);
    }
    for checkpoint in checkpoints {
        snapshots.push(retry(env, || store.read_kept(env, *checkpoint)).await);
    }
    let mut files = BTreeMap::new();
    for snapshot in snapshots {
        let metadata = match snapshot {
            Ok(metadata) => metadata,
            // Subsumed and deleted meanwhile.
            Err(error) if error.is_gone() => continue,
            Err(_) => return None,
        };
        for file in metadata.shared_files() {
            let newest = files.entry(file.path.clone()).or_insert(metadata.checkpoint);
            *newest = metadata.checkpoint.max(*newest);
        }
    }
    Some(files)
}
