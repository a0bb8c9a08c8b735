//! Exactly-once output as files: what is in the output folder is complete, there once, and belongs to a completed checkpoint.
//!
//! ```text
//! rows --barrier of c7--> <dir>/_staged/<name>       durable before the acknowledgement, named by the snapshot
//!      --c7 complete----> <dir>/<name>               linked, folder synced; then the staged name goes
//!      --restored c7----> the same, before the first record
//! ```
//!
//! The rows between two barriers are one *transaction*. Its name says which attempt of which subtask made it, and has a number in it
//! that no other life of the sink has drawn: names are never used twice, also not by a job that begins from a savepoint of another one.
//! A transaction that a complete checkpoint names is published by whoever gets there: its task when it hears of the completion, the next
//! attempt before it begins, or a task of a fenced attempt that was told late. All of them do the same to the same file, in any order
//! and any number of times. One that no restored checkpoint names was never completed, and is deleted by the next attempt.
//!
//! A fenced attempt cannot publish anything else: it commits what it was told to be complete, and only a coordinator that leads can find
//! its attempt's checkpoints complete.
//!
//! Rows are in memory until they are staged. What a job that was cancelled has staged stays until one that begins from its snapshot
//! publishes it.
//!
//! What is published and deleted, [`Transactions`] decides.
//!
//! Two jobs that run at the same time need different uids or folders. Files that were published must stay while a snapshot names them:
//! the newest checkpoint and savepoints that somebody may begin from. The file system needs hard links. Why not a rename: between two
//! folders it is two changes, and a power loss could keep the half that takes away.

use super::{files, ConnectorError, Flush, Place, Sink};
use crate::env::{Env, File, Files};
use crate::observe::{MachineStep, Step};
use crate::sometimes;
use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use cofferdam_protocol::transactions::{self, Beginning, Input, Output, Share, Staged, Transactions};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, Machine};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::{Display, Write};
use std::io;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of what is not published yet, below the output folder.
pub const STAGED: &str = "_staged";

/// The name of the operator state. One item per transaction that is not known to be published: the subtask that made it, its name, size
/// and checksum.
pub const TRANSACTIONS: &str = "transactions";

/// What is read at once when a checksum is computed.
const PIECE_BYTES: usize = 256 << 10;

/// The rows between two barriers, closed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Transaction {
    subtask: u32,
    name: String,
    size_bytes: u64,
    checksum: u32,
}

impl transactions::Transaction for Transaction {
    fn name(&self) -> &str {
        &self.name
    }

    fn maker(&self) -> u32 {
        self.subtask
    }
}

impl Stored for Transaction {
    fn write(&self, out: &mut Vec<u8>) {
        self.subtask.write(out);
        self.name.write(out);
        self.size_bytes.write(out);
        self.checksum.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (subtask, offset, name) = (u32::read(input)?, input.offset(), String::read(input)?);
        // It becomes part of paths.
        if name.is_empty() || name.contains('/') || name.starts_with('_') {
            return Err(StoredError::Invalid { offset, what: format!("{name:?} is no name of a transaction") });
        }
        Ok(Self { subtask, name, size_bytes: u64::read(input)?, checksum: u32::read(input)? })
    }
}

/// Rows that are closed and not durable yet.
struct Unstaged {
    name: String,
    rows: Arc<str>,
    /// How often they have been written.
    tries: u32,
}

/// What is closed and not published.
struct Open {
    machine: Transactions<Transaction>,
    /// By their sequence numbers.
    unstaged: BTreeMap<u64, Unstaged>,
    /// The sink, as it is called where its machine is watched.
    who: (String, Share),
}

impl Open {
    fn begin<E: Env>(env: &E, uid: &str, beginning: Beginning<Transaction>) -> (Self, Vec<Output<Transaction>>) {
        let who = (uid.to_owned(), beginning.share);
        env.machine(|| MachineStep::Transactions(who.clone(), Box::new(Step::Recovered(beginning.clone()))));
        let mut outputs = Vec::new();
        let machine = Transactions::recover(beginning, &mut outputs);
        let open = Self { machine, unstaged: BTreeMap::new(), who };
        open.tell(env, &outputs);
        (open, outputs)
    }

    fn step<E: Env>(&mut self, env: &E, input: Input<Transaction>) -> Vec<Output<Transaction>> {
        env.machine(|| MachineStep::Transactions(self.who.clone(), Box::new(Step::Input(input.clone()))));
        let mut outputs = Vec::new();
        self.machine.step(input, &mut outputs);
        self.tell(env, &outputs);
        outputs
    }

    /// Who is to do it takes its time, and hears of other things meanwhile.
    fn tell<E: Env>(&self, env: &E, outputs: &[Output<Transaction>]) {
        for output in outputs {
            env.machine(|| MachineStep::Transactions(self.who.clone(), Box::new(Step::Output(output.clone()))));
        }
    }
}

/// The sink. Rows are lines: what their `Display` writes must not have a line end inside.
pub struct TransactionalSink<T> {
    folder: String,
    uid: String,
    /// Since the last barrier.
    rows: String,
    /// A row that is not one line.
    bad: Option<String>,
    /// Once it is opened. Locked a few times per checkpoint.
    open: Option<Arc<Mutex<Open>>>,
    /// Why: two that write the same file at once would each find the other's half of it.
    turn: Arc<tokio::sync::Mutex<()>>,
    sequence: u64,
    restored: Vec<Transaction>,
    /// Of these, how many are this subtask's to publish.
    taken: u64,
    /// Once it is open: what the names of its transactions begin with.
    place: Option<(Place, String)>,
    marker: PhantomData<fn(T)>,
}

impl<T> TransactionalSink<T> {
    /// Files go to `folder`, named after `uid`.
    #[must_use]
    pub fn new(folder: &str, uid: &str) -> Self {
        Self {
            folder: folder.to_owned(),
            uid: uid.to_owned(),
            rows: String::new(),
            bad: None,
            open: None,
            turn: Arc::default(),
            sequence: 0,
            restored: Vec::new(),
            taken: 0,
            place: None,
            marker: PhantomData,
        }
    }

    fn staged(&self) -> String {
        format!("{}/{STAGED}", self.folder)
    }

    fn opened(&self) -> &Arc<Mutex<Open>> {
        self.open.as_ref().expect("a sink is opened before it is used")
    }

    /// Closes the open transaction. Without rows there is none.
    fn close<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) {
        if self.rows.is_empty() {
            return;
        }
        let (place, prefix) = self.place.as_ref().expect("a sink is opened before it is used");
        self.sequence += 1;
        let rows: Arc<str> = std::mem::take(&mut self.rows).into();
        let name = format!("{prefix}.{:010}", self.sequence);
        let transaction = Transaction {
            subtask: place.subtask.0,
            name: name.clone(),
            size_bytes: rows.len() as u64,
            checksum: crc32fast::hash(rows.as_bytes()),
        };
        let mut open = lock(self.opened());
        open.unstaged.insert(self.sequence, Unstaged { name, rows, tries: 0 });
        let outputs = open.step(env, Input::Closed { checkpoint, transaction });
        // Why: what is closed now is published when a checkpoint is complete, and not before.
        assert!(outputs.is_empty(), "nothing is to be done when a transaction is closed: {outputs:?}");
    }

    /// What is staged of this sink. What cannot be listed now is found by the next attempt.
    async fn found<E: Env>(&self, env: &E) -> BTreeSet<Staged> {
        let names = env.files().list(&self.staged()).await.unwrap_or_default();
        let staged = |name: String| maker(&self.uid, &name).map(|(maker, attempt)| Staged { name, maker, attempt });
        names.into_iter().filter_map(staged).collect()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which subtask in which attempt made a staged file, temporary ones included; `None` if it is not of this sink.
fn maker(uid: &str, name: &str) -> Option<(u32, AttemptId)> {
    let mut parts = name.strip_prefix(uid)?.strip_prefix('-')?.split('.');
    let (subtask, epoch, number) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
    // What is drawn, and the sequence number.
    (parts.count() >= 2).then_some((subtask, AttemptId { epoch: Epoch(epoch), number }))
}

/// Whether a file is there, and has the size that it must have.
async fn is_there<E: Env>(env: &E, path: &str, size_bytes: u64) -> Result<bool, ConnectorError> {
    match env.files().open(path).await {
        Ok(file) => {
            let size = file.size().await.map_err(ConnectorError::io(path))?;
            if size == size_bytes {
                return Ok(true);
            }
            Err(ConnectorError::Invalid { path: path.to_owned(), what: format!("it has {size} bytes, {size_bytes} were written") })
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(ConnectorError::io(path)(error)),
    }
}

async fn verify<E: Env>(env: &E, path: &str, transaction: &Transaction) -> Result<(), ConnectorError> {
    let file = env.files().open(path).await.map_err(ConnectorError::io(path))?;
    let (mut hasher, mut offset, mut piece) = (crc32fast::Hasher::new(), 0, vec![0; PIECE_BYTES]);
    loop {
        let read = file.read_at(offset, &mut piece).await.map_err(ConnectorError::io(path))?;
        if read == 0 {
            break;
        }
        hasher.update(&piece[..read]);
        offset += read as u64;
    }
    let (found, expected) = (hasher.finalize(), transaction.checksum);
    if found == expected {
        return Ok(());
    }
    let what = format!("its checksum is {found:08x}, {expected:08x} was written: restore the file, or begin from another snapshot");
    Err(ConnectorError::Invalid { path: path.to_owned(), what })
}

/// Publishes one transaction, or finds that it is published. `verified`: this very life of the sink has written it.
async fn publish<E: Env>(env: &E, folder: &str, transaction: &Transaction, verified: bool) -> Result<(), ConnectorError> {
    let Transaction { name, size_bytes, .. } = transaction;
    let (staged, path) = (format!("{folder}/{STAGED}/{name}"), format!("{folder}/{name}"));
    if is_there(env, &path, *size_bytes).await? {
        sometimes!(env, "transactions/published-before");
    } else {
        if is_there(env, &staged, *size_bytes).await? {
            if !verified {
                verify(env, &staged, transaction).await?;
            }
            match env.files().link(&staged, &path).await {
                Ok(()) => {}
                // Whoever else was told to publish it may have been faster.
                Err(error) if matches!(error.kind(), io::ErrorKind::AlreadyExists | io::ErrorKind::NotFound) => {
                    sometimes!(env, seldom "transactions/published-by-somebody-faster");
                }
                Err(error) => return Err(ConnectorError::io(&path)(error)),
            }
        }
        if !is_there(env, &path, *size_bytes).await? {
            let what = format!("a complete checkpoint names it, but it is neither there nor published as {path}: put it back, or begin from another snapshot");
            return Err(ConnectorError::Invalid { path: staged, what });
        }
    }
    env.files().sync_folder(folder).await.map_err(ConnectorError::io(folder))?;
    // Why: where the files are on another machine, it may have lost power since the link; the sync then found nothing to do.
    if !is_there(env, &path, *size_bytes).await? {
        sometimes!(env, seldom "transactions/published-and-gone-again");
        return Err(ConnectorError::io(&path)(io::Error::other("it was published, and is gone again")));
    }
    match env.files().remove(&staged).await {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(ConnectorError::io(&staged)(error)),
    }
}

/// Makes everything durable that was closed up to a transaction.
async fn stage<E: Env>(env: &E, staged: &str, open: &Mutex<Open>, newest: u64) -> Result<u64, ConnectorError> {
    let mut written_bytes = 0;
    loop {
        let next = {
            let mut open = lock(open);
            let next = open.unstaged.range_mut(..=newest).next();
            next.map(|(sequence, unstaged)| {
                unstaged.tries += 1;
                (*sequence, unstaged.name.clone(), unstaged.rows.clone(), unstaged.tries)
            })
        };
        let Some((sequence, name, rows, tries)) = next else { return Ok(written_bytes) };
        // Each try has a name of its own: what an earlier one has asked for may happen late.
        files::publish(env, staged, &name, &format!("{name}.{tries}.tmp"), &rows).await?;
        written_bytes += rows.len() as u64;
        sometimes!(env, tries > 1, "transactions/staged-by-a-second-try");
        for failed in 1..tries {
            // What is left of it is of no use, and found by the next attempt.
            let _ = env.files().remove(&format!("{staged}/{name}.{failed}.tmp")).await;
        }
        lock(open).unstaged.remove(&sequence);
    }
}

impl<T: Display + Send + 'static> Sink for TransactionalSink<T> {
    type In = T;

    const COMMITS: bool = true;

    fn restore(&mut self, lists: &[ListState]) -> Result<(), ConnectorError> {
        for item in lists.iter().filter(|list| list.name == TRANSACTIONS).flat_map(|list| &list.items) {
            let read = || {
                let mut input = Reader::new(item, 0);
                let transaction = Transaction::read(&mut input)?;
                input.finish("a transaction")?;
                Ok(transaction)
            };
            self.restored.push(read().map_err(|source| ConnectorError::State { name: TRANSACTIONS.into(), source })?);
        }
        Ok(())
    }

    /// Publishes what the restored checkpoint names, and deletes what was never completed. Every subtask knows all transactions, so that
    /// none deletes what another one is about to publish; each sees to its share, by the subtask that made them.
    async fn open<E: Env>(&mut self, env: &E, place: Place) -> Result<(), ConnectorError> {
        let (subtask, epoch, number) = (place.subtask.0, place.attempt.epoch.0, place.attempt.number);
        let prefix = format!("{}-{subtask:05}.{epoch:010}.{number:010}.{:016x}", self.uid, env.random());
        self.place = Some((place, prefix));
        files::make_folder(env, &self.folder).await?;
        files::make_folder(env, &self.staged()).await?;
        let share = Share { subtask: place.subtask, parallelism: place.parallelism, attempt: place.attempt };
        let beginning = Beginning { share, restored: std::mem::take(&mut self.restored) };
        let (mut open, outputs) = Open::begin(env, &self.uid, beginning);
        let mut outputs = VecDeque::from(outputs);
        while let Some(output) = outputs.pop_front() {
            match output {
                Output::Publish(transaction) => {
                    publish(env, &self.folder, &transaction, false).await?;
                    sometimes!(env, "transactions/published-after-a-restore");
                    self.taken += 1;
                    outputs.extend(open.step(env, Input::Published(transaction)));
                }
                Output::ListStaged => {
                    let found = self.found(env).await;
                    outputs.extend(open.step(env, Input::Found(found)));
                }
                Output::Delete(name) => {
                    sometimes!(env, "transactions/never-completed-and-deleted");
                    // What cannot be deleted is found by the next attempt.
                    let _ = env.files().remove(&format!("{}/{name}", self.staged())).await;
                }
                Output::Opened => {}
            }
        }
        self.open = Some(Arc::new(Mutex::new(open)));
        Ok(())
    }

    fn accept(&mut self, records: &mut Vec<T>) {
        for record in records.drain(..) {
            let start = self.rows.len();
            write!(self.rows, "{record}").expect("writing to a String does not fail");
            if self.rows.as_bytes()[start..].contains(&b'\n') {
                self.bad.get_or_insert_with(|| self.rows[start..].to_owned());
            }
            self.rows.push('\n');
        }
    }

    fn flush<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        if let Some(row) = self.bad.clone() {
            let error = ConnectorError::Invalid { path: self.uid.clone(), what: format!("the row {row:?} has a line end inside") };
            return Some(Box::pin(async move { Err(error) }));
        }
        self.close(env, checkpoint);
        let (env, staged, open, turn, newest) = (env.clone(), self.staged(), self.opened().clone(), self.turn.clone(), self.sequence);
        Some(Box::pin(async move {
            let _turn = turn.lock().await;
            stage(&env, &staged, &open, newest).await
        }))
    }

    fn lists(&self) -> Vec<ListState> {
        let item = |transaction: &Transaction| {
            let mut bytes = Vec::new();
            transaction.write(&mut bytes);
            bytes
        };
        let items = lock(self.opened()).machine.open().map(item).collect();
        // Why union: whoever cleans up must know what others are about to publish.
        vec![ListState { name: TRANSACTIONS.into(), redistribution: Redistribution::Union, items }]
    }

    fn entry_count(&self) -> u64 {
        self.taken
    }

    fn commit<E: Env>(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        let open = self.opened().clone();
        let due: Vec<Transaction> = {
            let mut open = lock(&open);
            let outputs = open.step(env, Input::Completed(checkpoint));
            let due = outputs.into_iter().map(|output| match output {
                Output::Publish(transaction) => transaction,
                Output::ListStaged | Output::Delete(_) | Output::Opened => unreachable!("the sink is open"),
            });
            due.collect()
        };
        if due.is_empty() {
            return None;
        }
        let (env, folder) = (env.clone(), self.folder.clone());
        Some(Box::pin(async move {
            let count = due.len() as u64;
            sometimes!(env, count > 1, "transactions/several-published-at-once");
            for transaction in due {
                publish(&env, &folder, &transaction, true).await?;
                lock(&open).step(&env, Input::Published(transaction));
            }
            Ok(count)
        }))
    }

    /// Nothing: the last rows wait for the final checkpoint.
    fn finish<E: Env>(&mut self, _: &E) -> Option<Flush> {
        None
    }
}

#[cfg(test)]
mod tests;
