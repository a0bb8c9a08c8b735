//! Orders (two logs as one) and payments, side by side per account: every kind of state, and a processing-time timer.

use super::{fields, log_settings, number, Log, OUTPUT};
use crate::scenario::JobSpec;
use crate::workload::RIPE_MS;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{CoProcess, Context, Firing};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Aggregate, AggregatingState, Key, ListState, MapState, ReducingState, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;

/// Count and sum of payments.
#[derive(Default)]
struct Payments;

impl Aggregate for Payments {
    type In = u64;
    type Accumulator = (u64, u64);
    type Out = u64;

    fn add(&self, accumulator: &mut (u64, u64), value: u64) {
        accumulator.0 += 1;
        accumulator.1 += value;
    }

    fn get(&self, accumulator: &(u64, u64)) -> u64 {
        accumulator.1
    }
}

type Sum = fn(&mut u64, u64);

struct Ledger {
    ordered: ReducingState<Text, u64, Sum>,
    amounts: MapState<Text, u64, u64>,
    paid: AggregatingState<Text, Payments>,
    payments: ListState<Text, u64>,
    ripe: ValueState<Text, bool>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            ordered: ReducingState::new(|sum: &mut u64, next| *sum += next),
            amounts: MapState::default(),
            paid: AggregatingState::new(Payments),
            payments: ListState::default(),
            ripe: ValueState::default(),
        }
    }

    /// The first time that an account is seen, it ripens after a while.
    fn seen(&mut self, key: &Key<'_, Text>, context: &mut Context<'_, Text>) {
        if self.ripe.get(key).is_none() {
            self.ripe.set(key, false);
            let due = context.processing_time_ms() + RIPE_MS;
            context.timers().register_processing(key, due);
        }
    }

    fn row(&mut self, key: &Key<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        let ordered = self.ordered.get(key).copied().unwrap_or(0);
        let paid = self.paid.get(key).unwrap_or(0);
        out.collect((key.key.clone(), Text::from(format!("{ordered} {paid}").as_str())));
    }
}

impl CoProcess for Ledger {
    type Key = Text;
    type Left = (Text, u64);
    type Right = (Text, u64);
    type Out = (Text, Text);

    fn left(&mut self, key: &Key<'_, Text>, order: (Text, u64), context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        self.seen(key, context);
        self.ordered.add(key, order.1);
        self.amounts.update(key, order.1, |count| *count += 1);
        self.row(key, out);
    }

    fn right(&mut self, key: &Key<'_, Text>, payment: (Text, u64), context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        self.seen(key, context);
        self.paid.add(key, payment.1);
        self.payments.push(key, payment.1);
        self.row(key, out);
    }

    fn on_timer(&mut self, key: &Key<'_, Text>, _: Firing, _: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        self.ripe.set(key, true);
        self.row(key, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("ordered", &mut self.ordered);
        visit.visit("amounts", &mut self.amounts);
        visit.visit("paid", &mut self.paid);
        visit.visit("payments", &mut self.payments);
        visit.visit("ripe", &mut self.ripe);
    }
}

fn parse(line: bytes::Bytes) -> (Text, u64) {
    let mut fields = fields(&line);
    (Text::from(fields.next().unwrap_or("")), number(fields.next()))
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log]) -> Result<JobGraph<E>, JobError> {
    let job = Job::new("ledger", spec.parallelism, max);
    let source = |index: usize| {
        let settings = log_settings(spec, &logs[index], None);
        job.source(logs[index].source, move || log_source::LogSource::new(settings.clone())).map(parse)
    };
    let orders = source(0).union(source(1)).key_by(|order: &(Text, u64)| order.0.clone());
    let payments = source(2).key_by(|payment: &(Text, u64)| payment.0.clone());
    orders.connect(payments).process("ledger", Ledger::new).sink("table", || UpsertSink::<Text, Text>::new(OUTPUT, "table"));
    job.build()
}
