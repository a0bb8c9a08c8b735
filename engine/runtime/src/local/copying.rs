//! Makes one copy, beside the checkpoint that it is of: whatever it is told, in that order, as fast as the disk goes. The first thing
//! that goes wrong ends the copy, and nothing else.

use super::writer::{CopyName, KeptFiles, Shared, LAG_BYTES};
use super::{TaskCopies, MANIFEST, MANIFEST_TEMPORARY};
use crate::env::{Env, Files};
use crate::observe::{Detail, Moment};
use crate::sometimes;
use crate::state::cold::{ColdCheckpoint, ColdContent, ColdFile};
use crate::storage::filesystem::{make_folder, remove_file};
use crate::storage::state_file::{write_new, StateFileWriter};
use crate::storage::StorageError;
use cofferdam_protocol::local::{Input, LocalCopy, LocalFile, LocalOperator, LocalSnapshot};
use cofferdam_protocol::snapshot::{KeyedHandle, SharedFile};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind};
use std::sync::atomic::Ordering;
use std::sync::Arc;
use tokio::sync::mpsc;

/// What goes into one block of a file of a store.
const PIECE_BYTES: usize = 256 << 10;

/// A file of a store, and what keeps it there.
pub(super) struct Original {
    name: String,
    size_bytes: u64,
    content: Arc<dyn ColdContent>,
    _hold: Arc<dyn Send + Sync>,
}

impl Original {
    pub(super) fn of(file: &ColdFile, checkpoint: &ColdCheckpoint) -> Self {
        let (name, content) = (file.name.clone(), file.content.clone());
        Self { name, size_bytes: file.size_bytes, content, _hold: checkpoint.hold.clone() }
    }
}

/// What a snapshot tells its copy. Files are called by their names in it.
pub(super) enum Work {
    /// A file begins.
    Begin(String),
    /// This is behind what it has already.
    Block(String, Vec<u8>),
    /// It is whole.
    End(String),
    /// It is not needed after all.
    Remove(String),
    /// A file of a store, as a whole.
    Duplicate { name: String, original: Original },
    /// The same, unless an earlier copy has it.
    Keep { name: String, known: SharedFile, kept: KeptFiles, original: Original },
    /// For the next copy.
    Remember { name: CopyName, shared: SharedFile, kept: KeptFiles },
    /// The store has nothing else any more.
    Retain { kept: KeptFiles, current: Vec<SharedFile> },
    /// An operator's files have all been told of.
    Operator { uid: String, handle: KeyedHandle, private: Option<CopyName>, shared: Vec<CopyName> },
    /// The disk is too slow.
    GiveUp { lag_bytes: u64 },
    /// So have all operators'.
    Finish,
}

/// One file while it is written.
struct Open<E: Env> {
    writer: StateFileWriter<E>,
    hasher: crc32fast::Hasher,
}

impl<E: Env> Open<E> {
    async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        self.hasher.update(payload);
        self.writer.block(payload).await
    }
}

pub(super) struct Copying<E: Env> {
    copies: TaskCopies<E>,
    copy: LocalCopy,
    folder: String,
    shared: Arc<Shared>,
    open: BTreeMap<String, Open<E>>,
    whole: BTreeMap<String, LocalFile>,
    operators: Vec<LocalOperator>,
}

/// Why there is no copy, for people.
type Failed = String;

impl<E: Env> Copying<E> {
    pub(super) fn new(copies: TaskCopies<E>, copy: LocalCopy, shared: Arc<Shared>) -> Self {
        let folder = copies.folder(copy);
        Self { copies, copy, folder, shared, open: BTreeMap::new(), whole: BTreeMap::new(), operators: Vec::new() }
    }

    fn env(&self) -> &E {
        &self.copies.state.env
    }

    fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.folder)
    }

    /// Does what it is told, until it is told to finish. If it is told nothing more before that, there is no checkpoint, and nobody
    /// asks for the copy.
    pub(super) async fn run(mut self, mut told: mpsc::UnboundedReceiver<Work>) {
        let checkpoint = self.copy.taken.checkpoint;
        let made = match self.prepare().await {
            Ok(()) => self.make(&mut told).await,
            Err(error) => Err(error.to_string()),
        };
        match made {
            Ok(None) => {}
            Ok(Some(size_bytes)) => {
                self.copies.observe(checkpoint, Moment::LocalCopyWritten, Detail::Count(size_bytes));
                self.copies.state.tell(Input::Written(self.copy));
            }
            Err(why) => {
                self.shared.failed.store(true, Ordering::Relaxed);
                self.copies.observe(checkpoint, Moment::LocalCopyFailed, Detail::Text(why));
                self.copies.state.tell(Input::Failed(self.copy));
            }
        }
    }

    /// Makes the folder.
    async fn prepare(&self) -> Result<(), StorageError> {
        let files = self.env().files();
        match files.create_folder(&self.folder).await {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                make_folder(self.env(), &self.copies.state.folder).await?;
                files.create_folder(&self.folder).await.map_err(StorageError::io("make folder", &self.folder))
            }
            made => made.map_err(StorageError::io("make folder", &self.folder)),
        }
    }

    /// Gives how large it has become; nothing if there is no checkpoint.
    async fn make(&mut self, told: &mut mpsc::UnboundedReceiver<Work>) -> Result<Option<u64>, Failed> {
        while let Some(work) = told.recv().await {
            match work {
                Work::Finish => {
                    let operators = std::mem::take(&mut self.operators);
                    let size_bytes = operators.iter().map(LocalOperator::size_bytes).sum();
                    self.publish(operators).await.map_err(|error| error.to_string())?;
                    return Ok(Some(size_bytes));
                }
                Work::GiveUp { lag_bytes } => {
                    sometimes!(self.env(), seldom "copies/too-far-behind");
                    return Err(format!("the disk is {lag_bytes} bytes behind the checkpoint, at most {LAG_BYTES} may wait in memory"));
                }
                Work::Operator { uid, handle, private, shared } => self.operator(uid, handle, private, shared)?,
                work => self.perform(work).await.map_err(|error| error.to_string())?,
            }
        }
        Ok(None)
    }

    async fn perform(&mut self, work: Work) -> Result<(), StorageError> {
        match work {
            Work::Begin(name) => {
                let open = self.create(&name).await?;
                self.open.insert(name, open);
            }
            Work::Block(name, payload) => {
                let open = self.open.get_mut(&name).expect("a file is begun before anything is in it");
                open.block(&payload).await?;
                self.shared.lag_bytes.fetch_sub(payload.len() as u64, Ordering::Relaxed);
            }
            Work::End(name) => {
                let open = self.open.remove(&name).expect("a file is begun before it is whole");
                self.end(name, open).await?;
            }
            Work::Remove(name) => {
                self.open.remove(&name);
                // What is left is deleted with the copy.
                let _ = remove_file(self.env(), &self.path(&name)).await;
            }
            Work::Duplicate { name, original } => self.duplicate(name, &original).await?,
            Work::Keep { name, known, kept, original } => {
                let linked = match kept.get(&known) {
                    Some(earlier) => {
                        let linked = self.env().files().link(&earlier.path, &self.path(&name)).await;
                        sometimes!(self.env(), linked.is_ok(), "copies/file-linked-from-the-copy-before");
                        sometimes!(self.env(), linked.is_err(), "copies/file-of-the-copy-before-is-gone");
                        linked.is_ok().then(|| LocalFile { name: name.clone(), ..earlier.file })
                    }
                    None => None,
                };
                match linked {
                    Some(file) => {
                        self.whole.insert(name.clone(), file);
                    }
                    None => self.duplicate(name.clone(), &original).await?,
                }
                self.remember(&name, &known, &kept);
            }
            Work::Remember { name: CopyName(name), shared, kept } => self.remember(&name, &shared, &kept),
            Work::Retain { kept, current } => kept.retain(&current),
            Work::Operator { .. } | Work::GiveUp { .. } | Work::Finish => unreachable!("these are no work for the disk"),
        }
        Ok(())
    }

    async fn create(&self, name: &str) -> Result<Open<E>, StorageError> {
        let writer = StateFileWriter::create(self.env(), &self.path(name)).await?;
        Ok(Open { writer, hasher: crc32fast::Hasher::new() })
    }

    async fn end(&mut self, name: String, open: Open<E>) -> Result<(), StorageError> {
        let (checksum, size_bytes) = (open.hasher.finalize(), open.writer.finish().await?);
        self.whole.insert(name.clone(), LocalFile { name, size_bytes, checksum });
        Ok(())
    }

    async fn duplicate(&mut self, name: String, original: &Original) -> Result<(), StorageError> {
        let mut open = self.create(&name).await?;
        let (mut offset, mut piece) = (0, vec![0; PIECE_BYTES]);
        let unreadable = |source| StorageError::Io { operation: "read", path: original.name.clone(), source };
        loop {
            let read = original.content.read_at(offset, &mut piece).map_err(unreadable)?;
            if read == 0 {
                break;
            }
            open.block(&piece[..read]).await?;
            offset += read as u64;
        }
        if offset != original.size_bytes {
            return Err(unreadable(io::Error::other(format!("{offset} bytes instead of {}", original.size_bytes))));
        }
        self.end(name, open).await
    }

    fn remember(&self, name: &str, shared: &SharedFile, kept: &KeptFiles) {
        if let Some(file) = self.whole.get(name) {
            kept.insert(shared, self.path(name), file);
        }
    }

    fn operator(&mut self, uid: String, handle: KeyedHandle, private: Option<CopyName>, shared: Vec<CopyName>) -> Result<(), Failed> {
        let whole = |CopyName(name): &CopyName| self.whole.get(name).cloned().ok_or_else(|| format!("{name} is not whole"));
        let private = private.as_ref().map(whole).transpose()?;
        let shared = shared.iter().map(whole).collect::<Result<Vec<_>, _>>()?;
        self.operators.push(LocalOperator { uid, handle, private, shared });
        Ok(())
    }

    async fn publish(&self, operators: Vec<LocalOperator>) -> Result<(), StorageError> {
        let (env, manifest) = (self.env(), LocalSnapshot { copy: self.copy, operators });
        let (temporary, path) = (self.path(MANIFEST_TEMPORARY), self.path(MANIFEST));
        write_new(env, &temporary, &manifest.to_file()).await?;
        // Why: links are made without a sync, and no manifest may outlive what it names.
        for folder in [&*self.folder, &*self.copies.state.folder] {
            env.files().sync_folder(folder).await.map_err(StorageError::io("sync folder", folder))?;
        }
        env.files().rename(&temporary, &path).await.map_err(StorageError::io("rename", &temporary))?;
        env.files().sync_folder(&self.folder).await.map_err(StorageError::io("sync folder", &self.folder))
    }
}
