//! How long the HashMap backend keeps its writer waiting for a snapshot of a million keys.

use crate::{cpu, quantile, table};
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::state::{Key, KeyedSnapshot, ValueState};
use cofferdam_engine::storage::filesystem;
use cofferdam_engine::storage::CheckpointStorage;
use cofferdam_protocol::{CheckpointId, KeyGroup, KeyGroupRange, MaxParallelism};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

const NAME: &str = "stall/k=1000000";
const KEY_COUNT: u64 = 1_000_000;
const SNAPSHOTS: u64 = 20;

/// Gaps below this are nobody's concern.
const NOTED: Duration = Duration::from_micros(100);

/// A writer that changes random keys and looks at the clock after each.
struct Writer {
    sum: ValueState<u64, u64>,
    random: u64,
    last: Instant,
    waited: Duration,
}

/// The longest time between two records.
#[derive(Clone, Copy, Default)]
struct Gap {
    /// By the clock.
    whole: Duration,
    /// Without the time in which other programs had the processor. A lower bound: waits within gaps too short to be noted are
    /// taken off the next one that is.
    own: Duration,
}

impl Writer {
    /// From here on gaps count.
    fn begin(&mut self) {
        self.waited = cpu::thread_waited();
        self.last = Instant::now();
    }

    /// One record.
    fn record(&mut self, longest: &mut Gap) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.sum.update(&Key::new(&((self.random >> 33) % KEY_COUNT)), |sum| *sum += 1);
        let mut now = Instant::now();
        let whole = now - self.last;
        if whole > NOTED {
            let waited = cpu::thread_waited();
            longest.own = longest.own.max(whole.saturating_sub(waited - self.waited));
            longest.whole = longest.whole.max(whole);
            self.waited = waited;
            // Looking took time as well.
            now = Instant::now();
        }
        self.last = now;
    }

    /// Records until told to stop.
    fn records_while(&mut self, running: impl Fn() -> bool) -> Gap {
        let mut longest = Gap::default();
        while running() {
            self.record(&mut longest);
        }
        longest
    }
}

/// The row, if its name contains `filter`.
pub fn run(filter: &str) {
    if !NAME.contains(filter) {
        return;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a thread can be had");
    let folder = tempfile::tempdir().expect("a folder can be made");
    let root = format!("{}/stall", folder.path().to_str().expect("UTF-8"));
    let env = RealEnv::default();
    runtime.block_on(filesystem::prepare(&env, &root)).expect("the disk works");
    let max = MaxParallelism::default_for(1);
    let groups = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(u16::try_from(max.get() - 1).expect("in range")) };

    let mut writer = Writer { sum: ValueState::default(), random: 1, last: Instant::now(), waited: Duration::ZERO };
    for key in 0..KEY_COUNT {
        writer.sum.set(&Key::new(&key), key);
    }
    let (mut sync, mut stalls, mut quiet, mut writing) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for number in 1..=SNAPSHOTS {
        let checkpoint = CheckpointId(number);
        runtime.block_on(filesystem::create_location(&env, &root, checkpoint)).expect("the disk works");
        // How long other programs take the processor away for, in about as much time.
        writer.begin();
        let until = writer.last + writing.last().copied().unwrap_or(Duration::from_millis(100));
        quiet.push(writer.records_while(|| Instant::now() < until));

        writer.begin();
        let begun = writer.last;
        let snapshot = KeyedSnapshot::take(max, groups, |visit| visit.visit("sum", &mut writer.sum));
        sync.push(begun.elapsed());
        assert_eq!(snapshot.entry_count() as u64, KEY_COUNT);
        let durable = Arc::new(AtomicBool::new(false));
        let (done, storage, files) = (durable.clone(), CheckpointStorage::FileSystem { root: root.clone() }, env.clone());
        runtime.spawn(async move {
            let mut file = storage.state_writer(&files, checkpoint, "sum").await.expect("the disk works");
            for block in snapshot.blocks() {
                file.block(&block.expect("a valid snapshot")).await.expect("the disk works");
            }
            file.finish().await.expect("the disk works");
            drop(snapshot);
            done.store(true, Ordering::Release);
        });
        stalls.push(writer.records_while(|| !durable.load(Ordering::Acquire)));
        writing.push(begun.elapsed());
        runtime.block_on(filesystem::discard(&env, &root, checkpoint)).expect("the disk works");
    }
    let mut out = table(&[NAME, "min us", "p50 us", "max us"]);
    let part = |gaps: &[Gap], of: fn(&Gap) -> Duration| gaps.iter().map(of).collect::<Vec<_>>();
    let rows = [
        ("synchronous part", sync),
        ("longest gap, snapshot", part(&stalls, |gap| gap.whole)),
        ("longest gap, snapshot, without waiting for a processor", part(&stalls, |gap| gap.own)),
        ("longest gap, no snapshot", part(&quiet, |gap| gap.whole)),
        ("longest gap, no snapshot, without waiting for a processor", part(&quiet, |gap| gap.own)),
        ("until durable", writing),
    ];
    for (name, mut values) in rows {
        let [min, median, max] =
            [0, 50, 100].map(|percent| quantile(&mut values, percent).expect("there were snapshots").as_micros().to_string());
        out.add_row([name.to_owned(), min, median, max]);
    }
    println!("{SNAPSHOTS} snapshots of {KEY_COUNT} keys\n{out}\n");
}
