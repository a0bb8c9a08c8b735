//! Our own reader of checkpoints, written from the documented layouts and from nothing else.

use super::finished;
use super::splits::{self, Split};
use framed::versioned;
use std::collections::{BTreeMap, BTreeSet};

mod framed;
mod groups;

pub use framed::blocks;
pub(super) use framed::Bytes;

/// What a checkpoint says, as far as a model can know it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Its number, as the metadata has it.
    pub number: u64,
    /// Its job was drained before it was taken.
    pub drained: bool,
    /// For each source: partition, offset of the next line. Those of subtasks that had finished are not in the file: see [`finished`].
    ///
    /// [`finished`]: super::finished
    pub positions: BTreeMap<String, BTreeMap<u32, u64>>,
    /// For each operator of which some had finished: which subtasks.
    pub finished: BTreeMap<String, BTreeSet<u32>>,
    /// For each source: partitions of which nothing is said as they were read to their ends.
    pub read_out: BTreeMap<String, BTreeSet<u32>>,
    /// Splits that are not read to their ends, and whose they are.
    pub splits: Vec<Split>,
    /// For each source that finds its input: what it has at the coordinator.
    pub enumerators: BTreeMap<String, Vec<u8>>,
    /// For each keyed operator: state name, key, value.
    pub keyed: BTreeMap<String, State>,
    /// For each operator and subtask: how many entries of keyed state and items of lists it put in.
    pub parts: BTreeMap<(String, u32), u64>,
    /// For each operator and subtask: its copy of broadcast state.
    pub broadcast: BTreeMap<(String, u32), BTreeMap<String, u64>>,
    /// For each operator and subtask: what was in flight to it.
    pub in_flight: BTreeMap<(String, u32), Vec<InFlight>>,
    /// For each operator and state: the version of the type that it was written with.
    pub versions: BTreeMap<(String, String), u32>,
    /// Every file that it names, by its path below the job's folder.
    pub files: Vec<String>,
    /// How large everything is that it shares with other checkpoints, by path and, in a merged file, where it begins.
    pub shared: BTreeMap<(String, u64), u64>,
    /// Of each physical file of shared segments: what is used of it, and how large it was.
    pub physical: BTreeMap<String, Physical>,
}

/// What was in flight on one edge.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct InFlight {
    /// The edge's name.
    pub edge: String,
    /// How many records it is said to be.
    pub records: u64,
    /// Its file, whole.
    pub file: Vec<u8>,
}

/// A file that segments lie in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Physical {
    /// By the segments of this checkpoint.
    pub used_bytes: u64,
    /// Where the last of them ends.
    pub end_bytes: u64,
    /// As the checkpoint has it.
    pub said_bytes: u64,
    /// As it is.
    pub file_bytes: u64,
}

/// State name, key, value.
pub type State = BTreeMap<String, BTreeMap<String, Value>>;

/// A value, as far as our jobs have them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Value {
    /// One number.
    Number(u64),
    /// A truth.
    Bool(bool),
    /// A pair of numbers.
    Pair(u64, u64),
    /// Numbers in an order.
    List(Vec<u64>),
    /// Numbers by number.
    Map(BTreeMap<i64, u64>),
    /// Times of timers.
    Times(Vec<i64>),
    /// A number, and when it was last accessed.
    Timed((i64, u64)),
    /// The same in an order.
    TimedList(Vec<(i64, u64)>),
    /// The same by number.
    TimedMap(BTreeMap<i64, (i64, u64)>),
    /// Groups of times with a number, each with a time of its own.
    Groups(Vec<(i64, Vec<(i64, u64)>)>),
}

/// What is said of a state beside its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored<'a> {
    /// Its name.
    pub state: &'a str,
    /// The type of its values.
    pub value_type: &'a str,
    /// The version of that.
    pub version: u32,
}

/// How the value of a state is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// One `u64`.
    Number,
    /// One byte.
    Bool,
    /// Two `u64`.
    Pair,
    /// Counted `u64`.
    List,
    /// Counted pairs of 64-bit numbers.
    Map,
    /// Counted `i64`.
    Times,
    /// So many `u64`.
    Numbers(usize),
    /// Counted, each so many `u64`.
    ListOf(usize),
    /// A time and a `u64`.
    Timed,
    /// Counted pairs of a time and a `u64`, led by the latest time if there is such a thing.
    TimedList {
        /// Whether there is.
        led: bool,
    },
    /// The same by 64-bit numbers.
    TimedMap {
        /// Whether there is.
        led: bool,
    },
    /// Counted groups of times, texts and `u64`; each behind a time, or with that of its first.
    Groups {
        /// The former.
        by_time: bool,
    },
}

/// How the metadata says that each subtask has the same.
const BROADCAST: u64 = 2;

/// Bytes that cannot be read, and where.
pub type Broken = String;

fn value(shape: Shape, bytes: &mut Bytes<'_>) -> Result<Value, Broken> {
    Ok(match shape {
        Shape::Number => Value::Number(bytes.number(8)?),
        Shape::Bool => Value::Bool(bytes.number(1)? != 0),
        Shape::Pair => Value::Pair(bytes.number(8)?, bytes.number(8)?),
        Shape::List => {
            let count = bytes.count()?;
            Value::List((0..count).map(|_| bytes.number(8)).collect::<Result<_, _>>()?)
        }
        Shape::Times => {
            let count = bytes.count()?;
            Value::Times((0..count).map(|_| bytes.signed()).collect::<Result<_, _>>()?)
        }
        Shape::Numbers(count) => Value::List((0..count).map(|_| bytes.number(8)).collect::<Result<_, _>>()?),
        Shape::ListOf(numbers) => {
            let count = bytes.count()? * numbers;
            Value::List((0..count).map(|_| bytes.number(8)).collect::<Result<_, _>>()?)
        }
        Shape::Timed => Value::Timed((bytes.signed()?, bytes.number(8)?)),
        Shape::TimedList { led } => {
            let latest = if led { Some(bytes.signed()?) } else { None };
            let count = bytes.count()?;
            let list: Vec<(i64, u64)> =
                (0..count).map(|_| Ok::<_, Broken>((bytes.signed()?, bytes.number(8)?))).collect::<Result<_, _>>()?;
            check_latest(latest, list.iter().map(|(at, _)| *at).max())?;
            Value::TimedList(list)
        }
        Shape::TimedMap { led } => {
            let latest = if led { Some(bytes.signed()?) } else { None };
            let count = bytes.count()?;
            let entry = |bytes: &mut Bytes<'_>| Ok::<_, Broken>((bytes.signed()?, (bytes.signed()?, bytes.number(8)?)));
            let map: BTreeMap<i64, (i64, u64)> = (0..count).map(|_| entry(bytes)).collect::<Result<_, _>>()?;
            check_latest(latest, map.values().map(|(at, _)| *at).max())?;
            Value::TimedMap(map)
        }
        Shape::Groups { by_time } => groups::read(by_time, bytes)?,
        Shape::Map => {
            let count = bytes.count()?;
            Value::Map((0..count).map(|_| Ok::<_, Broken>((bytes.signed()?, bytes.number(8)?))).collect::<Result<_, _>>()?)
        }
    })
}

fn check_latest(led_by: Option<i64>, latest: Option<i64>) -> Result<(), Broken> {
    match led_by {
        Some(_) if led_by != latest => Err(format!("a value led by time {led_by:?} was last accessed at {latest:?}")),
        Some(_) | None => Ok(()),
    }
}

/// Adds the entries of one state file, and tells how many. A key that is there already is an error: two subtasks claim it.
fn state_file(file: &[u8], shapes: &dyn Fn(&str) -> Option<Shape>, into: &mut State) -> Result<u64, Broken> {
    let mut entries = 0;
    for payload in blocks(b"CFDSTATE", file)? {
        let mut bytes = Bytes { bytes: &payload, at: 0 };
        let (_group, _kind, name, count) = (bytes.number(2)?, bytes.number(1)?, bytes.text()?, bytes.count()?);
        let shape = shapes(&name).ok_or_else(|| format!("a state {name:?} that the job does not have"))?;
        for _ in 0..count {
            let key = bytes.text()?;
            let value = value(shape, &mut bytes)?;
            if into.entry(name.clone()).or_default().insert(key.clone(), value).is_some() {
                return Err(format!("key {key} of state {name} is there twice"));
            }
            entries += 1;
        }
        if !bytes.is_empty() {
            return Err(format!("bytes behind the entries of state {name}"));
        }
    }
    Ok(entries)
}

/// The shared part of a handle in a backend's own format.
struct Store {
    backend: String,
    columns: Vec<String>,
    files: BTreeMap<String, Vec<u8>>,
}

fn sized(read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>, path: &str, size: u64) -> Result<Vec<u8>, Broken> {
    let file = read(path)?;
    if file.len() as u64 != size {
        return Err(format!("{path} has {} bytes, {size} were written", file.len()));
    }
    Ok(file)
}

/// The bytes of a segment.
fn segment(read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>, path: &str, offset: u64, size: u64) -> Result<(Vec<u8>, u64), Broken> {
    let file = read(path)?;
    let there = file.len() as u64;
    let range = usize::try_from(offset).ok().zip(offset.checked_add(size).and_then(|end| usize::try_from(end).ok()));
    let part =
        range.and_then(|(from, to)| file.get(from..to)).ok_or_else(|| format!("{path} has {there} bytes, not {size} at {offset}"))?;
    Ok((part.to_vec(), there))
}

/// Where something is, and what is there.
fn place(
    bytes: &mut Bytes<'_>,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>,
    files: &mut Vec<String>,
) -> Result<(String, Vec<u8>), Broken> {
    let (named, own) = match bytes.number(1)? {
        0 => {
            let (path, size) = (bytes.text()?, bytes.number(8)?);
            let file = sized(read, &path, size)?;
            (path, file)
        }
        1 => {
            let length = bytes.count()?;
            (String::new(), bytes.take(length)?.to_vec())
        }
        2 => {
            let (path, offset, size) = (bytes.text()?, bytes.number(8)?, bytes.number(8)?);
            let (part, _) = segment(read, &path, offset, size)?;
            (path, part)
        }
        other => return Err(format!("state in a place of kind {other}")),
    };
    files.extend(Some(named.clone()).filter(|path| !path.is_empty()));
    Ok((named, own))
}

fn store(
    bytes: &mut Bytes<'_>,
    merged: bool,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>,
    checkpoint: &mut Checkpoint,
) -> Result<Store, Broken> {
    let backend = bytes.text()?;
    let columns = (0..bytes.count()?).map(|_| bytes.text()).collect::<Result<_, _>>()?;
    let mut store = Store { backend, columns, files: BTreeMap::new() };
    for _ in 0..bytes.count()? {
        let (name, path, size) = (bytes.text()?, bytes.text()?, bytes.number(8)?);
        let file = if merged && bytes.number(1)? == 1 {
            let (offset, said_bytes) = (bytes.number(8)?, bytes.number(8)?);
            let (file, file_bytes) = segment(read, &path, offset, size)?;
            let physical = checkpoint.physical.entry(path.clone()).or_default();
            physical.used_bytes += size;
            physical.end_bytes = (offset + size).max(physical.end_bytes);
            physical.said_bytes = said_bytes.max(physical.said_bytes);
            physical.file_bytes = file_bytes;
            checkpoint.shared.insert((path.clone(), offset), size);
            file
        } else {
            checkpoint.shared.insert((path.clone(), 0), size);
            sized(read, &path, size)?
        };
        let content = blocks(b"CFDSTATE", &file).map_err(|broken| format!("{path}: {broken}"))?.concat();
        store.files.insert(name, content);
        checkpoint.files.push(path);
    }
    Ok(store)
}

/// What a column of a store holds: key group and key, value.
pub(super) type Rows = BTreeMap<Vec<u8>, Vec<u8>>;

/// Adds what a store holds, and tells how many entries.
fn stored(
    own: &[u8],
    store: &Store,
    groups: std::ops::RangeInclusive<u64>,
    shapes: &dyn Fn(&str) -> Option<Shape>,
    into: &mut State,
) -> Result<u64, Broken> {
    let private = blocks(b"CFDSTATE", own)?.concat();
    let mut bytes = Bytes { bytes: &private, at: 0 };
    let mut files = BTreeMap::new();
    while !bytes.is_empty() {
        let (name, length) = (bytes.text()?, bytes.count()?);
        files.insert(name, bytes.take(length)?.to_vec());
    }
    let columns = match store.backend.as_str() {
        "sorted-runs" => runs(files, store)?,
        #[cfg(feature = "rocksdb")]
        "rocksdb" => super::tables::rows(files.iter().chain(&store.files), store.columns.len())?,
        other => return Err(format!("state in the format of {other}")),
    };
    let mut entries = 0;
    for (rows, name) in columns.into_iter().zip(&store.columns) {
        let shape = shapes(name).ok_or_else(|| format!("a state {name:?} that the job does not have"))?;
        for (key, stored) in rows {
            let (group, key) = key.split_at_checked(2).ok_or("a key without a key group")?;
            let group = u64::from(group[0]) << 8 | u64::from(group[1]);
            if !groups.contains(&group) {
                return Err(format!("an entry of key group {group}, which the handle does not hold"));
            }
            let key = Bytes { bytes: key, at: 0 }.text()?;
            let mut bytes = Bytes { bytes: &stored, at: 0 };
            let value = value(shape, &mut bytes)?;
            if !bytes.is_empty() {
                return Err(format!("bytes behind the value of key {key} of state {name}"));
            }
            if into.entry(name.clone()).or_default().insert(key.clone(), value).is_some() {
                return Err(format!("key {key} of state {name} is there twice"));
            }
            entries += 1;
        }
    }
    Ok(entries)
}

/// What a store of sorted runs holds: for each column, newer runs over older ones.
fn runs(mut own: BTreeMap<String, Vec<u8>>, store: &Store) -> Result<Vec<Rows>, Broken> {
    let manifest = own.remove("MANIFEST").filter(|_| own.is_empty()).ok_or("something else than one manifest")?;
    let manifest = std::str::from_utf8(&manifest).map_err(|_| "a manifest that is not UTF-8".to_owned())?;
    let mut columns = Vec::new();
    for line in manifest.lines() {
        let mut rows: BTreeMap<Vec<u8>, Option<Vec<u8>>> = BTreeMap::new();
        for run in line.split(' ').skip(1).filter(|run| !run.is_empty()) {
            let file = store.files.get(run).ok_or_else(|| format!("{run} is not among the shared files"))?;
            let mut bytes = Bytes { bytes: file, at: 0 };
            if bytes.take(8)? != b"CFDRUN1\0" {
                return Err(format!("{run} is not a run"));
            }
            let _column = bytes.number(2)?;
            for _ in 0..bytes.count()? {
                let length = bytes.count()?;
                let key = bytes.take(length)?.to_vec();
                let value = if bytes.number(1)? == 0 {
                    None
                } else {
                    let length = bytes.count()?;
                    Some(bytes.take(length)?.to_vec())
                };
                rows.insert(key, value);
            }
        }
        columns.push(rows.into_iter().filter_map(|(key, value)| Some((key, value?))).collect());
    }
    Ok(columns)
}

/// Reads a whole checkpoint. `read` gives a file by its path below the job's folder; `shapes` knows how states are written.
///
/// # Errors
/// The file, and what is wrong with it.
pub fn checkpoint(
    number: u64,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>,
    shapes: &dyn Fn(&Stored<'_>) -> Option<Shape>,
) -> Result<Checkpoint, Broken> {
    snapshot(&format!("chk-{number}/_metadata"), number, read, shapes)
}

/// The same by the path of its metadata: a savepoint's files stand beside it.
///
/// # Errors
/// The file, and what is wrong with it.
pub fn snapshot(
    path: &str,
    number: u64,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>,
    shapes: &dyn Fn(&Stored<'_>) -> Option<Shape>,
) -> Result<Checkpoint, Broken> {
    let named = |broken: Broken| format!("{path}: {broken}");
    let (version, encoded) = versioned(b"CFDMETA\0", &read(path)?).map_err(named)?;
    if !(1..=4).contains(&version) {
        return Err(named(format!("version {version} is not known")));
    }
    let encoded = encoded.concat();
    let mut bytes = Bytes { bytes: &encoded, at: 0 };
    let mut checkpoint = Checkpoint { files: vec![path.to_owned()], ..Checkpoint::default() };
    metadata(&mut bytes, version, &mut checkpoint, read, shapes).map_err(named)?;
    if !bytes.is_empty() || checkpoint.number != number {
        return Err(named(format!("names itself {} or has bytes behind its end", checkpoint.number)));
    }
    Ok(checkpoint)
}

fn metadata(
    bytes: &mut Bytes<'_>,
    version: u8,
    checkpoint: &mut Checkpoint,
    read: &dyn Fn(&str) -> Result<Vec<u8>, Broken>,
    shapes: &dyn Fn(&Stored<'_>) -> Option<Shape>,
) -> Result<(), Broken> {
    let _job = bytes.text()?;
    checkpoint.number = bytes.number(8)?;
    let (_epoch, _attempt, kind) = (bytes.number(8)?, bytes.number(4)?, bytes.number(1)?);
    checkpoint.drained = kind == 2;
    for _ in 0..bytes.count()? {
        let (_hook, length) = (bytes.text()?, bytes.count()?);
        bytes.take(length)?;
    }
    for _ in 0..if version > 2 { bytes.count()? } else { 0 } {
        let (uid, length) = (bytes.text()?, bytes.count()?);
        checkpoint.enumerators.insert(uid, bytes.take(length)?.to_vec());
    }
    for _ in 0..bytes.count()? {
        let uid = bytes.text()?;
        let (parallelism, _max_parallelism) = (bytes.u32()?, bytes.number(4)?);
        let mut types = BTreeMap::new();
        for _ in 0..bytes.count()? {
            let (name, _kind) = (bytes.text()?, bytes.number(1)?);
            let (_key, _key_version, value_type, version) = (bytes.text()?, bytes.number(4)?, bytes.text()?, bytes.u32()?);
            checkpoint.versions.insert((uid.clone(), name.clone()), version);
            types.insert(name, (value_type, version));
        }
        let shapes = &|name: &str| {
            let (value_type, version) = types.get(name)?;
            shapes(&Stored { state: name, value_type, version: *version })
        };
        for _ in 0..bytes.count()? {
            let subtask = bytes.u32()?;
            let mut part = 0;
            for _ in 0..bytes.count()? {
                let (first, last) = (bytes.number(2)?, bytes.number(2)?);
                let (named, own) = place(bytes, read, &mut checkpoint.files)?;
                let layout = bytes.number(1)?;
                if layout == 0 {
                    let state = checkpoint.keyed.entry(uid.clone()).or_default();
                    part += state_file(&own, shapes, state).map_err(|broken| format!("{named}: {broken}"))?;
                } else {
                    let store = store(bytes, layout == 2, read, checkpoint)?;
                    let state = checkpoint.keyed.entry(uid.clone()).or_default();
                    part += stored(&own, &store, first..=last, shapes, state).map_err(|broken| format!("{named}: {broken}"))?;
                }
            }
            for _ in 0..bytes.count()? {
                let (name, redistribution) = (bytes.text()?, bytes.number(1)?);
                let place = (uid.clone(), subtask);
                if redistribution == BROADCAST {
                    checkpoint.broadcast.entry(place.clone()).or_default();
                }
                for _ in 0..bytes.count()? {
                    let length = bytes.count()?;
                    let mut item = Bytes { bytes: bytes.take(length)?, at: 0 };
                    part += 1;
                    if let Some(copy) = checkpoint.broadcast.get_mut(&place).filter(|_| redistribution == BROADCAST) {
                        let (key, value) = (item.text()?, item.number(8)?);
                        if copy.insert(key.clone(), value).is_some() {
                            return Err(format!("{uid} {subtask} has {key} twice in its broadcast state"));
                        }
                    }
                    if name == "splits" {
                        checkpoint.splits.push(splits::split(&mut item, Some(subtask))?);
                    }
                    if name == "positions" {
                        let (partition, offset, _newest) = (item.u32()?, item.number(8)?, item.signed()?);
                        if checkpoint.positions.entry(uid.clone()).or_default().insert(partition, offset).is_some() {
                            return Err(format!("two subtasks of {uid} read partition {partition}"));
                        }
                    }
                }
            }
            for _ in 0..if version > 1 { bytes.count()? } else { 0 } {
                let edge = bytes.text()?;
                let (named, file) = place(bytes, read, &mut checkpoint.files)?;
                blocks(b"CFDSTATE", &file).map_err(|broken| format!("{named}: {broken}"))?;
                let in_flight = InFlight { edge, records: bytes.number(8)?, file };
                checkpoint.in_flight.entry((uid.clone(), subtask)).or_default().push(in_flight);
            }
            if checkpoint.parts.insert((uid.clone(), subtask), part).is_some() {
                return Err(format!("{uid} has two parts of subtask {subtask}"));
            }
        }
        if version > 3 {
            finished::read(bytes, &uid, parallelism, checkpoint)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
