//! Orders (two logs as one) and payments, side by side per account: every kind of state, and a processing-time timer.
//!
//! Each row says whether the account is ripe, and if not, when it will be and what time it is. At the end all accounts are asked
//! once more, long after the last one should have ripened: a timer that was lost shows in the table.

use super::patient::Patient;
use super::{fields, log_settings, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::{RIPE_MS, RIPE_WAIT_MS};
use bytes::Bytes;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{CoProcess, Context, Firing};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Aggregate, AggregatingState, Key, ListState, MapState, ReducingState, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// An account and an amount; without one it is only asked for.
type Entry = (Text, Option<u64>);

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
    /// When it ripens, by the clock of the worker that saw it first.
    due: ValueState<Text, i64>,
    ripe: ValueState<Text, bool>,
}

impl Ledger {
    fn new() -> Self {
        Self {
            ordered: ReducingState::new(|sum: &mut u64, next| *sum += next),
            amounts: MapState::default(),
            paid: AggregatingState::new(Payments),
            payments: ListState::default(),
            due: ValueState::default(),
            ripe: ValueState::default(),
        }
    }

    /// The first time that an account is seen, it ripens after a while.
    fn seen(&mut self, key: &Key<'_, Text>, context: &mut Context<'_, Text>) {
        if self.ripe.get(key).is_none() {
            self.ripe.set(key, false);
            let due = context.processing_time_ms() + RIPE_MS;
            self.due.set(key, due);
            context.timers().register_processing(key, due);
        }
    }

    /// Nothing, for an account that was never seen.
    fn row(&mut self, key: &Key<'_, Text>, context: &Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        let (Some(ripe), Some(due)) = (self.ripe.get(key), self.due.get(key)) else { return };
        let ordered = self.ordered.get(key).copied().unwrap_or(0);
        let paid = self.paid.get(key).unwrap_or(0);
        let ripeness = if *ripe { "ripe".to_owned() } else { format!("due {due} at {}", context.processing_time_ms()) };
        out.collect((key.key.clone(), Text::from(format!("{ordered} {paid} {ripeness}").as_str())));
    }
}

impl CoProcess for Ledger {
    type Key = Text;
    type Left = Entry;
    type Right = Entry;
    type Out = (Text, Text);

    fn left(&mut self, key: &Key<'_, Text>, order: Entry, context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        if let Some(amount) = order.1 {
            self.seen(key, context);
            self.ordered.add(key, amount);
            self.amounts.update(key, amount, |count| *count += 1);
        }
        self.row(key, context, out);
    }

    fn right(&mut self, key: &Key<'_, Text>, payment: Entry, context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        if let Some(amount) = payment.1 {
            self.seen(key, context);
            self.paid.add(key, amount);
            self.payments.push(key, amount);
        }
        self.row(key, context, out);
    }

    fn on_timer(&mut self, key: &Key<'_, Text>, _: Firing, context: &mut Context<'_, Text>, out: &mut impl Collect<(Text, Text)>) {
        self.ripe.set(key, true);
        self.row(key, context, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("ordered", &mut self.ordered);
        visit.visit("amounts", &mut self.amounts);
        visit.visit("paid", &mut self.paid);
        visit.visit("payments", &mut self.payments);
        visit.visit("due", &mut self.due);
        visit.visit("ripe", &mut self.ripe);
    }
}

fn parse(line: Bytes) -> Entry {
    let mut fields = fields(&line);
    (Text::from(fields.next().unwrap_or("")), fields.next().and_then(|amount| amount.parse().ok()))
}

/// Every account that the logs name, once.
fn accounts(logs: &[Log]) -> Vec<Bytes> {
    let lines = logs.iter().flat_map(|log| &log.partitions).flat_map(|(_, lines)| lines);
    let names: BTreeSet<&str> = lines.filter_map(|line| line.split(' ').next()).collect();
    names.into_iter().map(|name| Bytes::copy_from_slice(name.as_bytes())).collect()
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("ledger", spec.parallelism, max);
    let (accounts, wait) = (Arc::new(accounts(logs)), Duration::from_millis(RIPE_WAIT_MS));
    let source = |index: usize| {
        let (settings, accounts) = (log_settings(spec, &logs[index], None), accounts.clone());
        let patient = move || Patient::new(log_source::LogSource::new(settings.clone()), wait, accounts.clone());
        job.source(logs[index].source, patient).map(parse)
    };
    let orders = source(0).union(source(1)).key_by(|order: &Entry| order.0.clone());
    let payments = source(2).key_by(|payment: &Entry| payment.0.clone());
    orders
        .connect(payments)
        .process("ledger", Ledger::new)
        .sink("table", throttled(spec, move || UpsertSink::<Text, Text>::new(&output, "table")));
    job.build()
}
