//! A folder whose files are the input, read line by line: those that are there, or all that ever appear.
//!
//! A file must be whole when it appears: write it under a name that begins with `.` or `_`, which is not looked at, and rename it. It must
//! not change after that, and stay until no checkpoint needs it any more. Large files are cut into several splits. Folders inside are
//! not looked into.
//!
//! A name stands for one file for ever: the enumerator remembers all of them, so that none is read twice.
//!
//! Whoever fills the folder may say that it is done with a file called [`SUCCESS`]: then the input ends with what is there.

use super::log_source::{cut_lines, Coming, Fetched, Partition};
use super::split::{Readers, Reading, SplitEnumerator, SplitReader};
use super::ConnectorError;
use crate::channel::BoxFuture;
use crate::env::{Env, File, Files};
use bytes::Bytes;
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use cofferdam_protocol::SubtaskIndex;
use std::any::Any;
use std::collections::{BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::Duration;

/// The name of the file that says that no other will appear, as of old.
pub const SUCCESS: &str = "_SUCCESS";

/// How a folder is read.
#[derive(Clone, Debug)]
pub struct FolderSettings {
    /// As the coordinator and the workers see it.
    pub folder: String,
    /// How long after each look the next one follows, until the folder is done. `None`: what is there at the first look is all.
    pub watch: Option<Duration>,
    /// Larger files are cut into splits of about this size.
    pub split_bytes: u64,
    /// How much is read, and goes through the chain, at once.
    pub chunk_bytes: usize,
    /// Waits this long before each chunk: a bounded rate.
    pub pace: Option<Duration>,
}

/// A part of a file: the lines whose first bytes are in it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileSplit {
    /// The name within the folder.
    pub name: String,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
    /// Where the next line is looked for.
    pub offset: u64,
}

impl Stored for FileSplit {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        (self.start, self.end, self.offset).write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let name = String::read(input)?;
        let at = input.offset();
        let (start, end, offset) = <(u64, u64, u64)>::read(input)?;
        if start > end || offset < start {
            let what = format!("{offset} is not a position between {start} and {end}");
            return Err(StoredError::Invalid { offset: at, what });
        }
        Ok(Self { name, start, end, offset })
    }
}

/// Finds files, and gives each to one reader.
pub struct FolderEnumerator {
    settings: FolderSettings,
    /// Every name that was ever found.
    known: Arc<BTreeSet<String>>,
    /// Found, and nobody's yet.
    unassigned: VecDeque<FileSplit>,
    /// There is no more to be found.
    complete: bool,
    /// There was a look in this life of it.
    looked: bool,
    /// Readers that have asked and not been answered. Not part of its state: they ask again.
    asking: BTreeSet<SubtaskIndex>,
}

impl FolderEnumerator {
    /// Nothing is found yet.
    #[must_use]
    pub fn new(settings: FolderSettings) -> Self {
        Self { settings, known: Arc::default(), unassigned: VecDeque::new(), complete: false, looked: false, asking: BTreeSet::new() }
    }

    fn answer(&mut self, readers: &mut Readers<FileSplit>) {
        while let Some(&reader) = self.asking.first() {
            match self.unassigned.pop_front() {
                Some(split) => readers.assign(reader, &split),
                None if self.complete => readers.no_more(reader),
                None => return,
            }
            self.asking.remove(&reader);
        }
    }
}

/// What a look has found.
pub struct Listing {
    /// The names of new files with their sizes.
    new: Vec<(String, u64)>,
    /// No other will appear.
    done: bool,
}

async fn look<E: Env>(env: &E, folder: &str, known: &BTreeSet<String>) -> Result<Listing, ConnectorError> {
    let files = env.files();
    let mut names = files.list(folder).await.map_err(ConnectorError::io(folder))?;
    let done = names.iter().any(|name| name == SUCCESS);
    if done {
        // Why again: a listing takes its time, and may have missed what came before that.
        names = files.list(folder).await.map_err(ConnectorError::io(folder))?;
    }
    let mut new = Vec::new();
    for name in names {
        if name.starts_with(['.', '_']) || known.contains(&name) {
            continue;
        }
        let path = format!("{folder}/{name}");
        if files.list(&path).await.is_ok() {
            // A folder.
            continue;
        }
        match files.open(&path).await {
            Ok(file) => new.push((name, file.size().await.map_err(ConnectorError::io(&path))?)),
            // Gone meanwhile: it never appeared.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(ConnectorError::io(&path)(error)),
        }
    }
    Ok(Listing { new, done })
}

impl<E: Env> SplitEnumerator<E> for FolderEnumerator {
    type Split = FileSplit;
    type Found = Listing;

    fn restore(&mut self, state: &[u8]) -> Result<(), StoredError> {
        let mut input = Reader::new(state, 0);
        let (complete, known, unassigned) = (bool::read(&mut input)?, Vec::<String>::read(&mut input)?, Vec::read(&mut input)?);
        input.finish("the state of a folder's enumerator")?;
        (self.complete, self.known, self.unassigned) = (complete, Arc::new(known.into_iter().collect()), VecDeque::from(unassigned));
        Ok(())
    }

    fn state(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.complete.write(&mut out);
        let known: Vec<String> = self.known.iter().cloned().collect();
        known.write(&mut out);
        let unassigned: Vec<FileSplit> = self.unassigned.iter().cloned().collect();
        unassigned.write(&mut out);
        out
    }

    fn look_after(&self) -> Option<Duration> {
        match self.settings.watch {
            None | Some(_) if self.complete => None,
            Some(watch) if self.looked => Some(watch),
            None | Some(_) => Some(Duration::ZERO),
        }
    }

    fn look(&self, env: &E) -> BoxFuture<'static, Result<Self::Found, ConnectorError>> {
        let (env, folder, known) = (env.clone(), self.settings.folder.clone(), self.known.clone());
        Box::pin(async move { look(&env, &folder, &known).await })
    }

    fn found(&mut self, found: Self::Found, readers: &mut Readers<FileSplit>) -> u64 {
        let before = self.unassigned.len();
        let known = Arc::make_mut(&mut self.known);
        for (name, size) in found.new {
            if known.insert(name.clone()) && size > 0 {
                let count = u32::try_from(size.div_ceil(self.settings.split_bytes.max(1))).unwrap_or(u32::MAX);
                let split = |Partition { path, start, end }| FileSplit { name: path, start, end, offset: start };
                self.unassigned.extend(Partition::cut(&name, size, count).into_iter().map(split));
            }
        }
        (self.looked, self.complete) = (true, found.done || self.settings.watch.is_none());
        let count = self.unassigned.len() - before;
        self.answer(readers);
        count as u64
    }

    fn requested(&mut self, reader: SubtaskIndex, readers: &mut Readers<FileSplit>) {
        self.asking.insert(reader);
        self.answer(readers);
    }
}

struct Open {
    split: FileSplit,
    /// Once it is open: an `Arc` of the environment's file, whose type is only known with the environment.
    file: Option<Arc<dyn Any + Send + Sync>>,
}

/// Reads the splits of one subtask, one after the other. Gives lines without their line ends.
pub struct FolderReader {
    settings: FolderSettings,
    reading: VecDeque<Open>,
    /// The chunk of the first split that is on its way: a call of `next` may be dropped at any time, and a slow disk must not begin anew.
    coming: Option<Coming>,
    /// When it is due, for the same reason.
    due: Option<Duration>,
}

impl FolderReader {
    /// One instance per subtask.
    #[must_use]
    pub fn new(settings: FolderSettings) -> Self {
        Self { settings, reading: VecDeque::new(), coming: None, due: None }
    }
}

impl SplitReader for FolderReader {
    type Split = FileSplit;
    type Out = Bytes;

    fn add(&mut self, split: FileSplit) {
        self.reading.push_back(Open { split, file: None });
    }

    fn splits(&self) -> Vec<FileSplit> {
        self.reading.iter().map(|open| open.split.clone()).collect()
    }

    async fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Bytes>) -> Result<Reading, ConnectorError> {
        let Some(first) = self.reading.front_mut() else { return Ok(Reading::Idle) };
        if let Some(pace) = self.settings.pace {
            let due = *self.due.get_or_insert_with(|| env.now() + pace);
            let wait = due.saturating_sub(env.now());
            if !wait.is_zero() {
                env.sleep(wait).await;
            }
        }
        let FileSplit { name, start, end, offset } = &first.split;
        let coming = self.coming.get_or_insert_with(|| {
            let partition = Partition { path: format!("{}/{name}", self.settings.folder), start: *start, end: *end };
            Coming::begin(env, first.file.clone(), partition, *offset, (self.settings.chunk_bytes, false))
        });
        let Fetched { file, chunk } = coming.fetched().await?;
        // From here on nothing waits: records and positions advance together.
        (self.coming, self.due) = (None, None);
        first.file = Some(file);
        first.split.offset = chunk.next_offset;
        let done = chunk.next_offset >= first.split.end || chunk.at_end_of_file;
        cut_lines(&chunk.text, out);
        if done {
            self.reading.pop_front();
        }
        Ok(if self.reading.is_empty() { Reading::Idle } else { Reading::More })
    }
}

#[cfg(all(test, feature = "real"))]
mod tests;
