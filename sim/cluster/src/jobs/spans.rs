//! Sums per key and session, or per key and sliding window: the engine's windows, whose rows are given out when they are whole.

use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::{JobKind, JobSpec};
use crate::workload::{DISORDER_MS, GAP_MS, LATENESS_MS, SLIDE_MS, WINDOW_MS};
use cofferdam_engine::connector::log_source::{self, EventTimes};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::{Aggregate, Text};
use cofferdam_engine::window::{Fired, Merge, Timely, WindowAggregate, Windows};
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

type Event = (i64, Text, u64);

#[derive(Clone, Copy)]
struct Sum;

impl Aggregate for Sum {
    type In = Event;
    type Accumulator = u64;
    type Out = u64;
    fn add(&self, sum: &mut u64, (_, _, amount): Event) {
        *sum += amount;
    }
    fn get(&self, sum: &u64) -> u64 {
        *sum
    }
}

impl Merge for Sum {
    fn merge(&self, into: &mut u64, other: u64) {
        *into += other;
    }
}

fn row(Fired { key, window, value }: Fired<Text, u64>) -> (Text, Text) {
    let text = |text: String| Text::from(text.as_str());
    (text(format!("{key}@{}", window.start_ms)), text(format!("{} {value}", window.end_ms)))
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let windows = match spec.kind {
        JobKind::Hops => Windows::sliding(WINDOW_MS, SLIDE_MS),
        _ => Windows::session(GAP_MS),
    };
    let windows = windows.expect("lengths are positive");
    let lateness = Duration::from_millis(LATENESS_MS.unsigned_abs());
    let job = Job::new("spans", spec.parallelism, max);
    let of_line = |line: &[u8]| number(fields(line).next());
    let settings = log_settings(spec, &logs[0], Some(EventTimes { of_line, disorder_ms: DISORDER_MS, idle_after: None }));
    job.source("events", move || log_source::LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| {
            let mut fields = fields(&line);
            (number::<i64>(fields.next()), Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
        })
        .rebalance()
        .key_by(|event: &Event| event.1.clone())
        .process("spans", move || WindowAggregate::new(windows, |event: &Event| event.0, Sum).allowed_lateness(lateness))
        .flat_map(Timely::ready)
        .map(row)
        .sink("table", throttled(spec, move || UpsertSink::<Text, Text>::new(&output, "table")));
    job.build()
}
