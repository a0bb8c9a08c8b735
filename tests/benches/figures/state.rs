//! State in RocksDB beside state in memory: what a record costs, what a checkpoint costs, how long the writer waits, what a restore
//! takes.

use crate::{cpu, quantile, table, w1};
use cofferdam_engine::state::backend::StateTable;
use cofferdam_engine::state::cold::{Change, ColdBackend, ColdCheckpoint, ColdPart, ColdPlace, ColdStore, ColumnIndex, LoadedFile};
use cofferdam_engine::state::table::{Cold, FirstError, FrozenChanges};
use cofferdam_engine::state::{Key, ValueState};
use cofferdam_engine::task::StateBackend;
use cofferdam_protocol::{KeyGroup, KeyGroupRange, MaxParallelism};
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode, RocksDbSettings};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::mpsc;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A worker's budget, and what a subtask keeps before it spills, as the binary has them.
const MEMORY_BYTES: usize = 512 << 20;
const HOT_BYTES: usize = 256 << 20;
const COLUMN: ColumnIndex = ColumnIndex(0);
const COLUMNS: u16 = 1;

/// All rows whose names contain `filter`.
pub fn run(filter: &str, record_count: u64) {
    sums(filter, record_count);
    changes(filter);
    restores(filter);
}

fn rocksdb(folder: &Path) -> RocksDbBackend {
    std::fs::create_dir_all(folder).expect("a folder can be made");
    let settings = RocksDbSettings {
        folder: folder.to_owned(),
        memory_budget_bytes: MEMORY_BYTES,
        hot_bytes: HOT_BYTES,
        mode: RocksDbMode::Automatic,
    };
    RocksDbBackend::new(settings).expect("the disk works")
}

type Make = fn(&Path) -> StateBackend;

/// The keyed sum of W1, on one worker.
fn sums(filter: &str, record_count: u64) {
    let backends: [(&str, Make); 3] = [
        ("hash-map", |_| StateBackend::InMemory),
        ("rocksdb", |folder| StateBackend::Store { backend: Arc::new(rocksdb(folder)), incremental: true }),
        ("rocksdb-full", |folder| StateBackend::Store { backend: Arc::new(rocksdb(folder)), incremental: false }),
    ];
    let mut out = table(&[
        "row",
        "records/s",
        "records/CPU s",
        "of hash-map",
        "checkpoints",
        "bytes, at most",
        "e2e p50 ms",
        "e2e max ms",
        "sync max us",
    ]);
    let mut rows = 0;
    for key_count in [10_000, 1_000_000] {
        for interval in [None, Some(Duration::from_secs(1))] {
            let mut of_hash_map = None;
            for (backend, make) in backends {
                let checkpoints = if interval.is_some() { "1s" } else { "off" };
                let name = format!("state/sum/k={key_count}/checkpoints={checkpoints}/{backend}");
                // Without checkpoints they are the same.
                if !name.contains(filter) || interval.is_none() && backend == "rocksdb-full" {
                    continue;
                }
                let row = w1::Row { key_count, interval, worker_count: 1, backend: make };
                let mut measured = w1::measure(&row, record_count);
                let base = *of_hash_map.get_or_insert(measured.cpu);
                let ms =
                    |duration: Option<Duration>| duration.map_or(String::new(), |duration| format!("{:.1}", duration.as_secs_f64() * 1e3));
                out.add_row([
                    name,
                    w1::millions(record_count, measured.elapsed),
                    w1::millions(record_count, measured.cpu),
                    format!("1/{:.1}", measured.cpu.as_secs_f64() / base.as_secs_f64()),
                    measured.end_to_end.len().to_string(),
                    measured.size_bytes.map_or(String::new(), |size_bytes| size_bytes.to_string()),
                    ms(quantile(&mut measured.end_to_end, 50)),
                    ms(quantile(&mut measured.end_to_end, 100)),
                    measured.sync_max.map_or(String::new(), |sync| sync.as_micros().to_string()),
                ]);
                rows += 1;
            }
        }
    }
    if rows > 0 {
        println!("{record_count} records, one worker, two subtasks\n{out}\n");
    }
}

fn groups(last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(0), last: KeyGroup(last) }
}

fn place(name: &str, last: u16) -> ColdPlace {
    ColdPlace { name: name.into(), columns: COLUMNS, groups: groups(last), expiring: Default::default() }
}

/// A share of a million keys changes between two checkpoints: bytes of new files against bytes that have changed, and the longest
/// time that the writer waits between two records.
fn changes(filter: &str) {
    const KEYS: u64 = 1_000_000;
    const CHECKPOINTS: usize = 24;
    let mut out = table(&[
        "row",
        "changed bytes",
        "new bytes",
        "ratio",
        "full bytes",
        "checkpoint p50 ms",
        "max ms",
        "stall p50 ms",
        "max ms",
        "max ms without waiting for a processor",
    ]);
    let mut rows = 0;
    for percent in [1, 10, 100] {
        let name = format!("state/changes/k={KEYS}/changed={percent}%");
        if !name.contains(filter) {
            continue;
        }
        let folder = tempfile::tempdir().expect("a folder can be made");
        let backend = rocksdb(folder.path());
        let mut writer = Writer::new(backend.create(&place("store", 127)).expect("the disk works"));
        (0..KEYS).for_each(|key| writer.sum.set(&Key::new(&key), key));
        let mut uploaded = BTreeSet::new();
        let (mut changed_bytes, mut new_bytes, mut full_bytes) = (0, 0, 0);
        let (mut durations, mut stalls, mut own_stalls) = (Vec::new(), Vec::new(), Vec::new());
        for number in 0..=CHECKPOINTS {
            let taken = writer.checkpoint(KEYS, KEYS * percent / 100);
            let files: Vec<(String, u64)> = taken.checkpoint.files.iter().map(|file| (file.name.clone(), file.size_bytes)).collect();
            let shared: BTreeSet<String> = taken.checkpoint.files.iter().filter(|file| file.shared).map(|file| file.name.clone()).collect();
            full_bytes = files.iter().map(|(_, size)| size).sum();
            let new: u64 = files.iter().filter(|(name, _)| !uploaded.contains(name)).map(|(_, size)| size).sum();
            uploaded = shared;
            // The first writes everything.
            if number > 0 {
                changed_bytes += taken.changed_bytes;
                new_bytes += new;
                durations.push(taken.duration);
                stalls.push(taken.stall);
                own_stalls.push(taken.own_stall);
            }
        }
        let ms = |durations: &mut [Duration], percent| {
            let duration = quantile(durations, percent).expect("there were checkpoints");
            format!("{:.2}", duration.as_secs_f64() * 1e3)
        };
        #[allow(clippy::cast_precision_loss)] // Three digits are shown.
        let ratio = new_bytes as f64 / changed_bytes as f64;
        out.add_row([
            name,
            (changed_bytes / CHECKPOINTS as u64).to_string(),
            (new_bytes / CHECKPOINTS as u64).to_string(),
            format!("{ratio:.2}"),
            full_bytes.to_string(),
            ms(&mut durations, 50),
            ms(&mut durations, 100),
            ms(&mut stalls, 50),
            ms(&mut stalls, 100),
            ms(&mut own_stalls, 100),
        ]);
        rows += 1;
    }
    if rows > 0 {
        println!("{CHECKPOINTS} incremental checkpoints, bytes per checkpoint\n{out}\n");
    }
}

/// One thread that changes sums in a store, as a subtask does; another one writes what is frozen.
struct Writer {
    sum: ValueState<u64, u64>,
    store: Arc<dyn ColdStore>,
    random: u64,
}

struct Taken {
    checkpoint: ColdCheckpoint,
    changed_bytes: u64,
    /// From the freeze to the files.
    duration: Duration,
    /// The longest time between two records in the meantime, and that without waiting for a processor.
    stall: Duration,
    own_stall: Duration,
}

impl Writer {
    fn new(store: Arc<dyn ColdStore>) -> Self {
        let mut sum = ValueState::default();
        let max = MaxParallelism::new(128).expect("in range");
        sum.table().attach(Cold { store: store.clone(), column: COLUMN, max, errors: FirstError::default() });
        Self { sum, store, random: 1 }
    }

    fn record(&mut self, key_count: u64) {
        self.random = self.random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        self.sum.update(&Key::new(&((self.random >> 33) % key_count)), |sum| *sum += 1);
    }

    /// Changes at least so many records, and takes a checkpoint while more come.
    fn checkpoint(&mut self, key_count: u64, records: u64) -> Taken {
        for _ in 0..records {
            self.record(key_count);
        }
        let begun = Instant::now();
        let waited = cpu::thread_waited();
        let frozen: Arc<dyn FrozenChanges> = self.sum.table().freeze().expect("it has a store");
        let (store, (sender, done)) = (self.store.clone(), mpsc::channel());
        let writing = std::thread::spawn(move || {
            let changes = frozen.changes();
            let changed_bytes: usize = changes.iter().map(|change| change.key.len() + change.value.as_ref().map_or(0, Vec::len)).sum();
            store.apply(&mut changes.into_iter()).expect("the disk works");
            frozen.applied();
            let checkpoint = store.checkpoint().expect("the disk works");
            sender.send((checkpoint, changed_bytes as u64)).expect("somebody waits");
        });
        let (mut stall, mut own_stall) = (Duration::ZERO, Duration::ZERO);
        let (mut last, mut waited_before) = (begun, waited);
        let (checkpoint, changed_bytes) = loop {
            // Hot and cold keys, as they come; few, so that the next checkpoint is as large as it is to be.
            self.record((records / 10).max(1));
            let gap = last.elapsed();
            if gap > Duration::from_micros(100) {
                let waited_now = cpu::thread_waited();
                stall = stall.max(gap);
                own_stall = own_stall.max(gap.saturating_sub(waited_now - waited_before));
                waited_before = waited_now;
            }
            last = Instant::now();
            if let Ok(done) = done.try_recv() {
                break done;
            }
        };
        let duration = begun.elapsed();
        writing.join().expect("no panic");
        Taken { checkpoint, changed_bytes, duration, stall, own_stall }
    }
}

/// All of a store, and one half of it, from files that have arrived.
fn restores(filter: &str) {
    const VALUE_BYTES: usize = 100;
    const KEYS_PER_CHANGE: u64 = 100_000;
    let size_mb: u64 = std::env::var("COFFERDAM_STATE_MB").ok().and_then(|text| text.parse().ok()).unwrap_or(256);
    let name = format!("state/restore/{size_mb}MB");
    if !name.contains(filter) {
        return;
    }
    let folder = tempfile::tempdir().expect("a folder can be made");
    let backend = rocksdb(folder.path());
    let key_count = (size_mb << 20) / (VALUE_BYTES as u64 + 10);
    let store = backend.create(&place("first", 127)).expect("the disk works");
    for first in (0..key_count).step_by(usize::try_from(KEYS_PER_CHANGE).expect("small")) {
        let change = |number: u64| {
            let group = u16::try_from(number * 128 / key_count).expect("below 128");
            let mut value = vec![0; VALUE_BYTES];
            // Half of it does not compress.
            for (at, bytes) in value[..VALUE_BYTES / 2].chunks_mut(8).enumerate() {
                let random = (number + at as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(31).wrapping_mul(0xBF58_476D_1CE4_E5B9);
                bytes.copy_from_slice(&random.to_le_bytes()[..bytes.len()]);
            }
            Change { column: COLUMN, key: [&group.to_be_bytes()[..], &number.to_be_bytes()].concat(), value: Some(value) }
        };
        store.apply(&mut (first..key_count.min(first + KEYS_PER_CHANGE)).map(change)).expect("the disk works");
    }
    let checkpoint = store.checkpoint().expect("the disk works");
    let bytes: u64 = checkpoint.files.iter().map(|file| file.size_bytes).sum();
    let mut out = table(&[&name, "files", "bytes", "fetch ms", "restore ms", "MB of state/s"]);
    for (what, last) in [("all", 127), ("one half", 63)] {
        let place = place(what, last);
        let begun = Instant::now();
        let fetched: Vec<LoadedFile> = checkpoint.files.iter().map(|file| fetch(&backend, &place, file)).collect();
        let fetch = begun.elapsed();
        let part = ColdPart { groups: groups(last), held: groups(127), columns: vec![Some(COLUMN)], column_count: COLUMNS, files: fetched };
        let begun = Instant::now();
        let (restored, whole) = backend.restore(&place, vec![part]).expect("intact");
        let restore = begun.elapsed();
        assert_eq!(whole, last == 127);
        drop(restored);
        #[allow(clippy::cast_precision_loss)] // Three digits are shown.
        let speed = size_mb as f64 / (fetch + restore).as_secs_f64();
        out.add_row([
            what.to_owned(),
            checkpoint.files.len().to_string(),
            bytes.to_string(),
            fetch.as_millis().to_string(),
            restore.as_millis().to_string(),
            format!("{speed:.0}"),
        ]);
    }
    println!("{out}\n");
}

fn fetch(backend: &RocksDbBackend, place: &ColdPlace, file: &cofferdam_engine::state::cold::ColdFile) -> LoadedFile {
    let mut sink = backend.sink(place, 0, &file.name).expect("the disk works");
    let (mut offset, mut piece) = (0, vec![0; 256 << 10]);
    loop {
        let count = file.content.read_at(offset, &mut piece).expect("readable");
        if count == 0 {
            break;
        }
        sink.append(&piece[..count]).expect("the disk works");
        offset += count as u64;
    }
    LoadedFile { name: file.name.clone(), shared: file.shared, content: sink.finish().expect("the disk works") }
}
