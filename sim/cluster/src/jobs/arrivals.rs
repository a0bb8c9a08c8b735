//! Files that appear while the job runs: their words, a count per word, a table.

use super::word_count::Count;
use super::{fields, throttled};
use crate::scenario::JobSpec;
use crate::workload::ARRIVALS;
use cofferdam_engine::connector::folder::{FolderEnumerator, FolderReader, FolderSettings};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::Text;
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

/// Small, so that there is much to assign.
const SPLIT_BYTES: u64 = 300;
/// Between two looks.
const WATCH: Duration = Duration::from_millis(70);

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("arrivals", spec.parallelism, max);
    let settings = FolderSettings {
        folder: ARRIVALS.into(),
        watch: Some(WATCH),
        split_bytes: SPLIT_BYTES,
        chunk_bytes: spec.chunk_bytes as usize,
        pace: (spec.pace_ms > 0).then(|| Duration::from_millis(spec.pace_ms)),
    };
    let of_readers = settings.clone();
    job.dynamic_source("files", move || FolderEnumerator::new(settings.clone()), move || FolderReader::new(of_readers.clone()))
        .flat_map(|line: bytes::Bytes| fields(&line).map(Text::from).collect::<Vec<_>>())
        .filter(|word: &Text| !word.is_empty())
        .key_by(Text::clone)
        .process("count", Count::default)
        .sink("table", throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table")));
    job.build()
}
