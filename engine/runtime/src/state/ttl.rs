//! Time-to-live: what is in a state is gone some time after it was last used (Flink: `StateTtlConfig`).
//!
//! The time of last access stands beside each value, list element or map entry, in milliseconds of processing time: the wall
//! clock of the worker, as of the batch (or watermark, or alarm) that is being worked on. What was last accessed at `t` is
//! expired from `t + after` on, that millisecond included, and is never returned again. It is taken out when it is come upon,
//! a few entries at a time while others are used, when a whole snapshot is written, and when a store merges its files.
//!
//! The time-to-live itself is no part of a snapshot. It may be changed, switched on or off between two runs of a job: what was
//! stored without a time gets that of the restore; where it is switched off, what had expired and was not cleaned up yet is
//! back for good.
//!
//! **Clocks.** Times are compared as they are. Where a clock jumps back, or state goes to a worker whose clock is behind, what
//! is in it lives longer by the difference; what had expired before may be gone already, or not. Where a clock jumps ahead,
//! things expire early by the difference.
//!
//! State without time-to-live is another type, and pays nothing for this one.

use super::backend::StateValue;
use std::fmt::Debug;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::Arc;
use std::time::Duration;

mod cell;
mod kept;

pub use cell::{Cell, Elements, Plain, Stamped, StampedList, Timed};
pub use kept::{Expiry, Trim};

pub(super) use cell::Head;
pub(super) use kept::Kept;

/// How long what is in a state lives. See the [module](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ttl {
    /// Since the last access. In whole milliseconds, at least one.
    pub after: Duration,
    /// What counts as an access.
    pub update: TtlUpdate,
}

/// What counts as an access (Flink: `StateTtlConfig.UpdateType`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TtlUpdate {
    /// To make it, and to change it.
    #[default]
    OnCreateAndWrite,
    /// To read it as well.
    OnReadAndWrite,
}

impl Ttl {
    /// Counted from when it was made or last changed.
    #[must_use]
    pub fn since_write(after: Duration) -> Self {
        Self { after, update: TtlUpdate::OnCreateAndWrite }
    }

    /// Counted from when it was made, last changed or last read. Reads are writes then.
    #[must_use]
    pub fn since_use(after: Duration) -> Self {
        Self { after, update: TtlUpdate::OnReadAndWrite }
    }
}

/// The time that an operator's state goes by, in milliseconds. Its task sets it; all clones show it.
#[derive(Clone, Debug, Default)]
pub struct Clock(Arc<AtomicI64>);

impl Clock {
    /// It is that late now.
    pub fn set_ms(&self, now_ms: i64) {
        self.0.store(now_ms, Ordering::Relaxed);
    }

    /// How late it is.
    #[inline]
    #[must_use]
    pub fn now_ms(&self) -> i64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Whether what is in a state expires: [`Forever`] or [`Expiring`].
pub trait Lifetime: Clone + Debug + Send + 'static {
    /// A value, with the time of its last access if that matters.
    type Timed<V: StateValue>: Timed<V>;
    /// The same for elements of a list.
    type Elements<T: StateValue>: Elements<T>;
    /// Known when the program is compiled, so that what never expires takes no branch for it.
    const EXPIRES: bool;
    /// How late it is, where it matters.
    fn now_ms(&self) -> i64;
    /// What was last accessed then or before is expired.
    fn deadline_ms(&self) -> i64;
    /// Whether a read is an access.
    fn counts_reads(&self) -> bool;
    /// The clock to go by.
    fn set_clock(&mut self, clock: &Clock);
    /// Whether it is time to look for expired entries, and in which page.
    fn page_to_sweep(&mut self) -> Option<usize>;
    /// The name of a stored type in this state, and in one of the other lifetime.
    fn names(plain: String) -> (String, String);
}

fn expiring_name(plain: &str) -> String {
    format!("expiring<{plain}>")
}

/// What is in the state stays there.
#[derive(Clone, Copy, Debug, Default)]
pub struct Forever;

impl Lifetime for Forever {
    type Timed<V: StateValue> = Plain<V>;
    type Elements<T: StateValue> = Vec<T>;
    const EXPIRES: bool = false;
    fn now_ms(&self) -> i64 {
        0
    }
    fn deadline_ms(&self) -> i64 {
        i64::MIN
    }
    fn counts_reads(&self) -> bool {
        false
    }
    fn set_clock(&mut self, _: &Clock) {}
    fn page_to_sweep(&mut self) -> Option<usize> {
        None
    }
    fn names(plain: String) -> (String, String) {
        let other = expiring_name(&plain);
        (plain, other)
    }
}

/// One page is swept in so many accesses: some seven entries per access.
const ACCESSES_PER_SWEEP: u32 = 64;

/// What is in the state expires.
#[derive(Clone, Debug)]
pub struct Expiring {
    after_ms: i64,
    counts_reads: bool,
    clock: Clock,
    accesses: u32,
    page: usize,
}

impl Expiring {
    /// By a clock of its own until it is given one.
    #[must_use]
    pub fn new(ttl: Ttl) -> Self {
        let after_ms = i64::try_from(ttl.after.as_millis()).unwrap_or(i64::MAX).max(1);
        let counts_reads = ttl.update == TtlUpdate::OnReadAndWrite;
        Self { after_ms, counts_reads, clock: Clock::default(), accesses: 0, page: 0 }
    }
}

impl Lifetime for Expiring {
    type Timed<V: StateValue> = Stamped<V>;
    type Elements<T: StateValue> = StampedList<T>;
    const EXPIRES: bool = true;
    #[inline]
    fn now_ms(&self) -> i64 {
        self.clock.now_ms()
    }
    #[inline]
    fn deadline_ms(&self) -> i64 {
        self.now_ms().saturating_sub(self.after_ms)
    }
    fn counts_reads(&self) -> bool {
        self.counts_reads
    }
    fn set_clock(&mut self, clock: &Clock) {
        self.clock = clock.clone();
    }
    #[inline]
    fn page_to_sweep(&mut self) -> Option<usize> {
        self.accesses += 1;
        if self.accesses < ACCESSES_PER_SWEEP {
            return None;
        }
        self.accesses = 0;
        self.page = self.page.wrapping_add(1);
        Some(self.page)
    }
    fn names(plain: String) -> (String, String) {
        (expiring_name(&plain), plain)
    }
}

#[cfg(test)]
mod tests;
