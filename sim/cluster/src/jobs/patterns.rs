//! Sequences of three moves per key within a time: the engine's pattern operator, whose matches are rows.

use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::{DISORDER_MS, WITHIN_MS};
use cofferdam_engine::connector::log_source::{EventTimes, LogSource};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::Text;
use cofferdam_engine::window::{Sequence, Timely};
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

/// When, of which key, and which move.
type Move = (i64, Text, u64);

fn row(moves: &[Move]) -> (Text, Text) {
    let text = |text: String| Text::from(text.as_str());
    let later: Vec<String> = moves.iter().skip(1).map(|(time, _, _)| time.to_string()).collect();
    let (first, key) = moves.first().map_or((0, ""), |(time, key, _)| (*time, key.as_str()));
    (text(format!("{key}@{first}")), text(later.join(" ")))
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("patterns", spec.parallelism, max);
    let of_line = |line: &[u8]| number(fields(line).next());
    let settings = log_settings(spec, &logs[0], Some(EventTimes { of_line, disorder_ms: DISORDER_MS, idle_after: None }));
    let is = |wanted: u64| move |(_, _, found): &Move| *found == wanted;
    let within = Duration::from_millis(WITHIN_MS.unsigned_abs());
    job.source("moves", move || LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| {
            let mut fields = fields(&line);
            (number::<i64>(fields.next()), Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
        })
        .key_by(|event: &Move| event.1.clone())
        .process("patterns", move || Sequence::new(within, |event: &Move| event.0, is(0)).followed_by(is(1)).followed_by(is(2)))
        .flat_map(Timely::ready)
        .map(|moves: Vec<Move>| row(&moves))
        .sink("table", throttled(spec, move || UpsertSink::<Text, Text>::new(&output, "table")));
    job.build()
}
