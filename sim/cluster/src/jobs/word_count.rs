//! Lines, words, a count per word, a table.

use super::hook::Counter;
use super::{log_settings, throttled, Log};
use crate::scenario::JobSpec;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Key, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;

/// How often each word came.
#[derive(Default)]
pub(super) struct Count {
    count: ValueState<Text, u64>,
}

impl KeyedProcess for Count {
    type Key = Text;
    type In = Text;
    type Out = (Text, u64);

    fn process(&mut self, key: &Key<'_, Text>, word: Text, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, u64)>) {
        let count = self.count.update(key, |count| {
            *count += 1;
            *count
        });
        out.collect((word, count));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("count", &mut self.count);
    }
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("word-count", spec.parallelism, max);
    if spec.hook_fails_every > 0 {
        job.hook(Counter::new(spec.hook_fails_every));
    }
    let settings = log_settings(spec, &logs[0], None);
    job.source("lines", move || log_source::LogSource::new(settings.clone()))
        .flat_map(|line: bytes::Bytes| super::fields(&line).map(Text::from).collect::<Vec<_>>())
        .filter(|word: &Text| !word.is_empty())
        .key_by(Text::clone)
        .process("count", Count::default)
        .sink("table", throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table")));
    job.build()
}
