//! What a user's job does to records. Operators of a chain call each other directly: everything here is monomorphised.

use crate::record::{Collect, EventTime};
use crate::state::cold::{ColdError, ColdStore};
use crate::state::table::{FirstError, FrozenChanges};
use crate::state::ttl::Expiry;
use crate::state::{KeyedSnapshot, OperatorListError, RestoreStateError, StateKind};
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::snapshot::{ListState, StateShape};
use cofferdam_protocol::{KeyGroupRange, MaxParallelism};

use std::sync::Arc;

mod broadcast;
mod keyed;
mod stateless;

pub use broadcast::{BroadcastContext, BroadcastOperator, BroadcastProcess, KeyedBroadcastOperator, KeyedBroadcastProcess};
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

    /// It is `now_ms` by the wall clock: what state with time-to-live goes by. Fires nothing.
    fn set_clock(&mut self, now_ms: i64) {
        let _ = now_ms;
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
    /// Its keyed state, if it has any.
    fn keyed(&mut self) -> Option<&mut dyn KeyedStates>;
    /// Its operator state.
    fn lists(&mut self) -> Vec<ListState>;
    /// Takes its part of the operator state of a checkpoint; `stored` says with which types it was written.
    ///
    /// # Errors
    /// State that is not what it should be.
    fn restore_lists(&mut self, lists: &[ListState], stored: &[StateShape]) -> Result<(), OperatorListError> {
        let _ = (lists, stored);
        Ok(())
    }
    /// The types of its operator state, where they are kept, by name.
    fn list_types(&mut self) -> Vec<DeclaredState> {
        Vec::new()
    }
    /// How much it holds: keys of each keyed state, items of each list.
    fn entry_count(&mut self) -> u64 {
        self.lists().iter().map(|list| list.items.len() as u64).sum()
    }
}

/// All keyed states of one operator, timers included.
pub trait KeyedStates {
    /// Names and kinds.
    fn declared(&mut self) -> Vec<(&'static str, StateKind)>;
    /// Their types and versions, by name.
    fn types(&mut self) -> Vec<DeclaredState>;
    /// All entries, of states in memory. Cheap: copies nothing that is large.
    fn take(&mut self, max: MaxParallelism, groups: KeyGroupRange) -> KeyedSnapshot;
    /// Keeps all entries in a store from now on; `names` gives the columns.
    fn attach(&mut self, store: &Arc<dyn ColdStore>, names: &[&'static str], max: MaxParallelism, errors: &FirstError);
    /// Makes what else is kept in memory from what came with the store.
    ///
    /// # Errors
    /// The store cannot be read.
    fn rebuild(&mut self) -> Result<(), ColdError>;
    /// What a store may leave out of each state now, by column.
    fn expiries(&mut self) -> Vec<Option<Expiry>>;
    /// The changes since the last freeze, by column.
    fn freeze(&mut self) -> Vec<Arc<dyn FrozenChanges>>;
    /// Takes one block of a snapshot in, written with the `stored` types; returns how many entries.
    ///
    /// # Errors
    /// A block that does not fit the states.
    fn restore_block(
        &mut self,
        block: &[u8],
        offset: u64,
        max: MaxParallelism,
        groups: KeyGroupRange,
        stored: &[StateShape],
    ) -> Result<usize, RestoreStateError>;
    /// Writes anew what came with the store and was written with older versions of the types.
    ///
    /// # Errors
    /// The store cannot be read.
    fn migrate(&mut self, stored: &[StateShape]) -> Result<(), ColdError>;
    /// About how much memory the changes take that no store has yet.
    fn hot_bytes(&mut self) -> usize;
}
