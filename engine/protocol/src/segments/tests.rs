use super::*;
use crate::snapshot::Segment;
use alloc::format;
use alloc::vec::Vec;
use proptest::prelude::*;

fn merging(across_checkpoints: bool) -> Merging {
    Merging { max_file_bytes: 1024, across_checkpoints, max_space_amplification: 2 }
}

/// A subtask's files, as the engine writes them.
struct Writer {
    segments: Segments,
    known: BTreeMap<String, SharedFile>,
    files: u64,
    sizes: BTreeMap<String, u64>,
}

impl Writer {
    fn new(merging: Merging) -> Self {
        Self { segments: Segments::new(merging), known: BTreeMap::new(), files: 0, sizes: BTreeMap::new() }
    }

    /// Takes a snapshot of these files, by name and size. Gives the paths that it names, and those that were written to.
    fn snapshot(&mut self, live: &[(&str, u64)]) -> (BTreeSet<String>, BTreeSet<String>) {
        self.known.retain(|name, _| live.iter().any(|(live, _)| live == name));
        let again = self.segments.begin(self.known.values());
        let mut written = BTreeSet::new();
        for &(name, size_bytes) in live {
            if self.known.contains_key(name) && !again.contains(name) {
                continue;
            }
            self.files += 1;
            let path = self.segments.place(size_bytes, || format!("p{}", self.files)).to_string();
            let size = self.sizes.entry(path.clone()).or_default();
            let offset = *size;
            *size += size_bytes;
            self.segments.written(*size);
            written.insert(path.clone());
            let segment = Some(Segment { offset, file_bytes: *size });
            self.known.insert(name.into(), SharedFile { name: name.into(), path, size_bytes, segment });
        }
        (self.known.values().map(|file| file.path.clone()).collect(), written)
    }
}

#[test]
fn segments_of_several_checkpoints_share_a_file_until_it_is_full() {
    let mut writer = Writer::new(merging(true));
    let (first, _) = writer.snapshot(&[("a", 200), ("b", 200)]);
    let (second, _) = writer.snapshot(&[("a", 200), ("b", 200), ("c", 200)]);
    assert_eq!((first.len(), &second), (1, &first));
    let (third, _) = writer.snapshot(&[("a", 200), ("b", 200), ("c", 200), ("d", 250), ("e", 200)]);
    assert_eq!(third.len(), 2, "1050 bytes are too many for one");
}

#[test]
fn where_checkpoints_share_no_file_each_begins_one() {
    let mut writer = Writer::new(merging(false));
    writer.snapshot(&[("a", 200)]);
    let (second, written) = writer.snapshot(&[("a", 200), ("b", 200)]);
    assert_eq!((second.len(), written.len()), (2, 1));
}

#[test]
fn a_file_of_which_nothing_is_named_gets_no_byte_more() {
    let mut writer = Writer::new(merging(true));
    let (first, _) = writer.snapshot(&[("a", 200)]);
    let (_, second) = writer.snapshot(&[("b", 200)]);
    assert!(first.is_disjoint(&second), "{first:?} may be deleted as soon as the second is complete");
}

#[test]
fn what_is_left_of_a_file_is_written_again_where_it_is_less_than_half() {
    let mut writer = Writer::new(merging(true));
    let (first, _) = writer.snapshot(&[("a", 200), ("b", 100), ("c", 200)]);
    let (second, written) = writer.snapshot(&[("a", 200), ("b", 100)]);
    assert_eq!((&second, written.len()), (&first, 0), "300 of 500 bytes are used");
    let (third, _) = writer.snapshot(&[("a", 200)]);
    assert!(third.is_disjoint(&second), "200 of 500 bytes are used");
    assert_eq!(writer.known["a"].segment.map(|segment| segment.offset), Some(0));
}

#[test]
fn what_a_broken_file_holds_stays_and_nothing_is_added() {
    let mut writer = Writer::new(merging(true));
    let (first, _) = writer.snapshot(&[("a", 200)]);
    writer.segments.broken();
    let (second, _) = writer.snapshot(&[("a", 200), ("b", 200)]);
    assert!(second.is_superset(&first) && second.len() == 2);
}

#[test]
fn settings_that_merge_nothing_are_refused() {
    assert_eq!(Merging { max_file_bytes: 1023, ..merging(true) }.validated(), Err(MergingError::FileSize(1023)));
    assert_eq!(Merging { max_space_amplification: 1, ..merging(true) }.validated(), Err(MergingError::Amplification(1)));
    assert_eq!(Merging::default().validated(), Ok(Merging::default()));
}

proptest! {
    #[test]
    fn no_file_of_a_worker_gets_more_than_it_may(
        tasks in prop::collection::vec(prop::collection::vec(1..400_u64, 0..20), 1..6),
        max_file_bytes in 1024..4096_u64,
    ) {
        let merging = Merging { max_file_bytes, ..merging(true) };
        let mut files: BTreeMap<u64, u64> = BTreeMap::new();
        for sizes in &tasks {
            let mut before = 0;
            for &size in sizes {
                let Some(file) = merging.file_of(tasks.len() as u64, before, size) else { continue };
                *files.entry(file).or_default() += size;
                before += size;
            }
        }
        prop_assert!(files.values().all(|size| *size <= max_file_bytes), "{:?}", files);
    }

    /// A store that adds files and drops any of them.
    #[test]
    fn acknowledgements_name_a_file_in_an_unbroken_row_and_never_waste_more_than_allowed(
        steps in prop::collection::vec((prop::collection::vec(1..300_u64, 0..4), prop::collection::vec(any::<prop::sample::Index>(), 0..4)), 1..40),
        across in any::<bool>(),
    ) {
        let mut writer = Writer::new(merging(across));
        let (mut live, mut next) = (Vec::<(String, u64)>::new(), 0);
        let (mut before, mut over) = (BTreeSet::new(), BTreeSet::new());
        for (added, dropped) in steps {
            for index in dropped.iter().filter(|_| !live.is_empty()).collect::<Vec<_>>() {
                if !live.is_empty() {
                    live.remove(index.index(live.len()));
                }
            }
            for size in added {
                next += 1;
                live.push((format!("f{next}"), size));
            }
            let files: Vec<(&str, u64)> = live.iter().map(|(name, size)| (name.as_str(), *size)).collect();
            let (named, written) = writer.snapshot(&files);
            over.extend(before.difference(&named).cloned());
            prop_assert!(named.is_disjoint(&over) && written.is_disjoint(&over), "a file that was let go of comes back");
            for path in &named {
                let used: u64 = writer.known.values().filter(|file| file.path == *path).map(|file| file.size_bytes).sum();
                prop_assert!(writer.sizes[path] <= 2 * used && writer.sizes[path] <= 1024, "{} of {}", used, writer.sizes[path]);
                prop_assert_eq!(writer.segments.file_bytes(path), Some(writer.sizes[path]));
            }
            before = named;
        }
    }
}
