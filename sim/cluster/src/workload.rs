//! Input logs, drawn from the seed.

use crate::jobs::{sources, Log};
use crate::scenario::{JobKind, JobSpec};
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// The size of an event-time window.
pub const WINDOW_MS: i64 = 1000;
/// How far out of order events may be within a partition.
pub const DISORDER_MS: i64 = 300;
/// A session ends when a key is silent for so long.
pub const GAP_MS: i64 = 150;
/// A sliding window begins every so often, and is [`WINDOW_MS`] long.
pub const SLIDE_MS: i64 = 400;
/// How long after their end sessions and sliding windows are kept.
pub const LATENESS_MS: i64 = 250;
/// How long after it was first seen an account ripens.
pub const RIPE_MS: i64 = 400;
/// How long the ledger's sources wait behind their logs: by then every account has ripened, wherever it had to be restored.
pub const RIPE_WAIT_MS: u64 = 2 * RIPE_MS.unsigned_abs();

/// How long what expires lives.
pub const TTL_MS: i64 = 400;
/// How many groups of keys have a weight.
const GROUPS: u32 = 3;
/// A sequence of moves must be whole this long after its first one.
pub const WITHIN_MS: i64 = 1500;
/// A partition that has had nothing for so long is not waited for, where partitions fall silent.
pub const IDLE_MS: u64 = 300;
/// How many other keys there are.
const LANES: u32 = 5;
/// The rank of every page, in the second version of its visits.
pub const RANK: u64 = 9;
/// The weight of every mark, in the second version of visits.
pub const WEIGHT: u64 = 5;

/// The group of a key that is a letter and a number.
#[must_use]
pub fn group_of(key: &str) -> String {
    let number: u32 = key.get(1..).and_then(|number| number.parse().ok()).unwrap_or(0);
    format!("g{}", number % GROUPS)
}

/// By what records go on the way, where there is another key than their own: `a3-17` by its line.
#[must_use]
pub fn lane_of(origin: &str) -> String {
    let line: u32 = origin.rsplit('-').next().and_then(|line| line.parse().ok()).unwrap_or(0);
    format!("r{}", line % LANES)
}

/// How many lines of a partition that falls silent come before that.
#[must_use]
pub fn before_silence(lines: usize) -> usize {
    lines / 16
}

/// Where the logs are.
pub const INPUT: &str = "/shared/input";

/// Draws a key: low ones are much more frequent, as words are.
fn key(rng: &mut ChaCha8Rng, keys: u32) -> u32 {
    let (a, b) = (rng.gen_range(0..keys.max(1)), rng.gen_range(0..keys.max(1)));
    a.min(b)
}

fn line(kind: JobKind, source: &str, (partition, index): (u32, u32), keys: u32, rng: &mut ChaCha8Rng) -> String {
    match kind {
        JobKind::WordCount => {
            let words = rng.gen_range(1..=4);
            (0..words).map(|_| format!("w{}", key(rng, keys))).collect::<Vec<_>>().join(" ")
        }
        JobKind::Windows | JobKind::Sessions | JobKind::Hops | JobKind::IdleSplit => {
            let time = i64::from(index) * 40 - rng.gen_range(0..DISORDER_MS);
            format!("{} k{} {}", time.max(0), key(rng, keys), rng.gen_range(1..10))
        }
        // No two at one time, and out of order by two or three lines.
        JobKind::Patterns => {
            let time = i64::from(index ^ 3) * 40 + i64::from(partition);
            format!("{time} k{} {}", key(rng, keys.div_ceil(4)), rng.gen_range(0..4))
        }
        JobKind::Ledger => format!("a{} {}", key(rng, keys), rng.gen_range(1..20)),
        JobKind::Rules if source == "weights" => format!("g{} {}", rng.gen_range(0..GROUPS), rng.gen_range(1..5)),
        JobKind::Rules => format!("k{}", key(rng, keys)),
        JobKind::Expiring => format!("k{} {}", key(rng, keys), rng.gen_range(0..40)),
        JobKind::Visits => format!("p{} {}", key(rng, keys), rng.gen_range(0..60)),
        // No two are alike.
        JobKind::Delivery => format!("k{} {partition}-{index}", key(rng, keys)),
        JobKind::Shaped(_) => format!("k{} {source}{partition}-{index}", key(rng, keys)),
    }
}

/// Behind its silence a partition has later times than any other: nothing of it is late.
fn come_back_later(lines: &mut [String], most: u32) {
    let before = before_silence(lines.len());
    for line in &mut lines[before..] {
        let (time, rest) = line.split_once(' ').expect("our own input has three fields");
        let time: i64 = time.parse().expect("our own input begins with a time");
        *line = format!("{} {rest}", time + 40 * i64::from(most) + DISORDER_MS);
    }
}

/// All logs of a job.
#[must_use]
pub fn logs(spec: &JobSpec, rng: &mut ChaCha8Rng) -> Vec<Log> {
    let log = |source: &'static str, rng: &mut ChaCha8Rng| {
        let partition = |index: u32, rng: &mut ChaCha8Rng| {
            // Unequal parts: some partitions end early.
            let lines = spec.lines / 2 + rng.gen_range(0..=spec.lines / 2);
            let mut lines: Vec<String> = (0..lines).map(|number| line(spec.kind, source, (index, number), spec.keys, rng)).collect();
            if spec.kind == JobKind::IdleSplit && (source, index) == ("feed", 0) {
                come_back_later(&mut lines, spec.lines);
            }
            (format!("{INPUT}/{source}-{index}"), lines)
        };
        Log { source, partitions: (0..spec.partitions).map(|index| partition(index, rng)).collect() }
    };
    sources(spec.kind).iter().map(|source| log(source, rng)).collect()
}
