//! Input logs, drawn from the seed.

use crate::jobs::{sources, Log};
use crate::scenario::{JobKind, JobSpec, LoadSpec};
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
/// Where files appear while the job runs.
pub const ARRIVALS: &str = "/shared/input/files";

/// Where the numbers of the next log's partitions begin, in the lines of jobs with transactional output.
pub const NEXT_LOG: u32 = 1000;

/// Where keys come from.
struct Keys {
    count: u32,
    load: LoadSpec,
    /// The last one, and how many more of it come.
    burst: (u32, u32),
}

/// Draws a key: low ones are much more frequent, as words are.
fn key(rng: &mut ChaCha8Rng, keys: &mut Keys) -> u32 {
    let (count, load) = (keys.count.max(1), keys.load);
    if let (last, 1..) = keys.burst {
        keys.burst.1 -= 1;
        return last;
    }
    let (a, b) = (rng.gen_range(0..count), rng.gen_range(0..count));
    let mut drawn = a.min(b);
    for _ in 0..load.skew {
        drawn = drawn.min(rng.gen_range(0..count));
    }
    if load.hot_percent > 0 && rng.gen_range(0..100) < load.hot_percent {
        // The last one: no other draw likes it.
        drawn = count - 1;
    }
    keys.burst = (drawn, load.burst.saturating_sub(1));
    drawn
}

fn line(kind: JobKind, source: &str, (partition, index): (u32, u32), keys: &mut Keys, rng: &mut ChaCha8Rng) -> String {
    match kind {
        JobKind::WordCount | JobKind::Arrivals => {
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
            let count = keys.count;
            keys.count = count.div_ceil(4);
            let key = key(rng, keys);
            keys.count = count;
            format!("{time} k{key} {}", rng.gen_range(0..4))
        }
        JobKind::Ledger => format!("a{} {}", key(rng, keys), rng.gen_range(1..20)),
        JobKind::Rules if source == "weights" => format!("g{} {}", rng.gen_range(0..GROUPS), rng.gen_range(1..5)),
        JobKind::Rules => format!("k{}", key(rng, keys)),
        JobKind::Expiring => format!("k{} {}", key(rng, keys), rng.gen_range(0..40)),
        JobKind::Visits => format!("p{} {}", key(rng, keys), rng.gen_range(0..60)),
        // No two are alike.
        JobKind::Post if source == "letters" => format!("k{} {}-{index}", key(rng, keys), partition + NEXT_LOG),
        JobKind::Delivery | JobKind::Lanes | JobKind::Post => format!("k{} {partition}-{index}", key(rng, keys)),
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
pub fn logs(spec: &JobSpec, load: LoadSpec, rng: &mut ChaCha8Rng) -> Vec<Log> {
    let mut keys = Keys { count: spec.keys, load, burst: (0, 0) };
    let mut log = |source: &'static str, rng: &mut ChaCha8Rng| {
        let mut partition = |index: u32, rng: &mut ChaCha8Rng| {
            // Unequal parts: some partitions end early.
            let lines = spec.lines / 2 + rng.gen_range(0..=spec.lines / 2);
            let mut lines: Vec<String> = (0..lines).map(|number| line(spec.kind, source, (index, number), &mut keys, rng)).collect();
            let first = if sources(spec.kind).len() > 1 { source == sources(spec.kind)[0] } else { index == 0 };
            // Of logs that are followed, somebody decides when they end.
            if spec.short_log_percent > 0 && first && spec.kind != JobKind::IdleSplit {
                lines.truncate((lines.len() * spec.short_log_percent as usize / 100).max(1));
            }
            if spec.kind == JobKind::IdleSplit && (source, index) == ("feed", 0) {
                come_back_later(&mut lines, spec.lines);
            }
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

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    /// How often each of ten keys comes among a thousand, and how often one comes after itself.
    fn drawn(load: LoadSpec) -> (Vec<u32>, u32) {
        let rng = &mut ChaCha8Rng::seed_from_u64(7);
        let mut keys = Keys { count: 10, load, burst: (0, 0) };
        let (mut counts, mut repeated, mut last) = (vec![0; 10], 0, None);
        for _ in 0..1000 {
            let key = key(rng, &mut keys);
            counts[key as usize] += 1;
            repeated += u32::from(last.replace(key) == Some(key));
        }
        (counts, repeated)
    }

    #[test]
    fn skew_heat_and_bursts_are_what_they_say() {
        let (even, repeated) = drawn(LoadSpec::default());
        assert!(even[0] > 150 && even[0] < 250 && repeated < 250, "{even:?} {repeated}");
        let (skewed, _) = drawn(LoadSpec { skew: 8, ..LoadSpec::default() });
        assert!(skewed[0] > 500, "{skewed:?}");
        let (hot, _) = drawn(LoadSpec { hot_percent: 80, ..LoadSpec::default() });
        assert!(hot[9] > 700, "{hot:?}");
        let (_, repeated) = drawn(LoadSpec { burst: 20, ..LoadSpec::default() });
        assert!(repeated > 900, "{repeated}");
    }
}
