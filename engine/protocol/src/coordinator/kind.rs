//! Why a checkpoint is asked for, and by whom.

use serde::{Deserialize, Serialize};

/// Which of the user's requests; the driver numbers them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct RequestNumber(pub u64);

/// Why a checkpoint is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// A savepoint: first in the queue, exempt from min-pause, and from max-concurrent unless checkpoints are unaligned, never stored, never
    /// subsumed, never notified (FLINK-25191).
    Savepoint(RequestNumber),
    /// A savepoint that the job stops with (Flink: a synchronous one). It is taken when nothing else is pending, tasks process nothing
    /// behind its barrier, and its completion is the last one of the job: that is notified.
    Stop {
        /// Whose wish it is.
        request: RequestNumber,
        /// Whether the input ends at its barrier: operators give out what they hold, and sinks finish, before it.
        drain: bool,
    },
    /// A user's request for an ordinary checkpoint.
    Requested,
    /// The timer's.
    Periodic,
}

impl Kind {
    /// Whether it is the user's.
    #[must_use]
    pub fn is_savepoint(self) -> bool {
        match self {
            Self::Savepoint(_) | Self::Stop { .. } => true,
            Self::Requested | Self::Periodic => false,
        }
    }

    /// Whether the job ends with it.
    #[must_use]
    pub fn stops(self) -> bool {
        match self {
            Self::Stop { .. } => true,
            Self::Savepoint(_) | Self::Requested | Self::Periodic => false,
        }
    }

    /// Whether the input ends at its barrier.
    #[must_use]
    pub fn drains(self) -> bool {
        match self {
            Self::Stop { drain, .. } => drain,
            Self::Savepoint(_) | Self::Requested | Self::Periodic => false,
        }
    }

    /// Which of the user's requests it answers.
    #[must_use]
    pub fn request(self) -> Option<RequestNumber> {
        match self {
            Self::Savepoint(request) | Self::Stop { request, .. } => Some(request),
            Self::Requested | Self::Periodic => None,
        }
    }
}
