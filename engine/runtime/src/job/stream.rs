//! Streams: chains under construction, and how they are connected.

use super::{Building, Edge, MakeInlet, MakeRoute, Partitioning, RunTask, Vertex};
use crate::channel::gate::GroupOf;
use crate::channel::{
    AnyEnd, BoxFuture, Broadcast, Carrying, EdgeType, Exchange, Forward, Gate, Hash, Inlet, Plain, Rebalance, Route, Side,
};
use crate::connector::split::SplitReader;
use crate::connector::{Sink, Source};
use crate::env::Env;
use crate::operator::{
    CoProcess, Filter, FlatMap, Identity, KeyedOperator, KeyedProcess, KeyedStates, Map, Operator, Selector, Stateful, Then, TwoInputs,
};
use crate::record::{Either, Record};
use crate::task::{Input, Outputs, ReaderHead, SinkTail, SourceHead, TaskContext, TaskError};
use crate::{channel, task};
use cofferdam_protocol::metadata::DeclaredState;
use cofferdam_protocol::{EdgeId, VertexId};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::rc::Rc;
use std::sync::Arc;

mod broadcast;

pub use broadcast::{KeyedBroadcast, PlainBroadcast};

/// An edge whose receiver is not known yet.
struct PendingEdge<E: Env, X> {
    from: VertexId,
    partitioning: Partitioning,
    kind: Arc<dyn EdgeType<E::Stream>>,
    route: MakeRoute,
    inlet: MakeInlet<X>,
}

/// How a chain gets its records.
pub trait HeadSpec<E: Env>: Sized + 'static {
    /// What it gives.
    type Out: Send + 'static;
    /// The head at work.
    type Input: Input<Out = Self::Out>;
    /// Whether barriers are injected here.
    const IS_SOURCE: bool;
    /// Closes the specification: what each subtask starts from, and the edges to be added.
    fn close(self) -> (MakeInput<E, Self::Input>, Vec<ClosedEdge<E>>);
}

/// Makes the head of one subtask.
pub type MakeInput<E, I> = Arc<dyn Fn(&mut TaskContext<E>) -> I + Send + Sync>;

/// An edge that only lacks its receiver.
pub struct ClosedEdge<E: Env> {
    from: VertexId,
    partitioning: Partitioning,
    kind: Arc<dyn EdgeType<E::Stream>>,
    route: MakeRoute,
}

/// A chain that begins with a source.
pub struct SourceSpec<S> {
    pub(super) uid: String,
    pub(super) source: Arc<dyn Fn() -> S + Send + Sync>,
}

impl<E: Env, S: Source> HeadSpec<E> for SourceSpec<S> {
    type Out = S::Out;
    type Input = SourceHead<E, S>;
    const IS_SOURCE: bool = true;

    fn close(self) -> (MakeInput<E, SourceHead<E, S>>, Vec<ClosedEdge<E>>) {
        let make: MakeInput<E, _> = Arc::new(move |context| SourceHead::new(context.env.clone(), self.uid.clone(), (self.source)()));
        (make, Vec::new())
    }
}

/// A chain that begins with a reader of splits.
pub struct ReaderSpec<R> {
    pub(super) uid: String,
    pub(super) reader: Arc<dyn Fn() -> R + Send + Sync>,
}

impl<E: Env, R: SplitReader> HeadSpec<E> for ReaderSpec<R> {
    type Out = R::Out;
    type Input = ReaderHead<E, R>;
    const IS_SOURCE: bool = true;

    fn close(self) -> (MakeInput<E, ReaderHead<E, R>>, Vec<ClosedEdge<E>>) {
        let make: MakeInput<E, _> = Arc::new(move |context| ReaderHead::new(context, self.uid.clone(), (self.reader)()));
        (make, Vec::new())
    }
}

/// A chain that begins with channels.
pub struct GateSpec<E: Env, X> {
    edges: Vec<PendingEdge<E, X>>,
}

impl<E: Env, X: Send + 'static> HeadSpec<E> for GateSpec<E, X> {
    type Out = X;
    type Input = Gate<X>;
    const IS_SOURCE: bool = false;

    fn close(self) -> (MakeInput<E, Gate<X>>, Vec<ClosedEdge<E>>) {
        let (inlets, edges): (Vec<_>, Vec<_>) = self
            .edges
            .into_iter()
            .map(|edge| (edge.inlet, ClosedEdge { from: edge.from, partitioning: edge.partitioning, kind: edge.kind, route: edge.route }))
            .unzip();
        let make: MakeInput<E, _> = Arc::new(move |context| {
            let ends = std::mem::take(&mut context.inputs);
            assert_eq!(ends.len(), inlets.len(), "a subtask gets the ends of all its input edges");
            let inlets = ends.into_iter().zip(&inlets).flat_map(|(ends, inlet)| ends.into_iter().map(|end| inlet(end)));
            Gate::new(inlets.collect(), context.overtaking)
        });
        (make, edges)
    }
}

/// A stream of `O::Out`: a chain under construction.
pub struct Stream<E: Env, H: HeadSpec<E>, O: Operator<In = H::Out>> {
    pub(super) job: Rc<RefCell<Building<E>>>,
    pub(super) head: H,
    pub(super) operator: Arc<dyn Fn() -> O + Send + Sync>,
    pub(super) uids: Vec<String>,
    pub(super) name: String,
    pub(super) parallelism: u32,
}

impl<E: Env, H: HeadSpec<E>, O: Operator<In = H::Out>> Stream<E, H, O> {
    /// How many subtasks this chain has.
    #[must_use]
    pub fn with_parallelism(mut self, parallelism: u32) -> Self {
        self.parallelism = parallelism.max(1);
        self
    }

    fn then<B: Operator<In = O::Out>>(self, name: &str, next: impl Fn() -> B + Send + Sync + 'static) -> Stream<E, H, Then<O, B>> {
        let operator = self.operator;
        Stream {
            job: self.job,
            head: self.head,
            operator: Arc::new(move || Then::new(operator(), next())),
            uids: self.uids,
            name: format!("{} -> {name}", self.name),
            parallelism: self.parallelism,
        }
    }

    /// One record in, one out.
    pub fn map<T: Send + 'static>(
        self,
        function: impl Fn(O::Out) -> T + Clone + Send + Sync + 'static,
    ) -> Stream<E, H, Then<O, impl Operator<In = O::Out, Out = T>>>
    where
        O::Out: 'static,
    {
        self.then("map", move || Map::new(function.clone()))
    }

    /// Keeps what the predicate is true of.
    pub fn filter(
        self,
        predicate: impl Fn(&O::Out) -> bool + Clone + Send + Sync + 'static,
    ) -> Stream<E, H, Then<O, impl Operator<In = O::Out, Out = O::Out>>>
    where
        O::Out: 'static,
    {
        self.then("filter", move || Filter::new(predicate.clone()))
    }

    /// One record in, any number out.
    pub fn flat_map<I>(
        self,
        function: impl Fn(O::Out) -> I + Clone + Send + Sync + 'static,
    ) -> Stream<E, H, Then<O, impl Operator<In = O::Out, Out = I::Item>>>
    where
        O::Out: 'static,
        I: IntoIterator + 'static,
        I::Item: Send + 'static,
    {
        self.then("flat-map", move || FlatMap::new(function.clone()))
    }

    /// Ends the chain, so that its stream can be used several times.
    pub fn seal(self) -> Sealed<E, O::Out>
    where
        O::Out: Record,
    {
        let operator = self.operator;
        let states = declared(&mut operator());
        let chain = Chain { name: self.name, uids: self.uids, states, parallelism: self.parallelism, commits: false };
        let vertex = add_vertex::<E, H>(&self.job, self.head, chain, move |input, mut context| {
            let outputs = Outputs::new(&mut context);
            Box::pin(task::run(context, input, operator(), outputs))
        });
        Sealed { job: self.job, vertex, parallelism: self.parallelism, marker: PhantomData }
    }

    /// Partitions by key.
    pub fn key_by<K: crate::state::key::StateKey>(
        self,
        selector: impl Fn(&O::Out) -> K + Clone + Send + Sync + 'static,
    ) -> Keyed<E, O::Out, K, impl Selector<O::Out, K> + Clone>
    where
        O::Out: Record,
    {
        self.seal().key_by(selector)
    }

    /// Hands records to all subtasks in turn.
    pub fn rebalance(self) -> Stream<E, GateSpec<E, O::Out>, Identity<O::Out>>
    where
        O::Out: Record,
    {
        self.seal().rebalance()
    }

    /// Hands every record to every subtask.
    pub fn broadcast(self) -> Stream<E, GateSpec<E, O::Out>, Identity<O::Out>>
    where
        O::Out: Record,
    {
        self.seal().broadcast()
    }

    /// Both streams as one, in no particular order between them.
    pub fn union<H2: HeadSpec<E>, O2: Operator<In = H2::Out, Out = O::Out>>(
        self,
        other: Stream<E, H2, O2>,
    ) -> Stream<E, GateSpec<E, O::Out>, Identity<O::Out>>
    where
        O::Out: Record,
    {
        let (first, second) = (self.seal(), other.seal());
        let mut stream = first.onward();
        stream.head.edges.push(second.direct(stream.parallelism));
        stream
    }

    /// Ends the stream in a sink; one instance per subtask.
    pub fn sink<S: Sink<In = O::Out>>(mut self, uid: &str, sink: impl Fn() -> S + Send + Sync + 'static) {
        self.uids.push(uid.to_owned());
        self.name = format!("{} -> {uid}", self.name);
        let operator = self.operator;
        let uid = uid.to_owned();
        let states = declared(&mut operator());
        let chain = Chain { name: self.name, uids: self.uids, states, parallelism: self.parallelism, commits: S::COMMITS };
        add_vertex::<E, H>(&self.job, self.head, chain, move |input, context| {
            let tail = SinkTail::new(uid.clone(), sink());
            Box::pin(task::run(context, input, operator(), tail))
        });
    }
}

/// What a vertex is made of.
struct Chain {
    name: String,
    uids: Vec<String>,
    states: BTreeMap<String, Vec<DeclaredState>>,
    parallelism: u32,
    commits: bool,
}

fn declared<O: Operator>(operator: &mut O) -> BTreeMap<String, Vec<DeclaredState>> {
    let mut states = BTreeMap::new();
    operator.stateful(&mut |stateful: &mut dyn Stateful| {
        let uid = stateful.uid().to_owned();
        let mut types = stateful.list_types();
        types.extend(stateful.keyed().map_or_else(Vec::new, KeyedStates::types));
        types.sort_by(|a, b| a.shape.name.cmp(&b.shape.name));
        if !types.is_empty() {
            states.insert(uid, types);
        }
    });
    states
}

fn add_vertex<E: Env, H: HeadSpec<E>>(
    job: &Rc<RefCell<Building<E>>>,
    head: H,
    chain: Chain,
    run: impl Fn(H::Input, TaskContext<E>) -> BoxFuture<'static, Result<(), TaskError>> + Send + Sync + 'static,
) -> VertexId {
    let mut building = job.borrow_mut();
    let id = VertexId(u32::try_from(building.vertices.len()).expect("fewer vertices than 2^32"));
    let (make_input, closed) = head.close();
    let mut inputs = Vec::new();
    for edge in closed {
        let edge_id = EdgeId(u32::try_from(building.edges.len()).expect("fewer edges than 2^32"));
        inputs.push(edge_id);
        building.vertices[edge.from.0 as usize].outputs.push(edge_id);
        let from = &building.vertices[edge.from.0 as usize];
        let from = from.uids.last().cloned().unwrap_or_else(|| from.head());
        let to = chain.uids.first().cloned().unwrap_or_else(|| super::place_name(id));
        let twin = building.edges.iter().filter(|other| other.to == id && other.from == edge.from).count();
        let name = format!("{from}->{to}#{twin}");
        building.edges.push(Edge {
            id: edge_id,
            name,
            from: edge.from,
            to: id,
            partitioning: edge.partitioning,
            kind: edge.kind,
            route: edge.route,
        });
    }
    let run: RunTask<E> = Arc::new(move |mut context| {
        let input = make_input(&mut context);
        run(input, context)
    });
    let Chain { name, uids, states, parallelism, commits } = chain;
    let (is_source, outputs) = (H::IS_SOURCE, Vec::new());
    building.vertices.push(Vertex { id, name, parallelism, is_source, commits, uids, states, inputs, outputs, run });
    id
}

/// A finished chain, whose stream any number of others can begin from.
pub struct Sealed<E: Env, T> {
    job: Rc<RefCell<Building<E>>>,
    vertex: VertexId,
    parallelism: u32,
    marker: PhantomData<fn(T)>,
}

impl<E: Env, T> Clone for Sealed<E, T> {
    fn clone(&self) -> Self {
        Self { job: self.job.clone(), vertex: self.vertex, parallelism: self.parallelism, marker: PhantomData }
    }
}

impl<E: Env, T: Record> Sealed<E, T> {
    fn edge<X>(&self, partitioning: Partitioning, route: MakeRoute, inlet: MakeInlet<X>) -> PendingEdge<E, X> {
        PendingEdge { from: self.vertex, partitioning, kind: Arc::new(Carrying::<T>::default()), route, inlet }
    }

    fn begin<X: Send + 'static>(
        &self,
        name: &str,
        edges: Vec<PendingEdge<E, X>>,
        parallelism: u32,
    ) -> Stream<E, GateSpec<E, X>, Identity<X>> {
        let head = GateSpec { edges };
        Stream { job: self.job.clone(), head, operator: Arc::new(Identity::default), uids: Vec::new(), name: name.to_owned(), parallelism }
    }

    /// Keeps records at the index they are at, or rebalances where the parallelism differs.
    fn direct(&self, parallelism: u32) -> PendingEdge<E, T> {
        if parallelism == self.parallelism {
            self.edge(Partitioning::Forward, exchange::<T, _>(|_| Forward), plain_inlet(None))
        } else {
            self.edge(Partitioning::Rebalance, exchange::<T, _>(|_| Rebalance::default()), plain_inlet(None))
        }
    }

    /// A chain of its own behind this one, at the same parallelism.
    #[must_use]
    pub fn onward(&self) -> Stream<E, GateSpec<E, T>, Identity<T>> {
        self.begin("forward", vec![self.direct(self.parallelism)], self.parallelism)
    }

    /// Hands records to all subtasks in turn.
    #[must_use]
    pub fn rebalance(&self) -> Stream<E, GateSpec<E, T>, Identity<T>> {
        let edge = self.edge(Partitioning::Rebalance, exchange::<T, _>(|_| Rebalance::default()), plain_inlet(None));
        self.begin("rebalance", vec![edge], self.parallelism)
    }

    /// Hands every record to every subtask.
    #[must_use]
    pub fn broadcast(&self) -> Stream<E, GateSpec<E, T>, Identity<T>> {
        let edge = self.edge(Partitioning::Broadcast, exchange::<T, _>(|_| Broadcast), plain_inlet(None));
        self.begin("broadcast", vec![edge], self.parallelism)
    }

    /// Partitions by key.
    pub fn key_by<K: crate::state::key::StateKey, S: Fn(&T) -> K + Clone + Send + Sync + 'static>(&self, selector: S) -> Keyed<E, T, K, S> {
        Keyed { sealed: self.clone(), selector, marker: PhantomData }
    }
}

fn plain_inlet<T: Record>(group: Option<GroupOf<T>>) -> MakeInlet<T> {
    Arc::new(move |end| Box::new(Plain::<T>::new(end, group.clone())))
}

/// As one of two inputs.
fn side_inlet<T: Record, X: 'static>(group: Option<GroupOf<T>>, wrap: fn(T) -> X) -> MakeInlet<X> {
    Arc::new(move |end: AnyEnd| -> Box<dyn Inlet<X>> { Box::new(Side::<T, X>::new(end, group.clone(), wrap)) })
}

fn exchange<T: Record, P: channel::Partition<T>>(partition: impl Fn(u32) -> P + Send + Sync + 'static) -> MakeRoute {
    Arc::new(move |ends, parallelism| {
        let senders = ends.into_iter().map(channel::sender::<T>).collect();
        let route: Box<dyn Route<T>> = Box::new(Exchange::new(senders, partition(parallelism)));
        Box::new(route)
    })
}

/// A stream partitioned by key (Flink: `KeyedStream`).
pub struct Keyed<E: Env, T, K, S> {
    sealed: Sealed<E, T>,
    selector: S,
    marker: PhantomData<fn(K)>,
}

impl<E: Env, T: Record, K: crate::state::key::StateKey, S: Selector<T, K> + Clone> Keyed<E, T, K, S> {
    /// Where a record belongs.
    fn group(&self) -> Option<GroupOf<T>> {
        let (max, selector) = (self.sealed.job.borrow().max_parallelism, self.selector.clone());
        Some(Arc::new(move |record| max.group_of(selector.key(record).hash64())))
    }

    fn hash_edge<X>(&self, inlet: MakeInlet<X>) -> PendingEdge<E, X> {
        let max = self.sealed.job.borrow().max_parallelism;
        let selector = self.selector.clone();
        let route = exchange::<T, _>(move |parallelism| Hash::<K, S>::new(selector.clone(), max, parallelism));
        self.sealed.edge(Partitioning::Hash, route, inlet)
    }

    /// Applies a keyed function. `uid` is the stable name of its state; `function` makes one instance per subtask.
    pub fn process<P: KeyedProcess<Key = K, In = T>>(
        self,
        uid: &str,
        function: impl Fn() -> P + Send + Sync + 'static,
    ) -> Stream<E, GateSpec<E, T>, KeyedOperator<P, S>> {
        let edge = self.hash_edge(plain_inlet(self.group()));
        let (name, selector) = (uid.to_owned(), self.selector);
        let make = move || KeyedOperator::new(name.clone(), function(), selector.clone());
        keyed_stream(self.sealed.job, vec![edge], uid, Arc::new(make))
    }

    /// Pairs this stream with another one of the same key type; see [`Connected::process`].
    pub fn connect<T2: Record, S2: Selector<T2, K> + Clone>(self, other: Keyed<E, T2, K, S2>) -> Connected<E, T, T2, K, S, S2> {
        Connected { left: self, right: other }
    }
}

fn keyed_stream<E: Env, X: Send + 'static, O: Operator<In = X>>(
    job: Rc<RefCell<Building<E>>>,
    edges: Vec<PendingEdge<E, X>>,
    uid: &str,
    operator: Arc<dyn Fn() -> O + Send + Sync>,
) -> Stream<E, GateSpec<E, X>, O> {
    let parallelism = job.borrow().parallelism;
    Stream { job, head: GateSpec { edges }, operator, uids: vec![uid.to_owned()], name: uid.to_owned(), parallelism }
}

/// Two keyed streams side by side (Flink: `ConnectedStreams`).
pub struct Connected<E: Env, L, R, K, S1, S2> {
    left: Keyed<E, L, K, S1>,
    right: Keyed<E, R, K, S2>,
}

/// The key of a record of either input.
#[derive(Clone)]
pub struct EitherSelector<S1, S2>(S1, S2);

impl<L, R, K, S1: Selector<L, K>, S2: Selector<R, K>> Selector<Either<L, R>, K> for EitherSelector<S1, S2> {
    fn key(&self, record: &Either<L, R>) -> K {
        match record {
            Either::Left(record) => self.0.key(record),
            Either::Right(record) => self.1.key(record),
        }
    }
}

impl<E: Env, L: Record, R: Record, K: crate::state::key::StateKey, S1: Selector<L, K> + Clone, S2: Selector<R, K> + Clone>
    Connected<E, L, R, K, S1, S2>
{
    /// Applies a function that sees both inputs of a key.
    #[allow(clippy::type_complexity)]
    pub fn process<P: CoProcess<Key = K, Left = L, Right = R>>(
        self,
        uid: &str,
        function: impl Fn() -> P + Send + Sync + 'static,
    ) -> Stream<E, GateSpec<E, Either<L, R>>, KeyedOperator<TwoInputs<P>, EitherSelector<S1, S2>>> {
        let left = self.left.hash_edge(side_inlet(self.left.group(), Either::Left));
        let right = self.right.hash_edge(side_inlet(self.right.group(), Either::Right));
        let edges = vec![left, right];
        let (name, selector) = (uid.to_owned(), EitherSelector(self.left.selector, self.right.selector));
        let make = move || KeyedOperator::new(name.clone(), TwoInputs(function()), selector.clone());
        keyed_stream(self.left.sealed.job, edges, uid, Arc::new(make))
    }
}
