//! What a store costs: changes in, values out, checkpoints, restores. A million keys of 10 bytes with values of 32, one column.
//!
//!     eval "$(.ci/rocksdb)" && cargo bench -p cofferdam-rocksdb --features rocksdb

use cofferdam_engine::env::{real::RealEnv, Env as _};
use cofferdam_engine::state::cold::{
    Change, ColdBackend, ColdCheckpoint, ColdFile, ColdPart, ColdPlace, ColdStore, ColumnIndex, LoadedFile,
};
use cofferdam_protocol::{KeyGroup, KeyGroupRange};
use cofferdam_rocksdb::{RocksDbBackend, RocksDbMode, RocksDbSettings};
use std::hint::black_box;
use std::num::NonZeroU32;
use std::path::Path;

const EXPLICIT: RocksDbMode = RocksDbMode::Explicit { compact_every: NonZeroU32::new(8).expect("not 0") };
const GROUPS: u16 = 128;
const KEYS_PER_GROUP: u64 = 7813;
const COLUMN: ColumnIndex = ColumnIndex(0);

fn key(group: u16, n: u64) -> Vec<u8> {
    [&group.to_be_bytes()[..], &n.to_be_bytes()].concat()
}

/// Every `step`-th key, in the order of the keys, as the engine hands them over.
fn changes(step: usize, value: u8) -> Vec<Change> {
    let all = (0..GROUPS).flat_map(|group| (0..KEYS_PER_GROUP).map(move |n| key(group, n)));
    all.step_by(step).map(move |key| Change { column: COLUMN, key, value: Some(vec![value; 32]) }).collect()
}

fn held(last: u16) -> KeyGroupRange {
    KeyGroupRange { first: KeyGroup(0), last: KeyGroup(last) }
}

fn place(name: &str) -> ColdPlace {
    ColdPlace { name: name.to_owned(), columns: 1, groups: held(GROUPS - 1), expiring: Default::default() }
}

fn fetch(backend: &RocksDbBackend, place: &ColdPlace, checkpoint: &ColdCheckpoint) -> Vec<LoadedFile> {
    let fetched = |file: &ColdFile| {
        let mut bytes = vec![0; usize::try_from(file.size_bytes).expect("fits into memory")];
        file.content.read_at(0, &mut bytes).expect("readable");
        let mut sink = backend.sink(place, 0, &file.name).expect("there is room");
        sink.append(&bytes).expect("there is room");
        LoadedFile { name: file.name.clone(), shared: file.shared, content: sink.finish().expect("there is room") }
    };
    checkpoint.files.iter().map(fetched).collect()
}

/// Runs something five times and tells the best, of `count` things done in each.
fn tell<S>(what: &str, count: usize, mut prepare: impl FnMut() -> S, mut run: impl FnMut(S)) {
    let clock = RealEnv::default();
    let best = (0..5).map(|_| {
        let prepared = prepare();
        let begun = clock.now();
        run(prepared);
        clock.now() - begun
    });
    let best = best.min().expect("five times").as_secs_f64();
    println!("{what:60} {:12.3} ms {:14.0} /s", best * 1e3, count as f64 / best);
}

fn measure(folder: &Path, name: &str, mode: RocksDbMode) {
    println!("{name}");
    let settings = RocksDbSettings { folder: folder.join(name), memory_budget_bytes: 256 << 20, hot_bytes: 1 << 20, mode };
    let backend = RocksDbBackend::new(settings).expect("there is room");
    let (all, hundredth) = (changes(1, 0).len(), changes(100, 0).len());
    let mut made = 0;
    let mut next = || {
        made += 1;
        place(&format!("place {made}"))
    };

    tell("create and drop", 1, &mut next, |place| drop(backend.create(&place).expect("there is room")));
    let store = backend.create(&next()).expect("there is room");
    let apply = |changes: Vec<Change>| store.apply(&mut changes.into_iter()).expect("there is room");
    tell("apply a million changes", all, || changes(1, 0), apply);
    tell("checkpoint of a million changes", 1, || apply(changes(1, 1)), |()| drop(store.checkpoint().expect("there is room")));
    let mut random = 1_u64;
    let mut draw = || {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (u16::try_from((random >> 33) % u64::from(GROUPS)).expect("small"), (random >> 40) % KEYS_PER_GROUP)
    };
    let mut get_many = |missing: u64, store: &dyn ColdStore| {
        let mut value = Vec::new();
        for _ in 0..100_000 {
            let (group, n) = draw();
            value.clear();
            let found = store.get(COLUMN, &key(group, n + missing), &mut value).expect("readable");
            assert_eq!(found, missing == 0);
            black_box(&value);
        }
    };
    tell("get 100 000 keys at random", 100_000, || (), |()| get_many(0, &*store));
    tell("get 100 000 keys that are not there", 100_000, || (), |()| get_many(KEYS_PER_GROUP, &*store));
    tell("scan all", all, || (), |()| assert_eq!(store.scan(COLUMN, &[], None).count(), all));
    tell("apply 10 000 changes of a million", hundredth, || changes(100, 2), apply);
    tell("checkpoint of 10 000 changes", 1, || apply(changes(100, 3)), |()| drop(store.checkpoint().expect("there is room")));
    tell("checkpoint of none", 1, || (), |()| drop(store.checkpoint().expect("there is room")));

    let checkpoint = store.checkpoint().expect("there is room");
    for (what, last) in [("restore all and drop", GROUPS - 1), ("restore one half and drop", GROUPS / 2 - 1)] {
        let prepare = || {
            let place = next();
            let files = fetch(&backend, &place, &checkpoint);
            let columns = vec![Some(COLUMN)];
            (place, ColdPart { groups: held(last), held: held(GROUPS - 1), columns, column_count: 1, files })
        };
        tell(what, 1, prepare, |(place, part)| drop(backend.restore(&place, vec![part]).expect("intact")));
    }
}

fn main() {
    let folder = tempfile::tempdir().expect("there is room");
    measure(folder.path(), "automatic", RocksDbMode::Automatic);
    measure(folder.path(), "explicit", EXPLICIT);
}
