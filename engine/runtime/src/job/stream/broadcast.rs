//! A stream beside one that every subtask gets (Flink: `BroadcastStream`, `BroadcastConnectedStream`).

use super::{exchange, keyed_stream, side_inlet, GateSpec, Keyed, PendingEdge, Sealed, Stream};
use crate::channel::{Broadcast, Forward};
use crate::env::Env;
use crate::job::Partitioning;
use crate::operator::{BroadcastOperator, BroadcastProcess, KeyedBroadcastOperator, KeyedBroadcastProcess, Selector};
use crate::record::{Either, Record};
use crate::state::key::StateKey;
use std::sync::Arc;

/// A keyed stream beside one that every subtask gets; see [`KeyedBroadcast::process`].
pub struct KeyedBroadcast<E: Env, T, K, S, B> {
    keyed: Keyed<E, T, K, S>,
    broadcast: Sealed<E, B>,
}

/// A stream without keys beside one that every subtask gets; see [`PlainBroadcast::process`].
pub struct PlainBroadcast<E: Env, T, B> {
    stream: Sealed<E, T>,
    broadcast: Sealed<E, B>,
}

fn broadcast_edge<E: Env, T: Record, B: Record>(broadcast: &Sealed<E, B>) -> PendingEdge<E, Either<T, B>> {
    broadcast.edge(Partitioning::Broadcast, exchange::<B, _>(|_| Broadcast), side_inlet(None, Either::Right))
}

impl<E: Env, T: Record, K: StateKey, S: Selector<T, K> + Clone> Keyed<E, T, K, S> {
    /// Pairs this stream with one whose every record goes to every subtask, such as rules.
    ///
    /// ```
    /// use cofferdam_engine::connector::{discard::Discard, generator::Generator};
    /// use cofferdam_engine::env::Env;
    /// use cofferdam_engine::job::{Job, JobError, JobGraph};
    /// use cofferdam_engine::operator::{BroadcastContext, Context, KeyedBroadcastProcess};
    /// use cofferdam_engine::record::Collect;
    /// use cofferdam_engine::state::{BroadcastState, Key, StateVisitor, ValueState};
    /// use std::sync::Arc;
    ///
    /// /// Counts the records of a key, each by the weight that the key has just then.
    /// #[derive(Default)]
    /// struct Weighed {
    ///     sum: ValueState<u64, u64>,
    /// }
    ///
    /// impl KeyedBroadcastProcess for Weighed {
    ///     type Key = u64;
    ///     type In = u64;
    ///     type Broadcast = (u64, u64);
    ///     type State = BroadcastState<u64, u64>;
    ///     type Out = (u64, u64);
    ///
    ///     fn process(
    ///         &mut self,
    ///         key: &Key<'_, u64>,
    ///         record: u64,
    ///         weights: &BroadcastState<u64, u64>, // no `&mut`: this side only reads
    ///         _: &mut Context<'_, u64>,
    ///         out: &mut impl Collect<(u64, u64)>,
    ///     ) {
    ///         let weight = weights.get(&record).copied().unwrap_or(1);
    ///         self.sum.update(key, |sum| {
    ///             *sum += weight;
    ///             out.collect((record, *sum));
    ///         });
    ///     }
    ///
    ///     fn broadcast(
    ///         &mut self,
    ///         (key, weight): (u64, u64),
    ///         weights: &mut BroadcastState<u64, u64>,
    ///         _: &BroadcastContext,
    ///         _: &mut impl Collect<(u64, u64)>,
    ///     ) {
    ///         weights.insert(key, weight);
    ///     }
    ///
    ///     fn states(&mut self, visit: &mut dyn StateVisitor<u64>) {
    ///         visit.visit("sum", &mut self.sum); // the weights are shown by the engine
    ///     }
    /// }
    ///
    /// fn weighed<E: Env>(job: Job<E>) -> Result<JobGraph<E>, JobError> {
    ///     let weights = job.source("weights", || Generator::new(3, 1, Arc::new(|number| (number, 10 * number))));
    ///     job.source("records", || Generator::new(1000, 100, Arc::new(|number| number % 3)))
    ///         .key_by(|record: &u64| *record)
    ///         .connect_broadcast(weights.seal())
    ///         .process("weighed", Weighed::default)
    ///         .sink("nowhere", Discard::default);
    ///     job.build()
    /// }
    /// ```
    pub fn connect_broadcast<B: Record>(self, broadcast: Sealed<E, B>) -> KeyedBroadcast<E, T, K, S, B> {
        KeyedBroadcast { keyed: self, broadcast }
    }
}

impl<E: Env, T: Record> Sealed<E, T> {
    /// Pairs this stream with one whose every record goes to every subtask, such as rules.
    #[must_use]
    pub fn connect_broadcast<B: Record>(self, broadcast: Sealed<E, B>) -> PlainBroadcast<E, T, B> {
        PlainBroadcast { stream: self, broadcast }
    }
}

/// What comes out of a function over a keyed and a broadcast stream.
pub type AfterKeyedBroadcast<E, T, B, P, S> = Stream<E, GateSpec<E, Either<T, B>>, KeyedBroadcastOperator<P, S>>;

impl<E: Env, T: Record, K: StateKey, S: Selector<T, K> + Clone, B: Record> KeyedBroadcast<E, T, K, S, B> {
    /// Applies a function. `uid` is the stable name of its state; `function` makes one instance per subtask.
    #[allow(clippy::type_complexity)]
    pub fn process<P: KeyedBroadcastProcess<Key = K, In = T, Broadcast = B>>(
        self,
        uid: &str,
        function: impl Fn() -> P + Send + Sync + 'static,
    ) -> AfterKeyedBroadcast<E, T, B, P, S> {
        let edges = vec![self.keyed.hash_edge(side_inlet(self.keyed.group(), Either::Left)), broadcast_edge::<E, T, B>(&self.broadcast)];
        let (name, selector) = (uid.to_owned(), self.keyed.selector);
        let make = move || KeyedBroadcastOperator::new(name.clone(), function(), selector.clone());
        keyed_stream(self.keyed.sealed.job, edges, uid, Arc::new(make))
    }
}

impl<E: Env, T: Record, B: Record> PlainBroadcast<E, T, B> {
    /// Applies a function, at the parallelism of the stream. `uid` is the stable name of its state.
    pub fn process<P: BroadcastProcess<In = T, Broadcast = B>>(
        self,
        uid: &str,
        function: impl Fn() -> P + Send + Sync + 'static,
    ) -> Stream<E, GateSpec<E, Either<T, B>>, BroadcastOperator<P>> {
        let forward = exchange::<T, _>(|_| Forward);
        let own = self.stream.edge(Partitioning::Forward, forward, side_inlet(None, Either::Left));
        let edges = vec![own, broadcast_edge::<E, T, B>(&self.broadcast)];
        let name = uid.to_owned();
        let make = move || BroadcastOperator::new(name.clone(), function());
        let stream = keyed_stream(self.stream.job, edges, uid, Arc::new(make));
        stream.with_parallelism(self.stream.parallelism)
    }
}
