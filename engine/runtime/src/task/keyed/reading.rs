//! Where stored keyed state is read from: the checkpoint, or the copy on this worker's disk.

use super::{cold_place, Place, StateBackend, TaskError};
use crate::env::Env;
use crate::local::{CopyReader, Restorable};
use crate::operator::Operator;
use crate::state::cold::{ColdBackend, ColdPlace, Loaded, LoadedFile};
use crate::storage::state_file::StateFileReader;
use crate::storage::StorageError;
use cofferdam_protocol::local::{self, LocalOperator};
use cofferdam_protocol::restore::OperatorRestore;
use cofferdam_protocol::snapshot::{KeyedHandle, Layout, SharedFile, StateLocation};
use cofferdam_protocol::stored::{read_bytes, Reader, Stored, StoredError};

/// A copy that stands in for what one operator is to load, with every byte of it checked.
pub(super) struct StandIn<'a, E: Env> {
    pub(super) copy: &'a Restorable<E>,
    pub(super) operator: &'a LocalOperator,
    /// Of a store, brought here.
    pub(super) files: Option<Vec<LoadedFile>>,
}

/// The copy on this disk, if it may stand in and every byte of it is as it was written. Nothing is taken in before that is known.
pub(super) async fn stand_in<'a, E: Env, O: Operator>(
    context: &Place<E>,
    operator: &mut O,
    planned: &OperatorRestore,
    copy: &'a Restorable<E>,
) -> Option<StandIn<'a, E>> {
    // What is in the metadata as a whole came with the deployment: no copy was made of it.
    if !planned.keyed.iter().any(|(handle, _)| handle.has_files()) {
        return None;
    }
    let found = match local::stand_in(planned, context.groups, copy.wanted, &copy.snapshot) {
        Ok(found) => found,
        Err(mismatch) => {
            copy.unusable(&mismatch);
            return None;
        }
    };
    let checked = match (&context.backend, &found.handle.layout) {
        (StateBackend::Store { backend, .. }, Layout::Store { backend: stored, .. }) if backend.name() == stored => {
            let place = cold_place(context, operator, &planned.uid).0;
            fetch_local(context, &planned.uid, backend.as_ref(), &place, copy, found).await.map(Some)
        }
        // The blocks are read again, where state of any size can be taken in piece by piece.
        (StateBackend::InMemory | StateBackend::Store { .. }, Layout::Blocks | Layout::Store { .. }) => {
            verify(context, copy, found).await.map(|()| None)
        }
    };
    match checked {
        Ok(files) => Some(StandIn { copy, operator: found, files }),
        Err(error) => {
            copy.unusable(&error);
            None
        }
    }
}

async fn verify<E: Env>(context: &Place<E>, copy: &Restorable<E>, found: &LocalOperator) -> Result<(), TaskError> {
    for file in found.files() {
        CopyReader::open(&context.env, copy, file).await?.verify().await?;
    }
    Ok(())
}

/// Brings the files of a handle here.
pub(super) async fn fetch<E: Env>(
    context: &Place<E>,
    uid: &str,
    backend: &dyn ColdBackend,
    place: &ColdPlace,
    part: usize,
    handle: &KeyedHandle,
    shared: &[SharedFile],
) -> Result<Vec<LoadedFile>, TaskError> {
    let cold = |source| TaskError::Cold { uid: uid.into(), source };
    let mut files = private_files(context, &handle.location).await?;
    for file in shared {
        let mut reader = context.storage.open_state(&context.env, &file.location()).await?;
        let mut sink = backend.sink(place, part, &file.name).map_err(cold)?;
        while let Some((_, block)) = reader.next().await? {
            sink.append(&block).map_err(cold)?;
        }
        files.push(LoadedFile { name: file.name.clone(), shared: true, content: sink.finish().map_err(cold)? });
    }
    Ok(files)
}

/// The same files, from the copy on this disk.
async fn fetch_local<E: Env>(
    context: &Place<E>,
    uid: &str,
    backend: &dyn ColdBackend,
    place: &ColdPlace,
    copy: &Restorable<E>,
    found: &LocalOperator,
) -> Result<Vec<LoadedFile>, TaskError> {
    let cold = |source| TaskError::Cold { uid: uid.into(), source };
    let mut files = match &found.private {
        Some(file) => {
            let mut reader = CopyReader::open(&context.env, copy, file).await?;
            let mut bytes = Vec::new();
            while let Some((_, block)) = reader.next().await? {
                bytes.extend_from_slice(&block);
            }
            split_private(&bytes, || copy.path(&file.name))?
        }
        None => private_files(context, &found.handle.location).await?,
    };
    for (shared, file) in found.handle.shared_files().zip(&found.shared) {
        let mut reader = CopyReader::open(&context.env, copy, file).await?;
        let mut sink = backend.sink(place, 0, &shared.name).map_err(cold)?;
        while let Some((_, block)) = reader.next().await? {
            sink.append(&block).map_err(cold)?;
        }
        files.push(LoadedFile { name: shared.name.clone(), shared: true, content: sink.finish().map_err(cold)? });
    }
    Ok(files)
}

async fn private_files<E: Env>(context: &Place<E>, location: &StateLocation) -> Result<Vec<LoadedFile>, TaskError> {
    let mut reader = context.storage.open_state(&context.env, location).await?;
    let mut bytes = Vec::new();
    while let Some((_, block)) = reader.next().await? {
        bytes.extend_from_slice(&block);
    }
    split_private(&bytes, || location.path().unwrap_or("inline state").to_owned())
}

/// The small files of a store, which stand one behind the other.
fn split_private(bytes: &[u8], path: impl FnOnce() -> String) -> Result<Vec<LoadedFile>, TaskError> {
    let read = || {
        let mut input = Reader::new(bytes, 0);
        let mut files = Vec::new();
        while input.remaining() > 0 {
            let name = String::read(&mut input)?;
            let content = Loaded::Bytes(read_bytes(&mut input, "a file of a store")?.to_vec());
            files.push(LoadedFile { name, shared: false, content });
        }
        Ok(files)
    };
    read().map_err(|source: StoredError| StorageError::Corrupt { path: path(), source }.into())
}

/// Blocks of keyed state, from where they are read.
pub(super) enum Blocks<E: Env> {
    Remote(StateFileReader<E>),
    Local(CopyReader<E>),
}

impl<E: Env> Blocks<E> {
    pub(super) async fn open(context: &Place<E>, handle: &KeyedHandle, local: Option<&StandIn<'_, E>>) -> Result<Self, StorageError> {
        match local.and_then(|local| Some((local.copy, local.operator.private.as_ref()?))) {
            Some((copy, file)) => Ok(Self::Local(CopyReader::open(&context.env, copy, file).await?)),
            None => Ok(Self::Remote(context.storage.open_state(&context.env, &handle.location).await?)),
        }
    }

    pub(super) async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        match self {
            Self::Remote(reader) => reader.next().await,
            Self::Local(reader) => reader.next().await,
        }
    }
}
