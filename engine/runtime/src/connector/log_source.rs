//! A replayable partitioned log: text files cut into partitions, read line by line. Positions are operator state.

use super::{ConnectorError, Place, Polled, Source};
use crate::env::{Env, File, Files};
use crate::record::{EventTime, END_OF_TIME};
use crate::watermark::WatermarkStatus;
use bytes::Bytes;
use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The name of the operator state. One item per partition: its number, the offset of the next line, the largest event time, and
/// the partition's first byte and the one behind its last: a log that has grown since is cut elsewhere by now.
pub const POSITIONS: &str = "positions";

/// No line is longer: a file without line ends must not fill the memory.
pub const LINE_LIMIT_BYTES: usize = 16 << 20;

/// A part of a file. A line belongs to the partition that its first byte is in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// The file.
    pub path: String,
    /// The first byte.
    pub start: u64,
    /// The byte behind the last.
    pub end: u64,
}

impl Partition {
    /// Cuts a file into `count` parts of about the same size.
    #[must_use]
    pub fn cut(path: &str, size: u64, count: u32) -> Vec<Self> {
        let edge = |index: u32| u64::try_from(u128::from(size) * u128::from(index) / u128::from(count.max(1))).expect("at most the size");
        (0..count.max(1)).map(|index| Self { path: path.to_owned(), start: edge(index), end: edge(index + 1) }).collect()
    }
}

/// How event times are read, and how far out of order they may be.
#[derive(Clone, Copy)]
pub struct EventTimes {
    /// Milliseconds of a line.
    pub of_line: fn(&[u8]) -> EventTime,
    /// A line may be this much older than one before it in the same partition.
    pub disorder_ms: i64,
    /// A partition that has had nothing for so long is not waited for, until it has (Flink: `withIdleness`). Only of use where a log is
    /// followed: elsewhere a partition always has something, or has come to its end.
    pub idle_after: Option<Duration>,
}

/// How the log is read.
#[derive(Clone)]
pub struct LogSettings {
    /// All partitions, in an order that never changes: their index is their name.
    pub partitions: Arc<Vec<Partition>>,
    /// How much is read, and goes through the chain, at once.
    pub chunk_bytes: usize,
    /// Waits this long before each chunk: a bounded rate.
    pub pace: Option<Duration>,
    /// For jobs in event time.
    pub event_times: Option<EventTimes>,
    /// With more than this left to read in some partition, the source says that it is behind.
    pub backlog_bytes: Option<u64>,
    /// The log is still being written: where a file ends before its partition does, it is looked at again, after so long if there is
    /// nothing to read anywhere. Lines are read when they are whole.
    pub follow: Option<Duration>,
}

struct Reading {
    index: u32,
    partition: Partition,
    offset: u64,
    newest: EventTime,
    /// Once it is open: an `Arc` of the environment's file, whose type is only known with the environment.
    file: Option<Arc<dyn Any + Send + Sync>>,
    done: bool,
    /// Since when it was asked for more and had nothing.
    dry_since: Option<Duration>,
    /// Not waited for.
    idle: bool,
}

impl Reading {
    /// It has been asked, and has given so much.
    fn asked(&mut self, now: Duration, given: bool, idle_after: Option<Duration>) {
        let since = if given || self.done { None } else { Some(self.dry_since.unwrap_or(now)) };
        self.dry_since = since;
        self.idle = idle_after.zip(since).is_some_and(|(idle_after, since)| now.saturating_sub(since) >= idle_after);
    }
}

/// Reads the partitions that fall to its subtask, in turn. Gives lines without their line ends.
pub struct LogSource {
    settings: LogSettings,
    reading: Vec<Reading>,
    turn: usize,
    /// The chunk that is being read, for the same reason as `due`: a slow disk must not begin anew at each control message.
    coming: Option<Coming>,
    /// When the next chunk is due, while it is waited for. Kept here, because a call of `next` is given up whenever the subtask
    /// has something more urgent to do, and frequent checkpoints must not make it wait anew each time.
    due: Option<Duration>,
}

/// A read on its way, in a task of its own.
pub(super) struct Coming {
    /// Ends the read when dropped.
    _task: Box<dyn Any + Send + Sync>,
    chunk: oneshot::Receiver<Result<Fetched, ConnectorError>>,
}

/// The file, now open, and what was read from it.
pub(super) struct Fetched {
    pub(super) file: Arc<dyn Any + Send + Sync>,
    pub(super) chunk: Chunk,
}

impl Coming {
    /// Begins to read a chunk of a partition, of a file that may be open already: of so many bytes, and whether the file still grows.
    pub(super) fn begin<E: Env>(
        env: &E,
        file: Option<Arc<dyn Any + Send + Sync>>,
        partition: Partition,
        offset: u64,
        reading: (usize, bool),
    ) -> Self {
        let (sender, chunk) = oneshot::channel();
        let reader = env.clone();
        let task = env.spawn("read log", async move {
            // The source is gone: nobody to tell.
            let _ = sender.send(fetch(&reader, file, &partition, offset, reading).await);
        });
        Self { _task: Box::new(task), chunk }
    }

    /// What was read. Loses nothing when dropped before.
    pub(super) async fn fetched(&mut self) -> Result<Fetched, ConnectorError> {
        match (&mut self.chunk).await {
            Ok(fetched) => fetched,
            // The task answers before it ends, unless the whole process is being stopped: nothing will come any more.
            Err(_) => std::future::pending().await,
        }
    }
}

impl LogSource {
    /// One instance per subtask.
    #[must_use]
    pub fn new(settings: LogSettings) -> Self {
        Self { settings, reading: Vec::new(), turn: 0, coming: None, due: None }
    }

    /// Begins to read the next chunk of the partition whose turn it is.
    fn fetch<E: Env>(&self, env: &E, turn: usize) -> Coming {
        let Reading { partition, offset, file, .. } = &self.reading[turn];
        let reading = (self.settings.chunk_bytes, self.settings.follow.is_some());
        Coming::begin(env, file.clone(), partition.clone(), *offset, reading)
    }
}

async fn fetch<E: Env>(
    env: &E,
    file: Option<Arc<dyn Any + Send + Sync>>,
    partition: &Partition,
    offset: u64,
    (chunk_bytes, follow): (usize, bool),
) -> Result<Fetched, ConnectorError> {
    let open = file.and_then(|file| file.downcast::<<E::Files as Files>::File>().ok());
    let file = match open {
        Some(file) => file,
        None => Arc::new(env.files().open(&partition.path).await.map_err(ConnectorError::io(&partition.path))?),
    };
    let mut chunk = read_lines(file.as_ref(), partition, offset, chunk_bytes).await?;
    let is_whole = !chunk.text.is_empty() && chunk.next_offset >= partition.end;
    if follow && chunk.at_end_of_file && offset < partition.end && !is_whole {
        // The rest is still to be written, of the line or of all.
        chunk = Chunk { text: Bytes::new(), next_offset: offset, at_end_of_file: false };
    }
    Ok(Fetched { file, chunk })
}

type Position = (u32, u64, i64, (u64, u64));

fn positions(restored: &[ListState]) -> Result<BTreeMap<u32, Position>, StoredError> {
    let mut found = BTreeMap::new();
    for item in restored.iter().filter(|list| list.name == POSITIONS).flat_map(|list| &list.items) {
        let mut reader = Reader::new(item, 0);
        let position = Position::read(&mut reader)?;
        reader.finish("a position")?;
        found.insert(position.0, position);
    }
    Ok(found)
}

impl Source for LogSource {
    type Out = Bytes;

    async fn open<E: Env>(&mut self, _: &E, place: Place, restored: Option<&[ListState]>) -> Result<(), ConnectorError> {
        let partitions = self.settings.partitions.clone();
        let mine: BTreeMap<u32, Position> = match restored {
            Some(lists) => positions(lists).map_err(|source| ConnectorError::State { name: POSITIONS.into(), source })?,
            None => {
                let all = (0_u32..).zip(partitions.iter());
                all.filter(|(index, _)| index % place.parallelism == place.subtask.0)
                    .map(|(index, partition)| (index, (index, partition.start, EventTime::MIN, (partition.start, partition.end))))
                    .collect()
            }
        };
        self.reading.clear();
        for (index, (_, offset, newest, (start, end))) in mine {
            let Some(Partition { path, .. }) = partitions.get(index as usize).cloned() else {
                let what = format!("partition {index} is in the checkpoint, but the log has only {}", partitions.len());
                return Err(ConnectorError::State { name: POSITIONS.into(), source: StoredError::Invalid { offset: 0, what } });
            };
            self.reading.push(Reading {
                index,
                partition: Partition { path, start, end },
                offset,
                newest,
                file: None,
                done: false,
                dry_since: None,
                idle: false,
            });
        }
        Ok(())
    }

    async fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Bytes>) -> Result<Polled, ConnectorError> {
        if self.reading.iter().all(|reading| reading.done) {
            return Ok(Polled::Drained);
        }
        let all_dry = self.reading.iter().all(|reading| reading.done || reading.dry_since.is_some());
        if let Some(pace) = self.settings.pace.max(self.settings.follow.filter(|_| all_dry)) {
            let due = *self.due.get_or_insert_with(|| env.now() + pace);
            let wait = due.saturating_sub(env.now());
            if !wait.is_zero() {
                env.sleep(wait).await;
            }
        }
        while self.reading[self.turn % self.reading.len()].done {
            self.turn += 1;
        }
        let turn = self.turn % self.reading.len();
        if self.coming.is_none() {
            self.coming = Some(self.fetch(env, turn));
        }
        let fetched = self.coming.as_mut().expect("begun just now, or earlier").fetched().await;
        // From here on nothing waits: records and positions advance together.
        self.coming = None;
        self.due = None;
        let Fetched { file, chunk } = fetched?;
        let reading = &mut self.reading[turn];
        reading.file = Some(file);
        let before = out.len();
        reading.offset = chunk.next_offset;
        reading.done = chunk.next_offset >= reading.partition.end || chunk.at_end_of_file;
        cut_lines(&chunk.text, out);
        if let Some(times) = self.settings.event_times {
            for line in &out[before..] {
                reading.newest = reading.newest.max((times.of_line)(line));
            }
        }
        let given = out.len() > before;
        reading.asked(env.now(), given, self.settings.event_times.and_then(|times| times.idle_after));
        self.turn = turn + 1;
        Ok(if self.reading.iter().all(|reading| reading.done) { Polled::Drained } else { Polled::More })
    }

    fn is_behind(&self) -> bool {
        let left = |reading: &Reading| if reading.done { 0 } else { reading.partition.end.saturating_sub(reading.offset) };
        self.settings.backlog_bytes.is_some_and(|limit| self.reading.iter().any(|reading| left(reading) > limit))
    }

    fn watermark(&self) -> EventTime {
        let Some(times) = self.settings.event_times else { return EventTime::MIN };
        let read = self.reading.iter().filter(|reading| !reading.done);
        let waited_for = read.clone().filter(|reading| !reading.idle).map(|reading| reading.newest.saturating_sub(times.disorder_ms));
        waited_for.min().unwrap_or(if read.count() == 0 { END_OF_TIME } else { EventTime::MIN })
    }

    fn watermark_status(&self) -> WatermarkStatus {
        let mut left = self.reading.iter().filter(|reading| !reading.done).peekable();
        if left.peek().is_some() && left.all(|reading| reading.idle) {
            WatermarkStatus::Idle
        } else {
            WatermarkStatus::Active
        }
    }

    fn lists(&self) -> Vec<ListState> {
        let item = |reading: &Reading| {
            let mut bytes = Vec::new();
            let Reading { index, partition, offset, newest, .. } = reading;
            (*index, *offset, *newest, (partition.start, partition.end)).write(&mut bytes);
            bytes
        };
        let items = self.reading.iter().map(item).collect();
        vec![ListState { name: POSITIONS.into(), redistribution: Redistribution::Split, items }]
    }
}

/// Whole lines.
pub(super) struct Chunk {
    pub(super) text: Bytes,
    pub(super) next_offset: u64,
    pub(super) at_end_of_file: bool,
}

/// Appends the lines of a text without their line ends.
pub(super) fn cut_lines(text: &Bytes, out: &mut Vec<Bytes>) {
    let mut start = 0;
    while start < text.len() {
        let end = memchr(&text[start..]).map_or(text.len(), |at| start + at);
        let line = if end > start && text[end - 1] == b'\r' { text.slice(start..end - 1) } else { text.slice(start..end) };
        out.push(line);
        start = end + 1;
    }
}

fn memchr(bytes: &[u8]) -> Option<usize> {
    bytes.iter().position(|byte| *byte == b'\n')
}

/// Reads whole lines from an offset on: at least one if there is one, about `chunk_bytes` of them.
async fn read_lines<F: File>(file: &F, partition: &Partition, from: u64, chunk_bytes: usize) -> Result<Chunk, ConnectorError> {
    let Partition { path, start, end } = partition;
    let mut offset = from;
    // At the very start of a later partition the first line may belong to the one before: look one byte back, and skip to
    // behind the next line end.
    let mut skip = offset == *start && *start > 0;
    if skip {
        offset -= 1;
    }
    let mut text = Vec::new();
    loop {
        let held = text.len();
        if held > LINE_LIMIT_BYTES {
            return Err(ConnectorError::Invalid {
                path: path.clone(),
                what: format!("the line at {offset} is over {LINE_LIMIT_BYTES} bytes"),
            });
        }
        text.resize(held + chunk_bytes.max(1), 0);
        let read = file.read_at(offset + held as u64, &mut text[held..]).await.map_err(ConnectorError::io(path))?;
        text.truncate(held + read);
        let at_end_of_file = read == 0;
        if skip {
            if let Some(at) = memchr(&text) {
                text.drain(..=at);
                offset += at as u64 + 1;
                skip = false;
            } else if at_end_of_file {
                return Ok(Chunk { text: Bytes::new(), next_offset: (*end).max(offset), at_end_of_file });
            } else {
                continue;
            }
        }
        if offset >= *end {
            return Ok(Chunk { text: Bytes::new(), next_offset: offset, at_end_of_file });
        }
        // Lines that begin at or behind `end` are the next partition's.
        let within = usize::try_from(*end - offset).unwrap_or(usize::MAX);
        let last_own = if text.len() > within { memchr(&text[within - 1..]).map(|at| within + at) } else { None };
        let keep = match last_own {
            Some(behind) => Some(behind),
            None if text.len() > within && !at_end_of_file => None,
            None => text.iter().rposition(|byte| *byte == b'\n').map(|at| at + 1),
        };
        match keep {
            Some(keep) if keep > 0 => {
                text.truncate(keep);
                return Ok(Chunk { next_offset: offset + keep as u64, text: text.into(), at_end_of_file: false });
            }
            Some(_) | None if at_end_of_file => {
                let next_offset = offset + text.len() as u64;
                return Ok(Chunk { text: text.into(), next_offset, at_end_of_file: true });
            }
            Some(_) | None => {}
        }
    }
}

#[cfg(all(test, feature = "real"))]
mod tests {
    use super::*;
    use crate::env::real::RealEnv;
    use cofferdam_protocol::{AttemptId, SubtaskIndex};
    use proptest::prelude::*;

    async fn read_all(source: &mut LogSource, env: &RealEnv) -> Vec<String> {
        let mut lines = Vec::new();
        loop {
            let mut out = Vec::new();
            let polled = source.next(env, &mut out).await.expect("readable");
            lines.extend(out.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
            if polled == Polled::Drained {
                return lines;
            }
        }
    }

    fn place(subtask: u32, parallelism: u32) -> Place {
        Place { subtask: SubtaskIndex(subtask), parallelism, attempt: AttemptId::default() }
    }

    /// One partition of `bytes` bytes of a log that is still being written, restored or not.
    async fn following(env: &RealEnv, path: &str, bytes: u64, restored: Option<&[ListState]>) -> LogSource {
        let times = EventTimes { of_line: |line| line.len() as i64, disorder_ms: 1, idle_after: Some(Duration::ZERO) };
        let mut source = LogSource::new(LogSettings {
            partitions: Arc::new(vec![Partition { path: path.into(), start: 0, end: bytes }]),
            chunk_bytes: 3,
            pace: None,
            event_times: Some(times),
            backlog_bytes: None,
            follow: Some(Duration::from_millis(1)),
        });
        source.open(env, place(0, 1), restored).await.expect("opens");
        source
    }

    async fn next_line(source: &mut LogSource, env: &RealEnv) -> (Vec<Bytes>, Polled) {
        let mut out = Vec::new();
        let polled = source.next(env, &mut out).await.expect("readable");
        (out, polled)
    }

    #[tokio::test]
    async fn a_log_that_is_still_being_written_is_read_by_whole_lines_up_to_its_end() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, env) = (folder.path().join("log").to_str().expect("UTF-8").to_owned(), RealEnv::default());
        std::fs::write(
            &path, "one
thr",
        )
        .expect("written");
        let mut source = following(&env, &path, 10, None).await;
        assert_eq!(next_line(&mut source, &env).await, (vec![Bytes::from("one")], Polled::More));
        assert_eq!(next_line(&mut source, &env).await, (Vec::new(), Polled::More));
        std::fs::write(
            &path,
            "one
three
",
        )
        .expect("written");
        assert_eq!(next_line(&mut source, &env).await, (vec![Bytes::from("three")], Polled::Drained));
    }

    #[tokio::test]
    async fn a_partition_that_has_nothing_holds_up_none_of_the_others() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name).to_str().expect("UTF-8").to_owned();
        std::fs::write(path("silent"), "").expect("written");
        std::fs::write(path("lively"), "one\nthree\nthirteen\n").expect("written");
        let env = RealEnv::default();
        let mut source = following(&env, &path("silent"), 10, None).await;
        let mut partitions = source.settings.partitions.as_ref().clone();
        partitions.push(Partition { path: path("lively"), start: 0, end: 100 });
        source.settings.partitions = Arc::new(partitions);
        source.open(&env, place(0, 1), None).await.expect("opens");
        let mut lines = Vec::new();
        while lines.len() < 3 {
            lines.extend(next_line(&mut source, &env).await.0);
        }
        assert_eq!((source.watermark(), source.watermark_status()), (7, WatermarkStatus::Active));
    }

    #[tokio::test]
    async fn a_partition_that_has_nothing_is_idle_until_it_has_and_also_before_a_snapshot_knows_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, env) = (folder.path().join("log").to_str().expect("UTF-8").to_owned(), RealEnv::default());
        std::fs::write(
            &path, "one
",
        )
        .expect("written");
        let mut source = following(&env, &path, 10, None).await;
        next_line(&mut source, &env).await;
        assert_eq!((source.watermark(), source.watermark_status()), (2, WatermarkStatus::Active));
        next_line(&mut source, &env).await;
        assert_eq!(source.watermark_status(), WatermarkStatus::Idle);
        let mut restored = following(&env, &path, 10, Some(&source.lists())).await;
        assert_eq!(restored.watermark_status(), WatermarkStatus::Active);
        std::fs::write(
            &path,
            "one
three
",
        )
        .expect("written");
        for source in [&mut source, &mut restored] {
            next_line(source, &env).await;
            assert_eq!((source.watermark(), source.watermark_status()), (END_OF_TIME, WatermarkStatus::Active));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn every_line_belongs_to_exactly_one_partition(
            lines in proptest::collection::vec("[a-c]{0,9}", 0..30), ends in any::<bool>(), parts in 1..5_u32, chunk in 1..20_usize, cut in 0..6_usize,
        ) {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("log").to_str().expect("UTF-8").to_owned();
            let mut text = lines.join("\n");
            if ends && !lines.is_empty() {
                text.push('\n');
            }
            std::fs::write(&path, &text).expect("written");
            let expected: Vec<String> = text.lines().map(str::to_owned).collect();
            let settings = LogSettings {
                partitions: Arc::new(Partition::cut(&path, text.len() as u64, parts)), chunk_bytes: chunk, pace: None, event_times: None, backlog_bytes: None, follow: None,
            };
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let got = runtime.block_on(async {
                let env = RealEnv::default();
                let mut got = Vec::new();
                for part in 0..parts {
                    let mut source = LogSource::new(settings.clone());
                    source.open(&env, place(part, parts), None).await.expect("opens");
                    // Stop after a few chunks and go on from the positions, as a restore does.
                    let mut drained = false;
                    for _ in 0..cut {
                        let mut out = Vec::new();
                        drained = source.next(&env, &mut out).await.expect("readable") == Polled::Drained;
                        got.extend(out.iter().map(|line| String::from_utf8_lossy(line).into_owned()));
                        if drained { break; }
                    }
                    if !drained {
                        let lists = source.lists();
                        let mut again = LogSource::new(settings.clone());
                        again.open(&env, place(part, parts), Some(&lists)).await.expect("opens");
                        got.extend(read_all(&mut again, &env).await);
                    }
                }
                got
            });
            let mut sorted = (got, expected);
            sorted.0.sort();
            sorted.1.sort();
            prop_assert_eq!(sorted.0, sorted.1);
        }
    }
}
