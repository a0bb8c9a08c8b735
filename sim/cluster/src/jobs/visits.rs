//! Visits of pages, in two versions of the program: the second one has changed the types of its state.
//!
//! ```text
//!           version 1                    version 2
//! tally     count, seconds               count, milliseconds, rank     a migration
//! marks     list of (amount)             list of (amount, weight)      a field with a default
//! hours     map                          map with time-to-live         switched on; an hour, so that nothing expires
//! ```

use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::{RANK, WEIGHT};
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Expiring, Key, ListState, MapState, StateVisitor, Text, Ttl, ValueState};
use cofferdam_engine::stored_struct;
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

stored_struct! {
    #[derive(Clone, Default)]
    struct Seconds as "tally" (version 1, oldest 1) {
        count: u64,
        seconds: u64,
    }
}

stored_struct! {
    #[derive(Clone)]
    struct Millis as "tally" (version 2, oldest 1) {
        count: u64,
        millis: u64,
        rank: u64,
    }
    from 1 |old: Seconds| Millis { count: old.count, millis: old.seconds * 1000, rank: RANK };
}

impl Default for Millis {
    fn default() -> Self {
        Self { count: 0, millis: 0, rank: RANK }
    }
}

stored_struct! {
    #[derive(Clone)]
    struct Mark as "mark" (version 1, oldest 1) {
        amount: u64,
    }
}

stored_struct! {
    #[derive(Clone)]
    struct WeighedMark as "mark" (version 2, oldest 1) {
        amount: u64,
        weight: u64 [since 2] = WEIGHT,
    }
}

#[derive(Default)]
struct Visits1 {
    tally: ValueState<Text, Seconds>,
    marks: ListState<Text, Mark>,
    hours: MapState<Text, i64, u64>,
}

struct Visits2 {
    tally: ValueState<Text, Millis>,
    marks: ListState<Text, WeighedMark>,
    hours: MapState<Text, i64, u64, Expiring>,
}

impl Visits2 {
    fn new() -> Self {
        let hours = MapState::new().with_ttl(Ttl::since_write(Duration::from_secs(3600)));
        Self { tally: ValueState::default(), marks: ListState::default(), hours }
    }
}

type Visit = (Text, u64);

impl KeyedProcess for Visits1 {
    type Key = Text;
    type In = Visit;
    type Out = (Text, u64);

    fn process(&mut self, key: &Key<'_, Text>, visit: Visit, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        let (page, seconds) = visit;
        let count = self.tally.update(key, |tally| {
            (tally.count, tally.seconds) = (tally.count + 1, tally.seconds + seconds);
            tally.count
        });
        self.marks.push(key, Mark { amount: seconds });
        self.hours.update(key, (seconds % 4).cast_signed(), |visits| *visits += 1);
        out.collect((page, count));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("tally", &mut self.tally);
        visit.visit("marks", &mut self.marks);
        visit.visit("hours", &mut self.hours);
    }
}

impl KeyedProcess for Visits2 {
    type Key = Text;
    type In = Visit;
    type Out = (Text, u64);

    fn process(&mut self, key: &Key<'_, Text>, visit: Visit, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        let (page, seconds) = visit;
        let count = self.tally.update(key, |tally| {
            (tally.count, tally.millis) = (tally.count + 1, tally.millis + seconds * 1000);
            tally.count
        });
        self.marks.push(key, WeighedMark { amount: seconds, weight: WEIGHT });
        self.hours.update(key, (seconds % 4).cast_signed(), |visits| *visits += 1);
        out.collect((page, count));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("tally", &mut self.tally);
        visit.visit("marks", &mut self.marks);
        visit.visit("hours", &mut self.hours);
    }
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("visits", spec.parallelism, max);
    let settings = log_settings(spec, &logs[0], None);
    let visits = job
        .source("log", move || log_source::LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| {
            let mut fields = fields(&line);
            (Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
        })
        .key_by(|visit: &Visit| visit.0.clone());
    let table = throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table"));
    match spec.schema {
        1 => visits.process("visits", Visits1::default).sink("table", table),
        _ => visits.process("visits", Visits2::new).sink("table", table),
    }
    job.build()
}
