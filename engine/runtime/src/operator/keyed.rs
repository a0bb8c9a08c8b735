//! Keyed processing: a user's function with state and timers (Flink: `KeyedProcessFunction`, `KeyedCoProcessFunction`).

use super::{KeyedStates, Operator, Stateful};
use crate::record::{Collect, Either, EventTime};
use crate::state::cold::{ColdError, ColdStore, ColumnIndex};
use crate::state::key::{Key, StateKey};
use crate::state::schema::Typed;
use crate::state::table::{Cold, FirstError, FrozenChanges};
use crate::state::timers::Timers;
use crate::state::ttl::{Clock, Expiry};
use crate::state::{entry_count, restore_block_as, KeyedSnapshot, RestoreStateError, StateKind, StateTable, StateVisitor};
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::snapshot::{ListState, StateShape};
use cofferdam_protocol::{KeyGroupRange, MaxParallelism};
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::sync::Arc;

/// Takes the key out of a record. Must be a pure function of the record.
pub trait Selector<T, K>: Send + Sync + 'static {
    /// The key.
    fn key(&self, record: &T) -> K;
}

impl<T, K, F: Fn(&T) -> K + Send + Sync + 'static> Selector<T, K> for F {
    #[inline]
    fn key(&self, record: &T) -> K {
        self(record)
    }
}

/// The clock that a timer goes by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeDomain {
    /// Watermarks.
    Event,
    /// The wall clock of the worker.
    Processing,
}

/// A timer that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Firing {
    /// What it was registered for, in milliseconds.
    pub time_ms: i64,
    /// By which clock.
    pub domain: TimeDomain,
}

/// What a keyed function can ask and arrange.
pub struct Context<'a, K: StateKey> {
    timers: &'a mut Timers<K>,
    watermark: EventTime,
    now_ms: i64,
}

impl<K: StateKey> Context<'_, K> {
    /// The watermark of this subtask. Not part of a checkpoint: after a restore it begins at its minimum.
    #[must_use]
    pub fn watermark(&self) -> EventTime {
        self.watermark
    }

    /// The wall clock as of this batch, in milliseconds.
    #[must_use]
    pub fn processing_time_ms(&self) -> i64 {
        self.now_ms
    }

    /// The timers of all keys; registering one twice is the same as once.
    pub fn timers(&mut self) -> &mut Timers<K> {
        self.timers
    }
}

/// A user's function over records of one key at a time.
pub trait KeyedProcess: Send + 'static {
    /// What records are keyed by.
    type Key: StateKey;
    /// What it takes.
    type In: Send;
    /// What it makes.
    type Out: Send;

    /// Takes one record of `key`.
    fn process(
        &mut self,
        key: &Key<'_, Self::Key>,
        record: Self::In,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    );

    /// A timer of `key` is due.
    fn on_timer(
        &mut self,
        key: &Key<'_, Self::Key>,
        firing: Firing,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    ) {
        let _ = (key, firing, context, out);
    }

    /// Shows each state under its stable name.
    fn states(&mut self, visit: &mut dyn StateVisitor<Self::Key>);
}

/// A user's function over two inputs that share a key.
pub trait CoProcess: Send + 'static {
    /// What both are keyed by.
    type Key: StateKey;
    /// The first input.
    type Left: Send;
    /// The second input.
    type Right: Send;
    /// What it makes.
    type Out: Send;

    /// Takes one record of the first input.
    fn left(
        &mut self,
        key: &Key<'_, Self::Key>,
        record: Self::Left,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    );
    /// Takes one record of the second input.
    fn right(
        &mut self,
        key: &Key<'_, Self::Key>,
        record: Self::Right,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    );
    /// A timer of `key` is due.
    fn on_timer(
        &mut self,
        key: &Key<'_, Self::Key>,
        firing: Firing,
        context: &mut Context<'_, Self::Key>,
        out: &mut impl Collect<Self::Out>,
    ) {
        let _ = (key, firing, context, out);
    }
    /// Shows each state under its stable name.
    fn states(&mut self, visit: &mut dyn StateVisitor<Self::Key>);
}

/// A two-input function as a one-input one.
pub struct TwoInputs<P>(pub P);

impl<P: CoProcess> KeyedProcess for TwoInputs<P> {
    type Key = P::Key;
    type In = Either<P::Left, P::Right>;
    type Out = P::Out;

    #[inline]
    fn process(&mut self, key: &Key<'_, P::Key>, record: Self::In, context: &mut Context<'_, P::Key>, out: &mut impl Collect<P::Out>) {
        match record {
            Either::Left(record) => self.0.left(key, record, context, out),
            Either::Right(record) => self.0.right(key, record, context, out),
        }
    }

    fn on_timer(&mut self, key: &Key<'_, P::Key>, firing: Firing, context: &mut Context<'_, P::Key>, out: &mut impl Collect<P::Out>) {
        self.0.on_timer(key, firing, context, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<P::Key>) {
        self.0.states(visit);
    }
}

/// A keyed function at work: extracts the key, hashes it once, calls the function, fires its timers.
pub struct KeyedOperator<P: KeyedProcess, S> {
    uid: String,
    pub(super) function: P,
    selector: S,
    timers: Timers<P::Key>,
    pub(super) watermark: EventTime,
    pub(super) now_ms: i64,
    clock: Clock,
    marker: PhantomData<fn(P::In)>,
}

impl<P: KeyedProcess, S: Selector<P::In, P::Key>> KeyedOperator<P, S> {
    /// `uid` is the stable name that its state is found by after a restore.
    pub fn new(uid: String, function: P, selector: S) -> Self {
        let (timers, clock) = (Timers::default(), Clock::default());
        let mut operator = Self { uid, function, selector, timers, watermark: EventTime::MIN, now_ms: 0, clock, marker: PhantomData };
        let clock = operator.clock.clone();
        operator.each(|_, state| state.table().set_clock(&clock));
        operator
    }
}

impl<P: KeyedProcess, S: Selector<P::In, P::Key>> Operator for KeyedOperator<P, S> {
    type In = P::In;
    type Out = P::Out;

    #[inline]
    fn push(&mut self, record: P::In, out: &mut impl Collect<P::Out>) {
        let key = self.selector.key(&record);
        let key = Key::new(&key);
        let mut context = Context { timers: &mut self.timers, watermark: self.watermark, now_ms: self.now_ms };
        self.function.process(&key, record, &mut context, out);
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut impl Collect<P::Out>) {
        self.watermark = watermark;
        while let Some((time_ms, key)) = self.timers.pop_due_event(watermark) {
            let mut context = Context { timers: &mut self.timers, watermark, now_ms: self.now_ms };
            self.function.on_timer(&Key::new(&key), Firing { time_ms, domain: TimeDomain::Event }, &mut context, out);
        }
    }

    fn on_processing_time(&mut self, now_ms: i64, out: &mut impl Collect<P::Out>) {
        self.set_clock(now_ms);
        while let Some((time_ms, key)) = self.timers.pop_due_processing(now_ms) {
            let mut context = Context { timers: &mut self.timers, watermark: self.watermark, now_ms };
            self.function.on_timer(&Key::new(&key), Firing { time_ms, domain: TimeDomain::Processing }, &mut context, out);
        }
    }

    fn set_clock(&mut self, now_ms: i64) {
        self.now_ms = now_ms;
        self.clock.set_ms(now_ms);
    }

    fn next_processing_timer(&self) -> Option<i64> {
        self.timers.next_processing()
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<P: KeyedProcess, S: Send + 'static> Stateful for KeyedOperator<P, S> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn keyed(&mut self) -> Option<&mut dyn KeyedStates> {
        Some(self)
    }

    fn lists(&mut self) -> Vec<ListState> {
        Vec::new()
    }

    fn entry_count(&mut self) -> u64 {
        let (function, timers) = (&mut self.function, &mut self.timers);
        entry_count(|visit| {
            function.states(visit);
            timers.states(visit);
        })
    }
}

impl<P: KeyedProcess, S> KeyedOperator<P, S> {
    fn states(&mut self, visit: &mut dyn StateVisitor<P::Key>) {
        self.function.states(visit);
        self.timers.states(visit);
    }

    /// Calls with every state, by name.
    fn each(&mut self, mut call: impl FnMut(&'static str, &mut dyn StateTable<P::Key>)) {
        struct Each<F>(F);
        impl<K, F: FnMut(&'static str, &mut dyn StateTable<K>)> StateVisitor<K> for Each<F> {
            fn visit(&mut self, name: &'static str, table: &mut dyn StateTable<K>) {
                (self.0)(name, table);
            }
        }
        self.states(&mut Each(&mut call));
    }
}

impl<P: KeyedProcess, S: Send + 'static> KeyedStates for KeyedOperator<P, S> {
    fn declared(&mut self) -> Vec<(&'static str, StateKind)> {
        let mut declared = Vec::new();
        self.each(|name, state| declared.push((name, state.kind())));
        declared
    }

    fn types(&mut self) -> Vec<DeclaredState> {
        let mut types: Vec<DeclaredState> = Vec::new();
        self.each(|name, state| {
            types.push(state.value_type().declared(name, state.kind().code(), P::Key::type_version()));
        });
        types.sort_by(|a, b| a.shape.name.cmp(&b.shape.name));
        types
    }

    fn take(&mut self, max: MaxParallelism, groups: KeyGroupRange) -> KeyedSnapshot {
        KeyedSnapshot::take(max, groups, |visit| self.states(visit))
    }

    fn attach(&mut self, store: &Arc<dyn ColdStore>, names: &[&'static str], max: MaxParallelism, errors: &FirstError) {
        self.each(|name, state| {
            let column = names.iter().position(|known| *known == name).expect("the names are those of the states");
            let column = ColumnIndex(u16::try_from(column).expect("an operator has few states"));
            state.table().attach(Cold { store: store.clone(), column, max, errors: errors.clone() });
        });
    }

    fn rebuild(&mut self) -> Result<(), ColdError> {
        let mut outcome = Ok(());
        self.each(|_, state| {
            if outcome.is_ok() {
                outcome = state.rebuild();
            }
        });
        outcome
    }

    fn expiries(&mut self) -> Vec<Option<Expiry>> {
        let mut expiries = BTreeMap::new();
        self.each(|name, state| {
            expiries.insert(name, state.table().expiry());
        });
        expiries.into_values().collect()
    }

    fn freeze(&mut self) -> Vec<Arc<dyn FrozenChanges>> {
        let mut frozen = BTreeMap::new();
        self.each(|name, state| {
            frozen.insert(name, state.table().freeze());
        });
        frozen.into_values().flatten().collect()
    }

    fn restore_block(
        &mut self,
        block: &[u8],
        offset: u64,
        max: MaxParallelism,
        groups: KeyGroupRange,
        stored: &[StateShape],
    ) -> Result<usize, RestoreStateError> {
        restore_block_as(block, offset, max, groups, stored, |visit| self.states(visit))
    }

    fn migrate(&mut self, stored: &[StateShape]) -> Result<(), ColdError> {
        let mut outcome = Ok(());
        self.each(|name, state| {
            let own = state.value_type();
            let changed = stored.iter().find(|shape| shape.name == name && shape.value != own.own);
            if let (Some(stored), Ok(())) = (changed, &outcome) {
                let now_ms = state.table().now_ms();
                outcome = state.table().migrate(own.written(stored, now_ms));
            }
        });
        outcome
    }

    fn hot_bytes(&mut self) -> usize {
        let mut bytes = 0;
        self.each(|_, state| bytes += state.table().hot_bytes());
        bytes
    }
}
