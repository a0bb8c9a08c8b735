//! Sums per key and window, of two logs that are still being written while they are read. Of one of them the first partition falls silent,
//! and nobody goes on writing it before windows have been given out without it.

use super::watch::{Tide, Watch};
use super::windows::{event, time_of, Windows};
use super::{log_settings, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::{DISORDER_MS, IDLE_MS};
use cofferdam_engine::connector::log_source::{EventTimes, LogSource};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::Text;
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

pub(super) fn build<E: Env>(
    spec: &JobSpec,
    max: MaxParallelism,
    logs: &[Log],
    output: &str,
    watch: &Watch,
) -> Result<JobGraph<E>, JobError> {
    let (output, tide) = (output.to_owned(), Tide::new(watch.clone()));
    let job = Job::new("idle-split", spec.parallelism, max);
    let ms = |ms: u64| Some(Duration::from_millis(ms));
    let source = |index: usize, idle_after: Option<Duration>| {
        let mut settings = log_settings(spec, &logs[index], Some(EventTimes { of_line: time_of, disorder_ms: DISORDER_MS, idle_after }));
        settings.follow = ms(20);
        job.source(logs[index].source, move || LogSource::new(settings.clone())).map(|line: bytes::Bytes| event(&line))
    };
    source(0, None)
        .union(source(1, ms(IDLE_MS)))
        .key_by(|event: &(i64, Text, u64)| event.1.clone())
        .process("windows", move || Windows::new(tide.clone()))
        .sink("table", throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table")));
    job.build()
}
