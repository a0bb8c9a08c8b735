//! The coordinator process (Flink: JobManager): feeds the coordinator machine and performs what it decides.

use super::ioqueue::IoQueue;
use super::message::{Command, CommandTaken, ToCoordinator, ToWorker};
use super::statistics::Statistics;
use super::Heartbeats;
use crate::alarm::Alarm;
use crate::codec::{self, CodecError, Noticing};
use crate::env::{Env, Listener};
use crate::job::JobGraph;
use crate::observe::{Actor, Detail, Event, Moment};
use crate::storage::{CheckpointStorage, CheckpointStore, JournalKeeper, StorageError};
use crate::task::{TaskControl, TaskReport};
use cofferdam_protocol::coordinator::{Coordinator, Ended, Input, Journal, Kind, Output, Plan, Standing, Status, Written};
use cofferdam_protocol::metadata::CheckpointMetadata;
use cofferdam_protocol::restore::{self, TaskRestore};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, Incarnation, Machine, TaskId, Timer, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{split, WriteHalf};
use tokio::sync::{mpsc, watch};

/// The first and the longest wait before a storage operation is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// What a coordinator is started with.
#[derive(Clone)]
pub struct CoordinatorSettings {
    /// The job's id: a name that no other job below the checkpoint folder has.
    pub job: String,
    /// Where to listen for workers.
    pub address: SocketAddr,
    /// Signs of life.
    pub heartbeats: Heartbeats,
    /// The job's folder, or URL, on the checkpoint storage, where the journal lives.
    pub root: String,
    /// The protocol's part.
    pub plan: Plan,
}

/// How the job is doing.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// What the job does, in words.
    pub status: String,
    /// How many records have come in at sources, replays included.
    pub records: u64,
    /// Figures about checkpoints.
    pub statistics: Statistics,
}

/// Why a coordinator process gives up. The job goes on under another one.
#[derive(Debug, thiserror::Error)]
pub enum CoordinatorError {
    /// The port cannot be opened: choose another.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The port.
        address: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// The journal cannot be read: repair it, or start a new job.
    #[error(transparent)]
    Journal(#[from] StorageError),
    /// Another coordinator has taken over.
    #[error("another coordinator has taken over from {0}")]
    SteppedDown(Epoch),
}

enum Inbox {
    Joined(Incarnation, WorkerId, u32, SocketAddr, mpsc::UnboundedSender<ToWorker>),
    Message(Incarnation, ToCoordinator),
    Alive(Incarnation),
    Lost(Incarnation),
    Command(Command),
    Alarm,
    Answer(Input<TaskSnapshot>),
    Planned(AttemptId, BTreeMap<TaskId, WorkerId>, BTreeMap<TaskId, TaskRestore>),
    SweepDone,
}

struct Connection {
    worker: WorkerId,
    data_address: SocketAddr,
    outgoing: mpsc::UnboundedSender<ToWorker>,
}

/// Runs the job until it has ended.
///
/// # Errors
/// What makes this process unable to lead.
pub async fn run<E: Env>(
    env: E,
    settings: CoordinatorSettings,
    store: Arc<CheckpointStore>,
    graph: Arc<JobGraph<E>>,
    progress: Option<watch::Sender<Progress>>,
) -> Result<Ended, CoordinatorError> {
    let bind_error = |source| CoordinatorError::Bind { address: settings.address, source };
    let listener = env.bind(settings.address).await.map_err(bind_error)?;
    let (journal_store, journal) = open_journal(&env, store.storage(), &settings.root).await?;
    let mut journal = journal.unwrap_or_default();
    if let CheckpointStorage::Memory { .. } = store.storage() {
        // They died with the coordinator that held them: the job begins anew.
        journal.completed.clear();
    }
    let (inbox_sender, inbox) = mpsc::unbounded_channel();
    let (journal_sender, journal_receiver) = mpsc::unbounded_channel();
    let _journal_task = env.spawn("journal", keep_journal(env.clone(), journal_store, journal_receiver, inbox_sender.clone()));
    let _accepting = env.spawn("accept workers", accept(env.clone(), listener, settings.heartbeats, inbox_sender.clone()));
    let standing = Standing { plan: settings.plan.clone(), journal };
    let mut outputs = Vec::new();
    let machine = Coordinator::recover(standing, &mut outputs);
    let driver = Driver {
        alarm: Alarm::new(env.clone(), map_alarm(&env, inbox_sender.clone())),
        io: IoQueue::new(env.clone()),
        epoch: machine.epoch(),
        env,
        settings,
        store,
        graph,
        machine,
        outputs,
        inbox_sender,
        journal_sender,
        deadlines: BTreeMap::new(),
        connections: BTreeMap::new(),
        latest: BTreeMap::new(),
        placement: BTreeMap::new(),
        led: false,
        progress: progress.unwrap_or_else(|| watch::Sender::new(Progress::default())),
        sweeping: 0,
        discarding: BTreeSet::new(),
        unanswered: BTreeSet::new(),
        ended: None,
    };
    driver.run(inbox).await
}

/// Alarms of the driver arrive in its inbox.
fn map_alarm<E: Env>(env: &E, inbox: mpsc::UnboundedSender<Inbox>) -> mpsc::UnboundedSender<()> {
    let (sender, mut receiver) = mpsc::unbounded_channel();
    // Lives as long as the sender that the alarm holds.
    let task = env.spawn("alarms", async move { while receiver.recv().await.is_some() && inbox.send(Inbox::Alarm).is_ok() {} });
    std::mem::forget(task);
    sender
}

/// Tries until it works or can never work.
async fn retry<E: Env, T, F: std::future::Future<Output = Result<T, StorageError>>>(
    env: &E,
    mut operation: impl FnMut() -> F,
) -> Result<T, StorageError> {
    let mut wait = RETRY.0;
    loop {
        match operation().await {
            Ok(done) => return Ok(done),
            Err(error) if !error.is_permanent() => {
                env.sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            Err(error) => return Err(error),
        }
    }
}

/// Makes the job's place and opens the journal, as often as it takes. Why even if something is not found: the storage may lose
/// power between the making of a folder and its sync, and then the folder must be made again.
async fn open_journal<E: Env>(env: &E, storage: &CheckpointStorage, root: &str) -> Result<(JournalKeeper, Option<Journal>), StorageError> {
    let mut wait = RETRY.0;
    loop {
        match JournalKeeper::open(env, storage, root).await {
            Ok(opened) => return Ok(opened),
            Err(error) if matches!(error, StorageError::Io { .. }) || !error.is_permanent() => {
                env.sleep(wait).await;
                wait = (wait * 2).min(RETRY.1);
            }
            Err(error) => return Err(error),
        }
    }
}

async fn keep_journal<E: Env>(
    env: E,
    mut store: JournalKeeper,
    mut writes: mpsc::UnboundedReceiver<Journal>,
    inbox: mpsc::UnboundedSender<Inbox>,
) {
    while let Some(journal) = writes.recv().await {
        let written = store.append(&env, &journal).await;
        if inbox.send(Inbox::Answer(Input::Journal(written))).is_err() {
            return;
        }
    }
}

async fn accept<E: Env>(env: E, listener: E::Listener, heartbeats: Heartbeats, inbox: mpsc::UnboundedSender<Inbox>) {
    let mut serving = IoQueue::new(env.clone());
    let mut incarnation = Incarnation(0);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                incarnation = incarnation.next();
                serving.spawn("serve worker", serve(env.clone(), stream, incarnation, heartbeats, inbox.clone()));
            }
            Err(_) => env.sleep(RETRY.0).await,
        }
    }
}

async fn serve<E: Env>(env: E, stream: E::Stream, incarnation: Incarnation, heartbeats: Heartbeats, inbox: mpsc::UnboundedSender<Inbox>) {
    let (mut reading, writing) = split(stream);
    let mut scratch = Vec::new();
    let (worker, slots, data_address) = match codec::read_frame(&mut reading, &mut scratch).await {
        Ok(Some(ToCoordinator::Register { worker, slots, data_address })) => (worker, slots, data_address),
        Ok(Some(ToCoordinator::Command(command))) => {
            let mut writing = writing;
            if inbox.send(Inbox::Command(command)).is_ok() {
                // A user that has gone needs no answer.
                let _ = codec::write_frame(&mut writing, &CommandTaken, &mut scratch).await;
            }
            return;
        }
        // Anybody else begins with something else, or not at all.
        Ok(Some(_) | None) | Err(_) => return,
    };
    let (outgoing, messages) = mpsc::unbounded_channel();
    if inbox.send(Inbox::Joined(incarnation, worker, slots, data_address, outgoing)).is_err() {
        return;
    }
    let lost = inbox.clone();
    let _writer = env.spawn("write worker", write_all(env.clone(), writing, messages, heartbeats.interval, incarnation, lost));
    // Any byte is a sign of life: a heartbeat may have to wait behind a long acknowledgement on a slow line.
    let (alive, mut said) = (inbox.clone(), env.now());
    let mut reading = Noticing::new(reading, move || {
        if env.now().saturating_sub(said) >= heartbeats.interval / 2 {
            said = env.now();
            // The coordinator is over already.
            let _ = alive.send(Inbox::Alive(incarnation));
        }
    });
    loop {
        match codec::read_frame(&mut reading, &mut scratch).await {
            Ok(Some(message)) => {
                if inbox.send(Inbox::Message(incarnation, message)).is_err() {
                    return;
                }
            }
            Ok(None) | Err(_) => {
                // The coordinator is over already.
                let _ = inbox.send(Inbox::Lost(incarnation));
                return;
            }
        }
    }
}

async fn write_all<E: Env>(
    env: E,
    mut writing: WriteHalf<E::Stream>,
    mut messages: mpsc::UnboundedReceiver<ToWorker>,
    interval: Duration,
    incarnation: Incarnation,
    inbox: mpsc::UnboundedSender<Inbox>,
) {
    let mut scratch = Vec::new();
    let result: Result<(), CodecError> = async {
        loop {
            let message = tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) => message,
                    None => return Ok(()),
                },
                () = env.sleep(interval) => ToWorker::Heartbeat,
            };
            codec::write_frame(&mut writing, &message, &mut scratch).await?;
        }
    }
    .await;
    if result.is_err() {
        // The coordinator may be over already.
        let _ = inbox.send(Inbox::Lost(incarnation));
    }
}

struct Driver<E: Env> {
    env: E,
    settings: CoordinatorSettings,
    store: Arc<CheckpointStore>,
    graph: Arc<JobGraph<E>>,
    machine: Coordinator<TaskSnapshot>,
    epoch: Epoch,
    outputs: Vec<Output<TaskSnapshot>>,
    inbox_sender: mpsc::UnboundedSender<Inbox>,
    journal_sender: mpsc::UnboundedSender<Journal>,
    alarm: Alarm<E, ()>,
    io: IoQueue<E>,
    deadlines: BTreeMap<Timer, Duration>,
    connections: BTreeMap<Incarnation, Connection>,
    latest: BTreeMap<WorkerId, Incarnation>,
    placement: BTreeMap<TaskId, WorkerId>,
    led: bool,
    progress: watch::Sender<Progress>,
    sweeping: u32,
    discarding: BTreeSet<CheckpointId>,
    /// Checkpoints that something is being written of by this process.
    unanswered: BTreeSet<CheckpointId>,
    ended: Option<Ended>,
}

impl<E: Env> Driver<E> {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Inbox>) -> Result<Ended, CoordinatorError> {
        self.perform_all()?;
        while let Some(received) = inbox.recv().await {
            self.receive(received)?;
            if let Some(ended) = &self.ended {
                if self.nothing_is_left_to_do() {
                    let ended = ended.clone();
                    for connection in self.connections.values() {
                        // A worker that has gone needs no telling.
                        let _ = connection.outgoing.send(ToWorker::Shutdown);
                    }
                    // Long enough for the word to get out; a worker that misses it finds nobody and is stopped by its user.
                    self.env.sleep(self.settings.heartbeats.interval).await;
                    return Ok(ended);
                }
            }
        }
        unreachable!("the driver holds a sender of its own inbox")
    }

    /// Whether the process of a job that has ended may go.
    fn nothing_is_left_to_do(&self) -> bool {
        // Why only there: in files, what comes after the sweep finds no folder. An object would stay for ever.
        let late = match self.store.storage() {
            CheckpointStorage::Object { .. } => self.unanswered.len(),
            CheckpointStorage::FileSystem { .. } | CheckpointStorage::Memory { .. } => 0,
        };
        self.sweeping == 0 && self.discarding.is_empty() && late == 0
    }

    fn receive(&mut self, received: Inbox) -> Result<(), CoordinatorError> {
        match received {
            Inbox::Joined(incarnation, worker, slots, data_address, outgoing) => {
                if self.latest.get(&worker).is_some_and(|latest| *latest > incarnation) {
                    // An older connection whose registration was read late: the worker has given it up.
                    return Ok(());
                }
                // Nobody there any more: its loss follows.
                let _ = outgoing.send(ToWorker::Welcome { epoch: self.epoch });
                self.connections.insert(incarnation, Connection { worker, data_address, outgoing });
                self.latest.insert(worker, incarnation);
                self.observe(Moment::WorkerJoined, None, None, Detail::Worker(worker));
                self.step(Input::WorkerJoined { worker, incarnation, slots })
            }
            Inbox::Message(incarnation, message) => self.message(incarnation, message),
            Inbox::Alive(incarnation) => match self.connections.get(&incarnation).map(|connection| connection.worker) {
                Some(worker) => self.step(Input::Heartbeat { worker, incarnation }),
                None => Ok(()),
            },
            Inbox::Lost(incarnation) => {
                let Some(connection) = self.connections.remove(&incarnation) else { return Ok(()) };
                let worker = connection.worker;
                if self.latest.get(&worker) == Some(&incarnation) {
                    self.latest.remove(&worker);
                }
                self.observe(Moment::WorkerLost, None, None, Detail::Worker(worker));
                self.step(Input::WorkerLost { worker, incarnation })
            }
            Inbox::Command(Command::Cancel) => self.step(Input::CancelRequested),
            Inbox::Command(Command::Checkpoint) => self.step(Input::Requested(Kind::Requested)),
            Inbox::Alarm => {
                self.alarm.disarm();
                let now = self.env.now();
                let due: Vec<Timer> = self.deadlines.iter().filter(|(_, deadline)| **deadline <= now).map(|(timer, _)| *timer).collect();
                for timer in due {
                    // An earlier one of this round may have disarmed it.
                    if self.deadlines.remove(&timer).is_some() {
                        if let Timer::WorkerSilent(worker, incarnation) = timer {
                            self.connections.remove(&incarnation);
                            self.observe(Moment::WorkerLost, None, None, Detail::Worker(worker));
                        }
                        self.step(Input::Fired(timer))?;
                    }
                }
                self.set_alarm();
                Ok(())
            }
            Inbox::Answer(input) => {
                if let Input::LocationReady(checkpoint)
                | Input::LocationFailed(checkpoint)
                | Input::MetadataDurable(checkpoint)
                | Input::MetadataFailed(checkpoint) = &input
                {
                    self.unanswered.remove(checkpoint);
                }
                match &input {
                    Input::Discarded(checkpoint) => {
                        self.discarding.remove(checkpoint);
                        self.observe(Moment::Discarded, None, Some(*checkpoint), Detail::None);
                    }
                    Input::LocationReady(checkpoint) => self.observe(Moment::LocationReady, None, Some(*checkpoint), Detail::None),
                    Input::Journal(Written::Durable) if !self.led => {
                        self.led = true;
                        self.observe(Moment::TookOver, None, None, Detail::None);
                    }
                    _ => {}
                }
                self.step(input)
            }
            Inbox::Planned(attempt, placement, restores) => {
                self.deploy(attempt, &placement, restores);
                Ok(())
            }
            Inbox::SweepDone => {
                self.sweeping -= 1;
                Ok(())
            }
        }
    }

    fn message(&mut self, incarnation: Incarnation, message: ToCoordinator) -> Result<(), CoordinatorError> {
        let Some(worker) = self.connections.get(&incarnation).map(|connection| connection.worker) else { return Ok(()) };
        match message {
            // A second registration on the same connection says nothing new, and a worker gives no commands.
            ToCoordinator::Register { .. } | ToCoordinator::Command(_) => Ok(()),
            ToCoordinator::Heartbeat { records } => {
                self.progress.send_modify(|progress| progress.records += records);
                Ok(())
            }
            ToCoordinator::Stopped { attempt } => self.step(Input::WorkerStopped { attempt, worker }),
            ToCoordinator::Report { task, attempt, report } => match report {
                TaskReport::Running => self.step(Input::TaskRunning { attempt, task }),
                TaskReport::Failed(cause) => self.step(Input::TaskFailed { attempt, task, cause }),
                TaskReport::Drained => self.step(Input::TaskDrained { attempt, task }),
                TaskReport::Acknowledged(checkpoint, snapshot, statistics) => {
                    let now = self.env.now();
                    self.progress.send_modify(|progress| progress.statistics.acknowledged(checkpoint, task, statistics, now));
                    self.observe(Moment::AckReceived, Some(attempt), Some(checkpoint), Detail::Task(task));
                    self.step(Input::Acknowledged { attempt, checkpoint, task, snapshot })
                }
                TaskReport::Declined(checkpoint, reason) => self.step(Input::Declined { attempt, checkpoint, task, reason }),
                TaskReport::Progress(_) => Ok(()),
            },
        }
    }

    fn observe(&self, moment: Moment, attempt: Option<AttemptId>, checkpoint: Option<CheckpointId>, detail: Detail) {
        self.env.observe(Event { actor: Actor::Coordinator(self.epoch), attempt, checkpoint, moment, detail });
    }

    fn step(&mut self, input: Input<TaskSnapshot>) -> Result<(), CoordinatorError> {
        self.machine.step(input, &mut self.outputs);
        self.perform_all()
    }

    fn perform_all(&mut self) -> Result<(), CoordinatorError> {
        for output in std::mem::take(&mut self.outputs) {
            self.perform(output)?;
        }
        Ok(())
    }

    /// Does something that takes time, and feeds what came of it back.
    fn ask(&mut self, name: &'static str, work: impl std::future::Future<Output = Inbox> + Send + 'static) {
        let inbox = self.inbox_sender.clone();
        self.io.spawn(name, async move {
            let answer = work.await;
            // The coordinator is over already.
            let _ = inbox.send(answer);
        });
    }

    fn tell(&self, worker: WorkerId, message: ToWorker) {
        if let Some(connection) = self.latest.get(&worker).and_then(|incarnation| self.connections.get(incarnation)) {
            // A worker that has gone is found out by its connection.
            let _ = connection.outgoing.send(message);
        }
    }

    fn tell_tasks(&self, attempt: AttemptId, tasks: &BTreeSet<TaskId>, control: &TaskControl) {
        let mut by_worker: BTreeMap<WorkerId, Vec<TaskId>> = BTreeMap::new();
        for (task, worker) in &self.placement {
            let named = by_worker.entry(*worker).or_default();
            if tasks.contains(task) {
                named.push(*task);
            }
        }
        for (worker, named) in by_worker {
            if tasks.is_empty() || !named.is_empty() {
                self.tell(worker, ToWorker::Control { attempt, tasks: named, control: control.clone() });
            }
        }
    }

    fn set_alarm(&mut self) {
        match self.deadlines.values().min() {
            Some(earliest) => self.alarm.arm(*earliest, ()),
            None => self.alarm.disarm(),
        }
    }

    fn perform(&mut self, output: Output<TaskSnapshot>) -> Result<(), CoordinatorError> {
        match output {
            Output::Arm { timer, from, to } => {
                let span = u64::try_from(to.saturating_sub(from).as_micros()).unwrap_or(u64::MAX - 1);
                let drawn = if span == 0 { 0 } else { self.env.random() % (span + 1) };
                self.deadlines.insert(timer, self.env.now() + from + Duration::from_micros(drawn));
                self.set_alarm();
            }
            Output::Disarm(timer) => {
                self.deadlines.remove(&timer);
            }
            Output::Write(journal) => {
                // The journal's task lives as long as this driver.
                let _ = self.journal_sender.send(journal);
            }
            Output::CreateLocation(checkpoint, _) => {
                self.unanswered.insert(checkpoint);
                let (env, store) = (self.env.clone(), self.store.clone());
                self.ask("create location", async move {
                    Inbox::Answer(match store.create_location(&env, checkpoint).await {
                        Ok(()) => Input::LocationReady(checkpoint),
                        Err(_) => Input::LocationFailed(checkpoint),
                    })
                });
            }
            Output::Trigger { attempt, checkpoint, kind: _, tasks } => self.tell_tasks(attempt, &tasks, &TaskControl::Trigger(checkpoint)),
            Output::WriteMetadata { attempt, checkpoint, kind, snapshots } => self.write_metadata(attempt, checkpoint, kind, &snapshots),
            Output::NotifyComplete { attempt, checkpoint } => {
                self.tell_tasks(attempt, &BTreeSet::new(), &TaskControl::Completed(checkpoint));
                self.observe(Moment::CompletionNotified, Some(attempt), Some(checkpoint), Detail::None);
            }
            Output::NotifyAbort { attempt, checkpoint, latest_completed } => {
                self.tell_tasks(attempt, &BTreeSet::new(), &TaskControl::Aborted { checkpoint, latest_completed });
            }
            Output::Discard(checkpoint) => {
                self.observe(Moment::Discarding, None, Some(checkpoint), Detail::None);
                self.discarding.insert(checkpoint);
                let (env, store) = (self.env.clone(), self.store.clone());
                self.ask("discard", async move {
                    // What cannot be deleted now is found by the sweep of a later coordinator or of the job's end.
                    let _ = retry(&env, || store.discard(&env, checkpoint)).await;
                    Inbox::Answer(Input::Discarded(checkpoint))
                });
            }
            Output::DiscardSnapshot { snapshot, .. } => {
                let (env, store) = (self.env.clone(), self.store.clone());
                self.io.spawn("discard snapshot", async move {
                    for handle in snapshot.operators.iter().flat_map(|operator| &operator.keyed) {
                        // As with discards.
                        let _ = store.storage().discard_location(&env, &handle.location).await;
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
            Output::Triggered { checkpoint, .. } => {
                let now = self.env.now();
                self.progress.send_modify(|progress| progress.statistics.triggered(checkpoint, now));
                self.observe(Moment::CheckpointTriggered, None, Some(checkpoint), Detail::None);
            }
            Output::Completed { checkpoint, .. } => {
                let now = self.env.now();
                self.progress.send_modify(|progress| progress.statistics.completed(checkpoint, now));
                self.observe(Moment::CheckpointCompleted, None, Some(checkpoint), Detail::None);
            }
            Output::Aborted { checkpoint, reason } => {
                self.progress.send_modify(|progress| progress.statistics.failed(checkpoint, reason));
                let moment = if checkpoint.is_some() { Moment::CheckpointAborted } else { Moment::RequestRefused };
                self.observe(moment, None, checkpoint, Detail::Reason(reason));
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
            Status::Running(attempt) => self.observe(Moment::JobRunning, Some(attempt), None, Detail::None),
            Status::Failing { attempt, cause } => self.observe(Moment::JobFailing, Some(attempt), None, Detail::Text(cause)),
            Status::Restarting { after } => self.observe(Moment::JobRestarting, Some(after), None, Detail::None),
            Status::Ended(ended) => {
                self.observe(Moment::JobEnded, None, None, Detail::Ended(ended.clone()));
                self.ended = Some(ended);
            }
        }
    }

    fn write_metadata(&mut self, attempt: AttemptId, checkpoint: CheckpointId, kind: Kind, snapshots: &BTreeMap<TaskId, TaskSnapshot>) {
        self.unanswered.insert(checkpoint);
        self.observe(Moment::AllAcked, Some(attempt), Some(checkpoint), Detail::None);
        let savepoint = kind == Kind::Savepoint;
        let metadata = CheckpointMetadata::collect(&self.settings.job, checkpoint, attempt, savepoint, &self.graph.shapes(), snapshots);
        let metadata = match metadata {
            Ok(metadata) => metadata,
            Err(error) => {
                self.observe(Moment::SnapshotFailed, Some(attempt), Some(checkpoint), Detail::Text(error.to_string()));
                let answer = Inbox::Answer(Input::MetadataFailed(checkpoint));
                self.ask("metadata failed", std::future::ready(answer));
                return;
            }
        };
        let (env, store, epoch) = (self.env.clone(), self.store.clone(), self.epoch);
        self.ask("write metadata", async move {
            let observer = env.clone();
            let observe = |moment| {
                let actor = Actor::Coordinator(epoch);
                observer.observe(Event { actor, attempt: Some(attempt), checkpoint: Some(checkpoint), moment, detail: Detail::None });
            };
            Inbox::Answer(match store.publish_metadata(&env, &metadata, observe).await {
                Ok(()) => {
                    observe(Moment::MetadataDurable);
                    Input::MetadataDurable(checkpoint)
                }
                Err(_) => Input::MetadataFailed(checkpoint),
            })
        });
    }

    fn plan_deployment(&mut self, attempt: AttemptId, from: Option<CheckpointId>, placement: BTreeMap<TaskId, WorkerId>) {
        self.observe(Moment::Deploying, Some(attempt), from, Detail::None);
        if from.is_some() {
            self.progress.send_modify(|progress| progress.statistics.restored += 1);
        }
        let (env, store, shapes) = (self.env.clone(), self.store.clone(), self.graph.shapes());
        self.ask("plan", async move {
            let Some(checkpoint) = from else { return Inbox::Planned(attempt, placement, BTreeMap::new()) };
            let failed = |cause| Inbox::Answer(Input::RestoreFailed { attempt, cause });
            match retry(&env, || store.read_metadata(&env, checkpoint)).await {
                Err(error) => failed(error.to_string()),
                Ok(metadata) => match restore::plan(&metadata, &shapes) {
                    Ok(restores) => Inbox::Planned(attempt, placement, restores),
                    Err(error) => failed(error.to_string()),
                },
            }
        });
    }

    fn deploy(&mut self, attempt: AttemptId, placement: &BTreeMap<TaskId, WorkerId>, mut restores: BTreeMap<TaskId, TaskRestore>) {
        if self.machine.status() != Some(&Status::Deploying(attempt)) {
            // It failed while its restore was planned.
            return;
        }
        let restored = !restores.is_empty();
        let address =
            |worker: &WorkerId| self.latest.get(worker).and_then(|incarnation| self.connections.get(incarnation)).map(|c| c.data_address);
        let addresses: BTreeMap<TaskId, SocketAddr> =
            placement.iter().filter_map(|(task, worker)| Some((*task, address(worker)?))).collect();
        let mut by_worker: BTreeMap<WorkerId, Vec<(TaskId, Option<TaskRestore>)>> = BTreeMap::new();
        for (task, worker) in placement {
            let restore = restored.then(|| restores.remove(task).unwrap_or_default());
            by_worker.entry(*worker).or_default().push((*task, restore));
        }
        for (worker, tasks) in by_worker {
            self.tell(worker, ToWorker::Deploy { attempt, tasks, placement: addresses.clone() });
        }
        self.placement = placement.clone();
    }
}
