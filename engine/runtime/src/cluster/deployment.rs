//! The tasks of one attempt on one worker: their channels, local and remote, and their life.

use super::ioqueue::IoQueue;
use super::message::{DataHello, DataReply};
use crate::channel::{AnyEnd, ChannelId, EdgeType};
use crate::codec;
use crate::connector::split::ReaderEvent;
use crate::env::Env;
use crate::job::JobGraph;
use crate::local::LocalState;
use crate::storage::streams::Sharers;
use crate::storage::{CheckpointStorage, SmallState, SnapshotStreams};
use crate::task::{OutputEnds, StateBackend, TaskContext, TaskControl, TaskReport};
use cofferdam_protocol::coordinator::FailureKind;
use cofferdam_protocol::gateway::EventNumber;
use cofferdam_protocol::local::Taken;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::{AttemptId, Mode, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// How long to wait before a data connection is tried again.
const RETRY: Duration = Duration::from_millis(50);

/// What tasks say, with who and when.
pub type Reports = mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>;

struct Expected<E: Env> {
    kind: Arc<dyn EdgeType<E::Stream>>,
    into: AnyEnd,
    /// Who takes in what arrives.
    receiver: TaskId,
}

/// What arrives for the tasks of one attempt.
struct Arrivals<E: Env> {
    expected: BTreeMap<ChannelId, Expected<E>>,
    pumps: IoQueue<E>,
    pumping: Vec<(TaskId, u64)>,
}

struct Expecting<E: Env> {
    newest: AttemptId,
    attempts: BTreeMap<AttemptId, Arrivals<E>>,
}

/// Where data connections of other workers find their channel.
pub struct DataPlane<E: Env> {
    env: E,
    expecting: Mutex<Expecting<E>>,
}

impl<E: Env> DataPlane<E> {
    /// Nothing is deployed.
    pub fn new(env: E) -> Arc<Self> {
        Arc::new(Self { env, expecting: Mutex::new(Expecting { newest: AttemptId::default(), attempts: BTreeMap::new() }) })
    }

    fn lock(&self) -> MutexGuard<'_, Expecting<E>> {
        self.expecting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Expects the channels of this attempt. Those of older ones are forgotten, unless they are of tasks that go on.
    fn expect(&self, attempt: AttemptId, expected: BTreeMap<ChannelId, Expected<E>>, others_go_on: bool) {
        let mut expecting = self.lock();
        expecting.newest = attempt;
        if !others_go_on {
            expecting.attempts.clear();
        }
        expecting.attempts.insert(attempt, Arrivals { expected, pumps: IoQueue::new(self.env.clone()), pumping: Vec::new() });
    }

    /// Forgets the channels of tasks that stop.
    fn forget(&self, tasks: &BTreeSet<TaskId>) {
        for arrivals in self.lock().attempts.values_mut() {
            arrivals.expected.retain(|_, expected| !tasks.contains(&expected.receiver));
            for (_, number) in arrivals.pumping.extract_if(.., |(receiver, _)| tasks.contains(receiver)) {
                arrivals.pumps.abort(number);
            }
        }
    }

    /// Serves one data connection.
    pub async fn serve(&self, mut stream: E::Stream) {
        let mut scratch = Vec::new();
        let Ok(Some(hello)) = codec::read_frame::<DataHello, _>(&mut stream, &mut scratch).await else { return };
        let (reply, expected) = {
            let mut expecting = self.lock();
            if hello.attempt > expecting.newest {
                (DataReply::NotYet, None)
            } else {
                match expecting.attempts.get_mut(&hello.attempt).and_then(|arrivals| arrivals.expected.remove(&hello.channel)) {
                    Some(expected) => (DataReply::Accepted, Some(expected)),
                    None => (DataReply::Refused, None),
                }
            }
        };
        if codec::write_frame(&mut stream, &reply, &mut scratch).await.is_err() {
            return;
        }
        if let Some(Expected { kind, into, receiver }) = expected {
            let mut expecting = self.lock();
            if let Some(arrivals) = expecting.attempts.get_mut(&hello.attempt) {
                // However it ends, the channel closes, and the task at its end notices.
                let pump = kind.pump_in(stream, into);
                let number = arrivals.pumps.spawn("channel in", async move {
                    let _ = pump.await;
                });
                arrivals.pumping.push((receiver, number));
            }
        }
    }
}

/// The tasks of one attempt. Dropping it stops them.
pub struct Deployment<E: Env> {
    /// Which attempt.
    pub attempt: AttemptId,
    controls: BTreeMap<TaskId, mpsc::UnboundedSender<TaskControl>>,
    events: BTreeMap<TaskId, mpsc::UnboundedSender<(EventNumber, ReaderEvent)>>,
    tasks: BTreeMap<TaskId, E::Task>,
    pumps: IoQueue<E>,
    /// Which of them send for which task.
    pumping: Vec<(TaskId, u64)>,
    streams: SnapshotStreams<E>,
}

/// How tasks take checkpoints, on this worker.
#[derive(Clone, Copy)]
pub struct Taking<'a, E: Env> {
    /// Where snapshots go.
    pub storage: &'a CheckpointStorage,
    /// What becomes of state that is small.
    pub small: SmallState,
    /// Which worker it is.
    pub worker: WorkerId,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// Whether barriers may overtake records.
    pub overtaking: bool,
    /// Whether tasks leave at their end.
    pub finishing: bool,
    /// What keyed state is kept in.
    pub backend: &'a StateBackend,
    /// Second copies on this worker's disk, and what each task begins from.
    pub local: Option<(&'a LocalState<E>, &'a BTreeMap<TaskId, Option<Taken>>)>,
}

/// What a worker is told to start.
pub struct Assignment {
    /// As which attempt.
    pub attempt: AttemptId,
    /// Its tasks.
    pub tasks: Vec<(TaskId, Option<TaskRestore>)>,
    /// Tasks that had finished before.
    pub finished: BTreeSet<TaskId>,
    /// Where all tasks are.
    pub placement: BTreeMap<TaskId, SocketAddr>,
    /// Whether tasks of older attempts go on here, which these exchange nothing with.
    pub others_go_on: bool,
}

/// Says that a task is gone if it panics.
struct PanicReport {
    reports: Reports,
    task: TaskId,
    attempt: AttemptId,
}

impl Drop for PanicReport {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // The worker may be gone as well.
            let _ = self.reports.send((
                self.task,
                self.attempt,
                TaskReport::Failed { cause: "the task panicked".into(), kind: FailureKind::Recoverable },
            ));
        }
    }
}

impl<E: Env> Deployment<E> {
    /// Starts the tasks of an assignment.
    pub fn start(
        env: &E,
        graph: &Arc<JobGraph<E>>,
        taking: Taking<'_, E>,
        plane: &Arc<DataPlane<E>>,
        assignment: Assignment,
        reports: &Reports,
    ) -> Self {
        let Assignment { attempt, tasks, finished, placement, others_go_on } = assignment;
        let own: BTreeMap<TaskId, Option<TaskRestore>> = tasks.into_iter().collect();
        let mut senders: BTreeMap<ChannelId, AnyEnd> = BTreeMap::new();
        let mut receivers: BTreeMap<ChannelId, AnyEnd> = BTreeMap::new();
        let mut expected = BTreeMap::new();
        let (mut pumps, mut pumping) = (IoQueue::new(env.clone()), Vec::new());
        for edge in &graph.edges {
            let (from_parallelism, to_parallelism) = (graph.vertex(edge.from).parallelism, graph.vertex(edge.to).parallelism);
            for from in (0..from_parallelism).map(cofferdam_protocol::SubtaskIndex) {
                for to in edge.targets(from, to_parallelism) {
                    let channel = ChannelId { edge: edge.id, from, to };
                    let sender_task = TaskId { vertex: edge.from, subtask: from };
                    let receiver_task = TaskId { vertex: edge.to, subtask: to };
                    let (sends, receives) = (own.contains_key(&sender_task), own.contains_key(&receiver_task));
                    if !sends && !receives {
                        continue;
                    }
                    if finished.contains(&sender_task) {
                        receivers.insert(channel, edge.kind.ended());
                        continue;
                    }
                    let (sender, receiver) = edge.kind.channel();
                    match (sends, receives) {
                        (true, true) => {
                            senders.insert(channel, sender);
                            receivers.insert(channel, receiver);
                        }
                        (false, _) => {
                            receivers.insert(channel, receiver);
                            expected.insert(channel, Expected { kind: edge.kind.clone(), into: sender, receiver: receiver_task });
                        }
                        (true, false) => {
                            senders.insert(channel, sender);
                            let address = placement.get(&receiver_task).copied();
                            let pump = pump_out(env.clone(), attempt, channel, address, edge.kind.clone(), receiver);
                            pumping.push((sender_task, pumps.spawn("channel out", pump)));
                        }
                    }
                }
            }
        }
        plane.expect(attempt, expected, others_go_on);
        let streams =
            SnapshotStreams::new(env, taking.storage, taking.small, Sharers { worker: taking.worker, attempt, tasks: own.len() as u64 });
        let (mut controls, mut told) = (BTreeMap::new(), BTreeMap::new());
        let mut running = BTreeMap::new();
        for (task, restore) in own {
            let vertex = graph.vertex(task.vertex);
            let take =
                |ends: &mut BTreeMap<ChannelId, AnyEnd>, channel| ends.remove(&channel).expect("every channel of an own task was made");
            let inputs = vertex.inputs.iter().map(|edge_id| {
                let edge = graph.edge(*edge_id);
                let origins = edge.origins(task.subtask, graph.vertex(edge.from).parallelism);
                origins.into_iter().map(|from| take(&mut receivers, ChannelId { edge: edge.id, from, to: task.subtask })).collect()
            });
            let inputs = inputs.collect();
            let outputs = vertex.outputs.iter().map(|edge_id| {
                let edge = graph.edge(*edge_id);
                let to_parallelism = graph.vertex(edge.to).parallelism;
                let targets = edge.targets(task.subtask, to_parallelism);
                let senders =
                    targets.into_iter().map(|to| take(&mut senders, ChannelId { edge: edge.id, from: task.subtask, to })).collect();
                OutputEnds { edge: edge.id, to_parallelism, senders }
            });
            let outputs = outputs.collect();
            let (control_sender, control) = mpsc::unbounded_channel();
            controls.insert(task, control_sender);
            let (event_sender, events) = mpsc::unbounded_channel();
            told.insert(task, event_sender);
            let context = TaskContext {
                env: env.clone(),
                graph: graph.clone(),
                task,
                attempt,
                mode: taking.mode,
                overtaking: taking.overtaking,
                finishing: taking.finishing,
                backend: taking.backend.clone(),
                storage: taking.storage.clone(),
                streams: streams.clone(),
                inputs,
                outputs,
                local: taking.local.map(|(local, from)| local.of(task, attempt, from.get(&task).copied().flatten())),
                restore,
                control,
                events,
                reports: reports.clone(),
            };
            let (graph, reports) = (graph.clone(), reports.clone());
            let subtask = env.spawn("subtask", async move {
                let _panic_report = PanicReport { reports: reports.clone(), task, attempt };
                if let Err(error) = graph.run_task(context).await {
                    // The worker may be gone as well.
                    let _ = reports.send((task, attempt, TaskReport::Failed { cause: error.to_string(), kind: error.kind() }));
                }
            });
            running.insert(task, subtask);
        }
        Self { attempt, controls, events: told, tasks: running, pumps, pumping, streams }
    }

    /// Those that have not been stopped.
    pub fn tasks(&self) -> impl Iterator<Item = TaskId> + '_ {
        self.tasks.keys().copied()
    }

    /// Stops these tasks, as far as they are its own. The others do not notice: they are whole regions.
    fn stop(&mut self, tasks: &BTreeSet<TaskId>) {
        for task in tasks {
            self.controls.remove(task);
            self.events.remove(task);
            self.tasks.remove(task);
        }
        for (_, number) in self.pumping.extract_if(.., |(sender, _)| tasks.contains(sender)) {
            self.pumps.abort(number);
        }
    }

    /// Tells a reader of splits something. Whether it may get there: a task that is over hears nothing.
    pub fn event(&self, task: TaskId, number: EventNumber, event: ReaderEvent) -> bool {
        self.events.get(&task).is_some_and(|events| events.send((number, event)).is_ok())
    }

    /// Tells the named tasks, or all where none is named.
    pub fn control(&self, tasks: &[TaskId], control: &TaskControl) {
        match control {
            TaskControl::Trigger(..) => {}
            TaskControl::Completed(checkpoint) => self.streams.close_up_to(*checkpoint),
            TaskControl::Aborted { checkpoint, latest_completed } => self.streams.close_aborted(*checkpoint, *latest_completed),
        }
        for (task, sender) in &self.controls {
            if tasks.is_empty() || tasks.contains(task) {
                // A task that is over has said so, or will.
                let _ = sender.send(control.clone());
            }
        }
    }
}

/// All tasks of a worker, by the attempt that each was deployed in: several, where some were restarted while others went on.
pub struct Deployments<E: Env> {
    plane: Arc<DataPlane<E>>,
    by_attempt: BTreeMap<AttemptId, Deployment<E>>,
}

impl<E: Env> Deployments<E> {
    /// None yet.
    pub fn new(plane: Arc<DataPlane<E>>) -> Self {
        Self { plane, by_attempt: BTreeMap::new() }
    }

    /// The latest attempt of which something runs.
    pub fn newest(&self) -> Option<AttemptId> {
        self.by_attempt.keys().next_back().copied()
    }

    /// The tasks of one attempt.
    pub fn of(&self, attempt: AttemptId) -> Option<&Deployment<E>> {
        self.by_attempt.get(&attempt)
    }

    /// All tasks.
    pub fn tasks(&self) -> BTreeSet<TaskId> {
        self.by_attempt.values().flat_map(Deployment::tasks).collect()
    }

    /// Stops all tasks.
    pub fn stop_all(&mut self) {
        self.by_attempt.clear();
    }

    /// Stops these tasks.
    pub fn stop(&mut self, tasks: &BTreeSet<TaskId>) {
        self.by_attempt.values_mut().for_each(|deployment| deployment.stop(tasks));
        self.by_attempt.retain(|_, deployment| !deployment.tasks.is_empty());
        self.plane.forget(tasks);
    }

    /// More tasks run.
    pub fn add(&mut self, deployment: Deployment<E>) {
        self.by_attempt.insert(deployment.attempt, deployment);
    }
}

/// Connects one channel to the worker of its receiver, as often as it takes, and carries its elements.
async fn pump_out<E: Env>(
    env: E,
    attempt: AttemptId,
    channel: ChannelId,
    address: Option<SocketAddr>,
    kind: Arc<dyn EdgeType<E::Stream>>,
    from: AnyEnd,
) {
    let Some(address) = address else { return };
    let mut scratch = Vec::new();
    let stream = loop {
        let attempted = async {
            let mut stream = env.connect(address).await?;
            codec::write_frame(&mut stream, &DataHello { attempt, channel }, &mut scratch).await?;
            Ok::<_, codec::CodecError>((codec::read_frame::<DataReply, _>(&mut stream, &mut scratch).await?, stream))
        };
        match attempted.await {
            Ok((Some(DataReply::Accepted), stream)) => break stream,
            Ok((Some(DataReply::Refused), _)) => return,
            Ok((Some(DataReply::NotYet) | None, _)) | Err(_) => env.sleep(RETRY).await,
        }
    };
    // However it ends, the channel closes, and the task that sends into it notices.
    let _ = kind.pump_out(from, stream).await;
}
