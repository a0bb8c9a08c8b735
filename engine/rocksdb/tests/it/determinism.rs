//! In explicit mode the same history gives the same files: names and sizes, though not bytes.

use crate::stores::{apply, backend, fetch, groups, keep, key, part, place, EXPLICIT};
use cofferdam_engine::state::cold::{Change, ColdBackend, ColdCheckpoint, ColdStore, ColumnIndex};
use std::collections::BTreeMap;
use std::sync::Arc;

const COLUMNS: u16 = 3;

/// Everything that the engine may see of a checkpoint, in its order.
type Seen = Vec<(String, bool, u64)>;

fn see(checkpoint: &ColdCheckpoint) -> Seen {
    checkpoint.files.iter().map(|file| (file.name.clone(), file.shared, file.size_bytes)).collect()
}

/// Thousands of changes in ten checkpoints.
fn write(store: &Arc<dyn ColdStore>, random: &mut u64, seen: &mut Vec<Seen>) -> ColdCheckpoint {
    let mut draw = |bound: u64| {
        *random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (*random >> 33) % bound
    };
    let mut last = None;
    for _ in 0..10 {
        let changes: BTreeMap<_, _> = (0..draw(2000))
            .map(|_| {
                let column = ColumnIndex(u16::try_from(draw(COLUMNS.into())).expect("small"));
                let group = u16::try_from(draw(16)).expect("small");
                let value = (draw(5) > 0).then(|| draw(1 << 40).to_string().into_bytes());
                ((column, key(group, &draw(5000).to_string())), value)
            })
            .collect();
        let changes: Vec<_> = changes.into_iter().map(|((column, key), value)| Change { column, key, value }).collect();
        apply(&**store, &changes);
        let checkpoint = store.checkpoint().expect("there is room");
        seen.push(see(&checkpoint));
        last = Some(checkpoint);
    }
    last.expect("there were ten")
}

/// Checkpoints, a restore, and a rescale, in a folder whose name is as long as is wanted.
fn history(name: &str) -> Vec<Seen> {
    let folder = tempfile::Builder::new().prefix(name).tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let (mut random, mut seen) = (7, Vec::new());
    let (left, right) = (groups(0, 15), groups(16, 31));
    let store = backend.create(&place("first", COLUMNS, left)).expect("there is room");
    let first = keep(&write(&store, &mut random, &mut seen));

    let again = place("again", COLUMNS, left);
    let files = fetch(&backend, &again, 0, &first).expect("there is room");
    let (store, _) = backend.restore(&again, vec![part(left, left, COLUMNS, files)]).expect("intact");
    let again = keep(&write(&store, &mut random, &mut seen));

    let neighbour = backend.create(&place("neighbour", COLUMNS, right)).expect("there is room");
    let changes: Vec<_> = (16..32).map(|group| crate::stores::put(1, &key(group, "x"), "y")).collect();
    apply(&*neighbour, &changes);
    let neighbour = keep(&neighbour.checkpoint().expect("there is room"));

    let middle = place("middle", COLUMNS, groups(5, 20));
    let files = [&again, &neighbour].map(|kept| kept.clone());
    let [one, other] = [0, 1].map(|index| fetch(&backend, &middle, index, &files[index]).expect("there is room"));
    let parts = vec![part(groups(5, 15), left, COLUMNS, one), part(groups(16, 20), right, COLUMNS, other)];
    let (store, _) = backend.restore(&middle, parts).expect("intact");
    write(&store, &mut random, &mut seen);
    seen
}

#[test]
fn the_same_history_gives_the_same_files() {
    let (one, other) = (history("a"), history("a folder with a longer name"));
    assert_eq!(one.len(), 30);
    for (checkpoint, (one, other)) in one.iter().zip(&other).enumerate() {
        assert_eq!(one, other, "at checkpoint {checkpoint}");
    }
}
