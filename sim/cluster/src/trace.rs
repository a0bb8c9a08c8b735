//! Watching a run: hashes every event, keeps the trace, feeds the invariants, and waits for the moments that faults are
//! pinned to.

use crate::coverage::Coverage;
use crate::invariant::Invariant;
use crate::oracle::decode::Checkpoint;
use crate::picture::{EventName, MachinePicture};
use crate::scenario::{FaultSpec, When};
use crate::validation::{Difference, Validation};
use crate::verdict::{Keep, Violation};
use crate::world::{NodeIndex, Watcher, WorldEvent};
use cofferdam_engine::observe::{Actor, Detail, Event, MachineStep, Moment};
use cofferdam_engine::sight::Sight;
use cofferdam_engine::sometimes::Point;
use cofferdam_protocol::coordinator::Ended;
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc;

/// What the harness must do something about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Signal {
    /// A checkpoint is complete: judge it.
    Completed(CheckpointId),
    /// A savepoint is complete, in this folder: judge it.
    Savepoint(CheckpointId, String),
    /// The metadata of a savepoint is durable, whoever lives to say so.
    Written(CheckpointId),
    /// That savepoint failed all the same.
    Withdrawn(CheckpointId),
    /// Something has happened to the claimed snapshot that the job began from, or to who deletes it.
    Origin,
    /// The journal says that the job has stopped with this savepoint.
    Stopping(CheckpointId),
    /// Who asked for that was told.
    StopAnswered {
        /// That all is published.
        published: bool,
    },
    /// The job is deployed from a checkpoint.
    Restoring(AttemptId, CheckpointId),
    /// A subtask has taken its state in, and holds so many entries.
    Restored(AttemptId, TaskId, u64),
    /// The output may have changed, or must not: judge what readers see.
    Look,
    /// A pinned fault is due; the node is where its moment took place.
    Fault(usize, NodeIndex),
    /// The job is over.
    Ended(Ended),
    /// A node's process ended by itself.
    Exited(NodeIndex),
    /// An invariant does not hold.
    Violated,
    /// The run is to end here, as it was asked to.
    Stopped,
}

/// A stable 64-bit hash: FNV-1a over the bytes that `Hash` gives.
#[derive(Clone, Copy, Debug)]
pub struct StableHasher(u64);

impl Default for StableHasher {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for StableHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.write_u64(u64::from_le_bytes(word));
        }
    }

    fn write_u64(&mut self, word: u64) {
        self.0 = (self.0 ^ word).wrapping_mul(0x0000_0100_0000_01b3).rotate_left(23) ^ word >> 7;
    }

    fn write_u8(&mut self, byte: u8) {
        self.write_u64(u64::from(byte));
    }

    fn write_u16(&mut self, word: u16) {
        self.write_u64(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.write_u64(u64::from(word));
    }

    fn write_usize(&mut self, word: usize) {
        self.write_u64(word as u64);
    }
}

/// What has been seen so far.
pub struct Seen {
    hasher: StableHasher,
    /// How many events.
    pub events: u64,
    /// How many records went through subtasks.
    pub records: u64,
    /// Completed checkpoints.
    pub completed: u64,
    /// Failed ones.
    pub aborted: u64,
    /// Deployments from a checkpoint.
    pub restores: u64,
    /// Inputs of machines that were replayed.
    pub machine_steps: u64,
    /// Rows of the output that count something more than once, where at-least-once allows it.
    pub recounted: u64,
    /// The first violation.
    pub violation: Option<Violation>,
    /// The trace, if kept.
    pub trace: Vec<String>,
    /// The rolling hashes, if kept.
    pub hashes: Vec<u64>,
    /// What completed checkpoints say, if kept.
    pub checkpoints: Vec<Checkpoint>,
    /// The rows of the output, if kept.
    pub output: BTreeMap<String, String>,
    /// When the last event was.
    pub last: Duration,
    /// What was drawn to go wrong, and when.
    pub drawn: Vec<FaultSpec>,
    /// When checkpoints were triggered that are not complete.
    pub triggered: BTreeMap<CheckpointId, Duration>,
    /// How long each complete one took.
    pub durations: Vec<Duration>,
    /// What was met.
    pub coverage: Coverage,
    /// The machines as they were shown last, by node and actor, if that is wanted.
    pub machines: BTreeMap<(NodeIndex, String), String>,
    /// The coordinator's timers, if that is wanted.
    pub deadlines: Vec<(NodeIndex, String, Duration)>,
    /// The line at which the run was stopped.
    pub stopped_with: Option<String>,
}

impl Seen {
    /// Over all events so far.
    #[must_use]
    pub fn hash(&self) -> u64 {
        self.hasher.finish()
    }

    /// Notes a violation, if it is the first.
    pub fn violated(&mut self, invariant: &'static str, witness: String, at: Duration) {
        self.violation.get_or_insert(Violation { invariant, witness, at });
    }

    /// The machines, for a picture.
    #[must_use]
    pub fn machines(&self) -> Vec<MachinePicture> {
        let picture = |((node, actor), text): (&(NodeIndex, String), &String)| MachinePicture {
            node: *node,
            actor: actor.clone(),
            text: text.clone(),
        };
        self.machines.iter().map(picture).collect()
    }
}

/// Shared between the watcher and the harness, and left over if the simulation panics.
pub type SharedSeen = Arc<Mutex<Seen>>;

/// Locks it.
pub fn lock(seen: &SharedSeen) -> MutexGuard<'_, Seen> {
    seen.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Nothing yet.
#[must_use]
pub fn nothing_seen() -> SharedSeen {
    Arc::new(Mutex::new(Seen {
        hasher: StableHasher::default(),
        events: 0,
        records: 0,
        completed: 0,
        aborted: 0,
        restores: 0,
        machine_steps: 0,
        recounted: 0,
        violation: None,
        trace: Vec::new(),
        hashes: Vec::new(),
        checkpoints: Vec::new(),
        output: BTreeMap::new(),
        last: Duration::ZERO,
        drawn: Vec::new(),
        triggered: BTreeMap::new(),
        durations: Vec::new(),
        coverage: Coverage::default(),
        machines: BTreeMap::new(),
        deadlines: Vec::new(),
        stopped_with: None,
    }))
}

/// When transactional output is looked at.
const LOOKS: &[Moment] = &[
    Moment::CheckpointTriggered,
    Moment::SnapshotDurable,
    Moment::CheckpointCompleted,
    Moment::OutputCommitted,
    Moment::OutputCommitFailed,
    Moment::SavepointCompleted,
    Moment::JobFailing,
    Moment::RestoreDone,
    Moment::JobCommitting,
    Moment::JobStopping,
    Moment::JobEnded,
];

/// When a claimed origin is looked at.
const OF_ORIGINS: &[Moment] = &[
    Moment::TookOver,
    Moment::OriginDiscarding,
    Moment::OriginUnmade,
    Moment::OriginForgotten,
    Moment::CheckpointCompleted,
    Moment::JobEnded,
];

struct Pin {
    fault: usize,
    moment: Moment,
    checkpoint: Option<u64>,
    left: u32,
}

/// The watcher of a run.
pub struct Witness {
    seen: SharedSeen,
    keep: Keep,
    signals: mpsc::UnboundedSender<Signal>,
    invariants: Vec<Box<dyn Invariant>>,
    pins: Vec<Pin>,
    /// Attempts that begin from a checkpoint: of others there is nothing to judge, and waking the harness would move the run.
    restoring: BTreeSet<AttemptId>,
    /// Whether the output is looked at while the job runs; elsewhere it would only move the run.
    looks: bool,
    /// Whether the job has claimed what it began from.
    claims: bool,
    /// Savepoints that were begun.
    savepoints: BTreeSet<CheckpointId>,
    /// Where each machine is replayed.
    validation: Option<Validation>,
    /// The event with which the run is to end, and how many of its kind have been.
    until: Option<(EventName, u64)>,
    /// Whether it has been: what comes now is not part of the run.
    stopped: bool,
    /// Whether machines are kept for a picture.
    shows: bool,
    /// A picture of that moment is wanted.
    wants_a_picture: bool,
}

impl Witness {
    /// Watches for the invariants, and for the moments of these faults.
    pub fn new<'a>(
        seen: SharedSeen,
        keep: Keep,
        signals: mpsc::UnboundedSender<Signal>,
        invariants: Vec<Box<dyn Invariant>>,
        faults: impl Iterator<Item = &'a When>,
    ) -> Self {
        let pins = faults.enumerate().filter_map(|(fault, when)| match when {
            When::AtMs(_) => None,
            When::Moment { moment, checkpoint, nth } => {
                let moment = moment.parse().expect("a checked scenario names moments that there are");
                Some(Pin { fault, moment, checkpoint: *checkpoint, left: (*nth).max(1) })
            }
        });
        Self {
            seen,
            keep,
            signals,
            invariants,
            pins: pins.collect(),
            restoring: BTreeSet::new(),
            looks: false,
            claims: false,
            savepoints: BTreeSet::new(),
            validation: None,
            until: None,
            stopped: false,
            shows: false,
            wants_a_picture: false,
        }
    }

    /// The run is to end with this event.
    #[must_use]
    pub fn stopping(self, until: Option<EventName>) -> Self {
        Self { until: until.map(|event| (event, 0)), ..self }
    }

    /// The machines are wanted for a picture.
    #[must_use]
    pub fn showing(self, shows: bool) -> Self {
        Self { shows, ..self }
    }

    /// The output is transactional: it is to be looked at whenever something happens to it, or to those who make it.
    #[must_use]
    pub fn looking(self, looks: bool) -> Self {
        Self { looks, ..self }
    }

    /// The job has claimed what it began from: that is to be looked at whenever something happens to it.
    #[must_use]
    pub fn claiming(self, claims: bool) -> Self {
        Self { claims, ..self }
    }

    /// Each machine of the protocol is to be replayed.
    #[must_use]
    pub fn validating(self, validates: bool) -> Self {
        Self { validation: validates.then(Validation::default), ..self }
    }

    fn validated(&self, at: Duration, outcome: Result<(), Difference>) {
        if let Err(difference) = outcome {
            lock(&self.seen).violated("trace-validation", difference.to_string(), at);
            self.signal(Signal::Violated);
        }
    }

    /// What becomes of a savepoint, told or not.
    fn savepoint(&mut self, event: &Event) {
        let Some(checkpoint) = event.checkpoint else { return };
        match event.moment {
            Moment::SavepointTriggered => {
                self.savepoints.insert(checkpoint);
            }
            Moment::MetadataDurable if self.savepoints.contains(&checkpoint) => self.signal(Signal::Written(checkpoint)),
            // Its metadata may become durable yet: that is nobody's then.
            Moment::CheckpointAborted if self.savepoints.remove(&checkpoint) => self.signal(Signal::Withdrawn(checkpoint)),
            _ => {}
        }
    }

    fn signal(&self, signal: Signal) {
        // The harness is over already.
        let _ = self.signals.send(signal);
    }

    fn due(&mut self, node: NodeIndex, event: &Event) {
        let mut due = Vec::new();
        self.pins.retain_mut(|pin| {
            let number = event.checkpoint.map_or(0, |checkpoint| checkpoint.0);
            if pin.moment != event.moment || pin.checkpoint.is_some_and(|wanted| number < wanted) {
                return true;
            }
            pin.left -= 1;
            if pin.left == 0 {
                due.push(pin.fault);
            }
            pin.left > 0
        });
        for fault in due {
            self.signal(Signal::Fault(fault, node));
        }
    }
}

/// A line of the trace.
fn line(at: Duration, node: &dyn std::fmt::Display, what: &dyn std::fmt::Display) -> String {
    format!("{:>9.3}s  {node:<3} {what}", at.as_secs_f64())
}

impl Witness {
    fn show(&self, at: Duration, node: NodeIndex, actor: String, text: String) {
        let seen = &mut *lock(&self.seen);
        let key = (node, actor);
        if seen.machines.get(&key) == Some(&text) {
            return;
        }
        if self.keep.states && self.keep.trace {
            let one_line = text.replace('\n', "; ");
            seen.trace.push(line(at, &node, &format_args!("{:<9} = {one_line}", key.1)));
        }
        seen.machines.insert(key, text);
    }

    /// Whether the run ends with this event.
    fn ends_with(&mut self, at: Duration, node: NodeIndex, event: &Event) -> bool {
        let Some((until, count)) = &mut self.until else { return false };
        let line = line(at, &node, event);
        if !until.is(event.moment.name(), &line) {
            return false;
        }
        *count += 1;
        if *count < until.nth {
            return false;
        }
        lock(&self.seen).stopped_with = Some(line);
        true
    }
}

impl Watcher for Witness {
    fn reached(&mut self, point: &'static Point) {
        lock(&self.seen).coverage.reached(point.name);
    }

    fn look(&mut self, at: Duration, node: NodeIndex, sight: &Sight<'_>) {
        if self.stopped {
            return;
        }
        lock(&self.seen).coverage.sight(sight);
        if !self.keep.states && !self.shows {
            return;
        }
        match sight {
            Sight::Coordinator { machine, .. } => self.show(at, node, "coord".into(), machine.to_string()),
            Sight::Subtask { task, attempt, machine, .. } => self.show(at, node, task.to_string(), format!("{attempt} {machine}")),
            Sight::Copies { worker, machine, .. } => self.show(at, node, worker.to_string(), machine.to_string()),
            Sight::Deadlines(deadlines) => {
                let named = deadlines.iter().map(|(timer, due)| (node, timer.to_string(), *due));
                lock(&self.seen).deadlines = named.collect();
            }
        }
    }

    fn wants_a_picture(&mut self) -> bool {
        std::mem::take(&mut self.wants_a_picture)
    }

    fn event(&mut self, at: Duration, node: NodeIndex, event: &Event) {
        if self.stopped {
            return;
        }
        let signal = {
            let mut seen = lock(&self.seen);
            seen.events += 1;
            seen.last = at;
            (at, node, event).hash(&mut seen.hasher);
            seen.coverage.reached(event.moment.name());
            if self.keep.hashes {
                let hash = seen.hash();
                seen.hashes.push(hash);
            }
            // With the hashes, a line for each, so that where they part can be told.
            if self.keep.trace && (self.keep.hashes || event.moment != Moment::Batch) {
                seen.trace.push(line(at, &node, event));
            }
            match (event.moment, event.checkpoint, &event.detail) {
                (Moment::Batch, _, Detail::Count(count)) => {
                    seen.records += count;
                    None
                }
                (Moment::CheckpointTriggered, Some(checkpoint), _) => {
                    seen.triggered.insert(checkpoint, at);
                    None
                }
                (Moment::CheckpointCompleted, Some(checkpoint), _) => {
                    seen.completed += 1;
                    let triggered = seen.triggered.remove(&checkpoint);
                    seen.durations.extend(triggered.map(|triggered| at.saturating_sub(triggered)));
                    Some(Signal::Completed(checkpoint))
                }
                (Moment::SavepointCompleted, Some(checkpoint), Detail::Text(folder)) => Some(Signal::Savepoint(checkpoint, folder.clone())),
                (Moment::JobStopping, Some(checkpoint), _) => Some(Signal::Stopping(checkpoint)),
                (Moment::StopAnswered, ..) => Some(Signal::StopAnswered { published: event.detail == Detail::None }),
                (Moment::CheckpointAborted, ..) => {
                    seen.aborted += 1;
                    None
                }
                (Moment::Deploying, Some(checkpoint), _) => {
                    seen.restores += 1;
                    let attempt = event.attempt.unwrap_or_default();
                    self.restoring.insert(attempt);
                    Some(Signal::Restoring(attempt, checkpoint))
                }
                (Moment::RestoreDone, _, Detail::Count(held)) => match (event.actor, event.attempt) {
                    (Actor::Task(task), Some(attempt)) if self.restoring.contains(&attempt) => Some(Signal::Restored(attempt, task, *held)),
                    _ => None,
                },
                (Moment::JobEnded, _, Detail::Ended(ended)) => Some(Signal::Ended(ended.clone())),
                _ => None,
            }
        };
        if let Some(signal) = signal {
            self.signal(signal);
        }
        self.savepoint(event);
        if self.looks && LOOKS.contains(&event.moment) {
            self.signal(Signal::Look);
        }
        if self.claims && OF_ORIGINS.contains(&event.moment) {
            self.signal(Signal::Origin);
        }
        for invariant in &mut self.invariants {
            if let Err(witness) = invariant.event(at, node, event) {
                lock(&self.seen).violated(invariant.name(), witness, at);
                // The harness is over already.
                let _ = self.signals.send(Signal::Violated);
            }
        }
        if let Some(outcome) = self.validation.as_mut().map(|validation| validation.event(node, event)) {
            self.validated(at, outcome);
        }
        if let (Moment::TaskStopped, Detail::Task(task)) = (event.moment, &event.detail) {
            lock(&self.seen).machines.remove(&(node, task.to_string()));
        }
        if event.moment == Moment::TasksStopped {
            lock(&self.seen).machines.retain(|(where_it_is, actor), _| *where_it_is != node || !actor.starts_with('v'));
        }
        if self.ends_with(at, node, event) {
            (self.stopped, self.wants_a_picture) = (true, true);
            self.signal(Signal::Stopped);
            return;
        }
        self.due(node, event);
    }

    fn replays_machines(&self) -> bool {
        self.validation.is_some()
    }

    fn machine(&mut self, at: Duration, node: NodeIndex, step: MachineStep) {
        let Some(validation) = &mut self.validation else { return };
        let before = validation.steps();
        let outcome = validation.machine(node, step);
        lock(&self.seen).machine_steps += validation.steps() - before;
        self.validated(at, outcome);
    }

    fn world_event(&mut self, at: Duration, event: &WorldEvent) {
        if self.stopped {
            return;
        }
        {
            let mut seen = lock(&self.seen);
            seen.events += 1;
            seen.last = at;
            (at, event).hash(&mut seen.hasher);
            if self.keep.hashes {
                let hash = seen.hash();
                seen.hashes.push(hash);
            }
            if self.keep.trace {
                seen.trace.push(line(at, &"--", event));
            }
        }
        for invariant in &mut self.invariants {
            invariant.world(at, event);
        }
        if let WorldEvent::Crashed(node, _) | WorldEvent::Exited(node) = event {
            let seen = &mut *lock(&self.seen);
            seen.machines.retain(|(where_it_is, _), _| where_it_is != node);
            seen.deadlines.retain(|(where_it_is, ..)| where_it_is != node);
        }
        if let WorldEvent::Exited(node) = event {
            self.signal(Signal::Exited(*node));
        }
        if self.looks && matches!(event, WorldEvent::Crashed(..)) {
            self.signal(Signal::Look);
        }
    }
}
