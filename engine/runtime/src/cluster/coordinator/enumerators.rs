//! Operators' parts at the coordinator: enumerators of splits, each with the gateway to its readers.

use super::super::message::ToWorker;
use super::{CoordinatorError, Driver, Inbox};
use crate::connector::split::{AnyEnumerator, AnyFound, ReaderEvent};
use crate::env::Env;
use crate::job::JobGraph;
use crate::observe::{Detail, MachineStep, Moment, Step};
use crate::task::ReaderReport;
use cofferdam_protocol::coordinator::{FailureKind, Input};
use cofferdam_protocol::gateway::{self, Gateway};
use cofferdam_protocol::metadata::{CheckpointMetadata, EnumeratorState};
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::{AttemptId, CheckpointId, Machine, SubtaskIndex, TaskId, VertexId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// After a look that has failed.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

/// One operator's.
struct Enumerator<E: Env> {
    uid: String,
    readers: u32,
    enumerator: Box<dyn AnyEnumerator<E>>,
    gateway: Gateway<ReaderEvent>,
    /// The look that is due or under way; dropping it ends it.
    looking: Option<E::Task>,
}

/// Those of the attempt that was deployed last.
pub(super) struct Enumerators<E: Env> {
    attempt: AttemptId,
    operators: BTreeMap<VertexId, Enumerator<E>>,
    /// Checkpoints whose events are not all taken in, and with which readers.
    settling: BTreeMap<CheckpointId, BTreeSet<VertexId>>,
    /// What was put into checkpoints that are under way.
    states: BTreeMap<CheckpointId, Vec<EnumeratorState>>,
}

impl<E: Env> Default for Enumerators<E> {
    fn default() -> Self {
        Self { attempt: AttemptId::default(), operators: BTreeMap::new(), settling: BTreeMap::new(), states: BTreeMap::new() }
    }
}

impl<E: Env> Enumerators<E> {
    /// What the enumerators have put into a checkpoint whose metadata is being written, or that is given up.
    pub(super) fn take_states(&mut self, checkpoint: CheckpointId) -> Vec<EnumeratorState> {
        self.states.remove(&checkpoint).unwrap_or_default()
    }
}

/// What a checkpoint has of the job's enumerators; what it has of others is lost only if that was asked for.
pub(super) fn claimed<E: Env>(
    graph: &JobGraph<E>,
    metadata: &CheckpointMetadata,
    unclaimed: UnclaimedState,
) -> Result<Vec<EnumeratorState>, (String, FailureKind)> {
    let known = |state: &&EnumeratorState| graph.enumerators.iter().any(|own| own.uid == state.uid);
    match (metadata.enumerators.iter().find(|state| !known(state)), unclaimed) {
        (Some(state), UnclaimedState::Refuse) => {
            let cause = format!("{} has state of the enumerator of {}, which is not in the job", metadata.checkpoint, state.uid);
            Err((cause, FailureKind::NonRecoverable))
        }
        (Some(_), UnclaimedState::Drop) | (None, _) => Ok(metadata.enumerators.iter().filter(known).cloned().collect()),
    }
}

impl<E: Env> Driver<E> {
    /// Before an attempt is deployed: all begin from what its checkpoint has of them, or anew. Whatever was said after that, or to
    /// readers of an earlier attempt, is forgotten.
    pub(super) fn reset_enumerators(&mut self, attempt: AttemptId, states: &[EnumeratorState]) -> Result<(), String> {
        let mut operators = BTreeMap::new();
        for declared in &self.graph.enumerators {
            let (uid, mut enumerator) = (declared.uid.clone(), (declared.make)());
            if let Some(state) = states.iter().find(|state| state.uid == uid) {
                enumerator.restore(&state.bytes).map_err(|error| format!("state of the enumerator of {uid}: {error}"))?;
            }
            let readers = self.graph.vertex(declared.vertex).parallelism;
            self.env.machine(|| MachineStep::Gateway(attempt, declared.vertex, Step::Recovered(readers)));
            let gateway = Gateway::new(readers);
            operators.insert(declared.vertex, Enumerator { uid, readers, enumerator, gateway, looking: None });
        }
        self.enumerators = Enumerators { attempt, operators, ..Enumerators::default() };
        Ok(())
    }

    /// The attempt's tasks are told to start.
    /// Where all readers have finished nobody would read what is found.
    pub(super) fn look_for_splits(&mut self, finished: &BTreeSet<TaskId>) {
        let reads = |(vertex, operator): &(&VertexId, &Enumerator<E>)| {
            (0..operator.readers).map(SubtaskIndex).any(|subtask| !finished.contains(&TaskId { vertex: **vertex, subtask }))
        };
        let vertices: Vec<VertexId> = self.enumerators.operators.iter().filter(reads).map(|(vertex, _)| *vertex).collect();
        vertices.into_iter().for_each(|vertex| self.look(vertex, None));
    }

    fn look(&mut self, vertex: VertexId, after: Option<Duration>) {
        let Some(operator) = self.enumerators.operators.get_mut(&vertex) else { return };
        operator.looking = None;
        let Some(after) = after.or(operator.enumerator.look_after()) else { return };
        let (env, inbox, attempt) = (self.env.clone(), self.inbox_sender.clone(), self.enumerators.attempt);
        let look = operator.enumerator.look(&env);
        operator.looking = Some(self.env.spawn("look for splits", async move {
            if !after.is_zero() {
                env.sleep(after).await;
            }
            let found = look.await.map_err(|error| error.to_string());
            // The coordinator is over already.
            let _ = inbox.send(Inbox::Looked(attempt, vertex, found));
        }));
    }

    pub(super) fn looked(&mut self, attempt: AttemptId, vertex: VertexId, found: Result<AnyFound, String>) -> Result<(), CoordinatorError> {
        let Some(operator) = self.enumerators.operators.get_mut(&vertex).filter(|_| self.enumerators.attempt == attempt) else {
            return Ok(());
        };
        match found {
            Ok(found) => {
                let (count, told) = operator.enumerator.found(found, operator.readers);
                if count > 0 {
                    self.observe(Moment::SplitsFound, Some(attempt), None, Detail::Count(count));
                }
                self.tell_readers(vertex, told)?;
                self.look(vertex, None);
            }
            Err(cause) => {
                self.observe(Moment::LookFailed, Some(attempt), None, Detail::Text(cause));
                self.look(vertex, Some(LOOK_AGAIN));
            }
        }
        Ok(())
    }

    fn tell_readers(&mut self, vertex: VertexId, told: Vec<(SubtaskIndex, ReaderEvent)>) -> Result<(), CoordinatorError> {
        for (subtask, event) in told {
            let task = TaskId { vertex, subtask };
            if self.machine.finished().contains(&task) {
                match event {
                    ReaderEvent::NoMore => continue,
                    ReaderEvent::Split(_) => {
                        let (attempt, cause) = (self.enumerators.attempt, "it has finished, and was given a split".to_owned());
                        return self.step(Input::TaskFailed { attempt, task, cause, kind: FailureKind::Recoverable });
                    }
                }
            }
            if let ReaderEvent::Split(_) = event {
                let detail = Detail::Task(task);
                self.observe(Moment::SplitAssigned, Some(self.enumerators.attempt), None, detail);
            }
            self.step_gateway(vertex, gateway::Input::Send { subtask, event })?;
        }
        Ok(())
    }

    /// A reader says something, or its worker about it.
    pub(super) fn reader_says(&mut self, attempt: AttemptId, task: TaskId, report: ReaderReport) -> Result<(), CoordinatorError> {
        let TaskId { vertex, subtask } = task;
        let Some(operator) = self.enumerators.operators.get_mut(&vertex).filter(|_| self.enumerators.attempt == attempt) else {
            return Ok(());
        };
        match report {
            ReaderReport::Request => {
                let told = operator.enumerator.requested(subtask, operator.readers);
                self.tell_readers(vertex, told)
            }
            ReaderReport::TakenIn(number) => self.step_gateway(vertex, gateway::Input::TakenIn { subtask, number }),
            ReaderReport::Lost(number) => self.step_gateway(vertex, gateway::Input::Lost { subtask, number }),
            ReaderReport::Cut(checkpoint) => self.step_gateway(vertex, gateway::Input::Cut { subtask, checkpoint }),
        }
    }

    fn step_gateway(&mut self, vertex: VertexId, input: gateway::Input<ReaderEvent>) -> Result<(), CoordinatorError> {
        let Some(operator) = self.enumerators.operators.get_mut(&vertex) else { return Ok(()) };
        let (mut out, attempt) = (Vec::new(), self.enumerators.attempt);
        self.env.machine(|| MachineStep::Gateway(attempt, vertex, Step::Input(input.clone())));
        operator.gateway.step(input, &mut out);
        for output in out {
            self.env.machine(|| MachineStep::Gateway(attempt, vertex, Step::Output(output.clone())));
            match output {
                gateway::Output::Deliver { subtask, number, event } => {
                    let task = TaskId { vertex, subtask };
                    if let Some((worker, _)) = self.placement.get(&task) {
                        self.tell(*worker, ToWorker::Event { attempt, task, number, event });
                    }
                }
                gateway::Output::Settled(checkpoint) => self.settled(vertex, checkpoint),
                gateway::Output::Failed { subtask, number } => {
                    let (task, cause) = (TaskId { vertex, subtask }, format!("event {number} to it is lost"));
                    self.step(Input::TaskFailed { attempt, task, cause, kind: FailureKind::Recoverable })?;
                }
                gateway::Output::Ignored(_) => {}
            }
        }
        Ok(())
    }

    /// All states are of one moment, which is also that from which on nothing is let through.
    pub(super) fn snapshot_enumerators(&mut self, checkpoint: CheckpointId) -> Result<(), CoordinatorError> {
        let state = |operator: &Enumerator<E>| EnumeratorState { uid: operator.uid.clone(), bytes: operator.enumerator.state() };
        let mut states: Vec<EnumeratorState> = self.enumerators.operators.values().map(state).collect();
        states.sort();
        self.observe(Moment::EnumeratorsTaken, Some(self.enumerators.attempt), Some(checkpoint), Detail::None);
        self.enumerators.states.insert(checkpoint, states);
        let vertices: BTreeSet<VertexId> = self.enumerators.operators.keys().copied().collect();
        // Why: where nobody is asked nobody answers, and the checkpoint would never go on.
        assert!(!vertices.is_empty(), "enumerators are asked only where there are some");
        self.enumerators.settling.insert(checkpoint, vertices.clone());
        vertices.into_iter().try_for_each(|vertex| self.step_gateway(vertex, gateway::Input::Snapshot(checkpoint)))
    }

    fn settled(&mut self, vertex: VertexId, checkpoint: CheckpointId) {
        let Some(missing) = self.enumerators.settling.get_mut(&checkpoint) else { return };
        missing.remove(&vertex);
        if missing.is_empty() {
            self.enumerators.settling.remove(&checkpoint);
            // The inbox is this driver's own.
            let _ = self.inbox_sender.send(Inbox::Answer(Input::EnumeratorsReady(checkpoint)));
        }
    }

    pub(super) fn tell_enumerators_completed(&mut self, checkpoint: CheckpointId) -> Result<(), CoordinatorError> {
        self.enumerators.settling = self.enumerators.settling.split_off(&checkpoint.next());
        self.enumerators.operators.values_mut().for_each(|operator| operator.enumerator.completed(checkpoint));
        self.each_gateway(gateway::Input::Completed(checkpoint))
    }

    pub(super) fn tell_enumerators_aborted(&mut self, checkpoint: CheckpointId) -> Result<(), CoordinatorError> {
        self.enumerators.settling.remove(&checkpoint);
        self.enumerators.states.remove(&checkpoint);
        self.enumerators.operators.values_mut().for_each(|operator| operator.enumerator.aborted(checkpoint));
        self.each_gateway(gateway::Input::Aborted(checkpoint))
    }

    fn each_gateway(&mut self, input: gateway::Input<ReaderEvent>) -> Result<(), CoordinatorError> {
        let vertices: Vec<VertexId> = self.enumerators.operators.keys().copied().collect();
        vertices.into_iter().try_for_each(|vertex| self.step_gateway(vertex, input.clone()))
    }
}
