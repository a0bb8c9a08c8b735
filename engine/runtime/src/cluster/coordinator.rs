//! The coordinator process (Flink: JobManager): feeds the coordinator machine and performs what it decides.
//!
//! * here: the process, and what comes in.
//! * `serving`: connections of workers and users.
//! * `performing`: what the machine wants done.
//! * `enumerators`: what sources have here to find what their readers read.
//! * `savepoints`: what users are told of theirs.
//! * `leftovers`: what is cleaned up outside of the job's own folder.

mod enumerators;
mod leftovers;
mod performing;
mod savepoints;
mod serving;

use super::formats::OtherFormats;
use super::ioqueue::IoQueue;
use super::message::{Command, CommandAnswer, ToCoordinator, ToWorker};
use super::statistics::Statistics;
use super::Heartbeats;
use crate::alarm::Alarm;
use crate::connector::split::AnyFound;
use crate::env::Env;
use crate::job::JobGraph;
use crate::observe::{Actor, Detail, Event, MachineStep, Moment, Step};
use crate::sight::Sight;
use crate::sometimes;
use crate::storage::{CheckpointStorage, CheckpointStore, JournalKeeper, StorageError};
use crate::task::{TaskControl, TaskReport};
use cofferdam_protocol::coordinator::{Coordinator, Ended, FailureKind, Input, Journal, Output, Plan, Standing, Status, Written};
use cofferdam_protocol::metadata::HookState;
use cofferdam_protocol::restore::UnclaimedState;
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, Incarnation, Machine, TaskId, Timer, VertexId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};

pub use performing::DRAINED;
pub use savepoints::savepoint_folder;

use enumerators::Enumerators;
use performing::Beginning;
use savepoints::Savepoints;
use serving::accept;

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
    /// What to do with state of the origin that no operator of the job claims.
    pub unclaimed: UnclaimedState,
    /// Begin from a savepoint of a drained job all the same: what it had not published is published.
    pub allow_drained: bool,
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
    /// Of a job that was stopped with a savepoint: what waited for that.
    pub published: Published,
}

/// What is known of what waited for the savepoint that a job was stopped with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Published {
    /// Nothing: an earlier coordinator has seen to it.
    #[default]
    Unknown,
    /// It is published.
    All,
    /// Some of it may not be.
    NotAll(String),
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
    Refused(WorkerId, OtherFormats),
    Message(Incarnation, ToCoordinator),
    Alive(Incarnation),
    Lost(Incarnation),
    Command(Command, oneshot::Sender<CommandAnswer>),
    Alarm,
    Answer(Input<TaskSnapshot>),
    Planned(AttemptId, BTreeMap<TaskId, WorkerId>, Beginning),
    Looked(AttemptId, VertexId, Result<AnyFound, String>),
    SweepDone,
    Hooked(CheckpointId, Result<Vec<HookState>, String>),
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
    env.machine(|| MachineStep::Coordinator(Box::new(Step::Recovered(standing.clone()))));
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
        makers: BTreeMap::new(),
        led: false,
        progress: progress.unwrap_or_else(|| watch::Sender::new(Progress::default())),
        sweeping: 0,
        discarding: BTreeSet::new(),
        savepoints: Savepoints::default(),
        hook_states: BTreeMap::new(),
        enumerators: Enumerators::default(),
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
    /// Where each task was told to start, and as which attempt.
    placement: BTreeMap<TaskId, (WorkerId, AttemptId)>,
    /// Of the checkpoints that tasks of several attempts took: in which each did.
    makers: BTreeMap<CheckpointId, BTreeMap<TaskId, AttemptId>>,
    led: bool,
    progress: watch::Sender<Progress>,
    sweeping: u32,
    discarding: BTreeSet<CheckpointId>,
    savepoints: Savepoints,
    /// What the hooks put into checkpoints that are under way.
    hook_states: BTreeMap<CheckpointId, Vec<HookState>>,
    enumerators: Enumerators<E>,
    /// Checkpoints that something is being written of by this process.
    unanswered: BTreeSet<CheckpointId>,
    ended: Option<Ended>,
}

impl<E: Env> Driver<E> {
    async fn run(mut self, mut inbox: mpsc::UnboundedReceiver<Inbox>) -> Result<Ended, CoordinatorError> {
        self.env.look(Sight::Coordinator { machine: &self.machine, outputs: &self.outputs });
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
            // No sweep comes by where savepoints are.
            CheckpointStorage::FileSystem { .. } | CheckpointStorage::Memory { .. } => {
                self.unanswered.iter().filter(|checkpoint| self.savepoints.folder(**checkpoint).is_some()).count()
            }
        };
        self.sweeping == 0 && self.discarding.is_empty() && late == 0
    }

    fn receive(&mut self, received: Inbox) -> Result<(), CoordinatorError> {
        match received {
            Inbox::Joined(incarnation, worker, slots, data_address, outgoing) => {
                if self.latest.get(&worker).is_some_and(|latest| *latest > incarnation) {
                    // An older connection whose registration was read late: the worker has given it up.
                    sometimes!(self.env, "cluster/registration-read-late");
                    return Ok(());
                }
                // Nobody there any more: its loss follows.
                let _ = outgoing.send(ToWorker::Welcome { epoch: self.epoch });
                self.connections.insert(incarnation, Connection { worker, data_address, outgoing });
                self.latest.insert(worker, incarnation);
                self.observe(Moment::WorkerJoined, None, None, Detail::Worker(worker));
                self.step(Input::WorkerJoined { worker, incarnation, slots })
            }
            Inbox::Refused(worker, why) => {
                self.observe(Moment::WorkerRefused, None, None, Detail::Text(format!("{worker}: {why}")));
                Ok(())
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
            Inbox::Command(command, answer) => self.command(command, answer),
            Inbox::Alarm => {
                self.alarm.disarm();
                let now = self.env.now();
                let due: Vec<Timer> = self.deadlines.iter().filter(|(_, deadline)| **deadline <= now).map(|(timer, _)| *timer).collect();
                for timer in due {
                    // An earlier one of this round may have disarmed it.
                    let armed = self.deadlines.remove(&timer).is_some();
                    sometimes!(self.env, !armed, seldom "cluster/timer-disarmed-by-one-that-was-due-with-it");
                    if armed {
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
                | Input::MetadataFailed(checkpoint)
                | Input::PartsRefused(checkpoint) = &input
                {
                    self.unanswered.remove(checkpoint);
                }
                match &input {
                    Input::SavepointSettled(_) | Input::OriginDiscarded | Input::OriginForgotten => self.sweeping -= 1,
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
            Inbox::Planned(attempt, placement, beginning) => {
                if self.machine.status() == Some(&Status::Deploying(attempt)) {
                    if let Err(cause) = self.reset_enumerators(attempt, &beginning.enumerators) {
                        return self.step(Input::RestoreFailed { attempt, cause, kind: FailureKind::NonRecoverable });
                    }
                    let finished = beginning.finished.clone();
                    self.deploy(attempt, &placement, beginning);
                    self.look_for_splits(&finished);
                    self.tell_of_finished(attempt, finished)?;
                }
                self.step(Input::Deployed { attempt })
            }
            Inbox::Looked(attempt, vertex, found) => self.looked(attempt, vertex, found),
            Inbox::Hooked(checkpoint, Ok(states)) => {
                self.hook_states.insert(checkpoint, states);
                self.step(Input::HooksReady(checkpoint))
            }
            Inbox::Hooked(checkpoint, Err(cause)) => {
                sometimes!(self.env, "cluster/hook-failed");
                self.observe(Moment::HookFailed, None, Some(checkpoint), Detail::Text(cause));
                self.step(Input::HooksFailed(checkpoint))
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
                TaskReport::Restoring => self.step(Input::TaskRestoring { attempt, task }),
                TaskReport::Failed { cause, kind } => self.step(Input::TaskFailed { attempt, task, cause, kind }),
                TaskReport::Drained => self.step(Input::TaskDrained { attempt, task }),
                TaskReport::Acknowledged(checkpoint, snapshot, statistics) => {
                    let now = self.env.now();
                    self.progress.send_modify(|progress| progress.statistics.acknowledged(checkpoint, task, statistics, now));
                    self.observe(Moment::AckReceived, Some(attempt), Some(checkpoint), Detail::Task(task));
                    self.step(Input::Acknowledged { attempt, checkpoint, task, snapshot })
                }
                TaskReport::Declined(checkpoint, reason) => self.step(Input::Declined { attempt, checkpoint, task, reason }),
                TaskReport::Finished => {
                    sometimes!(self.env, self.machine.pending().next().is_some(), "cluster/task-finished-while-a-checkpoint-was-pending");
                    self.step(Input::TaskFinished { attempt, task })
                }
                TaskReport::Committed(checkpoint) => self.step(Input::Committed { attempt, checkpoint, task }),
                TaskReport::Backlog(behind) => self.step(Input::Backlog { attempt, task, behind }),
                TaskReport::Restored(from) => {
                    self.progress.send_modify(|progress| progress.statistics.restored_subtask(from));
                    Ok(())
                }
                TaskReport::Reader(report) => self.reader_says(attempt, task, report),
                TaskReport::Progress(_) => Ok(()),
            },
        }
    }

    fn observe(&self, moment: Moment, attempt: Option<AttemptId>, checkpoint: Option<CheckpointId>, detail: Detail) {
        self.env.observe(Event { actor: Actor::Coordinator(self.epoch), attempt, checkpoint, moment, detail });
    }

    fn step(&mut self, input: Input<TaskSnapshot>) -> Result<(), CoordinatorError> {
        self.env.machine(|| MachineStep::Coordinator(Box::new(Step::Input(input.clone()))));
        self.machine.step(input, &mut self.outputs);
        self.env.look(Sight::Coordinator { machine: &self.machine, outputs: &self.outputs });
        self.perform_all()
    }

    fn perform_all(&mut self) -> Result<(), CoordinatorError> {
        for output in std::mem::take(&mut self.outputs) {
            self.env.machine(|| MachineStep::Coordinator(Box::new(Step::Output(output.clone()))));
            self.perform(output)?;
        }
        self.env.look(Sight::Deadlines(&self.deadlines));
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

    /// Each in the attempt that it was deployed in. None named: all.
    fn tell_tasks(&self, tasks: &BTreeSet<TaskId>, control: &TaskControl) {
        let mut by_worker: BTreeMap<(WorkerId, AttemptId), Vec<TaskId>> = BTreeMap::new();
        for (task, place) in &self.placement {
            let named = by_worker.entry(*place).or_default();
            if tasks.contains(task) {
                named.push(*task);
            }
        }
        for ((worker, attempt), named) in by_worker {
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
}
