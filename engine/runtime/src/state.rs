//! State of operators: what is kept per key, what is kept per subtask, and how both get into a checkpoint and out again.
//!
//! Keyed state lives in [`PagedTable`]s: hash tables in pages, copied on write, so that a snapshot is a list of pages and the
//! writer goes on at once. The user's handles are [`ValueState`], [`ListState`], [`MapState`], [`ReducingState`],
//! [`AggregatingState`] and [`Timers`]; an operator names them to a [`StateVisitor`], and that is all that
//! [`KeyedSnapshot::take`] and [`restore_block`] need. Everything on the way of a record is a plain generic call.

pub mod aggregating;
pub mod backend;
pub mod broadcast;
pub mod cold;
pub mod key;
pub mod list;
pub mod map;
pub mod operator_state;
pub mod paged;
pub mod reducing;
pub mod schema;
pub mod sorted_runs;
pub mod table;
pub mod text;
pub mod timers;
pub mod ttl;
pub mod value;

pub use aggregating::{Aggregate, AggregatingState};
pub use backend::hashmap::{BlockBuilder, BlockError, Blocks, KeyedSnapshot};
pub use backend::restore::{restore_block, restore_block_as, RestoreStateError};
pub use backend::{
    clear_all, declared_states, entry_count, DuplicateState, StateKind, StateTable, StateValue, StateVisitor, TableSnapshot,
};
pub use broadcast::{BroadcastState, BroadcastStates, BroadcastTable};
pub use key::{Key, StateKey};
pub use list::ListState;
pub use map::MapState;
pub use operator_state::{OperatorList, OperatorListError};
pub use paged::{PagedSnapshot, PagedTable};
pub use reducing::{Reduce, ReducingState};
pub use schema::Typed;
pub use text::Text;
pub use timers::{TimerQueue, Timers};
pub use ttl::{Expiring, Forever, Ttl, TtlUpdate};
pub use value::ValueState;
