//! An idempotent keyed table as files: the last value of a key wins, so records that come again change nothing.
//!
//! Between barriers rows are kept in memory. At a barrier the changed ones become a segment file
//! `<dir>/_pending/<uid>-<subtask>.<epoch>.<attempt>.<hand-over>`, written under a temporary name, synced, renamed, and
//! durable before the checkpoint is acknowledged. Names sort by attempt, then by when the rows were handed over: the rows of a fenced attempt
//! lose against those of the attempt that replaced it, which writes each of these keys again. When all input is taken,
//! the segments are merged over what is there into `<dir>/<uid>-<subtask>`, lines of `key<TAB>value`.

use super::{files, ConnectorError, Flush, Place, Sink};
use crate::env::{Env, File, Files};
use crate::state::key::{Key, StateKey};
use crate::state::paged::PagedTable;
use cofferdam_protocol::CheckpointId;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{Display, Write};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

/// The folder of segments below the output folder.
pub const PENDING: &str = "_pending";

/// This many segments are merged into one.
const SEGMENTS_MAX: usize = 16;

/// What flushes share with the sink. Locked a few times per checkpoint.
struct Shared<K, V> {
    /// Rows handed over and not yet durable, by the number of their hand-over.
    unwritten: Vec<(u64, Arc<BTreeMap<K, V>>)>,
    /// Names of this subtask's segments, oldest first.
    segments: BTreeSet<String>,
}

/// One flush at a time. Why: two that merge the same segments would each miss what the other has removed, and the older value
/// of a key could end up in the newer segment.
type Turn = Arc<tokio::sync::Mutex<()>>;

/// The table. `K` and `V` are written by their `Display`, which must not contain a tab or a line end.
pub struct UpsertSink<K: StateKey, V> {
    folder: String,
    uid: String,
    changed: PagedTable<K, V>,
    shared: Arc<Mutex<Shared<K, V>>>,
    turn: Turn,
    handed_over: u64,
    place: Option<Place>,
}

impl<K: StateKey, V: Clone> UpsertSink<K, V> {
    /// Files go to `folder`, named after `uid`.
    #[must_use]
    pub fn new(folder: &str, uid: &str) -> Self {
        let (folder, uid) = (folder.to_owned(), uid.to_owned());
        Self {
            folder,
            uid,
            changed: PagedTable::default(),
            shared: Arc::new(Mutex::new(Shared { unwritten: Vec::new(), segments: BTreeSet::new() })),
            turn: Turn::default(),
            handed_over: 0,
            place: None,
        }
    }

    fn place(&self) -> Place {
        self.place.expect("a sink is opened before it is used")
    }

    /// Moves the changed rows to where a failed write leaves them for the next one.
    fn hand_over(&mut self) {
        let rows: BTreeMap<K, V> = self.changed.iter().map(|(key, value)| (key.clone(), value.clone())).collect();
        self.changed = PagedTable::default();
        if !rows.is_empty() {
            self.handed_over += 1;
            lock(&self.shared).unwritten.push((self.handed_over, Arc::new(rows)));
        }
    }

    fn attempt_name(&self) -> String {
        let place = self.place();
        let (epoch, number) = (place.attempt.epoch.0, place.attempt.number);
        format!("{}-{:05}.{epoch:010}.{number:010}", self.uid, place.subtask.0)
    }

    fn pending(&self) -> String {
        format!("{}/{PENDING}", self.folder)
    }

    fn work<E: Env>(&self, env: &E) -> Work<E, K, V> {
        Work {
            turn: self.turn.clone(),
            own: format!("{}.", self.final_name()),
            env: env.clone(),
            pending: self.pending(),
            attempt: self.attempt_name(),
            shared: self.shared.clone(),
        }
    }

    fn final_name(&self) -> String {
        format!("{}-{:05}", self.uid, self.place().subtask.0)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    // What is guarded is valid at every step.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn read_text<E: Env>(env: &E, path: &str) -> Result<Option<String>, ConnectorError> {
    let file = match env.files().open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(ConnectorError::io(path)(error)),
    };
    // Most segments are small, and clearing a large buffer takes longer than reading one of them.
    let (mut bytes, mut piece) = (Vec::new(), 16 << 10);
    loop {
        let held = bytes.len();
        bytes.resize(held + piece, 0);
        let read = file.read_at(held as u64, &mut bytes[held..]).await.map_err(ConnectorError::io(path))?;
        bytes.truncate(held + read);
        piece = (piece * 2).min(1 << 20);
        if read == 0 {
            break;
        }
    }
    String::from_utf8(bytes).map(Some).map_err(|_| ConnectorError::Invalid { path: path.to_owned(), what: "not UTF-8".into() })
}

fn rows_as_text<K: Display, V: Display>(rows: &BTreeMap<K, V>, path: &str) -> Result<String, ConnectorError> {
    let mut text = String::new();
    for (key, value) in rows {
        let start = text.len();
        write!(text, "{key}\t{value}").expect("writing to a String does not fail");
        let line = &text[start..];
        if line.contains('\n') || line.matches('\t').count() != 1 {
            return Err(ConnectorError::Invalid {
                path: path.to_owned(),
                what: format!("the row {line:?} has a tab or a line end inside"),
            });
        }
        text.push('\n');
    }
    Ok(text)
}

fn merge(into: &mut BTreeMap<String, String>, text: &str, path: &str) -> Result<(), ConnectorError> {
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(ConnectorError::Invalid { path: path.to_owned(), what: "it ends in the middle of a row".into() });
    }
    for line in text.lines() {
        let Some((key, value)) = line.split_once('\t') else {
            return Err(ConnectorError::Invalid { path: path.to_owned(), what: format!("{line:?} is not key<TAB>value") });
        };
        into.insert(key.to_owned(), value.to_owned());
    }
    Ok(())
}

/// What a flush works on.
struct Work<E, K, V> {
    turn: Turn,
    /// What the names of this subtask's segments begin with.
    own: String,
    env: E,
    pending: String,
    /// What the names of this attempt's segments begin with.
    attempt: String,
    shared: Arc<Mutex<Shared<K, V>>>,
}

impl<E: Env, K: StateKey + Display, V: Clone + Display> Work<E, K, V> {
    /// This subtask's segments as they are on disk, oldest first.
    async fn list(&self) -> Result<BTreeSet<String>, ConnectorError> {
        let mut names = self.env.files().list(&self.pending).await.map_err(ConnectorError::io(&self.pending))?;
        names.retain(|name| name.starts_with(&self.own) && !name.ends_with(".tmp"));
        Ok(names.into_iter().collect())
    }

    /// Reads these segments, later ones over earlier ones. `false` if one is gone: a fenced attempt of this subtask still runs
    /// somewhere and has merged it into another one.
    async fn read(&self, segments: &BTreeSet<String>, rows: &mut BTreeMap<String, String>) -> Result<bool, ConnectorError> {
        for name in segments {
            let path = format!("{}/{name}", self.pending);
            match read_text(&self.env, &path).await? {
                Some(text) => merge(rows, &text, &path)?,
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    /// Removes segments that a newer file holds the rows of. Oldest first: what a crash leaves are the newest ones, and
    /// merging these again changes nothing.
    async fn remove(&self, segments: &BTreeSet<String>) -> Result<(), ConnectorError> {
        for name in segments {
            let path = format!("{}/{name}", self.pending);
            match self.env.files().remove(&path).await {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(ConnectorError::io(&path)(error)),
            }
            lock(&self.shared).segments.remove(name);
        }
        Ok(())
    }

    /// Writes everything handed over so far as one segment, and forgets it only then.
    async fn flush(&self) -> Result<u64, ConnectorError> {
        let _turn = self.turn.lock().await;
        self.write_segment().await
    }

    async fn write_segment(&self) -> Result<u64, ConnectorError> {
        let (parts, segments) = {
            let shared = lock(&self.shared);
            (shared.unwritten.clone(), shared.segments.clone())
        };
        let Some((newest, _)) = parts.last() else { return Ok(0) };
        // By hand-over, not by checkpoint: the flush of an older checkpoint may be the one that writes the younger rows.
        let name = format!("{}.{newest:019}", self.attempt);
        let mut rows = BTreeMap::new();
        for (_, part) in &parts {
            rows.extend(part.iter());
        }
        let mut text = rows_as_text(&rows, &name)?;
        let mut full = segments.len() >= SEGMENTS_MAX;
        if full {
            let mut merged = BTreeMap::new();
            full = self.read(&segments, &mut merged).await?;
            if full {
                merge(&mut merged, &text, &name)?;
                text = rows_as_text(&merged, &name)?;
            } else {
                let listed = self.list().await?;
                lock(&self.shared).segments = listed;
            }
        }
        files::publish(&self.env, &self.pending, &name, &format!("{name}.tmp"), &text).await?;
        {
            let mut shared = lock(&self.shared);
            shared.unwritten.retain(|(number, _)| number > newest);
            shared.segments.insert(name);
        }
        if full {
            self.remove(&segments).await?;
        }
        Ok(text.len() as u64)
    }

    /// Merges all segments over the finished part that an earlier attempt may have left.
    async fn finish(&self, folder: &str, final_name: &str) -> Result<u64, ConnectorError> {
        let _turn = self.turn.lock().await;
        self.write_segment().await?;
        let (rows, segments) = loop {
            let segments = self.list().await?;
            let mut rows = BTreeMap::new();
            if let Some(text) = read_text(&self.env, &format!("{folder}/{final_name}")).await? {
                merge(&mut rows, &text, final_name)?;
            }
            if self.read(&segments, &mut rows).await? {
                break (rows, segments);
            }
        };
        let text = rows_as_text(&rows, final_name)?;
        files::publish(&self.env, folder, final_name, &format!("{final_name}.tmp"), &text).await?;
        self.remove(&segments).await?;
        Ok(text.len() as u64)
    }
}

impl<K: StateKey + Display, V: Clone + Display + Send + Sync + 'static> Sink for UpsertSink<K, V> {
    type In = (K, V);

    async fn open<E: Env>(&mut self, env: &E, place: Place) -> Result<(), ConnectorError> {
        self.place = Some(place);
        let pending = self.pending();
        files::make_folder(env, &self.folder).await?;
        files::make_folder(env, &pending).await?;
        let listed = self.work(env).list().await?;
        lock(&self.shared).segments = listed;
        Ok(())
    }

    fn accept(&mut self, records: &mut Vec<(K, V)>) {
        for (key, value) in records.drain(..) {
            let mut fresh = Some(value);
            let slot = self.changed.entry_or_insert_with(&Key::new(&key), || fresh.take().expect("taken once"));
            if let Some(value) = fresh {
                *slot = value;
            }
        }
    }

    fn flush<E: Env>(&mut self, env: &E, _: CheckpointId) -> Option<Flush> {
        self.hand_over();
        let work = self.work(env);
        Some(Box::pin(async move { work.flush().await }))
    }

    fn finish<E: Env>(&mut self, env: &E) -> Option<Flush> {
        self.hand_over();
        let work = self.work(env);
        let (folder, final_name) = (self.folder.clone(), self.final_name());
        Some(Box::pin(async move { work.finish(&folder, &final_name).await }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Text for whoever reads the table, without a checksum: a cut between two rows, and a bent value, are other rows.
        #[test]
        fn rows_come_back_and_a_row_that_is_cut_is_an_error(rows in prop::collection::btree_map("[a-z]{1,4}", 0..1000_u64, 1..6)) {
            let text = rows_as_text(&rows, "segment").expect("no tabs or line ends");
            for length in 0..=text.len() {
                let mut read = BTreeMap::new();
                let outcome = merge(&mut read, &text[..length], "segment");
                let whole = length == 0 || text[..length].ends_with('\n');
                prop_assert_eq!(outcome.is_ok(), whole, "{}", length);
            }
            for bit in 0..text.len() * 8 {
                let mut bent = text.clone().into_bytes();
                bent[bit / 8] ^= 1 << (bit % 8);
                let Ok(bent) = String::from_utf8(bent) else { continue };
                let mut read = BTreeMap::new();
                if merge(&mut read, &bent, "segment").is_ok() {
                    prop_assert!(read.iter().map(|(key, value)| format!("{key}\t{value}\n")).collect::<String>() != text, "bit {}", bit);
                }
            }
        }
    }
}
