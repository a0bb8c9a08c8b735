//! `cofferdam inspect` and `cofferdam dispose`: snapshots as files and objects.

use crate::args::{DisposeArguments, InspectArguments};
use crate::console::{self, grouped};
use crate::failure::{one_line, Failure, Outcome};
use crate::place::Place;
use cofferdam_engine::connector::folder::FileSplit;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::storage::{survey, StorageError};
use cofferdam_engine::task::SPLITS;
use cofferdam_protocol::metadata::{CheckpointMetadata, Finished, OperatorState, SnapshotKind};
use cofferdam_protocol::snapshot::{InFlightHandle, KeyedHandle, Layout, SharedFile, StateLocation};
use cofferdam_protocol::stored::{Reader, Stored};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a place may take to show that there is a snapshot.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is shown of a snapshot.
#[derive(Debug, Serialize)]
struct Shown {
    path: String,
    job: String,
    checkpoint: u64,
    kind: &'static str,
    attempt: String,
    size_bytes: u64,
    shared_bytes: u64,
    /// In the metadata itself.
    inline_bytes: u64,
    hooks: Vec<String>,
    /// By the source whose it is: how many bytes it has at the coordinator.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    enumerators: BTreeMap<String, usize>,
    operators: Vec<ShownOperator>,
    /// By the path of a physical file.
    merged: BTreeMap<String, ShownMerged>,
    /// By the path of another snapshot below the same job: how many files are in both.
    shares_with: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    verified_bytes: Option<u64>,
}

/// A file with segments of many pieces of state.
#[derive(Debug, Default, Serialize)]
struct ShownMerged {
    segments: usize,
    /// By this snapshot.
    used_bytes: u64,
    /// How large it is now.
    file_bytes: u64,
    /// How many times as large as what is used.
    space_amplification: f64,
}

#[derive(Debug, Serialize)]
struct ShownOperator {
    uid: String,
    parallelism: u32,
    max_parallelism: u32,
    states: Vec<String>,
    /// Subtasks that had finished and have no part in it; empty: none had.
    #[serde(skip_serializing_if = "String::is_empty")]
    finished: String,
    subtasks: Vec<ShownSubtask>,
}

#[derive(Debug, Serialize)]
struct ShownSubtask {
    subtask: u32,
    keyed: Vec<ShownKeyed>,
    lists: BTreeMap<String, usize>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    in_flight: Vec<ShownInFlight>,
    /// Of a log source: the offset of the next line, by partition.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    positions: BTreeMap<u32, u64>,
    /// Of a folder: parts of files that are not read to their ends.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    splits: Vec<ShownSplit>,
}

#[derive(Debug, Serialize)]
struct ShownSplit {
    file: String,
    start: u64,
    end: u64,
    offset: u64,
}

#[derive(Debug, Serialize)]
struct ShownKeyed {
    key_groups: String,
    format: String,
    size_bytes: u64,
    /// Of which are in the metadata itself.
    #[serde(skip_serializing_if = "is_zero")]
    inline_bytes: u64,
    shared_files: usize,
}

#[derive(Debug, Serialize)]
struct ShownInFlight {
    edge: String,
    records: u64,
    size_bytes: u64,
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    started.map_err(|source| Failure::System { purpose: "start", source })
}

fn unreadable(error: StorageError) -> Failure {
    Failure::Snapshot(one_line(&error))
}

/// The metadata of a snapshot, with absolute paths.
///
/// # Errors
/// There is none, or it cannot be read.
pub fn metadata_of(place: &Place) -> Result<CheckpointMetadata, Failure> {
    runtime()?.block_on(read(&RealEnv::default(), place))
}

async fn read(env: &RealEnv, place: &Place) -> Result<CheckpointMetadata, Failure> {
    let reading = async {
        if !survey::is_snapshot(env, place.path()).await.map_err(unreadable)? {
            let what = if place.is_url() { "object" } else { "file" };
            let text = format!("{} is no savepoint or checkpoint: there is no {what} _metadata in it", place.named());
            return Err(Failure::Snapshot(text));
        }
        survey::anywhere().read_origin(env, place.path()).await.map_err(unreadable)
    };
    match tokio::time::timeout(PATIENCE, reading).await {
        Ok(read) => read,
        Err(_) => Err(Failure::Snapshot(format!("cannot read {}: no answer within {} s", place.named(), PATIENCE.as_secs()))),
    }
}

/// Shows a snapshot, or finds orphans.
///
/// # Errors
/// Something cannot be read.
pub fn inspect(arguments: &InspectArguments) -> Result<Outcome, Failure> {
    let (env, place) = (RealEnv::default(), Place::of(&arguments.path)?);
    if arguments.orphans {
        return runtime()?.block_on(orphans(&env, &place, arguments));
    }
    let shown = runtime()?.block_on(async {
        let metadata = read(&env, &place).await?;
        let mut shown = show(&env, &place, &metadata).await?;
        if arguments.verify {
            shown.verified_bytes = Some(verify(&env, &metadata).await?);
        }
        Ok::<_, Failure>(shown)
    })?;
    if arguments.json {
        console::say(serde_json::to_string_pretty(&shown).expect("text and numbers"));
    } else {
        print(&shown);
    }
    Ok(Outcome::Green)
}

/// Deletes a snapshot. What other snapshots share with it stays.
///
/// # Errors
/// Something cannot be read or deleted.
pub fn dispose(arguments: &DisposeArguments) -> Result<Outcome, Failure> {
    let (env, place) = (RealEnv::default(), Place::of(&arguments.path)?);
    runtime()?.block_on(async {
        let metadata = read(&env, &place).await?;
        let shared: BTreeSet<String> = metadata.shared_files().map(|file| file.path.clone()).collect();
        let mut others = BTreeMap::new();
        if metadata.kind == SnapshotKind::Checkpoint {
            others = neighbours(&env, &place).await?;
            if let Some(job) = job_of(place.path()) {
                others.extend(survey::claimed(&env, job).await.map_err(unreadable)?);
            }
        }
        let others: BTreeSet<String> = others.values().flat_map(survey::needed).collect();
        let own: BTreeSet<String> = shared.difference(&others).cloned().collect();
        let (store, folder) = (survey::anywhere(), place.path());
        // First what makes it one: a crash in between leaves orphans, and nothing that looks whole.
        store.dispose(&env, folder).await.map_err(unreadable)?;
        store.storage().discard_shared(&env, &own, job_of(folder)).await.map_err(unreadable)?;
        // Its own shared files stood in it, if it was a savepoint.
        store.remove_emptied(&env, folder).await.map_err(unreadable)
    })?;
    console::say(format_args!("{} is gone", place.named()));
    Ok(Outcome::Green)
}

/// Where the job of a checkpoint has its files.
fn job_of(folder: &str) -> Option<&str> {
    folder.rsplit_once('/').map(|(job, _)| job)
}

/// The other snapshots below the same job.
async fn neighbours(env: &RealEnv, place: &Place) -> Result<BTreeMap<String, CheckpointMetadata>, Failure> {
    let Some(job) = job_of(place.path()) else { return Ok(BTreeMap::new()) };
    let mut found = survey::snapshots(env, job).await.map_err(unreadable)?;
    found.remove(place.path());
    Ok(found)
}

async fn orphans(env: &RealEnv, place: &Place, arguments: &InspectArguments) -> Result<Outcome, Failure> {
    let orphans = if survey::is_job(env, place.path()).await.map_err(unreadable)? {
        survey::orphans(env, place.path()).await.map_err(unreadable)?
    } else {
        let unfinished = survey::unfinished_savepoints(env, place.path()).await.map_err(unreadable)?;
        unfinished.ok_or_else(|| {
            let text =
                format!("{} is not the folder of a job, or of savepoints: there is no journal in it, and no savepoint", place.named());
            Failure::Snapshot(text)
        })?
    };
    if arguments.delete {
        survey::delete(env, &orphans).await.map_err(unreadable)?;
    }
    if arguments.json {
        let row = |(path, size_bytes)| serde_json::json!({ "path": path, "size_bytes": size_bytes });
        let rows: Vec<_> = orphans.files.iter().map(row).collect();
        let value = serde_json::json!({ "snapshots": orphans.snapshots, "orphans": rows, "deleted": arguments.delete });
        console::say(serde_json::to_string_pretty(&value).expect("text and numbers"));
        return Ok(Outcome::Green);
    }
    for (path, size_bytes) in &orphans.files {
        console::say(format_args!("{path}  {} bytes", grouped(*size_bytes)));
    }
    let bytes = grouped(orphans.files.values().sum());
    let what = if arguments.delete { "deleted" } else { "not needed by any snapshot" };
    console::say(format_args!("{} files, {bytes} bytes {what}; {} snapshots looked at", orphans.files.len(), orphans.snapshots));
    Ok(Outcome::Green)
}

async fn show(env: &RealEnv, place: &Place, metadata: &CheckpointMetadata) -> Result<Shown, Failure> {
    let identity = |file: &SharedFile| (file.path.clone(), file.segment.map(|segment| segment.offset));
    let own: BTreeSet<_> = metadata.shared_files().map(identity).collect();
    let mut shares_with = BTreeMap::new();
    if metadata.kind == SnapshotKind::Checkpoint {
        for (other, theirs) in neighbours(env, place).await? {
            let both = theirs.shared_files().filter(|file| own.contains(&identity(file))).count();
            if both > 0 {
                shares_with.insert(other, both);
            }
        }
    }
    Ok(Shown {
        path: place.named(),
        job: metadata.job.clone(),
        checkpoint: metadata.checkpoint.0,
        kind: match metadata.kind {
            SnapshotKind::Checkpoint => "checkpoint",
            SnapshotKind::Savepoint => "savepoint",
            SnapshotKind::Drained => "savepoint of a drained job",
        },
        attempt: metadata.attempt.to_string(),
        size_bytes: everything(metadata).map(|location| location.size_bytes()).sum(),
        shared_bytes: metadata.shared_files().map(|file| file.size_bytes).sum(),
        inline_bytes: metadata.inline_bytes(),
        hooks: metadata.hooks.iter().map(|hook| hook.name.clone()).collect(),
        enumerators: metadata.enumerators.iter().map(|state| (state.uid.clone(), state.bytes.len())).collect(),
        operators: metadata.operators.iter().map(show_operator).collect(),
        merged: merged(env, metadata).await?,
        shares_with,
        verified_bytes: None,
    })
}

/// Every place that its state is in.
fn everything(metadata: &CheckpointMetadata) -> impl Iterator<Item = StateLocation> + '_ {
    metadata.shared_files().map(SharedFile::location).chain(metadata.locations().cloned())
}

/// The physical files that a snapshot has segments in.
async fn merged(env: &RealEnv, metadata: &CheckpointMetadata) -> Result<BTreeMap<String, ShownMerged>, Failure> {
    let mut files: BTreeMap<String, ShownMerged> = BTreeMap::new();
    for location in everything(metadata) {
        if let StateLocation::Segment { path, size_bytes, .. } = location {
            let file = files.entry(path).or_default();
            file.segments += 1;
            file.used_bytes += size_bytes;
        }
    }
    for (path, file) in &mut files {
        // One that is gone is found by whoever reads the state.
        file.file_bytes = survey::size(env, path).await.map_err(unreadable)?.unwrap_or(0);
        #[allow(clippy::cast_precision_loss)] // a ratio for people
        let times = file.file_bytes as f64 / file.used_bytes.max(1) as f64;
        file.space_amplification = (times * 100.0).round() / 100.0;
    }
    Ok(files)
}

fn show_operator(operator: &OperatorState) -> ShownOperator {
    let keyed = |handle: &KeyedHandle| ShownKeyed {
        key_groups: handle.groups.to_string(),
        format: match &handle.layout {
            Layout::Blocks => "canonical".into(),
            Layout::Store { backend, .. } => backend.clone(),
        },
        size_bytes: handle.size_bytes(),
        inline_bytes: handle.location.inline_bytes(),
        shared_files: handle.shared_files().count(),
    };
    let in_flight = |handle: &InFlightHandle| ShownInFlight {
        edge: handle.edge.clone(),
        records: handle.records,
        size_bytes: handle.location.size_bytes(),
    };
    let position = |item: &Vec<u8>| {
        let mut input = Reader::new(item, 0);
        Some((u32::read(&mut input).ok()?, u64::read(&mut input).ok()?))
    };
    let split = |item: &Vec<u8>| {
        let FileSplit { name, start, end, offset } = FileSplit::read(&mut Reader::new(item, 0)).ok()?;
        Some(ShownSplit { file: name, start, end, offset })
    };
    let subtasks = operator.subtasks.iter().map(|(subtask, state)| ShownSubtask {
        subtask: subtask.0,
        keyed: state.keyed.iter().map(keyed).collect(),
        lists: state.lists.iter().map(|list| (list.name.clone(), list.items.len())).collect(),
        in_flight: state.in_flight.iter().map(in_flight).collect(),
        positions: state.lists.iter().filter(|list| list.name == "positions").flat_map(|list| &list.items).filter_map(position).collect(),
        splits: state.lists.iter().filter(|list| list.name == SPLITS).flat_map(|list| &list.items).filter_map(split).collect(),
    });
    ShownOperator {
        uid: operator.uid.clone(),
        parallelism: operator.parallelism,
        max_parallelism: operator.max_parallelism.get(),
        states: operator.states.iter().map(|state| format!("{}: {state}", state.name)).collect(),
        finished: match &operator.finished {
            Finished::Nobody => String::new(),
            finished @ (Finished::Some(_) | Finished::All) => finished.to_string(),
        },
        subtasks: subtasks.collect(),
    }
}

/// Reads every byte of a snapshot; every block has a checksum.
async fn verify(env: &RealEnv, metadata: &CheckpointMetadata) -> Result<u64, Failure> {
    let (store, mut bytes) = (survey::anywhere(), 0);
    for location in everything(metadata) {
        let mut reader = store.storage().open_state(env, &location).await.map_err(unreadable)?;
        while let Some((_, block)) = reader.next().await.map_err(unreadable)? {
            bytes += block.len() as u64;
        }
    }
    Ok(bytes)
}

fn print(shown: &Shown) {
    let Shown { path, job, checkpoint, kind, attempt, size_bytes, shared_bytes, .. } = shown;
    console::say(format_args!("{kind} {checkpoint} of job {job}, taken by attempt {attempt}"));
    console::say(format_args!("  path       {path}"));
    console::say(format_args!("  size       {} bytes, of which {} may be shared", grouped(*size_bytes), grouped(*shared_bytes)));
    if shown.inline_bytes > 0 {
        console::say(format_args!("  inline     {} bytes are in the metadata itself", grouped(shown.inline_bytes)));
    }
    if !shown.hooks.is_empty() {
        console::say(format_args!("  hooks      {}", shown.hooks.join(", ")));
    }
    for (uid, size_bytes) in &shown.enumerators {
        console::say(format_args!("  enumerator {} bytes of {uid}", grouped(*size_bytes as u64)));
    }
    for (path, ShownMerged { segments, used_bytes, file_bytes, space_amplification }) in &shown.merged {
        let (used, whole) = (grouped(*used_bytes), grouped(*file_bytes));
        console::say(format_args!(
            "  merged     {segments} segments, {used} of {whole} bytes used (amplification {space_amplification:.2}), in {path}"
        ));
    }
    for (other, files) in &shown.shares_with {
        console::say(format_args!("  shares     {files} files with {other}"));
    }
    for operator in &shown.operators {
        let ShownOperator { uid, parallelism, max_parallelism, states, finished, subtasks } = operator;
        console::say(format_args!("operator {uid}: {parallelism} subtasks, {max_parallelism} key groups"));
        if !finished.is_empty() {
            console::say(format_args!("  finished   {finished}"));
        }
        for state in states {
            console::say(format_args!("  state      {state}"));
        }
        for ShownSubtask { subtask, keyed, lists, in_flight, positions, splits } in subtasks {
            for ShownKeyed { key_groups, format, size_bytes, inline_bytes, shared_files } in keyed {
                let size = grouped(*size_bytes);
                let inline = if *inline_bytes == 0 { String::new() } else { format!(" ({} inline)", grouped(*inline_bytes)) };
                console::say(format_args!(
                    "  s{subtask:<4} keyed {key_groups}: {size} bytes{inline}, {format}, {shared_files} shared files"
                ));
            }
            for (name, items) in lists {
                console::say(format_args!("  s{subtask:<4} list {name}: {items} items"));
            }
            for ShownInFlight { edge, records, size_bytes } in in_flight {
                let size = grouped(*size_bytes);
                console::say(format_args!("  s{subtask:<4} in flight on {edge}: {records} records, {size} bytes"));
            }
            for (partition, offset) in positions {
                console::say(format_args!("  s{subtask:<4} partition {partition} at byte {}", grouped(*offset)));
            }
            for ShownSplit { file, start, end, offset } in splits {
                let (start, end, offset) = (grouped(*start), grouped(*end), grouped(*offset));
                console::say(format_args!("  s{subtask:<4} {file} from byte {start} to {end} at {offset}"));
            }
        }
    }
    if let Some(bytes) = shown.verified_bytes {
        console::say(format_args!("verified: {} bytes of state read, every checksum is right", grouped(bytes)));
    }
}
