//! The asynchronous part of a snapshot: everything durable before anything is said.

use super::keyed::StoreSnapshot;
use super::overtaking::PendingLogs;
use super::TaskError;
use crate::connector::Flush;
use crate::env::Env;
use crate::local::{CopyName, CopyWriter, Doubled};
use crate::record::{SavepointFormat, SnapshotRequest};
use crate::state::cold::{ColdCheckpoint, ColdError, ColdFile, ColumnIndex};
use crate::state::table::cold_range;
use crate::state::ttl::Expiry;
use crate::state::{BlockBuilder, KeyedSnapshot};
use crate::storage::memory::InlineWriter;
use crate::storage::streams::SharedSegments;
use crate::storage::{SnapshotStreams, StateWriter, StorageError};
use cofferdam_protocol::snapshot::{
    InFlightHandle, KeyedHandle, Layout, ListState, OperatorSnapshot, SharedFile, StateLocation, StateShape, TaskSnapshot,
};
use cofferdam_protocol::stored::{write_bytes, Stored, StoredError};
use cofferdam_protocol::{AttemptId, CheckpointId, KeyGroup};
use std::collections::{BTreeMap, BTreeSet};

/// What goes into one block of a copied file.
const PIECE_BYTES: usize = 256 << 10;

/// Where a snapshot goes, and how it is to be taken.
pub(super) struct SnapshotPlace<E: Env> {
    pub(super) streams: SnapshotStreams<E>,
    pub(super) checkpoint: CheckpointId,
    pub(super) request: SnapshotRequest,
    pub(super) subtask: u32,
    /// How much the task has put into files that it shares with others.
    pub(super) merged_bytes: u64,
    /// Makes names unique.
    pub(super) attempt: AttemptId,
    /// The second copy, on this worker's disk.
    pub(super) copy: Option<CopyWriter>,
}

/// One operator's share.
pub(super) struct Part {
    pub(super) uid: String,
    pub(super) states: Vec<StateShape>,
    pub(super) keyed: Option<KeyedPart>,
    pub(super) lists: Vec<ListState>,
}

/// Keyed state at one moment.
pub(super) enum KeyedPart {
    /// All of it, in memory.
    Memory(KeyedSnapshot),
    /// What has changed, and the store that it is to go into.
    Store(StoreSnapshot),
}

impl<E: Env> SnapshotPlace<E> {
    async fn writer(&self, uid: &str, name: &str) -> Result<Doubled<'_, E>, StorageError> {
        let remote = match &self.request {
            SnapshotRequest::Checkpoint { .. } => self.streams.state_writer(self.checkpoint, name, self.merged_bytes).await?,
            SnapshotRequest::Savepoint { folder, .. } => self.streams.savepoint_writer(folder, name).await?,
        };
        Ok(Doubled::new(remote, self.copy.as_ref(), uid))
    }

    /// The handle of what was written, of which the copy has these files.
    fn handle(&self, uid: &str, handle: KeyedHandle, private: Option<CopyName>, shared: Vec<CopyName>) -> KeyedHandle {
        if let Some(copy) = &self.copy {
            copy.operator(uid, &handle, private, shared);
        }
        handle
    }
}

/// How many bytes were written.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Written {
    /// In all.
    pub(super) size_bytes: u64,
    /// Of that, records under way.
    pub(super) in_flight_bytes: u64,
}

/// Writes all parts. Gives what is acknowledged, and how many bytes were written for it.
pub(super) async fn write<E: Env>(
    env: &E,
    mut place: SnapshotPlace<E>,
    parts: Vec<Part>,
    flush: Option<Flush>,
    logs: Option<PendingLogs>,
) -> Result<(TaskSnapshot, Written), TaskError> {
    let mut snapshot = TaskSnapshot::default();
    let mut size_bytes = 0;
    for Part { uid, states, keyed, lists } in parts {
        let mut handles = Vec::new();
        if let Some(keyed) = keyed {
            let name = format!("{uid}-{}-{}", place.subtask, place.attempt);
            let (handle, written) = match keyed {
                KeyedPart::Memory(keyed) => write_memory(&place, &uid, &name, &keyed).await?,
                KeyedPart::Store(keyed) => write_store(env, &place, &uid, &name, keyed).await?,
            };
            size_bytes += written;
            if let StateLocation::Segment { size_bytes, .. } = &handle.location {
                place.merged_bytes += size_bytes;
            }
            handles.push(handle);
        }
        size_bytes += lists.iter().flat_map(|list| &list.items).map(|item| item.len() as u64).sum::<u64>();
        snapshot.operators.push(OperatorSnapshot { uid, states, keyed: handles, lists, in_flight: Vec::new() });
    }
    if let Some(flush) = flush {
        flush.await?;
    }
    if let Some(copy) = place.copy.take() {
        copy.finish();
    }
    let in_flight_bytes = match logs {
        Some(logs) => write_logs(&place, logs, &mut snapshot).await?,
        None => 0,
    };
    Ok((snapshot, Written { size_bytes: size_bytes + in_flight_bytes, in_flight_bytes }))
}

/// What was under way, as soon as all of it has come. Local copies do without it: it is read once.
async fn write_logs<E: Env>(place: &SnapshotPlace<E>, pending: PendingLogs, snapshot: &mut TaskSnapshot) -> Result<u64, TaskError> {
    let PendingLogs { head, logs } = pending;
    // Dropped with the whole subtask, or when the checkpoint is given up; then nobody waits for this either.
    let Ok(logs) = logs.await else { return Err(TaskError::Unwritable("the checkpoint was given up".into())) };
    let mut in_flight = Vec::new();
    let mut size_bytes = 0;
    for (number, (edge, logged)) in logs.map_err(TaskError::Unwritable)?.into_iter().enumerate() {
        if logged.records == 0 {
            continue;
        }
        let name = format!("{head}-in-flight{number}-{}-{}", place.subtask, place.attempt);
        let mut writer = place.streams.state_writer(place.checkpoint, &name, place.merged_bytes + size_bytes).await?;
        for piece in logged.bytes.chunks(PIECE_BYTES) {
            writer.block(piece).await?;
        }
        let location = writer.finish().await?;
        size_bytes += location.size_bytes();
        in_flight.push(InFlightHandle { edge, location, records: logged.records });
    }
    if !in_flight.is_empty() {
        match snapshot.operators.iter_mut().find(|operator| operator.uid == head) {
            Some(operator) => operator.in_flight = in_flight,
            None => snapshot
                .operators
                .insert(0, OperatorSnapshot { uid: head, states: Vec::new(), keyed: Vec::new(), lists: Vec::new(), in_flight }),
        }
    }
    Ok(size_bytes)
}

async fn write_memory<E: Env>(
    place: &SnapshotPlace<E>,
    uid: &str,
    name: &str,
    keyed: &KeyedSnapshot,
) -> Result<(KeyedHandle, u64), TaskError> {
    let mut writer = place.writer(uid, name).await?;
    for block in keyed.blocks() {
        let block = block.map_err(|source| TaskError::Snapshot { uid: uid.into(), source })?;
        writer.block(&block).await?;
    }
    let (location, local) = writer.finish().await?;
    let handle = KeyedHandle { groups: keyed.groups(), location, layout: Layout::Blocks };
    let size_bytes = handle.location.size_bytes();
    Ok((place.handle(uid, handle, local, Vec::new()), size_bytes))
}

/// First the store gets what has changed, in the order of the checkpoints; then it is read as it is at that moment.
async fn write_store<E: Env>(
    env: &E,
    place: &SnapshotPlace<E>,
    uid: &str,
    name: &str,
    mut keyed: StoreSnapshot,
) -> Result<(KeyedHandle, u64), TaskError> {
    let cold = |source| TaskError::Cold { uid: uid.into(), source };
    keyed.turn().await;
    keyed.apply(env).await.map_err(cold)?;
    let whole = match &place.request {
        SnapshotRequest::Checkpoint { .. } => !keyed.incremental,
        SnapshotRequest::Savepoint { format: SavepointFormat::Canonical, .. } => true,
        SnapshotRequest::Savepoint { format: SavepointFormat::Native, .. } => false,
    };
    if whole {
        return write_blocks(place, uid, name, keyed).await;
    }
    let checkpoint = &keyed.checkpoint(env).await.map_err(cold)?;
    keyed.taken();
    keyed.turn_to_send().await;
    let reuses = match &place.request {
        SnapshotRequest::Checkpoint { full, .. } => {
            if *full {
                keyed.uploaded.forget_foreign();
            }
            true
        }
        SnapshotRequest::Savepoint { .. } => false,
    };
    let merging = place.streams.segments(uid, place.subtask).filter(|_| reuses);
    let mut segments = match &merging {
        Some(segments) => Some(segments.lock().await),
        None => None,
    };
    let known = || checkpoint.files.iter().filter(|file| file.shared).filter_map(|file| keyed.uploaded.get(&file.name));
    let again = segments.as_mut().map_or_else(BTreeSet::new, |segments| segments.begin(&known().collect::<Vec<_>>()));
    let limit = segments.as_ref().map_or(0, |segments| segments.limit_bytes());
    let mut private = Vec::new();
    let mut shared = Vec::new();
    let mut missing = Vec::new();
    // By their names in the store.
    let mut local = BTreeMap::new();
    let mut small = Vec::new();
    for file in &checkpoint.files {
        if !file.shared {
            write_private(file, &mut private)?;
            continue;
        }
        match keyed.uploaded.get(&file.name).filter(|_| reuses && !again.contains(&file.name)) {
            Some(known) => {
                if let Some(copy) = &place.copy {
                    let kept = copy.keep(uid, file, checkpoint, &known, &keyed.kept);
                    local.extend(kept.map(|kept| (known.name.clone(), kept)));
                }
                shared.push(known);
            }
            None if file.size_bytes <= limit => small.push(file),
            None => missing.push((file, shared_name(place, uid, name, file, &keyed))),
        }
    }
    let lane = |number: usize| {
        let own: Vec<_> = missing.iter().skip(number).step_by(LANES).collect();
        async move {
            let mut sent = Vec::new();
            for (file, path) in own {
                sent.push(upload(place, uid, file, path, checkpoint).await?);
            }
            Ok::<_, StorageError>(sent)
        }
    };
    // Each file waits for the storage several times in a row; together they wait no longer than one.
    let lanes = tokio::join!(lane(0), lane(1), lane(2), lane(3));
    let mut sent = [lanes.0?, lanes.1?, lanes.2?, lanes.3?].concat();
    if let Some(segments) = &mut segments {
        sent.extend(merge(place, uid, segments, &small, &keyed, checkpoint).await?);
    }
    let mut size_bytes = 0;
    for (file, copied) in sent {
        size_bytes += file.size_bytes;
        if reuses {
            keyed.uploaded.insert(file.clone());
        }
        if let (Some(copy), Some(copied)) = (&place.copy, copied) {
            copy.remember(&keyed.kept, &file, &copied);
            local.insert(file.name.clone(), copied);
        }
        shared.push(file);
    }
    if let Some(segments) = &mut segments {
        segments.measure(&mut shared);
    }
    drop(segments);
    shared.sort_by(|a, b| a.name.cmp(&b.name));
    if reuses {
        keyed.uploaded.retain(&shared);
        if let Some(copy) = &place.copy {
            copy.retain(&keyed.kept, &shared);
        }
    }
    let mut writer = place.writer(uid, name).await?;
    for piece in private.chunks(PIECE_BYTES) {
        writer.block(piece).await?;
    }
    let (location, copied) = writer.finish().await?;
    size_bytes += location.size_bytes();
    let local = shared.iter().filter_map(|file| local.remove(&file.name)).collect();
    let layout = Layout::Store { backend: keyed.backend.to_owned(), columns: keyed.columns.clone(), shared };
    let handle = KeyedHandle { groups: keyed.groups, location, layout };
    Ok((place.handle(uid, handle, copied, local), size_bytes))
}

/// How many files of one operator are uploaded at once.
const LANES: usize = 4;

/// What a file of a store is to be called where it is shared.
fn shared_name<E: Env>(place: &SnapshotPlace<E>, uid: &str, name: &str, file: &ColdFile, keyed: &StoreSnapshot) -> String {
    match &place.request {
        SnapshotRequest::Checkpoint { .. } => own_name(place, uid, keyed),
        SnapshotRequest::Savepoint { .. } => format!("{name}-{}", file.name),
    }
}

/// A name below the shared folder that nothing else ever gets.
fn own_name<E: Env>(place: &SnapshotPlace<E>, uid: &str, keyed: &StoreSnapshot) -> String {
    format!("{}-{uid}-{}-{}", place.attempt, place.subtask, keyed.uploaded.next_number())
}

/// Small files become segments, one behind the other: which file each lies in follows from their order alone. One sync for all. The
/// copy has each as a file of its own: what is linked must not grow.
async fn merge<E: Env>(
    place: &SnapshotPlace<E>,
    uid: &str,
    segments: &mut SharedSegments<E>,
    small: &[&ColdFile],
    keyed: &StoreSnapshot,
    checkpoint: &ColdCheckpoint,
) -> Result<Vec<(SharedFile, Option<CopyName>)>, StorageError> {
    let mut merged = Vec::new();
    for file in small {
        let copied = place.copy.as_ref().and_then(|copy| copy.duplicate(uid, file, checkpoint));
        let mut writer = StateWriter::<E>::Inline(InlineWriter::new(&file.name, u64::MAX));
        transfer(&mut writer, file).await?;
        let StateLocation::Inline(bytes) = writer.finish().await? else { unreachable!("it is written into memory") };
        let (path, segment) = segments.append(&bytes, || own_name(place, uid, keyed)).await?;
        let shared = SharedFile { name: file.name.clone(), path, size_bytes: bytes.len() as u64, segment: Some(segment) };
        merged.push((shared, copied));
    }
    segments.sync().await?;
    Ok(merged)
}

async fn upload<E: Env>(
    place: &SnapshotPlace<E>,
    uid: &str,
    file: &ColdFile,
    name: &str,
    checkpoint: &ColdCheckpoint,
) -> Result<(SharedFile, Option<CopyName>), StorageError> {
    let copied = place.copy.as_ref().and_then(|copy| copy.duplicate(uid, file, checkpoint));
    let mut writer = match &place.request {
        SnapshotRequest::Checkpoint { .. } => place.streams.shared_writer(name).await?,
        SnapshotRequest::Savepoint { folder, .. } => place.streams.whole_savepoint_writer(folder, name).await?,
    };
    transfer(&mut writer, file).await?;
    match writer.finish().await? {
        StateLocation::File { path, size_bytes } => Ok((SharedFile { name: file.name.clone(), path, size_bytes, segment: None }, copied)),
        StateLocation::Inline(_) | StateLocation::Segment { .. } => unreachable!("what is shared whole has a file of its own"),
    }
}

fn reading(name: &str) -> impl FnOnce(std::io::Error) -> StorageError + '_ {
    move |source| StorageError::Io { operation: "read", path: name.to_owned(), source }
}

async fn transfer<E: Env>(writer: &mut StateWriter<E>, file: &ColdFile) -> Result<(), StorageError> {
    let mut offset = 0;
    let mut piece = vec![0; PIECE_BYTES];
    loop {
        let read = file.content.read_at(offset, &mut piece).map_err(reading(&file.name))?;
        if read == 0 {
            break;
        }
        writer.block(&piece[..read]).await?;
        offset += read as u64;
    }
    // Why: what is cut off here would only be found when it is needed.
    if offset != file.size_bytes {
        let source = std::io::Error::other(format!("{offset} bytes instead of {}", file.size_bytes));
        return Err(StorageError::Io { operation: "read", path: file.name.clone(), source });
    }
    Ok(())
}

/// Small files stand one behind the other in the handle's own file: name, content.
fn write_private(file: &ColdFile, out: &mut Vec<u8>) -> Result<(), StorageError> {
    let mut bytes = vec![0; usize::try_from(file.size_bytes).unwrap_or(usize::MAX)];
    let mut filled = 0;
    while filled < bytes.len() {
        match file.content.read_at(filled as u64, &mut bytes[filled..]).map_err(reading(&file.name))? {
            0 => return Err(reading(&file.name)(std::io::ErrorKind::UnexpectedEof.into())),
            more => filled += more,
        }
    }
    file.name.write(out);
    write_bytes(&bytes, out);
    Ok(())
}

/// What is left of a stored value of a state with time-to-live.
fn trim(expiry: &Expiry, value: &[u8], alive: &mut Vec<u8>) -> Result<bool, ColdError> {
    let wrong = |error: StoredError| ColdError { backend: "store", operation: "read a value", cause: error.to_string() };
    (expiry.trim)(value, expiry.deadline_ms, alive).map_err(wrong)
}

/// The canonical format, out of a store: blocks by state name and key group.
async fn write_blocks<E: Env>(
    place: &SnapshotPlace<E>,
    uid: &str,
    name: &str,
    mut keyed: StoreSnapshot,
) -> Result<(KeyedHandle, u64), TaskError> {
    let cold = |source| TaskError::Cold { uid: uid.into(), source };
    let (from, to) = cold_range(keyed.groups);
    let store = keyed.store.clone();
    // All at once, so that they show the same moment. By name: the columns are.
    let scans: BTreeMap<usize, _> = (0..keyed.columns.len())
        .map(|index| (index, store.scan(ColumnIndex(u16::try_from(index).expect("few")), &from, to.as_deref())))
        .collect();
    keyed.taken();
    let mut writer = place.writer(uid, name).await?;
    for (index, scan) in scans {
        let mut open: Option<BlockBuilder> = None;
        for entry in scan {
            let (key, mut value) = entry.map_err(cold)?;
            if let Some(expiry) = keyed.expiries[index] {
                let mut alive = Vec::new();
                if !trim(&expiry, &value, &mut alive).map_err(cold)? {
                    continue;
                }
                value = alive;
            }
            let Some((group, key)) = key.split_first_chunk::<2>() else { continue };
            let group = KeyGroup(u16::from_be_bytes(*group));
            if open.as_ref().is_some_and(|block| block.group() != group || block.is_full(key.len() + value.len())) {
                let block = open.take().expect("it is there");
                writer.block(&block.finish().map_err(|source| TaskError::Snapshot { uid: uid.into(), source })?).await?;
            }
            let block = open.get_or_insert_with(|| BlockBuilder::new(keyed.names[index], keyed.kinds[index], group));
            block.entry(key, &value);
        }
        if let Some(block) = open {
            writer.block(&block.finish().map_err(|source| TaskError::Snapshot { uid: uid.into(), source })?).await?;
        }
    }
    let (location, local) = writer.finish().await?;
    let handle = KeyedHandle { groups: keyed.groups, location, layout: Layout::Blocks };
    let size_bytes = handle.location.size_bytes();
    Ok((place.handle(uid, handle, local, Vec::new()), size_bytes))
}
