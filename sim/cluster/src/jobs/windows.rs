//! Sums per key and tumbling event-time window, given out when the watermark passes the window's end.

use super::watch::{Tide, Watch};
use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::{DISORDER_MS, WINDOW_MS};
use cofferdam_engine::connector::log_source::{self, EventTimes};
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, Firing, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Key, MapState, StateVisitor, Text};
use cofferdam_protocol::MaxParallelism;

pub(super) struct Windows {
    sums: MapState<Text, i64, u64>,
    tide: Tide,
}

impl Windows {
    pub(super) fn new(tide: Tide) -> Self {
        Self { sums: MapState::default(), tide }
    }
}

pub(super) fn event(line: &[u8]) -> (i64, Text, u64) {
    let mut fields = fields(line);
    (number::<i64>(fields.next()), Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
}

pub(super) fn time_of(line: &[u8]) -> i64 {
    number(fields(line).next())
}

impl KeyedProcess for Windows {
    type Key = Text;
    type In = (i64, Text, u64);
    type Out = (Text, u64);

    fn process(
        &mut self,
        key: &Key<'_, Text>,
        (time, _, value): Self::In,
        context: &mut Context<'_, Text>,
        _: &mut impl Collect<(Text, u64)>,
    ) {
        self.tide.came(time, context.watermark());
        let window = time.div_euclid(WINDOW_MS) * WINDOW_MS;
        self.sums.update(key, window, |sum| *sum += value);
        context.timers().register_event(key, window + WINDOW_MS - 1);
    }

    fn on_timer(&mut self, key: &Key<'_, Text>, firing: Firing, context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        self.tide.fired(firing.time_ms, context.watermark());
        let window = firing.time_ms + 1 - WINDOW_MS;
        if let Some(sum) = self.sums.remove(key, &window) {
            out.collect((Text::from(format!("{}@{window}", key.key).as_str()), sum));
        }
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("sums", &mut self.sums);
    }
}

pub(super) fn build<E: Env>(
    spec: &JobSpec,
    max: MaxParallelism,
    logs: &[Log],
    output: &str,
    watch: &Watch,
) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("windows", spec.parallelism, max);
    let times = EventTimes { of_line: time_of, disorder_ms: DISORDER_MS, idle_after: None };
    let (settings, tide) = (log_settings(spec, &logs[0], Some(times)), Tide::new(watch.clone()));
    job.source("events", move || log_source::LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| event(&line))
        .rebalance()
        .key_by(|event: &(i64, Text, u64)| event.1.clone())
        .process("windows", move || Windows::new(tide.clone()))
        .sink("table", throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table")));
    job.build()
}
