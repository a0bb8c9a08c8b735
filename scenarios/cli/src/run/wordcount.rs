//! The word count: lines, words, a count per word, a table of them.
//!
//! A word is a longest run of alphanumeric characters (of Unicode's), in lower case. Bytes that are not UTF-8 separate words,
//! as blanks and punctuation do.

use bytes::Bytes;
use cofferdam_engine::connector::folder::{FolderEnumerator, FolderReader, FolderSettings};
use cofferdam_engine::connector::log_source::{LogSettings, LogSource, Partition};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{HeadSpec, Job, JobError, JobGraph, ReaderSpec, Stream};
use cofferdam_engine::operator::{Context, Firing, Identity, KeyedProcess};
use cofferdam_engine::record::{Collect, END_OF_TIME};
use cofferdam_engine::state::backend::StateVisitor;
use cofferdam_engine::state::key::Key;
use cofferdam_engine::state::text::Text;
use cofferdam_engine::state::value::ValueState;
use cofferdam_protocol::MaxParallelism;
use compact_str::CompactString;
use std::sync::Arc;
use std::time::Duration;

/// The most subtasks that an operator can have.
pub const MAX_PARALLELISM: u32 = 128;
/// The name of the sink, and the beginning of the names of its files.
pub const COUNTS: &str = "counts";
/// Whatever the parallelism: a job that begins from a snapshot finds its partitions again.
const PARTITIONS: u32 = 64;
/// What is read, and goes through the chain, at once.
const CHUNK_BYTES: usize = 64 << 10;
/// The same where each chunk is waited for: short waits, because a barrier makes the source begin the wait anew.
const PACED_CHUNK_BYTES: usize = 16 << 10;

/// Larger files of a folder are cut.
const SPLIT_BYTES: u64 = 4 << 20;

/// The job's parameters. All processes must have the same.
pub struct WordCount {
    /// The text file.
    pub input: String,
    /// How much of it counts.
    pub input_size_bytes: u64,
    /// It is a folder: how often to look for new files, or only once.
    pub folder: Option<Option<Duration>>,
    /// The folder for the table.
    pub output: String,
    /// Subtasks per operator.
    pub parallelism: u32,
    /// How long a source waits before each chunk.
    pub pace: Option<Duration>,
}

impl WordCount {
    /// The job, for whatever environment.
    ///
    /// # Errors
    /// The parallelism is over [`MAX_PARALLELISM`].
    pub fn graph<E: Env>(self) -> Result<JobGraph<E>, JobError> {
        let job = Job::<E>::new("wordcount", self.parallelism, Self::max());
        match self.files(&job) {
            Some(files) => count(files, self.output),
            None => {
                let settings = self.log();
                count(job.source("lines", move || LogSource::new(settings.clone())), self.output);
            }
        }
        job.build()
    }

    /// The same input, copied.
    ///
    /// # Errors
    /// As [`graph`](Self::graph).
    pub fn copy<E: Env>(self) -> Result<JobGraph<E>, JobError> {
        let job = Job::<E>::new("copy", self.parallelism, Self::max());
        match self.files(&job) {
            Some(files) => super::copy::copy(files, self.output),
            None => {
                let settings = self.log();
                super::copy::copy(job.source("input", move || LogSource::new(settings.clone())), self.output);
            }
        }
        job.build()
    }

    fn log(&self) -> LogSettings {
        let partitions = Partition::cut(&self.input, self.input_size_bytes, PARTITIONS);
        LogSettings {
            partitions: Arc::new(partitions),
            chunk_bytes: self.chunk_bytes(),
            pace: self.pace,
            event_times: None,
            backlog_bytes: None,
            follow: None,
        }
    }

    /// Where the input is a folder.
    fn files<E: Env>(&self, job: &Job<E>) -> Option<Stream<E, ReaderSpec<FolderReader>, Identity<Bytes>>> {
        let settings = FolderSettings {
            folder: self.input.clone(),
            watch: self.folder?,
            split_bytes: SPLIT_BYTES,
            chunk_bytes: self.chunk_bytes(),
            pace: self.pace,
        };
        let of_readers = settings.clone();
        Some(job.dynamic_source("files", move || FolderEnumerator::new(settings.clone()), move || FolderReader::new(of_readers.clone())))
    }

    fn chunk_bytes(&self) -> usize {
        if self.pace.is_some() {
            PACED_CHUNK_BYTES
        } else {
            CHUNK_BYTES
        }
    }

    fn max() -> MaxParallelism {
        MaxParallelism::new(MAX_PARALLELISM).expect("128 is between 1 and 32768")
    }
}

fn count<E: Env, H: HeadSpec<E, Out = Bytes>>(lines: Stream<E, H, Identity<Bytes>>, output: String) {
    lines
        .flat_map(Words::of)
        .key_by(|word: &Text| word.clone())
        .process("count", Count::default)
        .sink(COUNTS, move || UpsertSink::new(&output, COUNTS));
}

/// Counts each word.
#[derive(Default)]
struct Count {
    counts: ValueState<Text, u64>,
}

impl KeyedProcess for Count {
    type Key = Text;
    type In = Text;
    type Out = (Text, u64);

    #[inline]
    fn process(&mut self, key: &Key<'_, Text>, word: Text, context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        let count = self.counts.update(key, |count| {
            *count += 1;
            *count
        });
        if count == 1 {
            // Said once more at the end: the output of a job that begins from a snapshot lacks what was said before.
            context.timers().register_event(key, END_OF_TIME);
        }
        out.collect((word, count));
    }

    fn on_timer(&mut self, key: &Key<'_, Text>, _: Firing, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        if let Some(count) = self.counts.get(key) {
            out.collect((key.key.clone(), *count));
        }
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("count", &mut self.counts);
    }
}

/// The words of a line, one by one. Allocates for words over 24 bytes only.
struct Words {
    line: Bytes,
    at: usize,
}

impl Words {
    fn of(line: Bytes) -> Self {
        Self { line, at: 0 }
    }

    /// The next character and its length in bytes; `None` in its place where the bytes are not UTF-8.
    #[inline]
    fn character(&self) -> Option<(Option<char>, usize)> {
        let rest = &self.line[self.at..];
        let first = *rest.first()?;
        if first.is_ascii() {
            return Some((Some(char::from(first)), 1));
        }
        let size = match first {
            0xc2..=0xdf => 2,
            0xe0..=0xef => 3,
            0xf0..=0xf4 => 4,
            _ => 1,
        };
        let character = rest.get(..size).and_then(|bytes| std::str::from_utf8(bytes).ok()).and_then(|text| text.chars().next());
        Some((character, if character.is_some() { size } else { 1 }))
    }
}

impl Iterator for Words {
    type Item = Text;

    #[inline]
    fn next(&mut self) -> Option<Text> {
        let mut word = CompactString::const_new("");
        while let Some((character, size)) = self.character() {
            match character.filter(|c| c.is_alphanumeric()) {
                Some(c) if c.is_ascii() => word.push(c.to_ascii_lowercase()),
                Some(c) => word.extend(c.to_lowercase()),
                None if word.is_empty() => {}
                None => break,
            }
            self.at += size;
        }
        (!word.is_empty()).then_some(Text(word))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_engine::env::real::RealEnv;

    fn words(line: &[u8]) -> Vec<String> {
        Words::of(Bytes::copy_from_slice(line)).map(|word| word.as_str().to_owned()).collect()
    }

    #[test]
    fn words_are_runs_of_alphanumeric_characters_in_lower_case() {
        assert_eq!(words(b"The quick-brown fox's 2nd  jump."), ["the", "quick", "brown", "fox", "s", "2nd", "jump"]);
        assert_eq!(words("Äpfel, ÜBER — naïve Ωmega".as_bytes()), ["äpfel", "über", "naïve", "ωmega"]);
        assert_eq!(words(b""), [""; 0]);
        assert_eq!(words(b" ,;\t"), [""; 0]);
    }

    #[test]
    fn bytes_that_are_not_utf8_separate_words() {
        assert_eq!(words(b"left\xffright"), ["left", "right"]);
        assert_eq!(words(b"cut\xe2\x82"), ["cut"]);
        assert_eq!(words(b"\xc3a\xc3\xa4"), ["aä"]);
    }

    #[test]
    fn any_bytes_give_the_words_that_a_lossy_decoder_gives() {
        let mut state = 7_u64;
        for _ in 0..2000 {
            let mut line = Vec::new();
            for _ in 0..24 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                line.push([b'a', b'Z', b' ', 0xc3, 0xa4, 0xe2, 0x82, 0xac, 0xf0, 0x9f][(state >> 33) as usize % 10]);
            }
            let text = String::from_utf8_lossy(&line);
            let expected: Vec<String> = text
                .split(|c: char| !c.is_alphanumeric())
                .filter(|word| !word.is_empty())
                .map(|word| word.chars().flat_map(char::to_lowercase).collect())
                .collect();
            assert_eq!(words(&line), expected, "{line:?}");
        }
    }

    #[test]
    fn the_job_can_be_built() {
        for (folder, enumerators) in [(None, 0), (Some(None), 1)] {
            let (input, output) = ("/in".into(), "/out".into());
            let wordcount = WordCount { input, input_size_bytes: 10, folder, output, parallelism: 128, pace: None };
            let graph: JobGraph<RealEnv> = wordcount.graph().expect("a valid job");
            assert_eq!((graph.vertices.len(), graph.enumerators.len()), (2, enumerators));
        }
    }
}
