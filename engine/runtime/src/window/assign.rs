//! Which windows a record belongs to.

use crate::record::EventTime;
use crate::stored_struct;
use std::fmt;

stored_struct! {
    /// Event time from `start_ms` up to, not including, `end_ms` (Flink: `TimeWindow`).
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
    pub struct Window as "window" (version 1, oldest 1) {
        /// The first millisecond.
        pub start_ms: i64,
        /// The one behind the last.
        pub end_ms: i64,
    }
}

impl Window {
    /// The last millisecond that belongs to it: a watermark of that says that it is whole.
    #[must_use]
    pub fn last_ms(self) -> EventTime {
        self.end_ms.saturating_sub(1)
    }

    /// Whether they have time in common. Those that only touch have none. (Flink makes one session of them; but the first may have
    /// been given out already, so that what comes out would depend on when the watermark comes.)
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start_ms < other.end_ms && other.start_ms < self.end_ms
    }

    /// The least window with both in it.
    #[must_use]
    pub fn cover(self, other: Self) -> Self {
        Self { start_ms: self.start_ms.min(other.start_ms), end_ms: self.end_ms.max(other.end_ms) }
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start_ms, self.end_ms)
    }
}

/// How event time is divided (Flink: `WindowAssigner`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows(Kind);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Periodic { size_ms: i64, slide_ms: i64, offset_ms: i64 },
    Session { gap_ms: i64 },
}

/// Windows that cannot be. Correct the length that it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WindowError {
    /// Time would stand still.
    #[error("{what} of a window is {ms} ms, but at least 1 is needed")]
    TooShort {
        /// Which length.
        what: &'static str,
        /// What it was set to.
        ms: i64,
    },
    /// Records in between would be in no window.
    #[error("windows of {size_ms} ms every {slide_ms} ms leave gaps")]
    Gaps {
        /// How long each is.
        size_ms: i64,
        /// From one start to the next.
        slide_ms: i64,
    },
}

fn positive(what: &'static str, ms: i64) -> Result<i64, WindowError> {
    if ms > 0 {
        Ok(ms)
    } else {
        Err(WindowError::TooShort { what, ms })
    }
}

impl Windows {
    /// One after the other (Flink: `TumblingEventTimeWindows`).
    ///
    /// # Errors
    /// A size below 1 ms.
    pub fn tumbling(size_ms: i64) -> Result<Self, WindowError> {
        Self::sliding(size_ms, size_ms)
    }

    /// A new one every `slide_ms`, each `size_ms` long (Flink: `SlidingEventTimeWindows`): a record is in `size / slide` of them.
    ///
    /// # Errors
    /// A length below 1 ms; a slide longer than the size.
    pub fn sliding(size_ms: i64, slide_ms: i64) -> Result<Self, WindowError> {
        let (size_ms, slide_ms) = (positive("the size", size_ms)?, positive("the slide", slide_ms)?);
        if slide_ms > size_ms {
            return Err(WindowError::Gaps { size_ms, slide_ms });
        }
        Ok(Self(Kind::Periodic { size_ms, slide_ms, offset_ms: 0 }))
    }

    /// As long as no `gap_ms` pass without a record of the key (Flink: `EventTimeSessionWindows`).
    ///
    /// # Errors
    /// A gap below 1 ms.
    pub fn session(gap_ms: i64) -> Result<Self, WindowError> {
        Ok(Self(Kind::Session { gap_ms: positive("the gap", gap_ms)? }))
    }

    /// Windows start at multiples of their size or slide plus this. Sessions start where they start.
    #[must_use]
    pub fn with_offset(self, offset_ms: i64) -> Self {
        match self.0 {
            Kind::Periodic { size_ms, slide_ms, .. } => Self(Kind::Periodic { size_ms, slide_ms, offset_ms }),
            Kind::Session { .. } => self,
        }
    }

    /// Whether windows of one key become one where they overlap.
    #[must_use]
    pub fn merge(self) -> bool {
        matches!(self.0, Kind::Session { .. })
    }

    /// The windows that a record of this time is in, the latest first.
    pub fn of(self, time_ms: EventTime) -> impl Iterator<Item = Window> {
        let (last_start, slide_ms, size_ms) = match self.0 {
            Kind::Periodic { size_ms, slide_ms, offset_ms } => {
                (time_ms.saturating_sub(time_ms.wrapping_sub(offset_ms).rem_euclid(slide_ms)), slide_ms, size_ms)
            }
            Kind::Session { gap_ms } => (time_ms, gap_ms, gap_ms),
        };
        let starts = std::iter::successors(Some(last_start), move |start| start.checked_sub(slide_ms));
        // In the manner of `time < end`, where an end may lie behind the end of time.
        starts
            .take_while(move |start| time_ms.wrapping_sub(*start) < size_ms)
            .map(move |start_ms| Window { start_ms, end_ms: start_ms.saturating_add(size_ms) })
    }
}
