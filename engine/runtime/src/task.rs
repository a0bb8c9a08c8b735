//! One subtask at work: reads elements, runs the chain, and performs what the subtask machine decides about barriers.

use crate::alarm::Alarm;
use crate::channel::{AnyEnd, Arrival, ChannelError, Control, Gate, Route};
use crate::connector::{ConnectorError, Flush, Place, Polled, Sink, Source};
use crate::env::Env;
use crate::job::JobGraph;
use crate::observe::{Actor, Detail, Event, Moment};
use crate::operator::{Operator, Stateful};
use crate::record::{EventTime, Record, END_OF_TIME};
use crate::state::{BlockError, KeyedSnapshot, RestoreStateError};
use crate::storage::{CheckpointStorage, StorageError};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::{KeyedHandle, ListState, OperatorSnapshot, StateLocation, TaskSnapshot};
use cofferdam_protocol::subtask::{self, Subtask};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, EdgeId, KeyGroupRange, Machine, MaxParallelism, Mode, TaskId};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;

/// What a subtask is told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskControl {
    /// Inject a barrier.
    Trigger(CheckpointId),
    /// The checkpoint is complete.
    Completed(CheckpointId),
    /// The checkpoint will not be.
    Aborted {
        /// Which.
        checkpoint: CheckpointId,
        /// The newest complete one.
        latest_completed: Option<CheckpointId>,
    },
}

/// How long the parts of a subtask's snapshot took, and how large it is (Flink: `CheckpointMetrics`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotStatistics {
    /// From the first barrier to the last.
    pub alignment: Duration,
    /// While no record was processed.
    pub sync: Duration,
    /// From there until everything was durable.
    pub asynchronous: Duration,
    /// What was written.
    pub size_bytes: u64,
}

/// What a subtask says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum TaskReport {
    /// Restored, and ready for records.
    Running,
    /// Over, for this reason.
    Failed(String),
    /// All input is processed and flushed.
    Drained,
    /// Its part of a checkpoint is durable.
    Acknowledged(CheckpointId, TaskSnapshot, SnapshotStatistics),
    /// It will not deliver its part.
    Declined(CheckpointId, FailureReason),
    /// So many records have come in since the last report (sources only).
    Progress(u64),
}

/// The sending ends of one output edge.
pub struct OutputEnds {
    /// Which edge.
    pub edge: EdgeId,
    /// How many subtasks are behind it.
    pub to_parallelism: u32,
    /// One per channel.
    pub senders: Vec<AnyEnd>,
}

/// All that a subtask is started with.
pub struct TaskContext<E: Env> {
    /// The world.
    pub env: E,
    /// The job.
    pub graph: Arc<JobGraph<E>>,
    /// Who it is.
    pub task: TaskId,
    /// In which attempt.
    pub attempt: AttemptId,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// Where snapshots go.
    pub storage: CheckpointStorage,
    /// The receiving ends, by input edge.
    pub inputs: Vec<Vec<AnyEnd>>,
    /// The sending ends, by output edge.
    pub outputs: Vec<OutputEnds>,
    /// What to begin from; `None` is from nothing.
    pub restore: Option<TaskRestore>,
    /// What it is told. Closed: stop.
    pub control: mpsc::UnboundedReceiver<TaskControl>,
    /// What it says.
    pub reports: mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>,
}

impl<E: Env> TaskContext<E> {
    fn parallelism(&self) -> u32 {
        self.graph.vertex(self.task.vertex).parallelism
    }

    fn place(&self) -> Place {
        Place { subtask: self.task.subtask, parallelism: self.parallelism(), attempt: self.attempt }
    }

    fn groups(&self) -> KeyGroupRange {
        let range = self.graph.max_parallelism.range_of(self.task.subtask, self.parallelism());
        range.expect("a job is only built with at least one key group per subtask")
    }

    fn observe(&self, moment: Moment, checkpoint: Option<CheckpointId>, detail: Detail) {
        self.env.observe(Event { actor: Actor::Task(self.task), attempt: Some(self.attempt), checkpoint, moment, detail });
    }

    fn report(&self, report: TaskReport) {
        // Nobody listens any more: the worker is stopping this task.
        let _ = self.reports.send((self.task, self.attempt, report));
    }
}

/// Why a subtask is over.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// A neighbour is gone.
    #[error(transparent)]
    Channel(#[from] ChannelError),
    /// The outside of a source or sink.
    #[error(transparent)]
    Connector(#[from] ConnectorError),
    /// Its state cannot be read.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// Its state cannot be written.
    #[error("state of {uid}: {source}")]
    Snapshot {
        /// The operator.
        uid: String,
        /// Why.
        source: BlockError,
    },
    /// Its state does not fit the operator.
    #[error("state of {uid}: {source}")]
    Restore {
        /// The operator.
        uid: String,
        /// Why.
        source: RestoreStateError,
    },
}

/// Where a chain's elements come from.
pub trait Input: Send + 'static {
    /// What it gives.
    type Out: Send;
    /// How many channels; a source has none.
    fn channels(&self) -> u32;
    /// Gets ready.
    fn open(&mut self, place: Place, restored: Option<&TaskRestore>) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// The next element. Loses nothing when dropped before it is ready.
    fn next(&mut self) -> impl Future<Output = Result<Arrival<Self::Out>, TaskError>> + Send;
    /// Reads nothing more from a channel.
    fn hold(&mut self, channel: ChannelIndex);
    /// Reads from all channels again.
    fn release_all(&mut self);
    /// Shows itself if it has state.
    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful));
}

impl<X: Send + 'static> Input for Gate<X> {
    type Out = X;

    fn channels(&self) -> u32 {
        u32::try_from(Gate::channels(self)).expect("a subtask has fewer channels than 2^32")
    }

    async fn open(&mut self, _: Place, _: Option<&TaskRestore>) -> Result<(), TaskError> {
        Ok(())
    }

    async fn next(&mut self) -> Result<Arrival<X>, TaskError> {
        Ok(Gate::next(self).await?)
    }

    fn hold(&mut self, channel: ChannelIndex) {
        Gate::hold(self, channel);
    }

    fn release_all(&mut self) {
        Gate::release_all(self);
    }

    fn stateful(&mut self, _: &mut dyn FnMut(&mut dyn Stateful)) {}
}

/// A source at the head of a chain.
pub struct SourceHead<E, S> {
    env: E,
    uid: String,
    source: S,
    watermark: EventTime,
    polled: Polled,
    drained: bool,
}

impl<E: Env, S: Source> SourceHead<E, S> {
    /// Not open yet.
    pub fn new(env: E, uid: String, source: S) -> Self {
        Self { env, uid, source, watermark: EventTime::MIN, polled: Polled::More, drained: false }
    }
}

impl<E: Env, S: Source> Input for SourceHead<E, S> {
    type Out = S::Out;

    fn channels(&self) -> u32 {
        0
    }

    async fn open(&mut self, place: Place, restored: Option<&TaskRestore>) -> Result<(), TaskError> {
        let lists: Option<Vec<ListState>> = restored.map(|restored| {
            let own = restored.operators.iter().filter(|operator| operator.uid == self.uid);
            own.flat_map(|operator| operator.lists.clone()).collect()
        });
        Ok(self.source.open(&self.env, place, lists.as_deref()).await?)
    }

    async fn next(&mut self) -> Result<Arrival<S::Out>, TaskError> {
        loop {
            let watermark = self.source.watermark();
            if watermark > self.watermark {
                self.watermark = watermark;
                return Ok(Arrival::Watermark(watermark));
            }
            if self.polled == Polled::Drained {
                if self.drained {
                    std::future::pending::<()>().await;
                }
                self.drained = true;
                return Ok(Arrival::Drained);
            }
            let mut records = Vec::new();
            self.polled = self.source.next(&self.env, &mut records).await?;
            if !records.is_empty() {
                return Ok(Arrival::Batch(records));
            }
        }
    }

    fn hold(&mut self, _: ChannelIndex) {}

    fn release_all(&mut self) {}

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<E: Env, S: Source> Stateful for SourceHead<E, S> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn snapshot_keyed(&mut self, _: MaxParallelism, _: KeyGroupRange) -> Option<KeyedSnapshot> {
        None
    }

    fn restore_keyed(&mut self, _: &[u8], _: u64, _: MaxParallelism, _: KeyGroupRange) -> Result<(), RestoreStateError> {
        // A source has no keyed state of its own; nothing of it is ever planned for one.
        Ok(())
    }

    fn lists(&self) -> Vec<ListState> {
        self.source.lists()
    }
}

/// Where a chain's records go.
pub trait Tail<E: Env, T>: Send + 'static {
    /// Gets ready.
    fn open(&mut self, env: &E, place: Place) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// Takes all records of a batch.
    fn emit(&mut self, records: &mut Vec<T>) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// Sends behind all records.
    fn control(&mut self, control: Control) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// What is to be durable before the checkpoint is acknowledged.
    fn flush(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush>;
    /// All records have been taken: what completes the output.
    fn finish(&mut self, env: &E) -> Option<Flush>;
}

/// The output edges of a chain.
pub struct Outputs<T> {
    routes: Vec<Box<dyn Route<T>>>,
}

impl<T: Record> Outputs<T> {
    /// Takes the sending ends out of the context.
    pub fn new<E: Env>(context: &mut TaskContext<E>) -> Self {
        let ends = std::mem::take(&mut context.outputs);
        let route = |output: OutputEnds| context.graph.edge(output.edge).make_route(output.senders, output.to_parallelism);
        Self { routes: ends.into_iter().map(route).collect() }
    }
}

impl<E: Env, T: Record> Tail<E, T> for Outputs<T> {
    async fn open(&mut self, _: &E, _: Place) -> Result<(), TaskError> {
        Ok(())
    }

    async fn emit(&mut self, records: &mut Vec<T>) -> Result<(), TaskError> {
        let last = self.routes.len().saturating_sub(1);
        for (index, route) in self.routes.iter_mut().enumerate() {
            route.send(records, index < last).await?;
        }
        records.clear();
        Ok(())
    }

    async fn control(&mut self, control: Control) -> Result<(), TaskError> {
        for route in &mut self.routes {
            route.control(control).await?;
        }
        Ok(())
    }

    fn flush(&mut self, _: &E, _: CheckpointId) -> Option<Flush> {
        None
    }

    fn finish(&mut self, _: &E) -> Option<Flush> {
        None
    }
}

/// A sink at the end of a chain.
pub struct SinkTail<S> {
    uid: String,
    sink: S,
}

impl<S> SinkTail<S> {
    /// Not open yet.
    pub fn new(uid: String, sink: S) -> Self {
        Self { uid, sink }
    }

    /// Its stable name.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl<E: Env, S: Sink> Tail<E, S::In> for SinkTail<S> {
    async fn open(&mut self, env: &E, place: Place) -> Result<(), TaskError> {
        Ok(self.sink.open(env, place).await?)
    }

    async fn emit(&mut self, records: &mut Vec<S::In>) -> Result<(), TaskError> {
        self.sink.accept(records);
        Ok(())
    }

    async fn control(&mut self, _: Control) -> Result<(), TaskError> {
        Ok(())
    }

    fn flush(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        self.sink.flush(env, checkpoint)
    }

    fn finish(&mut self, env: &E) -> Option<Flush> {
        self.sink.finish(env)
    }
}

enum Asynchronous {
    Durable(TaskSnapshot, u64),
    Failed(String),
}

/// What went on beside the records is done.
enum Done {
    Snapshot(CheckpointId, Asynchronous),
    Finish(Option<ConnectorError>),
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
    let machine = <Subtask as Machine>::recover((context.mode, input.channels()), &mut Vec::new());
    let alarm = Alarm::new(context.env.clone(), tick_sender);
    let mut running = Running {
        context,
        input,
        operator,
        tail,
        machine,
        written_sender,
        alarm,
        finishing: None,
        outputs: Vec::new(),
        made: Vec::new(),
        writing: BTreeMap::new(),
        first_barrier: BTreeMap::new(),
    };
    running.restore().await?;
    running.work(written, ticks).await
}

struct Running<E: Env, I, O: Operator, T> {
    context: TaskContext<E>,
    input: I,
    operator: O,
    tail: T,
    machine: Subtask,
    written_sender: mpsc::UnboundedSender<Done>,
    finishing: Option<E::Task>,
    alarm: Alarm<E, ()>,
    outputs: Vec<subtask::Output>,
    made: Vec<O::Out>,
    writing: BTreeMap<CheckpointId, Writing<E::Task>>,
    first_barrier: BTreeMap<CheckpointId, Duration>,
}

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    async fn restore(&mut self) -> Result<(), TaskError> {
        let restore = self.context.restore.take();
        self.context.observe(Moment::RestoreStarted, None, Detail::None);
        let (place, max) = (self.context.place(), self.context.graph.max_parallelism);
        self.tail.open(&self.context.env, place).await?;
        self.input.open(place, restore.as_ref()).await?;
        for planned in restore.iter().flat_map(|restore| &restore.operators) {
            for (handle, groups) in &planned.keyed {
                let mut reader = self.context.storage.open_state(&self.context.env, &handle.location).await?;
                while let Some((offset, block)) = reader.next().await? {
                    let mut outcome = Ok(());
                    self.operator.stateful(&mut |stateful| {
                        if stateful.uid() == planned.uid && outcome.is_ok() {
                            outcome = stateful.restore_keyed(&block, offset, max, *groups);
                        }
                    });
                    outcome.map_err(|source| TaskError::Restore { uid: planned.uid.clone(), source })?;
                }
            }
        }
        let mut held = 0;
        self.input.stateful(&mut |stateful| held += stateful.entry_count());
        self.operator.stateful(&mut |stateful| held += stateful.entry_count());
        self.context.observe(Moment::RestoreDone, None, Detail::Count(held));
        self.context.observe(Moment::TaskRunning, None, Detail::None);
        self.context.report(TaskReport::Running);
        Ok(())
    }

    async fn work(&mut self, mut written: mpsc::UnboundedReceiver<Done>, mut ticks: mpsc::UnboundedReceiver<()>) -> Result<(), TaskError> {
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
                    Done::Finish(Some(error)) => return Err(error.into()),
                },
                Some(()) = ticks.recv() => {
                    self.alarm.disarm();
                    self.pass_processing_time();
                    self.tail.emit(&mut self.made).await?;
                }
                arrival = self.input.next() => self.arrival(arrival?).await?,
            }
        }
    }

    fn drained(&mut self) {
        self.context.observe(Moment::TaskDrained, None, Detail::None);
        self.context.report(TaskReport::Drained);
    }

    fn pass_processing_time(&mut self) {
        let now_ms = self.context.env.wall_clock_ms();
        self.operator.on_processing_time(now_ms, &mut self.made);
    }

    fn arm_processing_timer(&mut self) {
        match self.operator.next_processing_timer() {
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
        let input = match control {
            TaskControl::Trigger(checkpoint) => subtask::Input::Triggered(checkpoint),
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
                }
                self.tail.emit(&mut self.made).await
            }
            Arrival::Watermark(watermark) => {
                self.operator.on_watermark(watermark, &mut self.made);
                self.tail.emit(&mut self.made).await?;
                self.tail.control(Control::Watermark(watermark)).await
            }
            Arrival::Barrier(channel, checkpoint) => {
                self.context.observe(Moment::BarrierArrived, Some(checkpoint), Detail::Channel(channel));
                self.first_barrier.entry(checkpoint).or_insert(self.context.env.now());
                self.step(subtask::Input::Barrier { channel, checkpoint }).await
            }
            Arrival::Cancel(channel, checkpoint) => self.step(subtask::Input::Cancelled { channel, checkpoint }).await,
            Arrival::Drained => {
                self.operator.on_watermark(END_OF_TIME, &mut self.made);
                self.tail.emit(&mut self.made).await?;
                self.tail.control(Control::Watermark(END_OF_TIME)).await?;
                self.tail.control(Control::Drained).await?;
                match self.tail.finish(&self.context.env) {
                    None => self.drained(),
                    Some(finish) => {
                        let sender = self.written_sender.clone();
                        self.finishing = Some(self.context.env.spawn("finish", async move {
                            // The subtask is gone: nobody to tell.
                            let _ = sender.send(Done::Finish(finish.await.err()));
                        }));
                    }
                }
                Ok(())
            }
        }
    }

    async fn step(&mut self, input: subtask::Input) -> Result<(), TaskError> {
        let mut outputs = std::mem::take(&mut self.outputs);
        self.machine.step(input, &mut outputs);
        for output in outputs.drain(..) {
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
                self.tail.control(Control::Barrier(checkpoint)).await?;
                self.context.observe(Moment::BarrierForwarded, Some(checkpoint), Detail::None);
            }
            subtask::Output::ForwardCancel(checkpoint) => self.tail.control(Control::Cancel(checkpoint)).await?,
            subtask::Output::Snapshot(checkpoint) => self.snapshot(checkpoint),
            subtask::Output::Acknowledge(checkpoint) => {
                let done = self.writing.remove(&checkpoint);
                let Some(Writing { statistics, durable: Some(snapshot), .. }) = done else {
                    unreachable!("the machine acknowledges {checkpoint} only after its asynchronous part was durable")
                };
                self.context.observe(Moment::Acknowledged, Some(checkpoint), Detail::Count(statistics.size_bytes));
                self.context.report(TaskReport::Acknowledged(checkpoint, snapshot, statistics));
            }
            subtask::Output::Decline(checkpoint, reason) => {
                self.writing.remove(&checkpoint);
                self.context.observe(Moment::Declined, Some(checkpoint), Detail::Reason(reason));
                self.context.report(TaskReport::Declined(checkpoint, reason));
            }
            subtask::Output::Commit(checkpoint) => {
                self.first_barrier = self.first_barrier.split_off(&checkpoint.next());
                self.context.observe(Moment::Committed, Some(checkpoint), Detail::None);
            }
            subtask::Output::Forget(checkpoint) => {
                self.writing.remove(&checkpoint);
                self.context.observe(Moment::SnapshotForgotten, Some(checkpoint), Detail::None);
            }
            subtask::Output::Ignored(_) => {}
        }
        Ok(())
    }

    /// The synchronous part: no await, so no record can come in between.
    fn snapshot(&mut self, checkpoint: CheckpointId) {
        let env = self.context.env.clone();
        let begun = env.now();
        let (max, groups) = (self.context.graph.max_parallelism, self.context.groups());
        let mut parts = Vec::new();
        let mut take = |stateful: &mut dyn Stateful| {
            parts.push((stateful.uid().to_owned(), stateful.snapshot_keyed(max, groups), stateful.lists()));
        };
        self.input.stateful(&mut take);
        self.operator.stateful(&mut take);
        let flush = self.tail.flush(&env, checkpoint);
        let taken_at = env.now();
        let alignment = self.first_barrier.remove(&checkpoint).map_or(Duration::ZERO, |first| begun.saturating_sub(first));
        let statistics = SnapshotStatistics { alignment, sync: taken_at.saturating_sub(begun), ..SnapshotStatistics::default() };
        self.context.observe(Moment::SnapshotTaken, Some(checkpoint), Detail::None);
        let (storage, sender) = (self.context.storage.clone(), self.written_sender.clone());
        let suffix = format!("{}-{}", self.context.task.subtask.0, self.context.attempt);
        let task = self.context.env.spawn("snapshot", async move {
            let outcome = match write(&env, &storage, checkpoint, groups, parts, &suffix, flush).await {
                Ok((snapshot, size_bytes)) => Asynchronous::Durable(snapshot, size_bytes),
                Err(error) => Asynchronous::Failed(error.to_string()),
            };
            // The subtask is gone: nobody to tell.
            let _ = sender.send(Done::Snapshot(checkpoint, outcome));
        });
        self.writing.insert(checkpoint, Writing { _task: task, statistics, taken_at, durable: None });
    }

    async fn written(&mut self, checkpoint: CheckpointId, outcome: Asynchronous) -> Result<(), TaskError> {
        let Some(writing) = self.writing.get_mut(&checkpoint) else { return Ok(()) };
        match outcome {
            Asynchronous::Durable(snapshot, size_bytes) => {
                writing.durable = Some(snapshot);
                writing.statistics.size_bytes = size_bytes;
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

type Part = (String, Option<KeyedSnapshot>, Vec<ListState>);

/// The asynchronous part: everything durable, in this order or another, before anything is said.
async fn write<E: Env>(
    env: &E,
    storage: &CheckpointStorage,
    checkpoint: CheckpointId,
    groups: KeyGroupRange,
    parts: Vec<Part>,
    suffix: &str,
    flush: Option<Flush>,
) -> Result<(TaskSnapshot, u64), TaskError> {
    let mut snapshot = TaskSnapshot::default();
    let mut size_bytes = 0;
    for (uid, keyed, lists) in parts {
        let mut handles = Vec::new();
        if let Some(keyed) = keyed {
            let mut writer = storage.state_writer(env, checkpoint, &format!("{uid}-{suffix}")).await?;
            for block in keyed.blocks() {
                let block = block.map_err(|source| TaskError::Snapshot { uid: uid.clone(), source })?;
                writer.block(&block).await?;
            }
            let location = writer.finish().await?;
            size_bytes += match &location {
                StateLocation::File { size_bytes, .. } => *size_bytes,
                StateLocation::Inline(bytes) => bytes.len() as u64,
            };
            handles.push(KeyedHandle { groups, location });
        }
        size_bytes += lists.iter().flat_map(|list| &list.items).map(|item| item.len() as u64).sum::<u64>();
        snapshot.operators.push(OperatorSnapshot { uid, keyed: handles, lists });
    }
    if let Some(flush) = flush {
        flush.await?;
    }
    Ok((snapshot, size_bytes))
}
