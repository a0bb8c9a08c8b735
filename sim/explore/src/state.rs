//! One state of a world.

use crate::bounds::Bound;
use crate::kept::Kept;
use crate::properties::Broken;
use crate::queue::Queue;
use crate::tally::Tally;
use crate::topology::{MOST_CHANNELS, MOST_SINKS, MOST_TASKS};
use crate::world::MOST_WORKERS;
use cofferdam_protocol::committer::Committer;
use cofferdam_protocol::coordinator::{Coordinator, Journal};
use cofferdam_protocol::snapshot::Acknowledged;
use cofferdam_protocol::subtask::Subtask;
use cofferdam_protocol::transactions::{Transaction, Transactions};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, Incarnation, TaskId, Timer};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A store's files: by number, with the path once it is uploaded.
pub type Store = BTreeMap<u8, Option<Arc<str>>>;

/// The shared files of a part, by number and path.
pub type Files = Arc<Vec<(u8, Arc<str>)>>;

/// The rows of a sink between two barriers: a transaction.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Closed {
    /// What it is staged and published as.
    pub name: Arc<str>,
    /// The number of the subtask that made it.
    pub maker: u32,
    /// In which attempt.
    pub attempt: AttemptId,
    /// What it counts.
    pub rows: Tally,
}

impl Transaction for Closed {
    fn name(&self) -> &str {
        &self.name
    }

    fn maker(&self) -> u32 {
        self.maker
    }
}

/// A sink that holds its rows back until a checkpoint is complete.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holding {
    /// The protocol's machines: what is published, and when.
    pub transactions: Transactions<Closed>,
    /// As above.
    pub committer: Committer,
    /// Since the last barrier.
    pub rows: Tally,
    /// How many transactions it has closed.
    pub closed: u8,
    /// Closed, and not durable yet.
    pub unstaged: Vec<Closed>,
    /// What is to be published, in order.
    pub due: Vec<Closed>,
    /// Whether the first of these can be seen already.
    pub visible: bool,
    /// Whether it takes records.
    pub opened: bool,
}

/// What a task hands over for a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Part {
    /// Whose it is.
    pub attempt: AttemptId,
    /// The state, or the source's position.
    pub value: Value,
    /// The shared files.
    pub files: Option<Files>,
    /// The records that its barriers overtook.
    pub in_flight: Queue,
    /// The transactions that are not known to be published.
    pub open: Option<Arc<Vec<Closed>>>,
}

impl Acknowledged for Part {
    fn shared_files(&self) -> impl Iterator<Item = &str> {
        self.files.iter().flat_map(|files| files.iter()).map(|(_, path)| &**path)
    }
}

/// What a task has of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// A source: how many records it has read.
    Position(u8),
    /// Any other: what it has taken in.
    Taken(Tally),
}

/// What a task is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Notice {
    /// Inject a barrier.
    Trigger(CheckpointId),
    /// Complete.
    Completed(CheckpointId),
    /// Will not complete.
    Aborted(CheckpointId, Option<CheckpointId>),
}

/// What a worker tells the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Report {
    /// A part is durable.
    Acknowledged(CheckpointId, TaskId, Part),
    /// It will not be.
    Declined(AttemptId, CheckpointId, TaskId, cofferdam_protocol::coordinator::FailureReason),
    /// A task could not send to another.
    Failed(AttemptId, TaskId),
    /// No task of this attempt is left.
    Stopped(AttemptId),
    /// A task that had to publish something first takes records now.
    Running(AttemptId, TaskId),
    /// A task has processed all its input.
    Drained(AttemptId, TaskId),
    /// A task has finished, and left.
    Finished(AttemptId, TaskId),
    /// A task has published all that waited for this checkpoint.
    Published(AttemptId, CheckpointId, TaskId),
}

/// A task that runs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Running {
    /// Of which attempt.
    pub attempt: AttemptId,
    /// The protocol's machine.
    pub machine: Subtask,
    /// What is on its way to it.
    pub inputs: [Queue; MOST_CHANNELS],
    /// Where barriers overtake: how much of each has arrived. The rest waits for room, or is on its way.
    pub arrived: [u8; MOST_CHANNELS],
    /// What was in flight in the checkpoint that it begins from, and is processed before anything else.
    pub recovered: Queue,
    /// Which channels the machine has asked to be held back: a bit each.
    pub held: u8,
    /// For which checkpoint records are logged that arrive, and on which channels: a bit each.
    pub logging: Option<(CheckpointId, u8)>,
    /// The checkpoint whose timer is set.
    pub timer: Option<CheckpointId>,
    /// What it has been told and not yet heard, in order.
    pub notices: Vec<Notice>,
    /// What it has of its own.
    pub value: Value,
    /// Parts that are being written.
    pub writing: Vec<(CheckpointId, Part)>,
    /// Its store, if tasks have one.
    pub store: Store,
    /// The number of the store's next file.
    pub next_file: u8,
    /// The channels that have come to their end: a bit each.
    pub ended: u8,
    /// Whether all its input has been processed, and it has said so.
    pub drained: bool,
    /// If it is a transactional sink.
    pub holding: Option<Box<Holding>>,
}

impl Running {
    /// Whether the machine has asked for this channel to be held back.
    #[must_use]
    pub fn holds(&self, channel: ChannelIndex) -> bool {
        self.held >> channel.0 & 1 == 1
    }

    /// Whether it does anything yet.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.holding.as_ref().is_none_or(|holding| holding.opened)
    }
}

/// Where a worker stands with the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contact {
    /// It is connected.
    Connected,
    /// It runs, and does not know yet that the coordinator has given it up or is gone.
    CutOff,
    /// Its process has crashed; the next one has not come yet.
    Down,
}

/// What is under way between a worker and the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Line {
    /// Where it stands.
    pub contact: Contact,
    /// This life of the worker.
    pub incarnation: Incarnation,
    /// What it has reported and the coordinator has not yet heard, in order.
    pub reports: Vec<Report>,
    /// The same of the life before, which is followed by the loss of the connection.
    pub before: Option<(Incarnation, Vec<Report>)>,
    /// It has been told to stop the tasks of this attempt, and has not yet heard it.
    pub stop: Option<AttemptId>,
}

/// What a coordinator waits for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// The place for a checkpoint's files.
    Location(CheckpointId),
    /// Its metadata.
    Metadata(CheckpointId, Arc<BTreeMap<TaskId, Part>>),
    /// The shared files of these checkpoints.
    Listing(BTreeSet<CheckpointId>),
}

/// A coordinator and what its process knows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Reign {
    /// Counted from 0.
    pub number: u8,
    /// The protocol's machine.
    pub machine: Coordinator<Part>,
    /// Which timers are set.
    pub timers: BTreeSet<Timer>,
    /// What is not answered yet.
    pub questions: Vec<Question>,
    /// The journal entry under way.
    pub writing: Option<Journal>,
    /// How many entries it knows of.
    pub known_len: u8,
}

/// What survives everything.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Storage {
    /// The newest journal entry.
    pub journal: Journal,
    /// Whose it is.
    pub writer: u8,
    /// How many entries there are.
    pub len: u8,
    /// An entry of a dead coordinator that may still arrive, if nobody has written one in its place: how many there were before it, and
    /// whose it is.
    pub stray: Option<(Journal, u8, u8)>,
    /// Checkpoints whose metadata is there.
    pub metadata: BTreeMap<CheckpointId, Arc<BTreeMap<TaskId, Part>>>,
    /// Checkpoints that have a folder: a bit each.
    pub folders: u64,
    /// Checkpoints that the journal has ever named: a bit each.
    pub ever: u64,
    /// Shared files.
    pub shared: BTreeSet<Arc<str>>,
    /// Transactions that are durable and cannot be seen, or not only there.
    pub staged: BTreeMap<Arc<str>, Closed>,
    /// Transactions that can be seen.
    pub published: BTreeMap<Arc<str>, Tally>,
    /// The records that are before the positions of a checkpoint that the journal has ever named.
    pub covered: Tally,
    /// The greatest number that was used.
    pub newest_used: CheckpointId,
    /// The newest that somebody was told to be complete.
    pub told: CheckpointId,
    /// The newest attempt.
    pub attempt: AttemptId,
    /// Its tasks that have finished, or had before: a bit each.
    pub finished: u8,
}

/// The output of one sink: rows of a later attempt win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Rows {
    /// Who wrote them.
    pub attempt: AttemptId,
    /// What they count.
    pub taken: Tally,
}

/// One state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct State {
    /// The coordinator that leads, and one that has been replaced and does not know it.
    pub reigns: [Option<Kept<Reign>>; 2],
    /// Tasks by worker and number.
    pub tasks: [[Option<Kept<Running>>; MOST_TASKS]; MOST_WORKERS],
    /// Connections.
    pub lines: [Option<Kept<Line>>; MOST_WORKERS],
    /// Storage.
    pub storage: Kept<Storage>,
    /// The output of the sinks, in their order.
    pub output: [Rows; MOST_SINKS],
    /// What is left of each budget.
    pub left: [u8; Bound::USED_UP],
    /// A promise that was broken on the way here; nothing happens after that.
    pub broken: Option<Arc<Broken>>,
}

impl State {
    /// What is left of a budget.
    #[must_use]
    pub fn left(&self, bound: Bound) -> u8 {
        self.left[bound as usize]
    }

    /// Which worker a task of this attempt runs on.
    #[must_use]
    pub fn whereabouts(&self, attempt: AttemptId, task: usize) -> Option<usize> {
        (0..MOST_WORKERS).find(|&worker| self.tasks[worker][task].as_ref().is_some_and(|running| running.attempt == attempt))
    }

    /// The task of this attempt.
    #[must_use]
    pub fn running(&self, attempt: AttemptId, task: usize) -> Option<&Running> {
        self.whereabouts(attempt, task).and_then(|worker| self.tasks[worker][task].as_deref())
    }

    /// Computes the hashes of what has changed.
    pub fn seal(&mut self) {
        self.reigns.iter_mut().flatten().for_each(Kept::seal);
        self.tasks.iter_mut().flatten().flatten().for_each(Kept::seal);
        self.lines.iter_mut().flatten().for_each(Kept::seal);
        self.storage.seal();
    }
}
