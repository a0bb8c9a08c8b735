//! Every image of a disk that a power loss can leave, not one drawn from them.

use super::content::Content;
use super::tree::Tree;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// A disk as it was right after a change.
pub struct Instant {
    /// On the world's clock.
    pub at: Duration,
    pub(super) tree: Tree,
}

/// What is on a disk: files by path with their contents, and all folders.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Image {
    /// By path.
    pub files: BTreeMap<String, Vec<u8>>,
    /// Their paths.
    pub folders: BTreeSet<String>,
}

impl Instant {
    /// How many operations a power loss may take: appends behind the last sync of their file, changes of a folder behind its last one.
    #[must_use]
    pub fn unsynced(&self) -> usize {
        self.tree.unsynced().iter().map(|(_, count)| count).sum()
    }

    /// The images that a power loss at this instant can leave. Of more than `most` unsynced operations those of the things that were
    /// made last are gone through, while of all others everything or nothing is on the disk.
    #[must_use]
    pub fn images(&self, most: usize) -> BTreeSet<Image> {
        let mut images = BTreeSet::new();
        let (mut varied, mut fixed, mut room) = (Vec::new(), Vec::new(), most);
        for (thing, count) in self.tree.unsynced().into_iter().rev() {
            if count <= room {
                room -= count;
                varied.push(thing);
            } else {
                fixed.push(thing);
            }
        }
        for all in [false, true] {
            let mut trees = vec![self.tree.clone()];
            for thing in &fixed {
                trees.iter_mut().for_each(|tree| tree.keep_all_or_nothing(*thing, all));
            }
            for thing in &varied {
                trees = trees.iter().flat_map(|tree| tree.outcomes(*thing)).collect();
            }
            for mut tree in trees {
                tree.lose_the_rest();
                images.insert(Image { files: tree.all_files(false), folders: tree.all_folders() });
            }
            if fixed.is_empty() {
                break;
            }
        }
        images
    }
}

/// Where a file can end: at each append, and inside of the first that is not whole, at both of its ends and at each sector.
pub(super) fn ends(content: &Content, sector: usize) -> BTreeSet<usize> {
    let (clean, appends) = content.unsynced();
    let mut ends = BTreeSet::from([clean]);
    let mut start = clean;
    for &end in appends {
        ends.extend([start + 1, start + (end - start) / 2, end - 1, end]);
        ends.extend((start / sector + 1..).map(|number| number * sector).take_while(|at| *at < end));
        start = end;
    }
    ends
}
