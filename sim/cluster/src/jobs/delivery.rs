//! Every record goes to the subtask of its key, is counted there, and becomes one line of the output.

use super::{fields, log_settings, throttled, Log};
use crate::scenario::JobSpec;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::transactional_sink::TransactionalSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Key, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;

/// Counts records by key, and sends them on.
#[derive(Default)]
pub(super) struct Deliver {
    count: ValueState<Text, u64>,
}

impl KeyedProcess for Deliver {
    type Key = Text;
    type In = Text;
    type Out = Text;

    fn process(&mut self, key: &Key<'_, Text>, parcel: Text, _: &mut Context<'_, Text>, out: &mut impl Collect<Text>) {
        self.count.update(key, |count| *count += 1);
        out.collect(parcel);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("count", &mut self.count);
    }
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("delivery", spec.parallelism, max);
    let settings = log_settings(spec, &logs[0], None);
    job.source("parcels", move || log_source::LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| Text::from(std::str::from_utf8(&line).unwrap_or("")))
        .key_by(|parcel: &Text| Text::from(fields(parcel.as_bytes()).next().unwrap_or("")))
        .process("deliver", Deliver::default)
        .sink("out", throttled(spec, move || TransactionalSink::<Text>::new(&output, "out")));
    job.build()
}
