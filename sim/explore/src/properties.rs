//! What must hold in every state, and what must be met somewhere.

use crate::state::{Part, State, Value};
use crate::tally::Tally;
use crate::topology::Vertex;
use crate::turn::Setup;
use crate::world::World;
use cofferdam_protocol::{AttemptId, Mode, TaskId};
use std::collections::BTreeMap;

/// A promise that holds in each state and at each transition (stateright: `always`). Those that the simulation has an invariant for are
/// called as that.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// No machine comes upon a state that it says cannot be.
    MachineAssertions,
    /// A checkpoint is complete only with the part of every task, each of the attempt that took it.
    AcksBeforeComplete,
    /// No number is used for two checkpoints, or before it is durably reserved.
    IdsUnique,
    /// The states of a completed checkpoint, and what was in flight, are those after the same prefix of all inputs. Nothing is in flight
    /// where nobody else could take it, and for one checkpoint at a time.
    ConsistentCut,
    /// Each record that a source has read is in the state behind it or on its way there, once, and in the output at the end. Of
    /// transactional output none is ever seen twice, and an attempt sees all that is before its checkpoint when it begins.
    ExactlyOnce,
    /// The same, but at least once.
    NothingLost,
    /// Attempts begin one after the other, and none takes part in another's checkpoint.
    OneLiveAttempt,
    /// Nobody is told of, and nothing is committed for, a checkpoint that the journal has never named.
    ToldAfterDurable,
    /// An attempt begins from the newest checkpoint that the journal names.
    LatestRestored,
    /// Everything that a checkpoint needs is there for as long as the journal names it.
    RetainedFiles,
    /// No more checkpoints are pending than may be.
    MaxConcurrent,
    /// Each journal entry goes on from the one before: epoch and numbers never go back, nor does the newest checkpoint behind one that
    /// somebody was told of. A job that has ended stays so.
    JournalGoesForward,
    /// As long as there is something left to do, something can happen.
    NeverStuck,
    /// When all is quiet, nothing is left that nobody needs.
    NothingLeftOver,
    /// What can be seen of transactional output is before the positions of a completed checkpoint.
    CommittedOnly,
}

impl Promise {
    /// All, in order.
    pub const ALL: [Self; 15] = [
        Self::MachineAssertions,
        Self::AcksBeforeComplete,
        Self::IdsUnique,
        Self::ConsistentCut,
        Self::ExactlyOnce,
        Self::NothingLost,
        Self::OneLiveAttempt,
        Self::ToldAfterDurable,
        Self::LatestRestored,
        Self::RetainedFiles,
        Self::MaxConcurrent,
        Self::JournalGoesForward,
        Self::NeverStuck,
        Self::NothingLeftOver,
        Self::CommittedOnly,
    ];

    /// Its stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::MachineAssertions => "machine-assertions",
            Self::AcksBeforeComplete => "acks-before-complete",
            Self::IdsUnique => "ids-unique",
            Self::ConsistentCut => "consistent-cut",
            Self::ExactlyOnce => "exactly-once",
            Self::NothingLost => "nothing-lost",
            Self::OneLiveAttempt => "one-live-attempt",
            Self::ToldAfterDurable => "told-after-durable",
            Self::LatestRestored => "latest-restored",
            Self::RetainedFiles => "retained-files",
            Self::MaxConcurrent => "max-concurrent",
            Self::JournalGoesForward => "journal-goes-forward",
            Self::NeverStuck => "never-stuck",
            Self::NothingLeftOver => "nothing-left-over",
            Self::CommittedOnly => "committed-only",
        }
    }
}

/// A promise that does not hold, and what shows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Broken {
    /// Which.
    pub promise: Promise,
    /// What shows it, for people.
    pub witness: String,
}

macro_rules! situations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// Something interesting that may happen (stateright: `sometimes`). A world names those that have to.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Situation {
            $($(#[$doc])* $name,)*
        }

        impl Situation {
            /// All, in order.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Its stable name.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

situations! {
    /// A checkpoint is complete.
    Completed = "checkpoint-completed",
    /// It holds some but not all of the input.
    CompletedMidway = "completed-midway",
    /// An attempt begins from a checkpoint.
    Restored = "restored",
    /// Two checkpoints are pending at once.
    TwoPending = "two-pending",
    /// A later checkpoint completes before an earlier one.
    Subsumed = "subsumed",
    /// A channel is held back until the others' barriers have come.
    ChannelHeld = "channel-held",
    /// A subtask gives up a checkpoint for a newer one whose barrier has come. Only where barriers overtake: elsewhere channels and
    /// connections keep the order, and a channel that is held does not show what is behind its barrier, so the older one always comes first.
    AbandonedForNewer = "abandoned-for-newer",
    /// A subtask hears of an abort before the barrier, which comes later.
    AbortBeforeBarrier = "abort-before-barrier",
    /// A subtask hears of an abort while it collects barriers.
    AbortWhileAligning = "abort-while-aligning",
    /// A subtask hears of an abort while it writes its part.
    AbortWhileWriting = "abort-while-writing",
    /// A checkpoint has taken too long.
    Expired = "expired",
    /// A part could not be written.
    WriteFailed = "write-failed",
    /// Metadata could not be written.
    MetadataFailed = "metadata-failed",
    /// An acknowledgement comes after its checkpoint was given up.
    LateAcknowledgement = "late-acknowledgement",
    /// An acknowledgement comes from an attempt that has been replaced.
    ZombieAcknowledgement = "zombie-acknowledgement",
    /// A task of a replaced attempt writes output while its successor runs.
    ZombieWrites = "zombie-writes",
    /// A notice gets lost.
    NoticeLost = "notice-lost",
    /// A notice or a report comes twice.
    Repeated = "repeated",
    /// A completion that a task has missed comes with the abort of a later checkpoint.
    CaughtUp = "commit-caught-up",
    /// A checkpoint completes though the attempt that took it has failed meanwhile.
    CompletedAfterFailure = "completed-after-failure",
    /// The answer to a journal entry got lost, and it had happened.
    UnknownHappened = "unknown-happened",
    /// The answer to a journal entry got lost, and it had not happened.
    UnknownLost = "unknown-lost",
    /// A checkpoint whose entry was in doubt is discarded, as it had not become a restore point for good.
    DoubtSettled = "doubt-settled",
    /// A coordinator begins from an entry of which its predecessor did not know that it was durable.
    InheritedUnknown = "inherited-unknown",
    /// Another coordinator takes over.
    TookOver = "took-over",
    /// A coordinator finds out that it has been replaced.
    Fenced = "fenced",
    /// An entry of a dead coordinator arrives after its successor has read the journal.
    StrayEntry = "stray-entry",
    /// A shared file goes.
    SharedReleased = "shared-released",
    /// A completed checkpoint needs a file that an earlier one has uploaded.
    SharedReused = "shared-reused",
    /// Shared files of earlier attempts are swept.
    SharedSwept = "shared-swept",
    /// A worker comes back before its loss is noticed.
    ReplacedWorker = "replaced-worker",
    /// A cut is made before all barriers were reached.
    Overtaken = "overtaken",
    /// A cut is made with all barriers reached, and the timer has not fired yet.
    AlignedInTime = "aligned-in-time",
    /// The timer fires before any barrier was come to.
    OldBeforeReached = "old-before-reached",
    /// A barrier that has not arrived becomes urgent.
    Hastened = "hastened",
    /// A subtask hears of an abort while the logs are not whole.
    AbortWhileLogging = "abort-while-logging",
    /// A task has finished, and left.
    TaskFinished = "task-finished",
    /// The coordinator hears that a task has finished which it waits for.
    FinishedWhilePending = "finished-while-pending",
    /// A completed checkpoint has no part of tasks that had finished.
    CompletedWithoutFinished = "completed-without-finished",
    /// An attempt begins with tasks that had finished before.
    BeganWithFinished = "began-with-finished",
    /// A completed checkpoint has records in flight.
    CompletedInFlight = "completed-in-flight",
    /// A task begins with records that were in flight.
    RecoveredInFlight = "recovered-in-flight",
    /// Some of them are in flight again in the next checkpoint.
    LoggedAgain = "logged-again",
    /// A worker crashes before all of them are processed.
    CrashWhileRecovering = "crash-while-recovering",
    /// The answer to a metadata write got lost, and it had happened.
    MetadataUnknown = "metadata-unknown",
    /// A transaction can be seen.
    Published = "published",
    /// One that the restored checkpoint names is published before the attempt begins.
    PublishedByNext = "published-by-the-next",
    /// One that is to be published can be seen already.
    PublishedBefore = "published-before",
    /// A task of a replaced attempt publishes what it was told to.
    PublishedByFenced = "published-by-a-fenced-one",
    /// A completion publishes what an earlier checkpoint has closed that never was complete, or of which no notice came.
    CarriedOver = "carried-over",
    /// Staged rows that were never complete are deleted.
    StagedDeleted = "staged-deleted",
    /// A transaction could not be published, and is tried again.
    PublishFailed = "publish-failed",
    /// The final checkpoint is complete, and what waited for it is not published yet.
    Committing = "committing",
    /// A worker crashes then.
    CrashWhileCommitting = "crash-while-committing",
    /// The job has finished.
    JobFinished = "job-finished",
}

/// A set of situations.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks(pub u64);

impl Marks {
    /// Adds one.
    pub fn add(&mut self, situation: Situation) {
        self.0 |= 1 << situation as u32;
    }

    /// Whether it is there.
    #[must_use]
    pub fn has(self, situation: Situation) -> bool {
        self.0 >> (situation as u32) & 1 == 1
    }
}

/// The promise that a world makes about records.
#[must_use]
pub fn counting(world: &World) -> Promise {
    match world.promised {
        Mode::ExactlyOnce => Promise::ExactlyOnce,
        Mode::AtLeastOnce => Promise::NothingLost,
    }
}

/// The promise that does not hold in this state, whatever led to it.
#[must_use]
pub fn broken(setup: &Setup, state: &State) -> Option<Broken> {
    if let Some(broken) = &state.broken {
        return Some((**broken).clone());
    }
    let attempt = state.storage.attempt;
    let witness = records(setup, state, attempt)?;
    Some(Broken { promise: counting(&setup.world), witness })
}

/// What is wrong with the records of a live attempt: each one that its source has read is in the state behind it, or on its way there.
fn records(setup: &Setup, state: &State, attempt: AttemptId) -> Option<String> {
    let task = |at: usize| state.running(attempt, at);
    // Of an attempt that has lost a task nothing is asked: it will be replaced.
    if (0..setup.layout.tasks.len()).any(|at| task(at).is_none()) {
        return None;
    }
    let under_way = |to: usize| {
        let mut tally = Tally::default();
        for running in setup.layout.vertices[to].tasks.iter().filter_map(|&at| task(at)) {
            running.inputs.iter().chain([&running.recovered]).for_each(|queue| tally = tally.with(*queue));
        }
        tally
    };
    let value = |at: usize| task(at).map(|running| running.value);
    compare(setup, value, under_way).err().map(|witness| format!("{attempt}: {witness}"))
}

/// Holds what each vertex has taken in, and what is on its way to it, against what the vertices before it have sent.
fn compare(setup: &Setup, value: impl Fn(usize) -> Option<Value>, under_way: impl Fn(usize) -> Tally) -> Result<(), String> {
    let mut sent: Vec<Tally> = Vec::new();
    for (vertex, Vertex { tasks, edges }) in setup.layout.vertices.iter().enumerate() {
        let (mut out, mut taken) = (Tally::default(), Tally::default());
        for &at in tasks {
            let task = &setup.layout.tasks[at];
            match value(at) {
                Some(Value::Position(position)) => {
                    let first = task.source.unwrap_or_default() * setup.records;
                    (first..first + position).for_each(|record| out.add(record));
                }
                Some(Value::Taken(tally)) => taken = taken.and(tally),
                None => return Err(format!("{} has nothing", task.id)),
            }
        }
        let mut expected = Tally::default();
        for &(from, mark) in edges {
            expected = expected.and(sent[from].on(mark));
        }
        taken = taken.and(under_way(vertex));
        let name = setup.layout.tasks[tasks[0]].id.vertex;
        if let Some(record) = taken.first_missing(expected) {
            return Err(format!("r{record} was sent to {name}, and is neither in its state nor on its way"));
        }
        if setup.world.promised == Mode::ExactlyOnce {
            if let Some(record) = expected.first_missing(taken) {
                return Err(format!("r{record} counts {} times in {name}, and was sent {} times", taken.of(record), expected.of(record)));
            }
        }
        // What has been taken in was sent on; what is on its way was not.
        sent.push(if edges.is_empty() { out } else { tasks.iter().fold(Tally::default(), |sum, &at| sum.and(taken_by(value(at)))) });
    }
    Ok(())
}

fn taken_by(value: Option<Value>) -> Tally {
    match value {
        Some(Value::Taken(tally)) => tally,
        Some(Value::Position(_)) | None => Tally::default(),
    }
}

/// Whether the parts are a consistent cut, and if so whether of some but not all of the input.
///
/// # Errors
/// What shows that they are not.
pub fn cut(setup: &Setup, parts: &BTreeMap<TaskId, Part>) -> Result<bool, String> {
    let value = |at: usize| {
        let task = &setup.layout.tasks[at];
        // A source that has no part had finished.
        let whole = task.source.map(|_| Value::Position(setup.records)).filter(|_| setup.world.finishing);
        parts.get(&task.id).map(|part| part.value).or(whole)
    };
    // Between the parts of a cut nothing is on its way but what they say.
    let in_flight = |to: usize| {
        let tasks = setup.layout.vertices[to].tasks.iter();
        let parts = tasks.filter_map(|&at| parts.get(&setup.layout.tasks[at].id));
        parts.fold(Tally::default(), |tally, part| tally.with(part.in_flight))
    };
    compare(setup, value, in_flight)?;
    let positions = (0..setup.layout.tasks.len()).filter_map(|at| match value(at) {
        Some(Value::Position(position)) => Some(u32::from(position)),
        Some(Value::Taken(_)) | None => None,
    });
    let read: u32 = positions.sum();
    Ok(read > 0 && read < u32::from(setup.records) * u32::from(setup.layout.sources))
}

/// Whether the attempt has read and taken in everything, and its output says so.
#[must_use]
pub fn all_processed(setup: &Setup, state: &State, attempt: AttemptId) -> bool {
    setup.layout.tasks.iter().enumerate().all(|(at, task)| {
        let Some(running) = state.running(attempt, at) else { return false };
        let read = match running.value {
            Value::Position(position) => position == setup.records,
            Value::Taken(tally) => {
                let rows = task.sink.map(|sink| state.output[sink].taken);
                match setup.world.promised {
                    Mode::ExactlyOnce => rows.is_none_or(|rows| rows == tally),
                    Mode::AtLeastOnce => rows.is_none_or(|rows| rows.first_missing(tally.once()).is_none()),
                }
            }
        };
        read && running.inputs.iter().all(|input| input.is_empty()) && running.recovered.is_empty()
    })
}
