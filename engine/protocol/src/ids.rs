//! Names of things. No bare integer crosses a module: each id is its own type and prints short, so traces stay narrow.

use core::fmt;
use serde::{Deserialize, Serialize};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident($inner:ty), $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&alloc::format!(concat!($prefix, "{}"), self.0))
            }
        }

        impl $name {
            /// The one after this.
            #[must_use]
            pub fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }
    };
}

id!(
    /// One attempt at a checkpoint. Grows by at least one per attempt; an aborted number is never used again
    /// (Flink: `CheckpointIDCounter`). The first is c1.
    CheckpointId(u64), "c"
);
id!(
    /// One of the parallel instances of a vertex, counted from 0.
    SubtaskIndex(u32), "s"
);
id!(
    /// A chain of operators that runs as one task per subtask (Flink: `JobVertex`), counted from 0 in topological order.
    VertexId(u32), "v"
);
id!(
    /// One input of a subtask, counted from 0 over all its edges.
    ChannelIndex(u32), "ch"
);
id!(
    /// An edge between two vertices, counted from 0.
    EdgeId(u32), "edge"
);
id!(
    /// A worker process as the coordinator knows it (Flink: TaskManager). The number stays over a restart of the process.
    WorkerId(u32), "w"
);
id!(
    /// One life of a worker process: a restarted worker joins with a larger one.
    Incarnation(u64), "i"
);
id!(
    /// The reign of one coordinator process. Grows by one with each takeover.
    Epoch(u64), "e"
);
id!(
    /// A slice of the key space; the unit in which keyed state moves (Flink: key group).
    KeyGroup(u16), "k"
);

impl CheckpointId {
    /// Before any checkpoint.
    pub const NONE: Self = Self(0);
}

/// One deployment of the whole job. Ordered: a later one fences the earlier ones. Unique over takeovers without a durable
/// counter, because the epoch is durable.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct AttemptId {
    /// The coordinator that deployed it.
    pub epoch: Epoch,
    /// Counted from 1 within the epoch.
    pub number: u32,
}

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&alloc::format!("a{}.{}", self.epoch.0, self.number))
    }
}

impl AttemptId {
    /// The next attempt under the same coordinator.
    #[must_use]
    pub fn next(self) -> Self {
        Self { epoch: self.epoch, number: self.number + 1 }
    }
}

/// One subtask of one vertex.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// Which of its parallel instances.
    pub subtask: SubtaskIndex,
}

impl TaskId {
    /// Builds one from plain numbers.
    #[must_use]
    pub const fn new(vertex: u32, subtask: u32) -> Self {
        Self { vertex: VertexId(vertex), subtask: SubtaskIndex(subtask) }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&alloc::format!("{}.{}", self.vertex, self.subtask))
    }
}
