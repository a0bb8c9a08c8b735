//! Files that are not what they were: an error that says so, never other data.

use crate::stores::{apply, backend, contents, fetch, groups, keep, key, part, place, put, Columns, Kept, EXPLICIT};
use cofferdam_engine::state::cold::{ColdBackend, ColdError, LoadedFile};
use cofferdam_rocksdb::RocksDbBackend;
use tempfile::TempDir;

struct Former {
    _folder: TempDir,
    backend: RocksDbBackend,
    kept: Kept,
    contents: Columns,
}

fn former() -> Former {
    let folder = tempfile::tempdir().expect("there is room");
    let backend = backend(folder.path(), EXPLICIT);
    let store = backend.create(&place("former", 2, groups(0, 7))).expect("there is room");
    let mut kept = Vec::new();
    for round in 0..2 {
        let all = (0..2).flat_map(|column| (0..8).map(move |group| (column, group)));
        let changed = all.filter(|(_, group)| group % 3 != round);
        let changes: Vec<_> = changed.map(|(c, g)| put(c, &key(g, "some key"), &format!("{c} {g} {round}"))).collect();
        apply(&*store, &changes);
        kept = keep(&store.checkpoint().expect("there is room"));
    }
    drop(store);
    let place = place("intact", 2, groups(0, 7));
    let files = fetch(&backend, &place, 0, &kept).expect("there is room");
    let (store, _) = backend.restore(&place, vec![part(groups(0, 7), groups(0, 7), 2, files)]).expect("intact");
    let contents = contents(&*store, 2).expect("readable");
    Former { _folder: folder, backend, kept, contents }
}

impl Former {
    /// Reads all that a store has that is made of these files, whole or as the second of two parts.
    fn read(&self, kept: &Kept) -> Result<Columns, ColdError> {
        let place = place("damaged", 2, groups(0, 7));
        let files = fetch(&self.backend, &place, 0, kept)?;
        let (store, _) = self.backend.restore(&place, vec![part(groups(0, 7), groups(0, 7), 2, files)])?;
        contents(&*store, 2)
    }

    /// Reads what another store makes of these files when it takes them in.
    fn take_in(&self, kept: &Kept) -> Result<Columns, ColdError> {
        let empty = self.backend.create(&place("empty", 2, groups(8, 99))).expect("there is room");
        let empty = keep(&empty.checkpoint().expect("there is room"));
        let place = place("damaged", 2, groups(0, 99));
        let files: Vec<Vec<LoadedFile>> =
            [&empty, kept].iter().enumerate().map(|(index, kept)| fetch(&self.backend, &place, index, kept)).collect::<Result<_, _>>()?;
        let held = [groups(8, 99), groups(0, 7)];
        let parts = held.into_iter().zip(files).map(|(held, files)| part(held, held, 2, files)).collect();
        let (store, _) = self.backend.restore(&place, parts)?;
        contents(&*store, 2)
    }
}

#[test]
fn a_flipped_byte_is_an_error_or_nothing_that_matters() {
    let former = former();
    let (mut flips, mut errors) = (0, 0);
    for file in 0..former.kept.len() {
        let (name, _, bytes) = &former.kept[file];
        let step = if name.ends_with(".sst") { 61 } else { 5 };
        for at in (0..bytes.len()).step_by(step) {
            let mut kept = former.kept.clone();
            kept[file].2[at] ^= 0x40;
            for found in [former.read(&kept), former.take_in(&kept)] {
                flips += 1;
                match found {
                    Ok(found) => assert_eq!(found, former.contents, "{name} at {at} makes other data"),
                    Err(error) => {
                        errors += 1;
                        assert_eq!(error.backend, "rocksdb");
                        let named = former.kept.iter().any(|(name, ..)| error.cause.contains(name.as_str()));
                        assert!(named || name == "CURRENT", "{name} at {at}: {error}");
                    }
                }
            }
        }
    }
    assert!(errors > flips / 3, "{errors} of {flips}: is anything read at all?");
}

#[test]
fn a_file_that_is_missing_is_named() {
    let former = former();
    assert!(former.kept.len() >= 5);
    for (name, ..) in &former.kept {
        let kept = former.kept.iter().filter(|(other, ..)| other != name).cloned().collect();
        for found in [former.read(&kept), former.take_in(&kept)] {
            let error = found.expect_err("a file is missing");
            assert!(error.cause.contains(name.as_str()), "{name}: {error}");
        }
    }
}

#[test]
fn a_file_that_was_cut_short_makes_no_other_data() {
    let former = former();
    for (index, (name, ..)) in former.kept.iter().enumerate() {
        let step = if name.ends_with(".sst") { 97 } else { 5 };
        for length in (0..former.kept[index].2.len()).step_by(step) {
            let mut kept = former.kept.clone();
            kept[index].2.truncate(length);
            if let Ok(found) = former.read(&kept) {
                assert_eq!(found, former.contents, "{length} bytes of {name} make other data");
            }
        }
    }
}

#[test]
fn a_name_that_leads_elsewhere_is_refused() {
    let former = former();
    let mut kept = former.kept.clone();
    kept[0].0 = "../000001.sst".to_owned();
    assert!(former.read(&kept).is_err());
}
