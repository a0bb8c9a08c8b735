//! What a user writes: sources, transformations, sinks. Building gives a [`JobGraph`] that any worker can run a part of.
//!
//! Operators between two exchanges form a chain that is one type: its records never meet a dynamic call.

use crate::channel::{AnyEnd, BoxFuture, EdgeType, Inlet, Route};
use crate::connector::split::{AnyEnumerator, SplitEnumerator, SplitReader, Typed};
use crate::connector::Source;
use crate::env::Env;
use crate::operator::Identity;
use crate::record::Record;
use crate::task::{TaskContext, TaskError};
use cofferdam_protocol::metadata::{DeclaredState, InputShape, OperatorShape, Spread};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::{CheckpointId, EdgeId, FailoverStrategy, MaxParallelism, Regions, SubtaskIndex, TaskId, VertexId};
use std::any::Any;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

mod stream;

pub use stream::{
    ClosedEdge, Connected, EitherSelector, GateSpec, HeadSpec, Keyed, KeyedBroadcast, MakeInput, PlainBroadcast, ReaderSpec, Sealed,
    SourceSpec, Stream,
};

/// How records of an edge find their subtask.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Partitioning {
    /// To the same index.
    Forward,
    /// By key group.
    Hash,
    /// In turn.
    Rebalance,
    /// To all.
    Broadcast,
}

type MakeRoute = Arc<dyn Fn(Vec<AnyEnd>, u32) -> Box<dyn Any + Send> + Send + Sync>;
type MakeInlet<X> = Arc<dyn Fn(AnyEnd) -> Box<dyn Inlet<X>> + Send + Sync>;
type RunTask<E> = Arc<dyn Fn(TaskContext<E>) -> BoxFuture<'static, Result<(), TaskError>> + Send + Sync>;

/// One edge of the graph.
pub struct Edge<E: Env> {
    /// Its number.
    pub id: EdgeId,
    /// The stable name that records under way on it are found by.
    pub name: String,
    /// From which vertex.
    pub from: VertexId,
    /// To which vertex.
    pub to: VertexId,
    /// How records choose.
    pub partitioning: Partitioning,
    /// What it carries.
    pub kind: Arc<dyn EdgeType<E::Stream>>,
    route: MakeRoute,
}

impl<E: Env> Edge<E> {
    /// The receiving subtasks of one sending subtask, in channel order.
    #[must_use]
    pub fn targets(&self, from: SubtaskIndex, to_parallelism: u32) -> Vec<SubtaskIndex> {
        match self.partitioning {
            Partitioning::Forward => vec![from],
            Partitioning::Hash | Partitioning::Rebalance | Partitioning::Broadcast => (0..to_parallelism).map(SubtaskIndex).collect(),
        }
    }

    /// The sending subtasks of one receiving subtask, in channel order.
    #[must_use]
    pub fn origins(&self, to: SubtaskIndex, from_parallelism: u32) -> Vec<SubtaskIndex> {
        match self.partitioning {
            Partitioning::Forward => vec![to],
            Partitioning::Hash | Partitioning::Rebalance | Partitioning::Broadcast => (0..from_parallelism).map(SubtaskIndex).collect(),
        }
    }

    /// What restore planning needs to know of it.
    fn shape(&self) -> InputShape {
        let spread = match self.partitioning {
            Partitioning::Hash => Spread::ByKey,
            Partitioning::Rebalance => Spread::RoundRobin,
            Partitioning::Forward | Partitioning::Broadcast => Spread::Never,
        };
        InputShape { edge: self.name.clone(), spread }
    }

    pub(crate) fn make_route<T: 'static>(&self, senders: Vec<AnyEnd>, to_parallelism: u32) -> Box<dyn Route<T>> {
        *(self.route)(senders, to_parallelism).downcast().expect("an edge carries what the vertex before it makes")
    }
}

/// One vertex: a chain of operators.
pub struct Vertex<E: Env> {
    /// Its number.
    pub id: VertexId,
    /// For people: the operators' names.
    pub name: String,
    /// How many subtasks.
    pub parallelism: u32,
    /// Whether it begins with a source.
    pub is_source: bool,
    /// Whether it ends in a sink that holds output back until a checkpoint is complete.
    pub commits: bool,
    /// The stable names of its operators with state, head first.
    pub uids: Vec<String>,
    /// The keyed states of those that have any.
    pub states: BTreeMap<String, Vec<DeclaredState>>,
    /// Its input edges, in channel order.
    pub inputs: Vec<EdgeId>,
    /// Its output edges.
    pub outputs: Vec<EdgeId>,
    run: RunTask<E>,
}

impl<E: Env> Vertex<E> {
    /// The stable name of its first operator, which records under way to it are kept with. Where none has one, it follows from the
    /// vertex's place in the job, and holds as long as no other is added before it.
    #[must_use]
    pub fn head(&self) -> String {
        self.uids.first().cloned().unwrap_or_else(|| place_name(self.id))
    }
}

fn place_name(vertex: VertexId) -> String {
    format!("chain-{}", vertex.0)
}

/// A job, ready to be deployed.
pub struct JobGraph<E: Env> {
    /// For people.
    pub name: String,
    /// How many key groups.
    pub max_parallelism: MaxParallelism,
    /// In topological order.
    pub vertices: Vec<Vertex<E>>,
    /// All edges.
    pub edges: Vec<Edge<E>>,
    /// What the coordinator calls at each checkpoint.
    pub hooks: Vec<Arc<dyn Hook<E>>>,
    /// What sources have at the coordinator, to find what their readers read.
    pub enumerators: Vec<DeclaredEnumerator<E>>,
}

type MakeEnumerator<E> = Arc<dyn Fn() -> Box<dyn AnyEnumerator<E>> + Send + Sync>;

/// The part of a source that runs at the coordinator.
pub struct DeclaredEnumerator<E: Env> {
    /// The source's stable name.
    pub uid: String,
    /// Its readers.
    pub vertex: VertexId,
    pub(crate) make: MakeEnumerator<E>,
}

/// Takes part in checkpoints at the coordinator, before any task is told (Flink: `MasterTriggerRestoreHook`).
pub trait Hook<E: Env>: Send + Sync + 'static {
    /// The stable name that its state is found by.
    fn name(&self) -> &str;
    /// What it puts into the checkpoint. An error is for people, and fails the checkpoint.
    fn snapshot(&self, env: &E, checkpoint: CheckpointId) -> BoxFuture<'static, Result<Vec<u8>, String>>;
    /// Before each deployment: what it had put into the checkpoint that is restored; `None` where there is none. An error fails
    /// the attempt.
    fn restore(&self, env: &E, state: Option<Vec<u8>>) -> BoxFuture<'static, Result<(), String>>;
}

impl<E: Env> JobGraph<E> {
    /// A vertex by its number.
    #[must_use]
    pub fn vertex(&self, id: VertexId) -> &Vertex<E> {
        &self.vertices[id.0 as usize]
    }

    /// An edge by its number.
    #[must_use]
    pub fn edge(&self, id: EdgeId) -> &Edge<E> {
        &self.edges[id.0 as usize]
    }

    /// Every subtask.
    #[must_use]
    pub fn tasks(&self) -> BTreeSet<TaskId> {
        self.vertices.iter().flat_map(|vertex| (0..vertex.parallelism).map(|subtask| TaskId::new(vertex.id.0, subtask))).collect()
    }

    /// Every subtask of a source.
    #[must_use]
    pub fn source_tasks(&self) -> BTreeSet<TaskId> {
        self.tasks().into_iter().filter(|task| self.vertex(task.vertex).is_source).collect()
    }

    /// Every subtask that publishes something when a checkpoint is complete.
    #[must_use]
    pub fn committing_tasks(&self) -> BTreeSet<TaskId> {
        self.tasks().into_iter().filter(|task| self.vertex(task.vertex).commits).collect()
    }

    /// Of each subtask behind others, those that it reads from.
    #[must_use]
    pub fn predecessors(&self) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
        let mut predecessors: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
        for edge in &self.edges {
            let (from, to) = (self.vertex(edge.from), self.vertex(edge.to));
            for subtask in (0..to.parallelism).map(SubtaskIndex) {
                let origins = edge.origins(subtask, from.parallelism).into_iter().map(|subtask| TaskId { vertex: from.id, subtask });
                predecessors.entry(TaskId { vertex: to.id, subtask }).or_default().extend(origins);
            }
        }
        predecessors
    }

    /// What restarts together. What operators or hooks have at the coordinator has nothing that goes back for some of their tasks, so a
    /// job that has any restarts whole.
    ///
    /// Operator state goes to the subtask that wrote it, or, of what all get, each takes only what its own earlier life has done: see the
    /// transactional sink. So a part of a job can go back whatever state it has.
    #[must_use]
    pub fn regions(&self, strategy: FailoverStrategy) -> Regions {
        if strategy == FailoverStrategy::Full || !self.hooks.is_empty() || !self.enumerators.is_empty() {
            return Regions::whole();
        }
        let channels = self.edges.iter().flat_map(|edge| {
            let to_parallelism = self.vertex(edge.to).parallelism;
            (0..self.vertex(edge.from).parallelism).map(SubtaskIndex).flat_map(move |from| {
                let sender = TaskId { vertex: edge.from, subtask: from };
                edge.targets(from, to_parallelism).into_iter().map(move |to| (sender, TaskId { vertex: edge.to, subtask: to }))
            })
        });
        Regions::of(&self.tasks(), channels)
    }

    /// What restore planning needs to know of the operators.
    #[must_use]
    pub fn shapes(&self) -> Vec<OperatorShape> {
        let shape = |vertex: &Vertex<E>, uid: String, is_head: bool| OperatorShape {
            states: vertex.states.get(&uid).cloned().unwrap_or_default(),
            publishes: vertex.commits && vertex.uids.last() == Some(&uid),
            uid,
            vertex: vertex.id,
            parallelism: vertex.parallelism,
            max_parallelism: self.max_parallelism,
            inputs: if is_head { vertex.inputs.iter().map(|edge| self.edge(*edge).shape()).collect() } else { Vec::new() },
        };
        let shapes = self.vertices.iter().flat_map(|vertex| {
            let others = vertex.uids.iter().skip(1).map(move |uid| shape(vertex, uid.clone(), false));
            std::iter::once(shape(vertex, vertex.head(), true)).chain(others)
        });
        shapes.collect()
    }

    /// As [`shapes`](Self::shapes), without chains that have no name, unless something was under way to them or some of their subtasks
    /// have finished.
    #[must_use]
    pub fn shapes_of(&self, snapshots: &BTreeMap<TaskId, TaskSnapshot>, finished: &BTreeSet<TaskId>) -> Vec<OperatorShape> {
        let mut shapes = self.shapes();
        shapes.retain(|shape| {
            let own = || snapshots.iter().filter(|(task, _)| task.vertex == shape.vertex).flat_map(|(_, snapshot)| &snapshot.operators);
            let gone = || finished.iter().any(|task| task.vertex == shape.vertex);
            !self.vertex(shape.vertex).uids.is_empty() || gone() || own().any(|operator| operator.uid == shape.uid)
        });
        shapes
    }

    /// Starts one subtask.
    pub fn run_task(&self, context: TaskContext<E>) -> BoxFuture<'static, Result<(), TaskError>> {
        (self.vertex(context.task.vertex).run)(context)
    }
}

/// A job that cannot be. Correct what it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Two operators share a stable name: their state could not be told apart.
    #[error("two operators have the uid {0:?}")]
    DuplicateUid(String),
    /// There are fewer key groups than subtasks.
    #[error("{name} has parallelism {parallelism}, more than the max parallelism {max}")]
    ParallelismOverMax {
        /// The vertex.
        name: String,
        /// Its parallelism.
        parallelism: u32,
        /// The job's.
        max: MaxParallelism,
    },
    /// Two hooks of the coordinator share a name.
    #[error("two hooks have the name {0:?}")]
    DuplicateHook(String),
    /// A uid becomes part of file names.
    #[error("the uid {0:?} must be made of letters, digits, - and _")]
    BadUid(String),
    /// Records can only stay at their index if there are as many subtasks on both sides.
    #[error("{0} is fed index by index from a chain of another parallelism; rebalance in between")]
    ForwardMismatch(String),
    /// Two states of one operator share a name: they could not be told apart.
    #[error("two states of {uid} have the name {name}")]
    DuplicateState {
        /// The operator.
        uid: String,
        /// Of both.
        name: String,
    },
    /// A job without a source does nothing.
    #[error("the job has no source")]
    NoSource,
}

struct Building<E: Env> {
    vertices: Vec<Vertex<E>>,
    edges: Vec<Edge<E>>,
    hooks: Vec<Arc<dyn Hook<E>>>,
    enumerators: Vec<(String, MakeEnumerator<E>)>,
    parallelism: u32,
    max_parallelism: MaxParallelism,
}

/// Builds a job (Flink: `StreamExecutionEnvironment`).
pub struct Job<E: Env> {
    name: String,
    building: Rc<RefCell<Building<E>>>,
}

impl<E: Env> Job<E> {
    /// An empty job; vertices get `parallelism` unless they say otherwise.
    #[must_use]
    pub fn new(name: &str, parallelism: u32, max_parallelism: MaxParallelism) -> Self {
        let (vertices, edges, hooks, enumerators) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let building = Building { vertices, edges, hooks, enumerators, parallelism: parallelism.max(1), max_parallelism };
        Self { name: name.to_owned(), building: Rc::new(RefCell::new(building)) }
    }

    /// A stream of records from outside. `uid` is the stable name that its positions are found by after a restore; `source`
    /// makes one instance per subtask.
    pub fn source<S: Source>(&self, uid: &str, source: impl Fn() -> S + Send + Sync + 'static) -> Stream<E, SourceSpec<S>, Identity<S::Out>>
    where
        S::Out: Record,
    {
        let parallelism = self.building.borrow().parallelism;
        let head = SourceSpec { uid: uid.to_owned(), source: Arc::new(source) };
        Stream {
            job: self.building.clone(),
            head,
            operator: Arc::new(Identity::default),
            uids: vec![uid.to_owned()],
            name: uid.to_owned(),
            parallelism,
        }
    }

    /// A stream of records from outside, in splits that are found while the job runs. `uid` is the stable name that splits and their
    /// positions are found by after a restore; `enumerator` makes the one that finds and assigns them, at the coordinator, and `reader`
    /// one per subtask.
    pub fn dynamic_source<N: SplitEnumerator<E>, R: SplitReader<Split = N::Split>>(
        &self,
        uid: &str,
        enumerator: impl Fn() -> N + Send + Sync + 'static,
        reader: impl Fn() -> R + Send + Sync + 'static,
    ) -> Stream<E, ReaderSpec<R>, Identity<R::Out>>
    where
        R::Out: Record,
    {
        let make: MakeEnumerator<E> = Arc::new(move || Box::new(Typed(enumerator())));
        self.building.borrow_mut().enumerators.push((uid.to_owned(), make));
        let parallelism = self.building.borrow().parallelism;
        let head = ReaderSpec { uid: uid.to_owned(), reader: Arc::new(reader) };
        Stream {
            job: self.building.clone(),
            head,
            operator: Arc::new(Identity::default),
            uids: vec![uid.to_owned()],
            name: uid.to_owned(),
            parallelism,
        }
    }

    /// Has the coordinator call a hook at each checkpoint and restore.
    pub fn hook(&self, hook: impl Hook<E>) {
        self.building.borrow_mut().hooks.push(Arc::new(hook));
    }

    /// Checks the whole and closes it.
    ///
    /// # Errors
    /// The first thing that cannot be.
    ///
    /// # Panics
    /// If a stream of this job is still being built.
    pub fn build(self) -> Result<JobGraph<E>, JobError> {
        let building = Rc::into_inner(self.building).expect("every stream of the job has ended in a sink").into_inner();
        let mut seen = BTreeSet::new();
        for vertex in &building.vertices {
            if vertex.parallelism > building.max_parallelism.get() {
                let (name, parallelism) = (vertex.name.clone(), vertex.parallelism);
                return Err(JobError::ParallelismOverMax { name, parallelism, max: building.max_parallelism });
            }
            if vertex.uids.is_empty() && !seen.insert(place_name(vertex.id)) {
                return Err(JobError::DuplicateUid(place_name(vertex.id)));
            }
            for uid in &vertex.uids {
                if uid.is_empty() || !uid.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') {
                    return Err(JobError::BadUid(uid.clone()));
                }
                if !seen.insert(uid.clone()) {
                    return Err(JobError::DuplicateUid(uid.clone()));
                }
            }
        }
        for (uid, states) in building.vertices.iter().flat_map(|vertex| &vertex.states) {
            if let Some(pair) = states.windows(2).find(|pair| pair[0].shape.name == pair[1].shape.name) {
                return Err(JobError::DuplicateState { uid: uid.clone(), name: pair[0].shape.name.clone() });
            }
        }
        for edge in building.edges.iter().filter(|edge| edge.partitioning == Partitioning::Forward) {
            let (from, to) = (&building.vertices[edge.from.0 as usize], &building.vertices[edge.to.0 as usize]);
            if from.parallelism != to.parallelism {
                return Err(JobError::ForwardMismatch(to.name.clone()));
            }
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = building.hooks.iter().find(|hook| !names.insert(hook.name().to_owned())) {
            return Err(JobError::DuplicateHook(twice.name().to_owned()));
        }
        if !building.vertices.iter().any(|vertex| vertex.is_source) {
            return Err(JobError::NoSource);
        }
        let Building { vertices, edges, hooks, enumerators, max_parallelism, .. } = building;
        let declared = |(uid, make): (String, MakeEnumerator<E>)| {
            let vertex = vertices.iter().find(|vertex| vertex.uids.first() == Some(&uid)).expect("every source heads a chain").id;
            DeclaredEnumerator { uid, vertex, make }
        };
        let enumerators = enumerators.into_iter().map(declared).collect();
        Ok(JobGraph { name: self.name, max_parallelism, vertices, edges, hooks, enumerators })
    }
}
