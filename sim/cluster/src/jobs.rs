//! The jobs that scenarios run, written as any user would write them.

use crate::scenario::{JobKind, JobSpec, Shape};
use cofferdam_engine::connector::log_source::{EventTimes, LogSettings, Partition};
use cofferdam_engine::connector::throttle::Throttled;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::JobGraph;
use cofferdam_protocol::MaxParallelism;
use std::sync::Arc;
use std::time::Duration;

mod arrivals;
mod delivery;
mod expiring;
mod hook;
mod idle_split;
mod lanes;
mod ledger;
mod patient;
mod patterns;
mod rules;
mod shapes;
mod spans;
mod visits;
mod watch;
mod windows;
mod word_count;

pub use watch::Watch;

/// Where all nodes find the job's files.
pub const OUTPUT: &str = "/shared/output";

/// One log: the partitions of one source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// The uid of the source that reads it.
    pub source: &'static str,
    /// Path and lines of each partition.
    pub partitions: Vec<(String, Vec<String>)>,
}

/// The uids of a kind's sources.
#[must_use]
pub fn sources(kind: JobKind) -> &'static [&'static str] {
    match kind {
        JobKind::WordCount => &["lines"],
        JobKind::Windows | JobKind::Sessions | JobKind::Hops => &["events"],
        JobKind::Ledger => &["orders-a", "orders-b", "payments"],
        JobKind::Expiring => &["uses"],
        JobKind::Rules => &["records", "weights"],
        JobKind::Visits => &["log"],
        JobKind::Delivery | JobKind::Lanes => &["parcels"],
        JobKind::Post => &["parcels", "letters"],
        JobKind::Arrivals => &["files"],
        JobKind::IdleSplit => &["events", "feed"],
        JobKind::Patterns => &["moves"],
        JobKind::Shaped(Shape::Chain | Shape::Shuffle | Shape::Diamond) => &["a"],
        JobKind::Shaped(Shape::Join | Shape::Union | Shape::Broadcast) => &["a", "b"],
    }
}

/// Builds the job over these logs; `watch` is told what its functions see.
///
/// # Panics
/// If the specification is not one that [`Scenario::check`](crate::scenario::Scenario::check) lets pass.
#[must_use]
pub fn build<E: Env>(spec: &JobSpec, logs: &[Log], output: &str, watch: &Watch) -> JobGraph<E> {
    let max = MaxParallelism::new(spec.max_parallelism).expect("a checked scenario has a max parallelism in range");
    let graph = match spec.kind {
        JobKind::WordCount => word_count::build(spec, max, logs, output),
        JobKind::Windows => windows::build(spec, max, logs, output, watch),
        JobKind::Patterns => patterns::build(spec, max, logs, output),
        JobKind::IdleSplit => idle_split::build(spec, max, logs, output, watch),
        JobKind::Ledger => ledger::build(spec, max, logs, output),
        JobKind::Expiring => expiring::build(spec, max, logs, output),
        JobKind::Rules => rules::build(spec, max, logs, output),
        JobKind::Visits => visits::build(spec, max, logs, output),
        JobKind::Sessions | JobKind::Hops => spans::build(spec, max, logs, output),
        JobKind::Delivery => delivery::build(spec, max, logs, output),
        JobKind::Lanes | JobKind::Post => lanes::build(spec, max, logs, output),
        JobKind::Arrivals => arrivals::build(spec, max, output),
        JobKind::Shaped(shape) => shapes::build(shape, spec, max, (logs, output), watch),
    };
    graph.expect("a checked scenario makes a job that can be built")
}

/// At the rate of the specification.
fn throttled<S>(spec: &JobSpec, sink: impl Fn() -> S + Send + Sync + 'static) -> impl Fn() -> Throttled<S> + Send + Sync + 'static {
    let pause = Duration::from_micros(spec.sink_us);
    move || Throttled::new(sink(), pause)
}

fn log_settings(spec: &JobSpec, log: &Log, event_times: Option<EventTimes>) -> LogSettings {
    let size = |lines: &[String]| lines.iter().map(|line| line.len() as u64 + 1).sum();
    let partition = |(path, lines): &(String, Vec<String>)| Partition { path: path.clone(), start: 0, end: size(lines) };
    LogSettings {
        partitions: Arc::new(log.partitions.iter().map(partition).collect()),
        chunk_bytes: spec.chunk_bytes as usize,
        pace: (spec.pace_ms > 0).then(|| Duration::from_millis(spec.pace_ms)),
        event_times,
        backlog_bytes: (spec.backlog_bytes > 0).then_some(spec.backlog_bytes),
        follow: None,
    }
}

/// The fields of a line; a field that is not there is empty, one that is not a number is 0. Our own input is never so.
fn fields(line: &[u8]) -> impl Iterator<Item = &str> {
    std::str::from_utf8(line).unwrap_or("").split(' ')
}

fn number<T: std::str::FromStr + Default>(field: Option<&str>) -> T {
    field.unwrap_or("").parse().unwrap_or_default()
}
