//! What a user's job does to records. Operators of a chain call each other directly: everything here is monomorphised.

use crate::record::{Collect, EventTime};
use crate::state::{KeyedSnapshot, RestoreStateError};
use cofferdam_protocol::snapshot::ListState;
use cofferdam_protocol::{KeyGroupRange, MaxParallelism};

mod keyed;
mod stateless;

pub use keyed::{CoProcess, Context, Firing, KeyedOperator, KeyedProcess, Selector, TimeDomain, TwoInputs};
pub use stateless::{Filter, FlatMap, Identity, Map, Then};

/// One operator, or a chain of them, as one subtask runs it.
pub trait Operator: Send + 'static {
    /// What it takes.
    type In: Send;
    /// What it makes.
    type Out: Send;

    /// Takes one record.
    fn push(&mut self, record: Self::In, out: &mut impl Collect<Self::Out>);

    /// No record before `watermark` will follow: fires event-time timers.
    fn on_watermark(&mut self, watermark: EventTime, out: &mut impl Collect<Self::Out>) {
        let _ = (watermark, out);
    }

    /// Fires the processing-time timers up to `now`, by the wall clock in milliseconds.
    fn on_processing_time(&mut self, now_ms: i64, out: &mut impl Collect<Self::Out>) {
        let _ = (now_ms, out);
    }

    /// When the next processing-time timer is due.
    fn next_processing_timer(&self) -> Option<i64> {
        None
    }

    /// Shows each operator of the chain that has state, head first.
    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        let _ = visit;
    }
}

/// An operator with state, as snapshots and restores see it.
pub trait Stateful {
    /// Its stable name.
    fn uid(&self) -> &str;
    /// The synchronous part of a snapshot: cheap, copies nothing that is large.
    fn snapshot_keyed(&mut self, max: MaxParallelism, groups: KeyGroupRange) -> Option<KeyedSnapshot>;
    /// Takes one block of a snapshot back.
    ///
    /// # Errors
    /// A block that does not fit the operator's states.
    fn restore_keyed(&mut self, block: &[u8], offset: u64, max: MaxParallelism, groups: KeyGroupRange) -> Result<(), RestoreStateError>;
    /// Its operator state.
    fn lists(&self) -> Vec<ListState>;
    /// How much it holds: keys of each keyed state, items of each list.
    fn entry_count(&mut self) -> u64 {
        self.lists().iter().map(|list| list.items.len() as u64).sum()
    }
}
