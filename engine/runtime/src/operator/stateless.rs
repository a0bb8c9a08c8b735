//! Operators without state, and how operators become a chain.

use super::{Operator, Stateful};
use crate::record::{Collect, EventTime};
use std::marker::PhantomData;

/// Passes records on.
pub struct Identity<T>(PhantomData<fn(T) -> T>);

impl<T> Default for Identity<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

impl<T: Send + 'static> Operator for Identity<T> {
    type In = T;
    type Out = T;

    #[inline]
    fn push(&mut self, record: T, out: &mut impl Collect<T>) {
        out.collect(record);
    }
}

/// One record in, one out.
pub struct Map<F, In, Out>(pub F, PhantomData<fn(In) -> Out>);

impl<F, In, Out> Map<F, In, Out> {
    /// Applies `function` to each record.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<In: Send + 'static, Out: Send + 'static, F: FnMut(In) -> Out + Send + 'static> Operator for Map<F, In, Out> {
    type In = In;
    type Out = Out;

    #[inline]
    fn push(&mut self, record: In, out: &mut impl Collect<Out>) {
        out.collect((self.0)(record));
    }
}

/// Keeps the records that a predicate likes.
pub struct Filter<F, T>(pub F, PhantomData<fn(T)>);

impl<F, T> Filter<F, T> {
    /// Keeps what `predicate` is true of.
    pub fn new(predicate: F) -> Self {
        Self(predicate, PhantomData)
    }
}

impl<T: Send + 'static, F: FnMut(&T) -> bool + Send + 'static> Operator for Filter<F, T> {
    type In = T;
    type Out = T;

    #[inline]
    fn push(&mut self, record: T, out: &mut impl Collect<T>) {
        if (self.0)(&record) {
            out.collect(record);
        }
    }
}

/// One record in, any number out. The function is given a `&mut dyn FnMut` free sink: a plain closure call per output.
pub struct FlatMap<F, In, Out>(pub F, PhantomData<fn(In) -> Out>);

impl<F, In, Out> FlatMap<F, In, Out> {
    /// `function` appends what it makes of a record.
    pub fn new(function: F) -> Self {
        Self(function, PhantomData)
    }
}

impl<In, Out, I, F> Operator for FlatMap<F, In, Out>
where
    In: Send + 'static,
    Out: Send + 'static,
    I: IntoIterator<Item = Out>,
    F: FnMut(In) -> I + Send + 'static,
{
    type In = In;
    type Out = Out;

    #[inline]
    fn push(&mut self, record: In, out: &mut impl Collect<Out>) {
        for made in (self.0)(record) {
            out.collect(made);
        }
    }
}

/// Two operators as one: the second is called directly for each record of the first.
pub struct Then<A, B> {
    first: A,
    second: B,
}

impl<A, B> Then<A, B> {
    /// `first`, then `second`.
    pub fn new(first: A, second: B) -> Self {
        Self { first, second }
    }
}

struct Feed<'a, B, C> {
    operator: &'a mut B,
    out: &'a mut C,
}

impl<B: Operator, C: Collect<B::Out>> Collect<B::In> for Feed<'_, B, C> {
    #[inline]
    fn collect(&mut self, record: B::In) {
        self.operator.push(record, self.out);
    }
}

impl<A: Operator, B: Operator<In = A::Out>> Operator for Then<A, B> {
    type In = A::In;
    type Out = B::Out;

    #[inline]
    fn push(&mut self, record: A::In, out: &mut impl Collect<B::Out>) {
        self.first.push(record, &mut Feed { operator: &mut self.second, out });
    }

    fn on_watermark(&mut self, watermark: EventTime, out: &mut impl Collect<B::Out>) {
        self.first.on_watermark(watermark, &mut Feed { operator: &mut self.second, out });
        self.second.on_watermark(watermark, out);
    }

    fn on_processing_time(&mut self, now_ms: i64, out: &mut impl Collect<B::Out>) {
        self.first.on_processing_time(now_ms, &mut Feed { operator: &mut self.second, out });
        self.second.on_processing_time(now_ms, out);
    }

    fn set_clock(&mut self, now_ms: i64) {
        self.first.set_clock(now_ms);
        self.second.set_clock(now_ms);
    }

    fn next_processing_timer(&self) -> Option<i64> {
        self.first.next_processing_timer().into_iter().chain(self.second.next_processing_timer()).min()
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        self.first.stateful(visit);
        self.second.stateful(visit);
    }
}
