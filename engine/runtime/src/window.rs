//! Windows over event time, and sequences of events: keyed functions ready to be used, on nothing but the state and the timers that
//! every user has.
//!
//! ```text
//! [start, end)    gives out its value       when the watermark reaches end - 1, and again with each record that comes later
//!                 is forgotten              when it reaches end - 1 + allowed lateness
//! ```
//!
//! Lives here: which windows a record belongs to (`Windows`), what becomes of it there (`WindowAggregate`), patterns (`Sequence`).
//! Never here: where watermarks come from. They are no part of a checkpoint: after a restore a record may be early that was late.

mod aggregate;
mod assign;
mod sequence;

pub use aggregate::{Fired, Merge, WindowAggregate};
pub use assign::{Window, WindowError, Windows};
pub use sequence::Sequence;

/// What comes out of an operator that sets late records aside (Flink: a main output and a side output). To have them as two streams,
/// [`seal`](crate::job::Stream::seal) this one and take [`ready`](Self::ready) of one copy, [`late`](Self::late) of the other.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Timely<R, T> {
    /// A result.
    Ready(R),
    /// A record that came after its time was over. It is in no result.
    Late(T),
}

impl<R, T> Timely<R, T> {
    /// The result, for `flat_map`.
    pub fn ready(self) -> Option<R> {
        match self {
            Self::Ready(result) => Some(result),
            Self::Late(_) => None,
        }
    }

    /// The late record, for `flat_map`.
    pub fn late(self) -> Option<T> {
        match self {
            Self::Ready(_) => None,
            Self::Late(record) => Some(record),
        }
    }
}

#[cfg(test)]
mod tests;
