//! A worker process (Flink: TaskManager): runs the tasks that the coordinator tells it to, and none once it has lost it.

use super::deployment::{Assignment, BeginsFrom, DataPlane, Deployment, Deployments, Taking};
use super::formats::{Formats, OtherFormats};
use super::ioqueue::IoQueue;
use super::message::{ToCoordinator, ToWorker};
use super::Heartbeats;
use crate::codec::{self, CodecError, Noticing};
use crate::env::{Env, Listener};
use crate::job::JobGraph;
use crate::local::LocalState;
use crate::observe::{Actor, Detail, Event, Moment};
use crate::sometimes;
use crate::storage::{CheckpointStorage, SmallState};
use crate::task::{ReaderReport, StateBackend, TaskReport};
use cofferdam_protocol::{AttemptId, Epoch, Mode, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{split, WriteHalf};
use tokio::sync::mpsc;

/// How long to wait before the coordinator is tried again.
const RETRY: Duration = Duration::from_millis(200);

/// What a worker is started with.
#[derive(Clone)]
pub struct WorkerSettings {
    /// What it writes: [`Formats::OURS`].
    pub formats: Formats,
    /// Who it is; stays over restarts.
    pub worker: WorkerId,
    /// How many subtasks of each vertex it can run.
    pub slots: u32,
    /// Where the coordinator listens.
    pub coordinator: SocketAddr,
    /// Where to listen for channels; port 0 takes any.
    pub data_address: SocketAddr,
    /// Signs of life.
    pub heartbeats: Heartbeats,
    /// Where snapshots go.
    pub storage: CheckpointStorage,
    /// What becomes of state that is small.
    pub small: SmallState,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// Whether barriers may overtake records (`execution.checkpointing.unaligned.enabled`).
    pub overtaking: bool,
    /// What keyed state is kept in.
    pub backend: StateBackend,
    /// A folder of this worker and job alone, on its own disk, for second copies of state (`execution.state-recovery.from-local`).
    pub local: Option<String>,
}

/// Runs until the job has ended.
///
/// # Errors
/// If a setting is out of range, the data port cannot be opened, or the coordinator is of another release ([`OtherFormats`]); a lost
/// coordinator is looked for again for ever.
pub async fn run<E: Env>(env: E, settings: WorkerSettings, graph: Arc<JobGraph<E>>) -> io::Result<()> {
    settings.small.validated(&settings.storage).map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let listener = env.bind(settings.data_address).await?;
    let data_address = listener.local_address()?;
    let plane = DataPlane::new(env.clone());
    let _accepting = env.spawn("accept channels", accept(env.clone(), listener, plane.clone()));
    let local = settings.local.as_ref().map(|folder| LocalState::new(&env, settings.worker, folder));
    let mut newest_epoch = Epoch::default();
    loop {
        let local = local.as_ref().map(|(local, _)| local);
        let session = Session { env: &env, settings: &settings, graph: &graph, plane: &plane, data_address, local };
        match session.run(&mut newest_epoch).await {
            Ok(()) => {
                if let Some(local) = local {
                    local.end().await;
                }
                return Ok(());
            }
            // Asking again gives the same answer: whoever started the worker has to look.
            Err(CodecError::Io(error)) if error.get_ref().is_some_and(|why| why.is::<OtherFormats>()) => return Err(error),
            Err(error) => {
                let text = Detail::Text(error.to_string());
                observe(&env, settings.worker, None, Moment::CoordinatorLost, text);
                env.sleep(RETRY).await;
            }
        }
    }
}

fn observe<E: Env>(env: &E, worker: WorkerId, attempt: Option<AttemptId>, moment: Moment, detail: Detail) {
    env.observe(Event { actor: Actor::Worker(worker), attempt, checkpoint: None, moment, detail });
}

async fn accept<E: Env>(env: E, listener: E::Listener, plane: Arc<DataPlane<E>>) {
    let mut serving = IoQueue::new(env.clone());
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let plane = plane.clone();
                serving.spawn("serve channel", async move { plane.serve(stream).await });
            }
            Err(_) => env.sleep(RETRY).await,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

struct Session<'a, E: Env> {
    env: &'a E,
    settings: &'a WorkerSettings,
    graph: &'a Arc<JobGraph<E>>,
    plane: &'a Arc<DataPlane<E>>,
    data_address: SocketAddr,
    local: Option<&'a LocalState<E>>,
}

enum Inbox {
    Message(ToWorker),
    Lost(String),
    Tick,
}

impl<E: Env> Session<'_, E> {
    /// One connection to the coordinator. All tasks end with it. `Ok` means that the job has ended.
    async fn run(&self, newest_epoch: &mut Epoch) -> Result<(), CodecError> {
        let (env, worker) = (self.env, self.settings.worker);
        let stream = env.connect(self.settings.coordinator).await?;
        let (reading, mut writing) = split(stream);
        let mut scratch = Vec::new();
        let WorkerSettings { formats, slots, .. } = *self.settings;
        let register = ToCoordinator::Register { formats, worker, slots, data_address: self.data_address };
        codec::write_frame(&mut writing, &register, &mut scratch).await?;
        let (inbox_sender, mut inbox) = mpsc::unbounded_channel();
        let (outbox, outgoing) = mpsc::unbounded_channel();
        let (reports, mut reported) = mpsc::unbounded_channel();
        let sender = inbox_sender.clone();
        // Any byte is a sign of life: a heartbeat may have to wait behind a long deployment on a slow line.
        let heard = Arc::new(AtomicU64::new(micros(env.now())));
        let (hearing, clock) = (heard.clone(), env.clone());
        let mut reading = Noticing::new(reading, move || hearing.store(micros(clock.now()), Ordering::Relaxed));
        let _reader = env.spawn("read coordinator", async move {
            let mut scratch = Vec::new();
            let why = loop {
                match codec::read_frame(&mut reading, &mut scratch).await {
                    Ok(Some(message)) => {
                        if sender.send(Inbox::Message(message)).is_err() {
                            return;
                        }
                    }
                    Ok(None) => break "the coordinator hung up".to_owned(),
                    Err(error) => break error.to_string(),
                }
            };
            // The session is over already.
            let _ = sender.send(Inbox::Lost(why));
        });
        let _writer = env.spawn("write coordinator", write_all::<E>(writing, outgoing, inbox_sender.clone()));
        let (ticking, interval) = (env.clone(), self.settings.heartbeats.interval);
        let _ticker = env.spawn("heartbeat", async move {
            while inbox_sender.send(Inbox::Tick).is_ok() {
                ticking.sleep(interval).await;
            }
        });
        let mut deployments = Deployments::new(self.plane.clone());
        let mut begins_from = BTreeMap::new();
        let mut records = 0;
        loop {
            tokio::select! {
                biased;
                Some(received) = inbox.recv() => match received {
                    Inbox::Message(message) => {
                        if let ToWorker::Shutdown = message {
                            return Ok(());
                        }
                        if let ToWorker::Refused { formats: theirs } = message {
                            let why = OtherFormats { ours: formats, theirs };
                            return Err(io::Error::new(io::ErrorKind::Unsupported, why).into());
                        }
                        if let ToWorker::Welcome { epoch } = message {
                            if epoch < *newest_epoch {
                                sometimes!(env, seldom "cluster/welcomed-by-an-older-coordinator");
                                return Err(io::Error::other(format!("{epoch} is older than {newest_epoch}")).into());
                            }
                            *newest_epoch = epoch;
                            observe(env, worker, None, Moment::Registered, Detail::None);
                        }
                        self.perform(message, &mut deployments, &mut begins_from, &reports, &outbox);
                    }
                    Inbox::Lost(why) => return Err(io::Error::other(why).into()),
                    Inbox::Tick => {
                        let silent_us = micros(env.now()).saturating_sub(heard.load(Ordering::Relaxed));
                        if silent_us > micros(self.settings.heartbeats.timeout) {
                            sometimes!(env, "cluster/coordinator-is-silent");
                            return Err(io::Error::from(io::ErrorKind::TimedOut).into());
                        }
                        // A writer that is gone has said so.
                        let _ = outbox.send(ToCoordinator::Heartbeat { records: std::mem::take(&mut records) });
                    }
                },
                Some((task, attempt, report)) = reported.recv() => self.report(task, attempt, report, &mut records, &outbox),
            }
        }
    }

    fn report(
        &self,
        task: TaskId,
        attempt: AttemptId,
        report: TaskReport,
        records: &mut u64,
        outbox: &mpsc::UnboundedSender<ToCoordinator>,
    ) {
        match report {
            TaskReport::Progress(count) => *records += count,
            TaskReport::Failed { ref cause, .. } => {
                let event = Event {
                    actor: Actor::Task(task),
                    attempt: Some(attempt),
                    checkpoint: None,
                    moment: Moment::TaskFailed,
                    detail: Detail::Text(cause.clone()),
                };
                self.env.observe(event);
                let _ = outbox.send(ToCoordinator::Report { task, attempt, report });
            }
            TaskReport::Drained => {
                // The job may end before the next heartbeat, and its records would be missing from the count.
                let _ = outbox.send(ToCoordinator::Heartbeat { records: std::mem::take(records) });
                let _ = outbox.send(ToCoordinator::Report { task, attempt, report });
            }
            TaskReport::Running
            | TaskReport::Restoring
            | TaskReport::Acknowledged(..)
            | TaskReport::Declined(..)
            | TaskReport::Committed(_)
            | TaskReport::Backlog(_)
            | TaskReport::Restored(_)
            | TaskReport::Reader(_) => {
                let _ = outbox.send(ToCoordinator::Report { task, attempt, report });
            }
        }
    }

    fn perform(
        &self,
        message: ToWorker,
        deployments: &mut Deployments<E>,
        begins_from: &mut BeginsFrom,
        reports: &mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>,
        outbox: &mpsc::UnboundedSender<ToCoordinator>,
    ) {
        match message {
            ToWorker::Welcome { .. } | ToWorker::Refused { .. } | ToWorker::Heartbeat | ToWorker::Shutdown => {}
            ToWorker::Local { attempt, from, tasks } => {
                self.begin_from(attempt, tasks.into_iter().map(|task| (task, from)).collect(), deployments, begins_from);
            }
            ToWorker::LocalEach { attempt, tasks } => self.begin_from(attempt, tasks, deployments, begins_from),
            ToWorker::Deploy { attempt, tasks, placement } => {
                if deployments.newest().is_some_and(|running| running >= attempt) {
                    sometimes!(self.env, seldom "cluster/deployed-twice");
                    return;
                }
                // The old tasks first: they must not meet the new ones.
                sometimes!(self.env, deployments.newest().is_some(), seldom "cluster/next-attempt-while-tasks-run");
                deployments.stop_all();
                observe(self.env, self.settings.worker, Some(attempt), Moment::TasksStarting, Detail::Count(tasks.len() as u64));
                let assignment = Assignment { attempt, tasks, placement, others_go_on: false };
                self.start(assignment, begins_from, deployments, reports);
            }
            ToWorker::DeployBeside { attempt, tasks, placement, from } => {
                if deployments.newest().is_some_and(|running| running >= attempt) {
                    sometimes!(self.env, seldom "cluster/region-deployed-twice");
                    return;
                }
                let starting: BTreeSet<TaskId> = tasks.iter().map(|(task, _)| *task).collect();
                // As above. They were told to stop before, and nothing is left of them.
                deployments.stop(&starting);
                for task in &starting {
                    observe(self.env, self.settings.worker, Some(attempt), Moment::TaskStarting, Detail::Task(*task));
                }
                let going_on = deployments.tasks();
                sometimes!(self.env, !going_on.is_empty(), "cluster/region-starts-beside-others");
                if let Some(local) = self.local {
                    local.deployed(attempt, from.clone(), going_on);
                }
                let assignment = Assignment { attempt, tasks, placement, others_go_on: !deployments.tasks().is_empty() };
                self.start(assignment, &from, deployments, reports);
            }
            ToWorker::Control { attempt, tasks, control } => {
                if let Some(running) = deployments.of(attempt) {
                    running.control(&tasks, &control);
                } else {
                    sometimes!(self.env, "cluster/word-for-tasks-that-are-gone");
                }
            }
            ToWorker::Event { attempt, task, number, event } => {
                if deployments.of(attempt).is_some_and(|running| !running.event(task, number, event)) {
                    let _ = outbox.send(ToCoordinator::Report { task, attempt, report: TaskReport::Reader(ReaderReport::Lost(number)) });
                }
            }
            ToWorker::Stop { attempt } => {
                if deployments.newest().is_none_or(|running| running <= attempt) {
                    deployments.stop_all();
                    observe(self.env, self.settings.worker, Some(attempt), Moment::TasksStopped, Detail::None);
                    let _ = outbox.send(ToCoordinator::Stopped { attempt });
                }
            }
            ToWorker::StopTasks { attempt, tasks } => {
                if deployments.newest().is_none_or(|running| running <= attempt) {
                    let here = deployments.tasks();
                    deployments.stop(&tasks);
                    for task in here.intersection(&tasks) {
                        observe(self.env, self.settings.worker, Some(attempt), Moment::TaskStopped, Detail::Task(*task));
                    }
                    sometimes!(self.env, !here.is_subset(&tasks), "cluster/region-stops-beside-others");
                    let _ = outbox.send(ToCoordinator::Stopped { attempt });
                }
            }
        }
    }

    /// Tells what copies are of use from here on.
    fn begin_from(&self, attempt: AttemptId, tasks: BeginsFrom, deployments: &mut Deployments<E>, begins_from: &mut BeginsFrom) {
        let news = deployments.newest().is_none_or(|running| running < attempt);
        if let Some(local) = self.local.filter(|_| news) {
            // What still runs would go on writing.
            deployments.stop_all();
            begins_from.clone_from(&tasks);
            local.deployed(attempt, tasks, BTreeSet::new());
        }
    }

    fn start(
        &self,
        assignment: Assignment,
        from: &BeginsFrom,
        deployments: &mut Deployments<E>,
        reports: &mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>,
    ) {
        let WorkerSettings { worker, storage, small, mode, overtaking, backend, .. } = self.settings;
        let local = self.local.map(|local| (local, from));
        let taken = Taking { storage, small: *small, worker: *worker, mode: *mode, overtaking: *overtaking, backend, local };
        deployments.add(Deployment::start(self.env, self.graph, taken, self.plane, assignment, reports));
    }
}

async fn write_all<E: Env>(
    mut writing: WriteHalf<E::Stream>,
    mut outgoing: mpsc::UnboundedReceiver<ToCoordinator>,
    inbox: mpsc::UnboundedSender<Inbox>,
) {
    let mut scratch = Vec::new();
    while let Some(message) = outgoing.recv().await {
        if let Err(error) = codec::write_frame(&mut writing, &message, &mut scratch).await {
            // The session may be over already.
            let _ = inbox.send(Inbox::Lost(error.to_string()));
            return;
        }
    }
}
