//! What the keyed state of a chain's operators is kept in: opened, restored, spilled, and handed to snapshots.

mod reading;

use super::snapshot::KeyedPart;
use super::{StateBackend, TaskContext, TaskError};
use crate::env::Env;
use crate::local::{KeptFiles, Restorable, RestoredBytes};
use crate::operator::{KeyedStates, Operator, Stateful};
use crate::state::cold::{ColdBackend, ColdCheckpoint, ColdError, ColdPart, ColdPlace, ColdStore, ColumnIndex};
use crate::state::table::{FirstError, FrozenChanges};
use crate::state::ttl::Expiry;
use crate::state::StateKind;
use crate::storage::CheckpointStorage;
use cofferdam_protocol::restore::{OperatorRestore, TaskRestore};
use cofferdam_protocol::snapshot::{Layout, SharedFile, StateShape};
use cofferdam_protocol::{AttemptId, KeyGroupRange, MaxParallelism};
use reading::{fetch, stand_in, Blocks, StandIn};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // What is guarded is valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What opening needs of a task's context.
pub(super) struct Place<E> {
    env: E,
    storage: CheckpointStorage,
    backend: StateBackend,
    max: MaxParallelism,
    groups: KeyGroupRange,
    subtask: u32,
    attempt: AttemptId,
}

impl<E: Env> Place<E> {
    pub(super) fn of(context: &TaskContext<E>) -> Self {
        Self {
            env: context.env.clone(),
            storage: context.storage.clone(),
            backend: context.backend.clone(),
            max: context.graph.max_parallelism,
            groups: context.groups(),
            subtask: context.task.subtask.0,
            attempt: context.attempt,
        }
    }
}

/// By the operator's stable name. Empty where all state is in memory.
#[derive(Default)]
pub(super) struct KeyedBackends {
    stores: BTreeMap<String, OperatorStore>,
    /// What was read to fill them.
    pub(super) restored: RestoredBytes,
}

/// The store of one operator.
struct OperatorStore {
    backend: &'static str,
    incremental: bool,
    hot_bytes: usize,
    store: Arc<dyn ColdStore>,
    errors: FirstError,
    names: Vec<&'static str>,
    kinds: Vec<StateKind>,
    changes: Arc<Mutex<Backlog>>,
    /// Resolves when the snapshot before has seen the store as it is to, or is gone.
    taken: Option<oneshot::Receiver<()>>,
    /// Resolves when the snapshot before has uploaded what it needs, or is gone.
    sent: Option<oneshot::Receiver<()>>,
    uploaded: Uploaded,
    kept: KeptFiles,
}

/// Frozen changes that the store does not have yet, oldest first. A snapshot that is given up leaves its own to the next.
#[derive(Default)]
struct Backlog {
    next: u64,
    waiting: VecDeque<(u64, Vec<Arc<dyn FrozenChanges>>)>,
}

/// What has been uploaded of a store, for as long as the store has it. Each file once per attempt: see the protocol's
/// `shared_files` for why that is safe.
#[derive(Clone, Default)]
pub(super) struct Uploaded(Arc<Mutex<UploadedFiles>>);

#[derive(Default)]
struct UploadedFiles {
    next: u64,
    /// By the store's name; whether it came with the restore.
    files: BTreeMap<String, (SharedFile, bool)>,
}

impl Uploaded {
    pub(super) fn get(&self, name: &str) -> Option<SharedFile> {
        lock(&self.0).files.get(name).map(|(file, _)| file.clone())
    }

    pub(super) fn insert(&self, file: SharedFile) {
        lock(&self.0).files.insert(file.name.clone(), (file, false));
    }

    /// What the job does not own is not built upon.
    pub(super) fn forget_foreign(&self) {
        lock(&self.0).files.retain(|_, (_, restored)| !*restored);
    }

    /// A store never brings back what it has dropped.
    pub(super) fn retain(&self, current: &[SharedFile]) {
        lock(&self.0).files.retain(|name, _| current.iter().any(|file| file.name == *name));
    }

    pub(super) fn next_number(&self) -> u64 {
        let mut files = lock(&self.0);
        files.next += 1;
        files.next
    }
}

/// The keyed state of one operator at the moment of a snapshot.
pub(super) struct StoreSnapshot {
    pub(super) backend: &'static str,
    pub(super) incremental: bool,
    pub(super) groups: KeyGroupRange,
    pub(super) store: Arc<dyn ColdStore>,
    pub(super) names: Vec<&'static str>,
    pub(super) columns: Vec<String>,
    pub(super) kinds: Vec<StateKind>,
    /// What is left out where the store is written as a whole, by column.
    pub(super) expiries: Vec<Option<Expiry>>,
    pub(super) uploaded: Uploaded,
    /// Where shared files are on this worker's disk.
    pub(super) kept: KeptFiles,
    changes: Arc<Mutex<Backlog>>,
    generation: u64,
    before_taken: Option<oneshot::Receiver<()>>,
    before_sent: Option<oneshot::Receiver<()>>,
    /// Dropped when the store may go on.
    taken: Option<oneshot::Sender<()>>,
    /// Dropped when the next one may look at what is uploaded.
    _sent: oneshot::Sender<()>,
}

impl StoreSnapshot {
    /// Waits until no earlier snapshot needs the store as it is.
    pub(super) async fn turn(&mut self) {
        ended(self.before_taken.take()).await;
    }

    /// Waits until it is known what the earlier snapshot has uploaded.
    pub(super) async fn turn_to_send(&mut self) {
        ended(self.before_sent.take()).await;
    }

    /// What is applied from here on does not show in this snapshot any more.
    pub(super) fn taken(&mut self) {
        self.taken = None;
    }

    /// Brings the store to the moment of this snapshot.
    pub(super) async fn apply<E: Env>(&self, env: &E) -> Result<(), ColdError> {
        let (store, changes, generation) = (self.store.clone(), self.changes.clone(), self.generation);
        env.blocking(move || apply_up_to(store.as_ref(), &changes, generation)).await
    }

    pub(super) async fn checkpoint<E: Env>(&self, env: &E) -> Result<ColdCheckpoint, ColdError> {
        let store = self.store.clone();
        env.blocking(move || store.checkpoint()).await
    }
}

/// Nobody ever sends: the end of the other side is the news.
async fn ended(receiver: Option<oneshot::Receiver<()>>) {
    if let Some(receiver) = receiver {
        let _ = receiver.await;
    }
}

fn apply_up_to(store: &dyn ColdStore, backlog: &Mutex<Backlog>, generation: u64) -> Result<(), ColdError> {
    loop {
        let next = lock(backlog).waiting.front().filter(|(number, _)| *number <= generation).cloned();
        let Some((number, tables)) = next else { return Ok(()) };
        // The tables come by column, and each gives its changes by key.
        store.apply(&mut tables.iter().flat_map(|table| table.changes()))?;
        for table in &tables {
            table.applied();
        }
        let mut backlog = lock(backlog);
        if backlog.waiting.front().is_some_and(|(front, _)| *front == number) {
            backlog.waiting.pop_front();
        }
    }
}

impl KeyedBackends {
    /// Opens the state of every operator of the chain, and fills it.
    pub(super) async fn open<E: Env, O: Operator>(
        context: &Place<E>,
        operator: &mut O,
        restore: Option<&TaskRestore>,
        copy: Option<&Restorable<E>>,
    ) -> Result<Self, TaskError> {
        let mut uids = Vec::new();
        operator.stateful(&mut |stateful| {
            if stateful.keyed().is_some() {
                uids.push(stateful.uid().to_owned());
            }
        });
        let mut backends = Self::default();
        for uid in uids {
            let planned = restore.into_iter().flat_map(|restore| &restore.operators).find(|planned| planned.uid == uid);
            let mut local = match (copy, planned) {
                (Some(copy), Some(planned)) => stand_in(context, operator, planned, copy).await,
                (Some(_) | None, Some(_) | None) => None,
            };
            backends.count(planned, local.as_ref());
            if let StateBackend::Store { backend, incremental } = &context.backend {
                let store = open_store(context, operator, &uid, backend, *incremental, planned, local.as_mut()).await?;
                backends.stores.insert(uid.clone(), store);
            }
            for (handle, groups) in planned.into_iter().flat_map(|planned| &planned.keyed) {
                match &handle.layout {
                    Layout::Blocks => {
                        let stored = planned.map_or(&[][..], |planned| &planned.states);
                        let taken_in = match Blocks::open(context, handle, local.as_ref()).await {
                            Ok(blocks) => restore_blocks(context, operator, &uid, blocks, *groups, stored, &mut backends).await,
                            Err(error) => Err(error.into()),
                        };
                        taken_in.map_err(|error| match &local {
                            Some(local) => {
                                // It was in order a moment ago. The next attempt is not to try it again.
                                local.copy.unusable(&error);
                                TaskError::LocalCopy(Box::new(error))
                            }
                            None => error,
                        })?;
                    }
                    Layout::Store { backend, .. } => match &context.backend {
                        StateBackend::Store { backend: own, .. } if own.name() == backend => {}
                        other => return Err(other_backend(&uid, backend, other)),
                    },
                }
            }
        }
        Ok(backends)
    }

    fn count<E: Env>(&mut self, planned: Option<&OperatorRestore>, local: Option<&StandIn<'_, E>>) {
        // What is in the metadata is not read anywhere.
        let handles =
            || planned.into_iter().flat_map(|planned| &planned.keyed).map(|(handle, _)| handle).filter(|handle| handle.has_files());
        let (from, size_bytes) = match local {
            Some(local) => (&mut self.restored.local, local.operator.size_bytes()),
            None => (&mut self.restored.remote, handles().map(|handle| handle.size_bytes() - handle.location.inline_bytes()).sum()),
        };
        if handles().next().is_some() {
            *from.get_or_insert(0) += size_bytes;
        }
    }

    /// The synchronous part of a snapshot of one operator.
    pub(super) fn take(&mut self, uid: &str, states: &mut dyn KeyedStates, max: MaxParallelism, groups: KeyGroupRange) -> KeyedPart {
        match self.stores.get_mut(uid) {
            None => KeyedPart::Memory(states.take(max, groups)),
            Some(store) => KeyedPart::Store(store.take(states, groups)),
        }
    }

    /// How many entries the stores hold, if they know.
    pub(super) fn entry_count(&self) -> Option<u64> {
        self.stores.values().map(|store| store.store.entry_count()).sum()
    }

    /// Whether all stores have answered so far.
    pub(super) fn check(&self) -> Result<(), TaskError> {
        for (uid, store) in &self.stores {
            store.errors.check().map_err(|source| TaskError::Cold { uid: uid.clone(), source })?;
        }
        Ok(())
    }

    /// Moves changes into the store where they take too much memory. Snapshots under way are waited for: the store must not
    /// run ahead of them.
    pub(super) async fn spill<E: Env, O: Operator>(&mut self, env: &E, operator: &mut O) -> Result<(), TaskError> {
        for (uid, store) in &mut self.stores {
            let mut hot_bytes = 0;
            with_keyed(operator, uid, |states| hot_bytes = states.hot_bytes());
            if hot_bytes <= store.hot_bytes {
                continue;
            }
            ended(store.taken.take()).await;
            with_keyed(operator, uid, |states| {
                lock(&store.changes).push(states.freeze());
            });
            let (cold, changes) = (store.store.clone(), store.changes.clone());
            let applied = env.blocking(move || apply_up_to(cold.as_ref(), &changes, u64::MAX)).await;
            applied.map_err(|source| TaskError::Cold { uid: uid.clone(), source })?;
        }
        Ok(())
    }
}

impl Backlog {
    fn push(&mut self, tables: Vec<Arc<dyn FrozenChanges>>) -> u64 {
        let number = self.next;
        self.next += 1;
        self.waiting.push_back((number, tables));
        number
    }
}

impl OperatorStore {
    fn take(&mut self, states: &mut dyn KeyedStates, groups: KeyGroupRange) -> StoreSnapshot {
        let generation = lock(&self.changes).push(states.freeze());
        let expiries = states.expiries();
        for (column, expiry) in (0..).map(ColumnIndex).zip(&expiries) {
            if let Some(expiry) = expiry {
                self.store.expire(column, expiry.deadline_ms);
            }
        }
        let (taken, store_free) = oneshot::channel();
        let (sent, all_sent) = oneshot::channel();
        StoreSnapshot {
            backend: self.backend,
            incremental: self.incremental,
            groups,
            store: self.store.clone(),
            names: self.names.clone(),
            columns: self.names.iter().map(ToString::to_string).collect(),
            kinds: self.kinds.clone(),
            expiries,
            uploaded: self.uploaded.clone(),
            kept: self.kept.clone(),
            changes: self.changes.clone(),
            generation,
            before_taken: self.taken.replace(store_free),
            before_sent: self.sent.replace(all_sent),
            taken: Some(taken),
            _sent: sent,
        }
    }
}

fn with_keyed<O: Operator>(operator: &mut O, uid: &str, mut visit: impl FnMut(&mut dyn KeyedStates)) {
    operator.stateful(&mut |stateful: &mut dyn Stateful| {
        if stateful.uid() == uid {
            if let Some(states) = stateful.keyed() {
                visit(states);
            }
        }
    });
}

fn other_backend(uid: &str, stored: &str, own: &StateBackend) -> TaskError {
    let wanted = match own {
        StateBackend::InMemory => "memory",
        StateBackend::Store { backend, .. } => backend.name(),
    };
    TaskError::OtherBackend { uid: uid.into(), stored: stored.into(), wanted: wanted.into() }
}

/// Where the store of an operator is to be, and its states by column.
fn cold_place<E: Env, O: Operator>(context: &Place<E>, operator: &mut O, uid: &str) -> (ColdPlace, Vec<(&'static str, StateKind)>) {
    let mut declared: Vec<(&'static str, StateKind)> = Vec::new();
    let mut expiries = Vec::new();
    with_keyed(operator, uid, |states| (declared, expiries) = (states.declared(), states.expiries()));
    declared.sort_unstable();
    let place = ColdPlace {
        name: format!("{uid}-{}-{}", context.subtask, context.attempt),
        columns: u16::try_from(declared.len()).expect("an operator has few states"),
        groups: context.groups,
        expiring: (0..).map(ColumnIndex).zip(&expiries).filter(|(_, expiry)| expiry.is_some()).map(|(column, _)| column).collect(),
    };
    (place, declared)
}

async fn open_store<E: Env, O: Operator>(
    context: &Place<E>,
    operator: &mut O,
    uid: &str,
    backend: &Arc<dyn ColdBackend>,
    incremental: bool,
    planned: Option<&OperatorRestore>,
    mut local: Option<&mut StandIn<'_, E>>,
) -> Result<OperatorStore, TaskError> {
    let cold = |source| TaskError::Cold { uid: uid.into(), source };
    let (place, declared) = cold_place(context, operator, uid);
    let (names, kinds): (Vec<_>, Vec<_>) = declared.into_iter().unzip();
    let kept = KeptFiles::default();
    let uploaded = Uploaded::default();
    let mut parts = Vec::new();
    let mut reusable: Vec<SharedFile> = Vec::new();
    for (handle, groups) in planned.into_iter().flat_map(|planned| &planned.keyed) {
        let Layout::Store { backend: stored, columns, shared } = &handle.layout else { continue };
        if stored != backend.name() {
            return Err(other_backend(uid, stored, &context.backend));
        }
        let files = match local.as_mut().and_then(|local| Some((local.files.take()?, &**local))) {
            Some((files, local)) => {
                kept.restored(local.copy, shared, &local.operator.shared);
                files
            }
            None => fetch(context, uid, backend.as_ref(), &place, parts.len(), handle, shared).await?,
        };
        let column = |name: &&'static str| columns.iter().position(|stored| stored == name).and_then(|at| u16::try_from(at).ok());
        let unknown = columns.iter().find(|stored| !names.contains(&stored.as_str()));
        if let Some(name) = unknown {
            return Err(TaskError::UnknownState { uid: uid.into(), name: name.clone() });
        }
        parts.push(ColdPart {
            groups: *groups,
            held: handle.groups,
            columns: names.iter().map(|name| column(name).map(ColumnIndex)).collect(),
            column_count: u16::try_from(columns.len()).unwrap_or(u16::MAX),
            files,
        });
        reusable.extend(shared.iter().cloned());
    }
    let store = if parts.is_empty() {
        backend.create(&place).map_err(cold)?
    } else {
        let (maker, at) = (backend.clone(), place.clone());
        let (store, shares) = context.env.blocking(move || maker.restore(&at, parts)).await.map_err(cold)?;
        if shares {
            lock(&uploaded.0).files = reusable.into_iter().map(|file| (file.name.clone(), (file, true))).collect();
        }
        store
    };
    let errors = FirstError::default();
    let stored = planned.map_or(&[][..], |planned| &planned.states);
    let mut rebuilt = Ok(());
    with_keyed(operator, uid, |states| {
        states.attach(&store, &names, context.max, &errors);
        rebuilt = states.migrate(stored).and_then(|()| states.rebuild());
    });
    rebuilt.map_err(cold)?;
    let (name, hot_bytes) = (backend.name(), backend.hot_bytes());
    let changes = Arc::default();
    let (taken, sent) = (None, None);
    Ok(OperatorStore { backend: name, incremental, hot_bytes, store, errors, names, kinds, changes, taken, sent, uploaded, kept })
}

async fn restore_blocks<E: Env, O: Operator>(
    context: &Place<E>,
    operator: &mut O,
    uid: &str,
    mut blocks: Blocks<E>,
    groups: KeyGroupRange,
    stored: &[StateShape],
    backends: &mut KeyedBackends,
) -> Result<(), TaskError> {
    let max = context.max;
    while let Some((offset, block)) = blocks.next().await? {
        let mut outcome = Ok(0);
        with_keyed(operator, uid, |states| outcome = states.restore_block(&block, offset, max, groups, stored));
        outcome.map_err(|source| TaskError::Restore { uid: uid.into(), source })?;
        backends.spill(&context.env, operator).await?;
    }
    Ok(())
}
