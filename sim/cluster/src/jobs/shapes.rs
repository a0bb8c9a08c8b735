//! One workload, through chains that are connected in one of several ways.
//!
//! At the end of each way records come together per key, and the order in which they do is the result: a row for each record says which
//! one was before it. How records of different channels are merged is nobody's promise; that it was one way, and the same way for state
//! and output, is.

use super::watch::{Eye, Rule, Sent, Watch};
use super::{log_settings, throttled, Log};
use crate::scenario::{JobSpec, Shape};
use cofferdam_engine::connector::log_source::LogSource;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{BroadcastContext, CoProcess, Context, KeyedBroadcastProcess, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{BroadcastState, Key, ListState, StateVisitor, Text, ValueState};
use cofferdam_protocol::MaxParallelism;
use parcel::{Numbering, Parcel};

mod parcel;

/// A record of a key, by its code, and the one before it; 0 where there is none.
type Row = (Text, u64);

/// Where all ways end.
struct Gather {
    seen: ListState<Text, u64>,
    eye: Eye,
    /// On some ways the other key belongs to the channel as well.
    by_lane: [bool; 2],
}

impl Gather {
    fn new(eye: Eye, by_lane: [bool; 2]) -> Self {
        Self { seen: ListState::default(), eye, by_lane }
    }

    fn take(&mut self, key: &Key<'_, Text>, side: u64, parcel: &Parcel, out: &mut impl Collect<Row>) {
        if self.by_lane[usize::from(side > 0)] {
            self.eye.look(&format!("{} {}", parcel.0, parcel.lane()), parcel.sent());
        } else {
            self.eye.look(parcel.0.as_str(), parcel.sent());
        }
        let before = self.seen.get(key).last().copied().unwrap_or(0);
        let code = parcel.code(side);
        self.seen.push(key, code);
        out.collect((Text::from(format!("{}/{code}", parcel.0).as_str()), before));
    }

    fn show(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("seen", &mut self.seen);
    }
}

impl KeyedProcess for Gather {
    type Key = Text;
    type In = Parcel;
    type Out = Row;

    fn process(&mut self, key: &Key<'_, Text>, parcel: Parcel, _: &mut Context<'_, Text>, out: &mut impl Collect<Row>) {
        self.take(key, 0, &parcel, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        self.show(visit);
    }
}

/// The same with two inputs.
struct GatherTwo(Gather);

impl CoProcess for GatherTwo {
    type Key = Text;
    type Left = Parcel;
    type Right = Parcel;
    type Out = Row;

    fn left(&mut self, key: &Key<'_, Text>, parcel: Parcel, _: &mut Context<'_, Text>, out: &mut impl Collect<Row>) {
        self.0.take(key, 0, &parcel, out);
    }

    fn right(&mut self, key: &Key<'_, Text>, parcel: Parcel, _: &mut Context<'_, Text>, out: &mut impl Collect<Row>) {
        self.0.take(key, 1, &parcel, out);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        self.0.show(visit);
    }
}

/// The same beside a stream that every subtask gets: of each of its partitions, how many lines there were.
struct GatherBeside {
    gather: Gather,
    /// What every subtask gets comes in the order of its sender, whatever the key.
    side: Eye,
}

impl KeyedBroadcastProcess for GatherBeside {
    type Key = Text;
    type In = Parcel;
    type Broadcast = Parcel;
    type State = BroadcastState<Text, u64>;
    type Out = Row;

    fn process(
        &mut self,
        key: &Key<'_, Text>,
        parcel: Parcel,
        _: &BroadcastState<Text, u64>,
        _: &mut Context<'_, Text>,
        out: &mut impl Collect<Row>,
    ) {
        self.gather.take(key, 0, &parcel, out);
    }

    fn broadcast(&mut self, parcel: Parcel, counts: &mut BroadcastState<Text, u64>, _: &BroadcastContext, _: &mut impl Collect<Row>) {
        self.side.look("", parcel.sent());
        let (partition, _) = parcel.1.as_str().split_once('-').unwrap_or_default();
        counts.update(Text::from(partition), |count| *count += 1);
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        self.gather.show(visit);
    }
}

/// Between two exchanges: counts by the other key, and sends on.
struct Sort {
    passed: ValueState<Text, u64>,
    /// Where the order is promised up to here.
    eye: Option<Eye>,
    /// Where it is not, order begins anew here: who sends, and how much it has sent.
    sends: Option<(u64, u64)>,
}

impl Sort {
    fn sending(watch: &Watch) -> Self {
        Self { passed: ValueState::default(), eye: None, sends: Some((watch.number(), 0)) }
    }

    fn watching(eye: Eye) -> Self {
        Self { passed: ValueState::default(), eye: Some(eye), sends: None }
    }
}

impl KeyedProcess for Sort {
    type Key = Text;
    type In = Parcel;
    type Out = Parcel;

    fn process(&mut self, key: &Key<'_, Text>, parcel: Parcel, _: &mut Context<'_, Text>, out: &mut impl Collect<Parcel>) {
        if let Some(eye) = &self.eye {
            eye.look(key.key.as_str(), parcel.sent());
        }
        self.passed.update(key, |passed| *passed += 1);
        match &mut self.sends {
            None => out.collect(parcel),
            Some((sender, number)) => {
                // It does not know its attempt: no life.
                out.collect(parcel.sent_by(Sent { sender: *sender, life: 0, number: *number }));
                *number += 1;
            }
        }
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("passed", &mut self.passed);
    }
}

/// Looks at every record of a subtask that does nothing else.
fn looking(eye: Eye) -> impl Fn(Parcel) -> Parcel + Clone + Send + Sync + 'static {
    move |parcel| {
        eye.look(parcel.0.as_str(), parcel.sent());
        parcel
    }
}

fn key(parcel: &Parcel) -> Text {
    parcel.0.clone()
}

pub(super) fn build<E: Env>(
    shape: Shape,
    spec: &JobSpec,
    max: MaxParallelism,
    (logs, output): (&[Log], &str),
    watch: &Watch,
) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let table = throttled(spec, move || UpsertSink::<Text, u64>::new(&output, "table"));
    let job = Job::new("shapes", spec.parallelism, max);
    let source = |index: usize| {
        let (settings, log, watch) = (log_settings(spec, &logs[index], None), logs[index].clone(), watch.clone());
        job.source(logs[index].source, move || Numbering::new(LogSource::new(settings.clone()), &log, watch.clone()))
    };
    let eye = |at: &'static str, rule: Rule| Eye::new(watch.clone(), at, rule);
    let gather = || {
        let eye = eye("gather", Rule::ByKey);
        move |by_lane: [bool; 2]| Gather::new(eye.clone(), by_lane)
    };
    match shape {
        Shape::Chain => {
            let gather = gather();
            let beside = source(0).seal().onward().map(looking(eye("beside", Rule::ByKey)));
            beside.key_by(key).process("gather", move || gather([false; 2])).sink("table", table);
        }
        Shape::Shuffle => {
            let (gather, watch) = (gather(), watch.clone());
            let dealt = source(0).rebalance().map(looking(eye("dealt", Rule::InTurn(spec.parallelism))));
            let sorted = dealt.key_by(Parcel::lane).process("sort", move || Sort::sending(&watch));
            sorted.key_by(key).process("gather", move || gather([false; 2])).sink("table", table);
        }
        Shape::Join => {
            let gather = gather();
            let (left, right) = (source(0).key_by(key), source(1).key_by(key));
            left.connect(right).process("gather", move || GatherTwo(gather([false; 2]))).sink("table", table);
        }
        Shape::Diamond => {
            let (gather, at_left) = (gather(), eye("left", Rule::ByKey));
            let top = source(0).seal();
            let left = top.key_by(Parcel::lane).process("left", move || Sort::watching(at_left.clone()));
            // Each side has senders of its own.
            let aside = |parcel: Parcel| {
                let Sent { sender, life, number } = parcel.sent();
                parcel.sent_by(Sent { sender: sender + 500, life, number })
            };
            let right = top.onward().map(looking(eye("right", Rule::ByKey))).map(aside);
            let (left, right) = (left.key_by(key), right.key_by(key));
            left.connect(right).process("gather", move || GatherTwo(gather([true, false]))).sink("table", table);
        }
        Shape::Union => {
            let gather = gather();
            let both = source(0).union(source(1)).map(looking(eye("both", Rule::ByKey)));
            both.key_by(key).process("gather", move || gather([false; 2])).sink("table", table);
        }
        Shape::Broadcast => {
            let (gather, side) = (gather(), eye("side", Rule::ByKey));
            let beside = source(0).key_by(key).connect_broadcast(source(1).seal());
            let make = move || GatherBeside { gather: gather([false; 2]), side: side.clone() };
            beside.process("gather", make).sink("table", table);
        }
    }
    job.build()
}
