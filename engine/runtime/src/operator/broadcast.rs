//! The broadcast state pattern: one stream goes to every subtask and sets what the records of another are judged by
//! (Flink: `KeyedBroadcastProcessFunction`, `BroadcastProcessFunction`).
//!
//! Only the broadcast side has the state by `&mut`: the other side would change it in one subtask and not in the others.

use super::keyed::{Context, Firing, KeyedOperator, KeyedProcess, Selector};
use super::{KeyedStates, Operator, Stateful};
use crate::record::{Collect, Either, EventTime};
use crate::state::broadcast::{declared, restore, to_lists, BroadcastStates};
use crate::state::key::{Key, StateKey};
use crate::state::{OperatorListError, StateVisitor};
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::snapshot::{ListState, StateShape};

/// A user's function over records of one key at a time, and records that every subtask gets.
pub trait KeyedBroadcastProcess: Send + 'static {
    /// What records are keyed by.
    type Key: StateKey;
    /// The records.
    type In: Send;
    /// What every subtask gets.
    type Broadcast: Send;
    /// What it makes of that: a [`BroadcastState`](crate::state::BroadcastState), or a struct of several.
    type State: BroadcastStates;
    /// What it makes of records.
    type Out: Send;

    /// Takes one record of `key`.
    fn process(
        &mut self,
        key: &Key<'_, Self::Key>,
        record: Self::In,
        state: &Self::State,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    );

    /// Takes one broadcast record. Every subtask must make the same of it.
    fn broadcast(
        &mut self,
        record: Self::Broadcast,
        state: &mut Self::State,
        context: &BroadcastContext,
        out: &mut impl Collect<Self::Out>,
    );

    /// A timer of `key` is due.
    fn on_timer(
        &mut self,
        key: &Key<'_, Self::Key>,
        firing: Firing,
        state: &Self::State,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    ) {
        let _ = (key, firing, state, context, out);
    }

    /// Shows each keyed state under its stable name.
    fn states(&mut self, visit: &mut dyn StateVisitor<Self::Key>);
}

/// A user's function over records without a key, and records that every subtask gets.
pub trait BroadcastProcess: Send + 'static {
    /// The records.
    type In: Send;
    /// What every subtask gets.
    type Broadcast: Send;
    /// What it makes of that.
    type State: BroadcastStates;
    /// What it makes of records.
    type Out: Send;

    /// Takes one record.
    fn process(&mut self, record: Self::In, state: &Self::State, context: &BroadcastContext, out: &mut impl Collect<Self::Out>);

    /// Takes one broadcast record. Every subtask must make the same of it.
    fn broadcast(
        &mut self,
        record: Self::Broadcast,
        state: &mut Self::State,
        context: &BroadcastContext,
        out: &mut impl Collect<Self::Out>,
    );
}

/// What a function can ask where there is no key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BroadcastContext {
    watermark: EventTime,
    now_ms: i64,
}

impl BroadcastContext {
    /// The watermark of this subtask: the least of both inputs.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// The wall clock as of this batch, in milliseconds. Not the same in all subtasks.
    #[must_use]
    pub fn processing_time_ms(&self) -> i64 {
        self.now_ms
    }
}

/// The keyed side of a function, with the state that it only reads.
struct Reading<P: KeyedBroadcastProcess> {
    function: P,
    state: P::State,
}

impl<P: KeyedBroadcastProcess> KeyedProcess for Reading<P> {
    type Key = P::Key;
    type In = P::In;
    type Out = P::Out;

    #[inline]
    fn process(&mut self, key: &Key<'_, P::Key>, record: P::In, context: &mut Context<'_, P::Key>, out: &mut impl Collect<P::Out>) {
        self.function.process(key, record, &self.state, context, out);
    }

    fn on_timer(&mut self, key: &Key<'_, P::Key>, firing: Firing, context: &mut Context<'_, P::Key>, out: &mut impl Collect<P::Out>) {
        self.function.on_timer(key, firing, &self.state, context, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<P::Key>) {
        self.function.states(visit);
    }
}

/// A keyed function with broadcast state at work.
pub struct KeyedBroadcastOperator<P: KeyedBroadcastProcess, S> {
    keyed: KeyedOperator<Reading<P>, S>,
}

impl<P: KeyedBroadcastProcess, S: Selector<P::In, P::Key>> KeyedBroadcastOperator<P, S> {
    /// `uid` is the stable name that its state is found by after a restore.
    pub fn new(uid: String, function: P, selector: S) -> Self {
        Self { keyed: KeyedOperator::new(uid, Reading { function, state: P::State::default() }, selector) }
    }
}

impl<P: KeyedBroadcastProcess, S: Selector<P::In, P::Key>> Operator for KeyedBroadcastOperator<P, S> {
    type In = Either<P::In, P::Broadcast>;
    type Out = P::Out;

    #[inline]
    fn push(&mut self, record: Self::In, out: &mut impl Collect<P::Out>) {
        match record {
            Either::Left(record) => self.keyed.push(record, out),
            Either::Right(record) => {
                let context = BroadcastContext { watermark: self.keyed.watermark, now_ms: self.keyed.now_ms };
                let Reading { function, state } = &mut self.keyed.function;
                function.broadcast(record, state, &context, out);
            }
        }
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut impl Collect<P::Out>) {
        self.keyed.on_watermark(watermark, out);
    }

    fn on_processing_time(&mut self, now_ms: i64, out: &mut impl Collect<P::Out>) {
        self.keyed.on_processing_time(now_ms, out);
    }

    fn set_clock(&mut self, now_ms: i64) {
        self.keyed.set_clock(now_ms);
    }

    fn next_processing_timer(&self) -> Option<i64> {
        self.keyed.next_processing_timer()
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<P: KeyedBroadcastProcess, S: Send + 'static> Stateful for KeyedBroadcastOperator<P, S> {
    fn uid(&self) -> &str {
        self.keyed.uid()
    }

    fn keyed(&mut self) -> Option<&mut dyn KeyedStates> {
        self.keyed.keyed()
    }

    fn lists(&mut self) -> Vec<ListState> {
        to_lists(&mut self.keyed.function.state)
    }

    fn restore_lists(&mut self, lists: &[ListState], stored: &[StateShape]) -> Result<(), OperatorListError> {
        restore(&mut self.keyed.function.state, lists, stored)
    }

    fn list_types(&mut self) -> Vec<DeclaredState> {
        declared(&mut self.keyed.function.state)
    }

    fn entry_count(&mut self) -> u64 {
        self.keyed.entry_count() + self.lists().iter().map(|list| list.items.len() as u64).sum::<u64>()
    }
}

/// A function with broadcast state at work, where there is no key.
pub struct BroadcastOperator<P: BroadcastProcess> {
    uid: String,
    function: P,
    state: P::State,
    context: BroadcastContext,
}

impl<P: BroadcastProcess> BroadcastOperator<P> {
    /// `uid` is the stable name that its state is found by after a restore.
    pub fn new(uid: String, function: P) -> Self {
        Self { uid, function, state: P::State::default(), context: BroadcastContext { watermark: EventTime::MIN, now_ms: 0 } }
    }
}

impl<P: BroadcastProcess> Operator for BroadcastOperator<P> {
    type In = Either<P::In, P::Broadcast>;
    type Out = P::Out;

    #[inline]
    fn push(&mut self, record: Self::In, out: &mut impl Collect<P::Out>) {
        match record {
            Either::Left(record) => self.function.process(record, &self.state, &self.context, out),
            Either::Right(record) => self.function.broadcast(record, &mut self.state, &self.context, out),
        }
    }

    fn on_watermark(&mut self, watermark: EventTime, _: &mut impl Collect<P::Out>) {
        self.context.watermark = watermark;
    }

    fn on_processing_time(&mut self, now_ms: i64, _: &mut impl Collect<P::Out>) {
        self.context.now_ms = now_ms;
    }

    fn set_clock(&mut self, now_ms: i64) {
        self.context.now_ms = now_ms;
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<P: BroadcastProcess> Stateful for BroadcastOperator<P> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn keyed(&mut self) -> Option<&mut dyn KeyedStates> {
        None
    }

    fn lists(&mut self) -> Vec<ListState> {
        to_lists(&mut self.state)
    }

    fn restore_lists(&mut self, lists: &[ListState], stored: &[StateShape]) -> Result<(), OperatorListError> {
        restore(&mut self.state, lists, stored)
    }

    fn list_types(&mut self) -> Vec<DeclaredState> {
        declared(&mut self.state)
    }
}
