//! Who still needs which shared file (Flink: `SharedStateRegistryImpl`).
//!
//! A file is known by its path, which no other file ever gets. To whoever keeps and deletes, a physical file with many segments
//! (see [`segments`](crate::segments)) is one file: it is used for as long as any of its segments is, and closed before that ends.
//! What counts is the newest checkpoint that uses it: an older one that uses it too is subsumed before. A file goes once its last user
//! is older than every retained checkpoint.
//!
//! ```text
//! acknowledgement of c7 names f  -->  f: last used by c7          (whatever becomes of c7)
//! c9 is the oldest retained      -->  f goes, unless c9 or a later one has named it as well
//! ```
//!
//! A job that ends leaves no later user of what a checkpoint under way has added: that goes by its first use.
//!
//! Lives here: first and last uses. Never here: deleting, and which checkpoint is retained (`coordinator/retention`).
//!
//! Why this is safe: an attempt uploads a file of its store once, and names it by that path in each of its acknowledgements until
//! the store drops it; a store never brings a dropped file back; and no checkpoint completes without the acknowledgement of
//! every task. So whichever checkpoint completes after the upload, it names the file or no later one will. Completion notices
//! play no part: lost, late and repeated ones change nothing. (Flink uploads again what is not confirmed, and then the path that
//! a late notice confirms can be the one that was released.)

use crate::ids::CheckpointId;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;

/// A shared file: its path below the job's checkpoint folder, or an absolute one below a claimed snapshot.
pub type FileId = String;

/// Whether the file stands outside of the job's own folder.
#[must_use]
pub fn is_foreign(file: &str) -> bool {
    file.starts_with('/') || file.contains("://")
}

/// First and last uses of shared files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct SharedFiles {
    used: BTreeMap<FileId, (CheckpointId, CheckpointId)>,
}

impl SharedFiles {
    /// A checkpoint uses a file. Repeated, late and out of order: all the same.
    pub fn register(&mut self, file: &str, checkpoint: CheckpointId) {
        match self.used.get_mut(file) {
            Some((first, last)) => (*first, *last) = (checkpoint.min(*first), checkpoint.max(*last)),
            None => {
                self.used.insert(file.into(), (checkpoint, checkpoint));
            }
        }
    }

    /// Takes out all files whose last user is older than `oldest`. `None`: nothing is retained, so all of them go.
    pub fn release_below(&mut self, oldest: Option<CheckpointId>) -> BTreeSet<FileId> {
        let unneeded = |last: &CheckpointId| oldest.is_none_or(|oldest| *last < oldest);
        let released = self.used.iter().filter(|(_, (_, last))| unneeded(last)).map(|(file, _)| file.clone()).collect();
        self.used.retain(|_, (_, last)| !unneeded(last));
        released
    }

    /// Nothing later than `newest` will ever complete: forgets the files that only later ones have named. One that was uploaded
    /// for `newest`, or before it and still was in the store, is named by it.
    pub fn forget_after(&mut self, newest: CheckpointId) {
        self.used.retain(|_, (first, _)| *first <= newest);
    }

    /// Whether the file is known, and so must not be deleted by anybody.
    #[must_use]
    pub fn knows(&self, file: &str) -> bool {
        self.used.contains_key(file)
    }

    /// All files, in order.
    pub fn files(&self) -> impl Iterator<Item = &FileId> {
        self.used.keys()
    }

    /// How many.
    #[must_use]
    pub fn len(&self) -> usize {
        self.used.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.used.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::format;
    use alloc::vec::Vec;
    use proptest::prelude::*;

    fn c(id: u64) -> CheckpointId {
        CheckpointId(id)
    }

    #[test]
    fn a_file_stays_until_its_last_user_is_subsumed() {
        let mut shared = SharedFiles::default();
        shared.register("a", c(1));
        shared.register("b", c(1));
        shared.register("b", c(2));
        assert!(shared.release_below(Some(c(1))).is_empty());
        assert_eq!(shared.release_below(Some(c(2))), BTreeSet::from(["a".into()]));
        assert!(shared.knows("b") && !shared.knows("a"));
        assert_eq!(shared.release_below(Some(c(3))), BTreeSet::from(["b".into()]));
    }

    #[test]
    fn a_late_acknowledgement_of_an_older_checkpoint_shortens_nothing() {
        let mut shared = SharedFiles::default();
        shared.register("a", c(5));
        shared.register("a", c(2));
        assert!(shared.release_below(Some(c(4))).is_empty());
    }

    #[test]
    fn with_nothing_retained_everything_goes() {
        let mut shared = SharedFiles::default();
        shared.register("a", c(5));
        assert_eq!(shared.release_below(None).len(), 1);
        assert!(shared.is_empty());
    }

    #[test]
    fn at_the_end_what_only_a_checkpoint_under_way_has_named_is_not_needed() {
        let mut shared = SharedFiles::default();
        shared.register("a", c(4));
        shared.register("a", c(5));
        shared.register("b", c(5));
        shared.forget_after(c(4));
        assert!(shared.knows("a") && !shared.knows("b"));
    }

    proptest! {
        /// A store that drops files now and then, checkpoints of which up to two are in flight, and that fail or complete.
        #[test]
        fn no_retained_checkpoint_ever_lacks_a_file(steps in proptest::collection::vec((0..4_u8, any::<bool>(), any::<bool>()), 1..60)) {
            let (mut shared, mut gone) = (SharedFiles::default(), BTreeSet::new());
            let mut live = BTreeMap::<u64, String>::new();
            let mut in_flight: Vec<(u64, BTreeMap<u64, String>)> = Vec::new();
            let mut complete: Option<BTreeMap<u64, String>> = None;
            for (number, (dropped, wait, completes)) in (1..).zip(steps) {
                live.insert(number, format!("f{number}"));
                for _ in 0..dropped {
                    if live.len() > 1 { live.pop_first(); }
                }
                in_flight.push((number, live.clone()));
                if wait && in_flight.len() == 1 {
                    continue;
                }
                for (number, part) in in_flight.drain(..) {
                    for path in part.values() {
                        prop_assert!(!gone.contains(path), "{} is named after it was deleted", path);
                        shared.register(path, c(number));
                    }
                    if completes {
                        complete = Some(part);
                        gone.extend(shared.release_below(Some(c(number))));
                    }
                }
                for path in complete.iter().flat_map(BTreeMap::values) {
                    prop_assert!(!gone.contains(path), "{} is gone", path);
                }
            }
        }
    }
}
