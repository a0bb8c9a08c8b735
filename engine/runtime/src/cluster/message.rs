//! What coordinator and workers say to each other.

use super::formats::Formats;
use crate::channel::ChannelId;
use crate::connector::split::ReaderEvent;
use crate::record::{SavepointFormat, Stop};
use crate::task::{TaskControl, TaskReport};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::gateway::EventNumber;
use cofferdam_protocol::local::Taken;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::{AttemptId, Epoch, TaskId, WorkerId};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// What a user asks a running job for.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Command {
    /// End the job. What becomes of its checkpoints is up to their retention.
    Cancel,
    /// Take a checkpoint now, without regard to the interval.
    Checkpoint,
    /// Take a savepoint, and say when it is complete.
    Savepoint {
        /// The folder to make its folder in, as the coordinator and the workers see it.
        target: String,
        /// As what.
        format: SavepointFormat,
    },
    /// Take a savepoint, end the job with it, and say when both is done.
    Stop {
        /// As for a savepoint.
        target: String,
        /// As what.
        format: SavepointFormat,
        /// How.
        how: Stop,
    },
}

/// What comes of a command.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandAnswer {
    /// The coordinator has taken it; the rest is seen in the job's progress.
    Taken,
    /// The savepoint is complete, and the user's.
    Savepoint {
        /// Where it is.
        folder: String,
    },
    /// The job has stopped with this savepoint.
    Stopped {
        /// Where it is.
        folder: String,
        /// Why it is not known that all was published that waited for it, if it is not: a job that begins from it does that.
        unpublished: Option<String>,
    },
    /// There is no savepoint, and a job that was to stop goes on.
    Failed(FailureReason),
}

/// From a worker, or from a user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToCoordinator {
    /// The only message of a user's connection; answered by a [`CommandAnswer`].
    Command(Command),
    /// The first message of a worker.
    Register {
        /// What it writes.
        formats: Formats,
        /// Who.
        worker: WorkerId,
        /// How many subtasks of each vertex it can run.
        slots: u32,
        /// Where other workers reach its channels.
        data_address: SocketAddr,
    },
    /// Alive; so many records have come in at its sources since the last one.
    Heartbeat {
        /// Records.
        records: u64,
    },
    /// A task says something.
    Report {
        /// Which.
        task: TaskId,
        /// Of which attempt.
        attempt: AttemptId,
        /// What.
        report: TaskReport,
    },
    /// No task of this attempt or an older one is left.
    Stopped {
        /// Which.
        attempt: AttemptId,
    },
}

/// From the coordinator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ToWorker {
    /// The answer to `Register`.
    Welcome {
        /// Of this coordinator. A worker that has seen a later one hangs up.
        epoch: Epoch,
    },
    /// Alive.
    Heartbeat,
    /// Stop everything older and start these tasks.
    Deploy {
        /// As which attempt.
        attempt: AttemptId,
        /// Its tasks, and what each begins from.
        tasks: Vec<(TaskId, Option<TaskRestore>)>,
        /// Tasks of the job that had finished, and that nobody starts.
        finished: BTreeSet<TaskId>,
        /// Where all tasks of the job are.
        placement: BTreeMap<TaskId, SocketAddr>,
    },
    /// For the tasks named, or for all where none is.
    Control {
        /// Of this attempt only.
        attempt: AttemptId,
        /// Which.
        tasks: Vec<TaskId>,
        /// What.
        control: TaskControl,
    },
    /// For a reader of splits, from its enumerator.
    Event {
        /// Of this attempt only.
        attempt: AttemptId,
        /// Which.
        task: TaskId,
        /// Names it in the answer.
        number: EventNumber,
        /// What.
        event: ReaderEvent,
    },
    /// Stop the tasks of this attempt and of older ones.
    Stop {
        /// Which.
        attempt: AttemptId,
    },
    /// Another answer to `Register`: the worker is of another release, and is not taken.
    Refused {
        /// What the coordinator writes.
        formats: Formats,
    },
    /// The job has ended: the worker is not needed any more.
    Shutdown,
    /// With local recovery, before `Deploy` and also to workers that get no task: what copies are of use from here on.
    Local {
        /// As which attempt.
        attempt: AttemptId,
        /// What the job begins from, if that is a checkpoint of its own or another one's.
        from: Option<Taken>,
        /// The tasks that this worker gets.
        tasks: BTreeSet<TaskId>,
    },
    /// Stop these tasks, of this attempt and of older ones, and no others.
    StopTasks {
        /// The latest attempt.
        attempt: AttemptId,
        /// Which.
        tasks: BTreeSet<TaskId>,
    },
    /// Start these tasks beside those that go on.
    DeployBeside {
        /// As which attempt.
        attempt: AttemptId,
        /// What this worker gets, and what each task begins from.
        tasks: Vec<(TaskId, Option<TaskRestore>)>,
        /// Of the same regions, those that had finished, and that nobody starts.
        finished: BTreeSet<TaskId>,
        /// Where all that start are: they are whole regions, so nobody else matters to them.
        placement: BTreeMap<TaskId, SocketAddr>,
        /// Of which snapshot there may be a copy of what each begins from, where workers keep copies.
        from: BTreeMap<TaskId, Option<Taken>>,
    },
    /// As `Local`, where what the job begins from was taken by tasks of several attempts.
    LocalEach {
        /// As which attempt.
        attempt: AttemptId,
        /// The tasks that this worker gets, and what each begins from.
        tasks: BTreeMap<TaskId, Option<Taken>>,
    },
}

/// The first frame of a data connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DataHello {
    /// Between tasks of this attempt.
    pub attempt: AttemptId,
    /// Which channel.
    pub channel: ChannelId,
}

/// The answer to a [`DataHello`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum DataReply {
    /// Elements may follow.
    Accepted,
    /// The attempt is not deployed here yet: try again.
    NotYet,
    /// The attempt is over here, or the channel is taken: give up.
    Refused,
}
