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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::{BroadcastState, BroadcastTable, ValueState};
    use cofferdam_protocol::snapshot::Redistribution;

    #[derive(Default)]
    struct Limits {
        least: BroadcastState<u64, u64>,
        most: BroadcastState<u64, u64>,
    }

    impl BroadcastStates for Limits {
        fn states(&mut self, visit: &mut dyn FnMut(&'static str, &mut dyn BroadcastTable)) {
            visit("most", &mut self.most);
            visit("least", &mut self.least);
        }
    }

    /// Passes on what is within the limits of its last digit.
    #[derive(Default)]
    struct Within {
        passed: ValueState<u64, u64>,
    }

    fn is_within(record: u64, limits: &Limits) -> bool {
        let digit = record % 10;
        limits.least.get(&digit).is_none_or(|least| *least <= record) && limits.most.get(&digit).is_none_or(|most| record <= *most)
    }

    fn set((digit, least, most): (u64, u64, u64), limits: &mut Limits) {
        limits.least.insert(digit, least);
        limits.most.insert(digit, most);
    }

    impl KeyedBroadcastProcess for Within {
        type Key = u64;
        type In = u64;
        type Broadcast = (u64, u64, u64);
        type State = Limits;
        type Out = u64;

        fn process(&mut self, key: &Key<'_, u64>, record: u64, limits: &Limits, _: &mut Context<'_, u64>, out: &mut impl Collect<u64>) {
            if is_within(record, limits) {
                self.passed.set(key, record);
                out.collect(record);
            }
        }

        fn broadcast(&mut self, record: (u64, u64, u64), limits: &mut Limits, _: &BroadcastContext, _: &mut impl Collect<u64>) {
            set(record, limits);
        }

        fn states(&mut self, visit: &mut dyn StateVisitor<u64>) {
            visit.visit("passed", &mut self.passed);
        }
    }

    struct Unkeyed;

    impl BroadcastProcess for Unkeyed {
        type In = u64;
        type Broadcast = (u64, u64, u64);
        type State = Limits;
        type Out = u64;

        fn process(&mut self, record: u64, limits: &Limits, context: &BroadcastContext, out: &mut impl Collect<u64>) {
            assert_eq!(context.processing_time_ms(), 7);
            if is_within(record, limits) {
                out.collect(record);
            }
        }

        fn broadcast(&mut self, record: (u64, u64, u64), limits: &mut Limits, _: &BroadcastContext, _: &mut impl Collect<u64>) {
            set(record, limits);
        }
    }

    /// What passes, and what the operator keeps: before and behind a restore into another instance.
    fn judged<O: Operator<In = Either<u64, (u64, u64, u64)>, Out = u64> + Stateful>(make: impl Fn() -> O) {
        let push = |operator: &mut O, records: &[u64]| {
            let mut out = Vec::new();
            operator.set_clock(7);
            records.iter().for_each(|record| operator.push(Either::Left(*record), &mut out));
            out
        };
        let mut operator = make();
        assert_eq!(push(&mut operator, &[11, 21]), [11, 21]);
        operator.push(Either::Right((1, 20, 30)), &mut Vec::new());
        assert_eq!(push(&mut operator, &[11, 21, 31, 12]), [21, 12]);
        let lists = operator.lists();
        assert!(lists.iter().all(|list| list.redistribution == Redistribution::Broadcast && list.items.len() == 1));
        let names: Vec<String> = operator.list_types().into_iter().map(|declared| declared.shape.name).collect();
        assert_eq!(names, ["least", "most"]);
        let mut restored = make();
        restored.restore_lists(&lists, &[]).expect("just written");
        assert_eq!(push(&mut restored, &[11, 21, 31, 12]), [21, 12]);
        assert_eq!(restored.lists(), lists);
    }

    #[test]
    fn records_are_judged_by_what_was_broadcast_before_them() {
        judged(|| KeyedBroadcastOperator::new("within".into(), Within::default(), |record: &u64| *record));
        judged(|| BroadcastOperator::new("within".into(), Unkeyed));
    }

    #[test]
    fn keyed_and_broadcast_entries_count_alike() {
        let mut operator = KeyedBroadcastOperator::new("within".into(), Within::default(), |record: &u64| *record);
        operator.push(Either::Right((1, 0, 30)), &mut Vec::new());
        operator.push(Either::Left(11), &mut Vec::new());
        assert_eq!(operator.entry_count(), 3);
    }
}
