//! The loop of one subtask.

use super::commits::Commits;
use super::keyed::{KeyedBackends, Place};
use super::overtaking::Overtaking;
use super::snapshot::{self, Part, Written};
use super::{Input, SnapshotStatistics, Tail, TaskContext, TaskControl, TaskError, TaskReport};
use crate::alarm::Alarm;
use crate::channel::{Arrival, Control};
use crate::connector::ConnectorError;
use crate::env::Env;
use crate::local::{CopyTask, Made, Restorable, RestoredBytes};
use crate::observe::{Detail, MachineStep, Moment, Step};
use crate::operator::{KeyedStates, Operator, Stateful};
use crate::record::{SnapshotRequest, Stop};
use crate::sight::Sight;
use crate::sometimes;
use crate::storage::CheckpointStorage;
use crate::watermark::{Change, WatermarkStatus};
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::{StateShape, TaskSnapshot};
use cofferdam_protocol::subtask::{self, Subtask};
use cofferdam_protocol::{CheckpointId, Machine};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use tokio::sync::mpsc;

pub(super) enum Asynchronous {
    Durable(TaskSnapshot, Written),
    Failed(String),
}

/// What went on beside the records is done.
pub(super) enum Done {
    Snapshot(CheckpointId, Asynchronous),
    Finish(Option<ConnectorError>),
    Commit(CheckpointId, Result<u64, ConnectorError>),
}

struct Writing<T> {
    _task: T,
    statistics: SnapshotStatistics,
    taken_at: Duration,
    durable: Option<TaskSnapshot>,
}

/// Runs one subtask until it fails or is dropped. Errors are reported by the caller.
///
/// # Errors
/// Whatever makes the subtask unable to go on.
pub async fn run<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>>(
    context: TaskContext<E>,
    input: I,
    operator: O,
    tail: T,
) -> Result<(), TaskError> {
    let (written_sender, written) = mpsc::unbounded_channel();
    let (tick_sender, ticks) = mpsc::unbounded_channel();
    let (timeout_sender, timeouts) = mpsc::unbounded_channel();
    let overtaking = Overtaking::new(&context, timeout_sender);
    let participant = overtaking.participant(&context, input.channels());
    context.machine(|| Step::Recovered(participant.clone()));
    let machine = <Subtask as Machine>::recover(participant, &mut Vec::new());
    let alarm = Alarm::new(context.env.clone(), tick_sender);
    let commits = Commits::new(|step| {
        if T::COMMITS {
            context.env.machine(|| MachineStep::Committer(context.attempt, context.task, step));
        }
    });
    let mut running = Running {
        context,
        input,
        operator,
        tail,
        machine,
        written_sender,
        alarm,
        finishing: None,
        commits,
        outputs: Vec::new(),
        made: Vec::new(),
        writing: BTreeMap::new(),
        first_barrier: BTreeMap::new(),
        requests: BTreeMap::new(),
        overtaking,
        keyed: KeyedBackends::default(),
        copying: BTreeMap::new(),
        copied: None,
        behind: false,
        ended: false,
        suspended: false,
        due: VecDeque::new(),
    };
    running.restore().await.map_err(TaskError::while_restoring)?;
    running.work(written, ticks, timeouts).await
}

/// What the loop goes on with.
enum Next<X> {
    Arrival(Arrival<X>),
    Tick,
}

/// Nothing is made while there is no room for it, but a barrier that overtakes is heard of.
async fn next<E: Env, I: Input, O: Send, T: Tail<E, O>>(
    env: &E,
    input: &mut I,
    tail: &mut T,
    ticks: &mut mpsc::UnboundedReceiver<()>,
) -> Result<Next<I::Out>, TaskError> {
    tokio::select! {
        biased;
        announced = input.announced() => return Ok(Next::Arrival(announced)),
        room = tail.room(env) => room?,
    }
    tokio::select! {
        biased;
        Some(()) = ticks.recv() => Ok(Next::Tick),
        arrival = input.next() => Ok(Next::Arrival(arrival?)),
    }
}

/// A subtask that takes its state in says so this often.
const STILL_RESTORING: Duration = Duration::from_secs(1);

pub(super) struct Running<E: Env, I, O: Operator, T> {
    pub(super) context: TaskContext<E>,
    pub(super) input: I,
    pub(super) operator: O,
    pub(super) tail: T,
    machine: Subtask,
    pub(super) written_sender: mpsc::UnboundedSender<Done>,
    pub(super) finishing: Option<E::Task>,
    pub(super) commits: Commits<E::Task>,
    alarm: Alarm<E, ()>,
    outputs: Vec<subtask::Output>,
    pub(super) made: Vec<O::Out>,
    writing: BTreeMap<CheckpointId, Writing<E::Task>>,
    first_barrier: BTreeMap<CheckpointId, Duration>,
    /// How each checkpoint whose barrier has come is to be taken.
    pub(super) requests: BTreeMap<CheckpointId, SnapshotRequest>,
    pub(super) overtaking: Overtaking<E>,
    keyed: KeyedBackends,
    /// Second copies that are being made, until a later checkpoint is complete.
    copying: BTreeMap<CheckpointId, CopyTask<E>>,
    /// The newest of them.
    copied: Option<Made>,
    behind: bool,
    /// All input has come.
    pub(super) ended: bool,
    /// Neither records nor timers are processed.
    suspended: bool,
    /// What its machine is still to hear of what was done for it.
    pub(super) due: VecDeque<subtask::Input>,
}

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    /// Takes the state in, and tells the coordinator that this goes on.
    async fn restore(&mut self) -> Result<(), TaskError> {
        let (env, reports) = (self.context.env.clone(), self.context.reports.clone());
        let (task, attempt) = (self.context.task, self.context.attempt);
        let mut taking_in = std::pin::pin!(self.take_in());
        loop {
            tokio::select! {
                biased;
                done = &mut taking_in => return done,
                () = env.sleep(STILL_RESTORING) => {
                    sometimes!(env, "task/restore-takes-long");
                    // Nobody listens any more: the worker is stopping this task.
                    let _ = reports.send((task, attempt, TaskReport::Restoring));
                }
            }
        }
    }

    async fn take_in(&mut self) -> Result<(), TaskError> {
        let restore = self.context.restore.take();
        self.context.observe(Moment::RestoreStarted, None, Detail::None);
        let place = self.context.place();
        self.tail.open(&self.context.env, place, restore.as_ref()).await?;
        self.input.open(place, restore.as_ref()).await?;
        self.set_clock();
        restore_lists(&mut self.operator, restore.as_ref())?;
        let copy = match &self.context.local {
            Some(copies) => copies.restorable().await,
            None => None,
        };
        let opened = KeyedBackends::open(&Place::of(&self.context), &mut self.operator, restore.as_ref(), copy.as_ref()).await;
        copy.into_iter().for_each(Restorable::close);
        self.keyed = opened?;
        self.recover_in_flight(restore.as_ref()).await?;
        let restored = self.keyed.restored;
        if let Some(copies) = self.context.local.as_ref().filter(|_| restored != RestoredBytes::default()) {
            copies.restored(restored);
            self.context.report(TaskReport::Restored(restored));
        }
        let mut held = self.tail.entry_count();
        self.input.stateful(&mut |stateful| held += stateful.entry_count());
        self.operator.stateful(&mut |stateful| held += stateful.entry_count());
        // A store that would have to read everything to know does not say.
        let held = self.keyed.entry_count().map_or(Detail::None, |stored| Detail::Count(held + stored));
        self.context.observe(Moment::RestoreDone, None, held);
        self.context.observe(Moment::TaskRunning, None, Detail::None);
        self.context.report(TaskReport::Running);
        Ok(())
    }

    async fn work(
        &mut self,
        mut written: mpsc::UnboundedReceiver<Done>,
        mut ticks: mpsc::UnboundedReceiver<()>,
        mut timeouts: mpsc::UnboundedReceiver<CheckpointId>,
    ) -> Result<(), TaskError> {
        loop {
            self.arm_processing_timer();
            tokio::select! {
                biased;
                control = self.context.control.recv() => match control {
                    Some(control) => self.control(control).await?,
                    None => return Ok(()),
                },
                Some(done) = written.recv() => match done {
                    Done::Snapshot(checkpoint, outcome) => self.written(checkpoint, outcome).await?,
                    Done::Finish(None) => self.drained(),
                    Done::Finish(Some(error)) => {
                        sometimes!(self.context.env, seldom "task/sink-could-not-finish");
                        return Err(error.into());
                    }
                    Done::Commit(checkpoint, outcome) => self.committed(checkpoint, outcome)?,
                },
                Some(checkpoint) = timeouts.recv() => self.step(subtask::Input::TimedOut(checkpoint)).await?,
                next = next(&self.context.env, &mut self.input, &mut self.tail, &mut ticks), if !self.suspended => match next? {
                    Next::Arrival(arrival) => self.arrival(arrival).await?,
                    Next::Tick => {
                        self.alarm.disarm();
                        self.pass_processing_time();
                        self.tail.emit(&mut self.made)?;
                    }
                },
            }
            while let Some(input) = self.due.pop_front() {
                self.step(input).await?;
            }
            if self.machine.has_finished() {
                return Ok(());
            }
        }
    }

    /// What state with time-to-live goes by.
    pub(super) fn set_clock(&mut self) {
        let now_ms = self.context.env.wall_clock_ms();
        self.operator.set_clock(now_ms);
    }

    fn pass_processing_time(&mut self) {
        if self.ended {
            sometimes!(self.context.env, self.operator.next_processing_timer().is_some(), seldom "task/timer-left-behind-at-the-end");
            return;
        }
        let now_ms = self.context.env.wall_clock_ms();
        self.operator.on_processing_time(now_ms, &mut self.made);
    }

    /// After the end of the input nothing fires any more (Flink: timers are quiesced): what a timer would make comes too late for
    /// the sink's finish. Timers that are left stay in the state.
    fn arm_processing_timer(&mut self) {
        match self.operator.next_processing_timer().filter(|_| !self.ended && !self.suspended) {
            None => self.alarm.disarm(),
            Some(due_ms) => {
                let wait_ms = u64::try_from(due_ms.saturating_sub(self.context.env.wall_clock_ms())).unwrap_or(0);
                // A wall clock that jumps ahead is noticed within a second.
                let wait = Duration::from_millis(wait_ms.clamp(1, 1000));
                // Rounded, so that the same alarm is not set anew for each batch.
                let deadline_ms = (self.context.env.now() + wait).as_millis();
                self.alarm.arm(Duration::from_millis(u64::try_from(deadline_ms).unwrap_or(u64::MAX).next_multiple_of(10)), ());
            }
        }
    }

    async fn control(&mut self, control: TaskControl) -> Result<(), TaskError> {
        match &control {
            TaskControl::Trigger(..) => {}
            TaskControl::Completed(checkpoint) => self.keep_copies_from(*checkpoint),
            TaskControl::Aborted { checkpoint, latest_completed } => {
                latest_completed.iter().for_each(|completed| self.keep_copies_from(*completed));
                self.drop_copy(*checkpoint);
            }
        }
        let input = match control {
            TaskControl::Trigger(checkpoint, request) => {
                let urgent = request.overtakes();
                self.tell_of_stop(checkpoint, &request).await?;
                self.requests.entry(checkpoint).or_insert(request);
                subtask::Input::Triggered { checkpoint, urgent }
            }
            TaskControl::Completed(checkpoint) => subtask::Input::Completed(checkpoint),
            TaskControl::Aborted { checkpoint, latest_completed } => subtask::Input::Aborted { checkpoint, latest_completed },
        };
        self.step(input).await
    }

    async fn arrival(&mut self, arrival: Arrival<I::Out>) -> Result<(), TaskError> {
        match arrival {
            Arrival::Batch(records) => {
                self.pass_processing_time();
                let count = records.len() as u64;
                for record in records {
                    self.operator.push(record, &mut self.made);
                }
                self.context.observe(Moment::Batch, None, Detail::Count(count));
                if self.input.channels() == 0 {
                    self.context.report(TaskReport::Progress(count));
                    self.tell_backlog(self.input.is_behind());
                }
                // Before anything leaves that may follow from what a broken store did not say.
                self.keyed.check()?;
                self.tail.emit(&mut self.made)?;
                self.keyed.spill(&self.context.env, &mut self.operator).await
            }
            Arrival::Watermark(Change { active, watermark, idle }) => {
                if active {
                    self.tail.control(Control::Status(WatermarkStatus::Active))?;
                }
                if let Some(watermark) = watermark {
                    self.set_clock();
                    self.operator.on_watermark(watermark, &mut self.made);
                    self.tail.emit(&mut self.made)?;
                    self.tail.control(Control::Watermark(watermark))?;
                }
                if idle {
                    self.tail.control(Control::Status(WatermarkStatus::Idle))?;
                }
                Ok(())
            }
            Arrival::Barrier(channel, checkpoint, request) => {
                self.tell_of_stop(checkpoint, &request).await?;
                self.requests.entry(checkpoint).or_insert(request);
                self.context.observe(Moment::BarrierArrived, Some(checkpoint), Detail::Channel(channel));
                self.first_barrier.entry(checkpoint).or_insert(self.context.env.now());
                self.step(subtask::Input::Barrier { channel, checkpoint }).await
            }
            Arrival::Announced(channel, checkpoint, request) => {
                let urgent = request.overtakes();
                self.requests.entry(checkpoint).or_insert(request);
                self.context.observe(Moment::BarrierAnnounced, Some(checkpoint), Detail::Channel(channel));
                self.first_barrier.entry(checkpoint).or_insert(self.context.env.now());
                self.step(subtask::Input::Announced { channel, checkpoint, urgent }).await
            }
            Arrival::Cancel(channel, checkpoint) => self.step(subtask::Input::Cancelled { channel, checkpoint }).await,
            Arrival::Drained => self.end_of_input(),
            Arrival::EndAnnounced(channel) => self.step(subtask::Input::EndAnnounced { channel }).await,
            Arrival::Ended(channel) => {
                self.context.observe(Moment::ChannelEnded, None, Detail::Channel(channel));
                self.step(subtask::Input::Ended { channel }).await
            }
        }
    }

    async fn tell_of_stop(&mut self, checkpoint: CheckpointId, request: &SnapshotRequest) -> Result<(), TaskError> {
        match request.stop() {
            Some(stop) => self.step(subtask::Input::Stops { checkpoint, drain: stop == Stop::Drain }).await,
            None => Ok(()),
        }
    }

    pub(super) fn tell_backlog(&mut self, behind: bool) {
        if self.behind != behind {
            self.behind = behind;
            self.context.report(TaskReport::Backlog(behind));
        }
    }

    async fn step(&mut self, input: subtask::Input) -> Result<(), TaskError> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.context.machine(|| Step::Input(input.clone()));
        self.machine.step(input, &mut outputs);
        let TaskContext { env, task, attempt, .. } = &self.context;
        env.look(Sight::Subtask { task: *task, attempt: *attempt, machine: &self.machine, outputs: &outputs });
        for output in outputs.drain(..) {
            self.context.machine(|| Step::Output(output.clone()));
            self.perform(output).await?;
        }
        self.outputs = outputs;
        Ok(())
    }

    async fn perform(&mut self, output: subtask::Output) -> Result<(), TaskError> {
        match output {
            subtask::Output::Hold(channel) => {
                self.input.hold(channel);
                self.context.observe(Moment::ChannelHeld, None, Detail::Channel(channel));
            }
            subtask::Output::ReleaseAll => {
                self.input.release_all();
                self.context.observe(Moment::ChannelsReleased, None, Detail::None);
            }
            subtask::Output::Forward(checkpoint) => {
                let request = self.request(checkpoint);
                self.tail.control(Control::Barrier(checkpoint, request))?;
                self.context.observe(Moment::BarrierForwarded, Some(checkpoint), Detail::None);
            }
            subtask::Output::ForwardCancel(checkpoint) => self.tail.control(Control::Cancel(checkpoint))?,
            subtask::Output::Snapshot(checkpoint) => self.snapshot(checkpoint)?,
            subtask::Output::Acknowledge(checkpoint) => {
                let done = self.writing.remove(&checkpoint);
                let Some(Writing { statistics, durable: Some(snapshot), .. }) = done else {
                    unreachable!("the machine acknowledges {checkpoint} only after its asynchronous part was durable")
                };
                self.context.observe(Moment::Acknowledged, Some(checkpoint), Detail::Count(statistics.size_bytes));
                self.context.report(TaskReport::Acknowledged(checkpoint, snapshot, statistics));
            }
            subtask::Output::Decline(checkpoint, reason) => {
                self.give_up(checkpoint);
                self.context.observe(Moment::Declined, Some(checkpoint), Detail::Reason(reason));
                self.context.report(TaskReport::Declined(checkpoint, reason));
            }
            subtask::Output::Commit(checkpoint) => {
                self.first_barrier = self.first_barrier.split_off(&checkpoint.next());
                self.context.observe(Moment::Committed, Some(checkpoint), Detail::None);
                self.commit(checkpoint);
            }
            subtask::Output::Forget(checkpoint) => {
                self.give_up(checkpoint);
                self.context.observe(Moment::SnapshotForgotten, Some(checkpoint), Detail::None);
            }
            subtask::Output::Arm(checkpoint) => self.arm(checkpoint),
            subtask::Output::Overtake(checkpoint) => self.overtake(checkpoint),
            subtask::Output::LogsComplete(checkpoint) => self.logs_complete(checkpoint),
            subtask::Output::DropLogs(_) => self.drop_logs(),
            subtask::Output::Hasten(checkpoint) => self.tail.hasten(checkpoint),
            subtask::Output::EndInput(_) if self.ended => {}
            subtask::Output::EndInput(_) => {
                self.input.end();
                self.end_of_input()?;
            }
            subtask::Output::Suspend(checkpoint) => {
                self.suspended = true;
                self.context.observe(Moment::TaskSuspended, Some(checkpoint), Detail::None);
            }
            subtask::Output::Resume(checkpoint) => {
                self.suspended = false;
                self.context.observe(Moment::TaskResumed, Some(checkpoint), Detail::None);
            }
            subtask::Output::Finish => self.finish()?,
            subtask::Output::Ignored(_) => {}
        }
        Ok(())
    }

    /// Stops writing, and only then has what was written deleted.
    fn give_up(&mut self, checkpoint: CheckpointId) {
        sometimes!(self.context.env, self.writing.contains_key(&checkpoint), "task/given-up-while-writing");
        self.writing.remove(&checkpoint);
        self.drop_copy(checkpoint);
    }

    /// As above.
    fn drop_copy(&mut self, checkpoint: CheckpointId) {
        self.copying.remove(&checkpoint);
        if let Some(copies) = &self.context.local {
            copies.aborted(checkpoint);
        }
    }

    /// As above, with all that are older.
    fn keep_copies_from(&mut self, completed: CheckpointId) {
        self.copying = self.copying.split_off(&completed);
        if let Some(copies) = &self.context.local {
            copies.completed(completed);
        }
    }

    fn request(&self, checkpoint: CheckpointId) -> SnapshotRequest {
        self.requests.get(&checkpoint).cloned().expect("a barrier says how its checkpoint is to be taken")
    }

    /// The synchronous part: no await, so no record can come in between.
    fn snapshot(&mut self, checkpoint: CheckpointId) -> Result<(), TaskError> {
        let env = self.context.env.clone();
        let begun = env.now();
        self.keyed.check()?;
        self.set_clock();
        let request = self.request(checkpoint);
        self.requests = self.requests.split_off(&checkpoint.next());
        let (max, groups) = (self.context.graph.max_parallelism, self.context.groups());
        let mut parts = Vec::new();
        let keyed = &mut self.keyed;
        let mut take = |stateful: &mut dyn Stateful| {
            let uid = stateful.uid().to_owned();
            let lists = stateful.lists();
            let mut types = stateful.list_types();
            types.extend(stateful.keyed().map_or_else(Vec::new, KeyedStates::types));
            let mut states: Vec<StateShape> = types.into_iter().map(|declared| declared.shape).collect();
            states.sort();
            let part = stateful.keyed().map(|states| keyed.take(&uid, states, max, groups));
            parts.push(Part { uid, states, keyed: part, lists });
        };
        self.input.stateful(&mut take);
        self.operator.stateful(&mut take);
        self.input.cut(checkpoint);
        let flush = self.tail.flush(&env, checkpoint);
        if let Some((uid, lists)) = self.tail.state() {
            parts.push(Part { uid: uid.to_owned(), states: Vec::new(), keyed: None, lists });
        }
        let taken_at = env.now();
        let alignment = self.first_barrier.remove(&checkpoint).map_or(Duration::ZERO, |first| begun.saturating_sub(first));
        let start_delay = match &request {
            SnapshotRequest::Checkpoint { triggered_ms, .. } => {
                let age_ms = u64::try_from(env.wall_clock_ms().saturating_sub(*triggered_ms)).unwrap_or(0);
                Duration::from_millis(age_ms).saturating_sub(alignment)
            }
            SnapshotRequest::Savepoint { .. } => Duration::ZERO,
        };
        let sync = taken_at.saturating_sub(begun);
        let statistics = SnapshotStatistics { start_delay, alignment, sync, ..SnapshotStatistics::default() };
        let logs = self.overtaking.pending(checkpoint);
        self.context.observe(Moment::SnapshotTaken, Some(checkpoint), Detail::None);
        let sender = self.written_sender.clone();
        let storage = self.context.storage.clone();
        // A savepoint is no restore point, and what travels inside the acknowledgement comes back with the deployment.
        let restored_from = matches!(request, SnapshotRequest::Checkpoint { .. }) && !matches!(storage, CheckpointStorage::Memory { .. });
        let copied = restored_from && parts.iter().any(|part| part.keyed.is_some());
        let copy = self.context.local.as_ref().filter(|_| copied);
        let place = snapshot::SnapshotPlace {
            copy: copy.map(|copies| {
                let (writer, task, made) = copies.begin(checkpoint, self.copied.take());
                self.copying.insert(checkpoint, task);
                self.copied = Some(made);
                writer
            }),
            streams: self.context.streams.clone(),
            checkpoint,
            request,
            subtask: self.context.task.subtask.0,
            merged_bytes: 0,
            attempt: self.context.attempt,
        };
        let task = self.context.env.spawn("snapshot", async move {
            let outcome = match snapshot::write(&env, place, parts, flush, logs).await {
                Ok((snapshot, size)) => Asynchronous::Durable(snapshot, size),
                Err(error) => Asynchronous::Failed(error.to_string()),
            };
            // The subtask is gone: nobody to tell.
            let _ = sender.send(Done::Snapshot(checkpoint, outcome));
        });
        self.writing.insert(checkpoint, Writing { _task: task, statistics, taken_at, durable: None });
        Ok(())
    }

    async fn written(&mut self, checkpoint: CheckpointId, outcome: Asynchronous) -> Result<(), TaskError> {
        let Some(writing) = self.writing.get_mut(&checkpoint) else {
            sometimes!(self.context.env, "task/written-after-it-was-given-up");
            return Ok(());
        };
        match outcome {
            Asynchronous::Durable(snapshot, Written { size_bytes, in_flight_bytes }) => {
                writing.durable = Some(snapshot);
                writing.statistics.size_bytes = size_bytes;
                writing.statistics.in_flight_bytes = in_flight_bytes;
                writing.statistics.asynchronous = self.context.env.now().saturating_sub(writing.taken_at);
                self.context.observe(Moment::SnapshotDurable, Some(checkpoint), Detail::Count(size_bytes));
                self.step(subtask::Input::Durable(checkpoint)).await
            }
            Asynchronous::Failed(cause) => {
                self.context.observe(Moment::SnapshotFailed, Some(checkpoint), Detail::Text(cause));
                self.step(subtask::Input::WriteFailed(checkpoint)).await
            }
        }
    }
}

/// Gives each operator of the chain its part of the operator state; the head has its own already.
fn restore_lists<O: Operator>(operator: &mut O, restore: Option<&TaskRestore>) -> Result<(), TaskError> {
    let mut outcome = Ok(());
    operator.stateful(&mut |stateful: &mut dyn Stateful| {
        let planned = restore.into_iter().flat_map(|restore| &restore.operators).find(|planned| planned.uid == stateful.uid());
        if let (Some(planned), Ok(())) = (planned, &outcome) {
            let uid = stateful.uid().to_owned();
            outcome = stateful.restore_lists(&planned.lists, &planned.states).map_err(|source| TaskError::Lists { uid, source });
        }
    });
    outcome
}
