//! Records that are counted under the weight that their group has at that moment. Weights come as a second stream, which every
//! subtask gets: the broadcast state pattern.

use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::group_of;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{BroadcastContext, Context, KeyedBroadcastProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{BroadcastState, Key, MapState, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;

#[derive(Default)]
struct Rules {
    total: ValueState<Text, u64>,
    /// By weight.
    counts: MapState<Text, i64, u64>,
}

impl KeyedBroadcastProcess for Rules {
    type Key = Text;
    type In = Text;
    type Broadcast = (Text, u64);
    type State = BroadcastState<Text, u64>;
    type Out = (Text, u64);

    fn process(
        &mut self,
        key: &Key<'_, Text>,
        record: Text,
        weights: &BroadcastState<Text, u64>,
        _: &mut Context<'_, Text>,
        out: &mut impl Collect<(Text, u64)>,
    ) {
        let weight = weights.get(&Text::from(group_of(record.as_ref()).as_str())).copied().unwrap_or(0);
        self.counts.update(key, weight.cast_signed(), |count| *count += 1);
        let total = self.total.update(key, |total| {
            *total += 1;
            *total
        });
        out.collect((record, total));
    }

    /// A sum: the order in which the subtasks get what different logs say does not matter.
    fn broadcast(
        &mut self,
        (group, more): (Text, u64),
        weights: &mut BroadcastState<Text, u64>,
        _: &BroadcastContext,
        _: &mut impl Collect<(Text, u64)>,
    ) {
        weights.update(group, |weight| *weight += more);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("total", &mut self.total);
        visit.visit("counts", &mut self.counts);
    }
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("rules", spec.parallelism, max);
    let source = |index: usize| {
        let settings = log_settings(spec, &logs[index], None);
        job.source(logs[index].source, move || log_source::LogSource::new(settings.clone()))
    };
    let records = source(0).map(|line: bytes::Bytes| Text::from(fields(&line).next().unwrap_or("")));
    let weights = source(1).map(|line: bytes::Bytes| {
        let mut fields = fields(&line);
        (Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
    });
    let table = throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table"));
    records.key_by(Text::clone).connect_broadcast(weights.seal()).process("rules", Rules::default).sink("table", table);
    job.build()
}
