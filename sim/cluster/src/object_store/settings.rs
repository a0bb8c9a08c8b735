//! How an object store behaves.

use std::fmt;
use std::time::Duration;

/// How an object store behaves, adjustable at run time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ObjectSettings {
    /// Of any request, beside the network's: at least, at most.
    pub latency: (Duration, Duration),
    /// Of requests that read objects, beyond that: at least, at most.
    pub read_latency: (Duration, Duration),
    /// How long clients wait for an answer.
    pub timeout: Duration,
    /// The size of the parts of an upload.
    pub part_bytes: usize,
    /// Probability that a request is turned away because there are too many.
    pub throttled: f64,
    /// Probability that a request fails and nothing happened.
    pub errors: f64,
    /// Probability that a change happens and its answer is an error.
    pub lost_answers: f64,
    /// Probability that a read gives only some of what was asked for.
    pub partial_reads: f64,
    /// How old what a listing shows may be.
    pub listing_lag: Duration,
    /// Whether no request is served.
    pub unavailable: bool,
}

impl Default for ObjectSettings {
    fn default() -> Self {
        Self {
            latency: (Duration::from_millis(2), Duration::from_millis(15)),
            read_latency: (Duration::ZERO, Duration::ZERO),
            timeout: Duration::from_secs(1),
            part_bytes: 512,
            throttled: 0.0,
            errors: 0.0,
            lost_answers: 0.0,
            partial_reads: 0.0,
            listing_lag: Duration::ZERO,
            unavailable: false,
        }
    }
}

/// A kind of request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum ObjectOp {
    Put,
    Create,
    Get,
    Size,
    Delete,
    List,
    BeginUpload,
    PutPart,
    CompleteUpload,
    AbortUpload,
}

impl ObjectOp {
    /// Whether it can have happened in spite of an error.
    pub(super) fn changes(self) -> bool {
        !matches!(self, Self::Get | Self::Size | Self::List)
    }
}

impl fmt::Display for ObjectOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Create => "create",
            Self::Get => "get",
            Self::Size => "size",
            Self::Delete => "delete",
            Self::List => "list",
            Self::BeginUpload => "begin-upload",
            Self::PutPart => "put-part",
            Self::CompleteUpload => "complete-upload",
            Self::AbortUpload => "abort-upload",
        })
    }
}

/// How a request fails, or misleads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ObjectFault {
    /// Turned away; nothing happened.
    Throttled,
    /// An error of the store; nothing happened.
    Error,
    /// It happened, and the answer is an error; of a delete of many, perhaps only some.
    LostAnswer,
    /// The store does not serve.
    Unavailable,
    /// No answer in time.
    TimedOut,
    /// Less than was asked for.
    PartialRead,
    /// A listing that misses what is new or shows what is gone.
    StaleListing,
}

impl ObjectFault {
    /// As faults are counted by.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "object-throttled",
            Self::Error => "object-error",
            Self::LostAnswer => "lost-answer",
            Self::Unavailable => "object-unavailable",
            Self::TimedOut => "object-timeout",
            Self::PartialRead => "partial-read",
            Self::StaleListing => "stale-listing",
        }
    }
}

impl fmt::Display for ObjectFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
