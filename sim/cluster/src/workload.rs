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

/// Where the logs are.
pub const INPUT: &str = "/shared/input";
/// Where files appear while the job runs.
pub const ARRIVALS: &str = "/shared/input/files";

/// Draws a key: low ones are much more frequent, as words are.
fn key(rng: &mut ChaCha8Rng, keys: u32) -> u32 {
    let (a, b) = (rng.gen_range(0..keys.max(1)), rng.gen_range(0..keys.max(1)));
    a.min(b)
}

fn line(kind: JobKind, source: &str, (partition, index): (u32, u32), keys: u32, rng: &mut ChaCha8Rng) -> String {
    match kind {
        JobKind::WordCount | JobKind::Arrivals => {
            let words = rng.gen_range(1..=4);
            (0..words).map(|_| format!("w{}", key(rng, keys))).collect::<Vec<_>>().join(" ")
        }
        JobKind::Windows | JobKind::Sessions | JobKind::Hops => {
            let time = i64::from(index) * 40 - rng.gen_range(0..DISORDER_MS);
            format!("{} k{} {}", time.max(0), key(rng, keys), rng.gen_range(1..10))
        }
        JobKind::Ledger => format!("a{} {}", key(rng, keys), rng.gen_range(1..20)),
        JobKind::Rules if source == "weights" => format!("g{} {}", rng.gen_range(0..GROUPS), rng.gen_range(1..5)),
        JobKind::Rules => format!("k{}", key(rng, keys)),
        JobKind::Expiring => format!("k{} {}", key(rng, keys), rng.gen_range(0..40)),
        JobKind::Visits => format!("p{} {}", key(rng, keys), rng.gen_range(0..60)),
        // No two are alike.
        JobKind::Delivery => format!("k{} {partition}-{index}", key(rng, keys)),
    }
}

/// All logs of a job.
#[must_use]
pub fn logs(spec: &JobSpec, rng: &mut ChaCha8Rng) -> Vec<Log> {
    let log = |source: &'static str, rng: &mut ChaCha8Rng| {
        let partition = |index: u32, rng: &mut ChaCha8Rng| {
            // Unequal parts: some partitions end early.
            let lines = spec.lines / 2 + rng.gen_range(0..=spec.lines / 2);
            let lines = (0..lines).map(|number| line(spec.kind, source, (index, number), spec.keys, rng)).collect();
            let path = if spec.kind == JobKind::Arrivals { format!("{ARRIVALS}/{index}") } else { format!("{INPUT}/{source}-{index}") };
            (path, lines)
        };
        Log { source, partitions: (0..spec.partitions).map(|index| partition(index, rng)).collect() }
    };
    sources(spec.kind).iter().map(|source| log(source, rng)).collect()
}

/// When each file of a folder appears, and when the folder is done, in milliseconds.
#[must_use]
pub fn arrivals(spec: &JobSpec, rng: &mut ChaCha8Rng) -> (Vec<u64>, u64) {
    let at = |rng: &mut ChaCha8Rng| if rng.gen_bool(0.3) { 0 } else { rng.gen_range(0..=spec.arrive_ms) };
    let times: Vec<u64> = (0..spec.partitions).map(|_| at(rng)).collect();
    let last = times.iter().copied().max().unwrap_or(0);
    (times, last + rng.gen_range(0..300))
}
