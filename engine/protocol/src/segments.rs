//! Which physical file a small shared file becomes a segment of (Flink: `FileMergingSnapshotManager`, `PhysicalFilePool`).
//!
//! One value for each operator and subtask, for as long as an attempt lasts; its files have one writer, in the order of the
//! checkpoints.
//!
//! ```text
//!            place            place, and it is full / begin, and nothing in it is named / broken
//! (no file) ------> open P ------------------------------------------------------------------> closed for ever
//! ```
//!
//! Lives here: which file is open, what goes into it, and which segments are worth writing again. Never here: bytes, and when a
//! physical file is deleted: that is [`shared_files`](crate::shared_files), to which a physical file is one shared file.
//!
//! Why a file that is written to is never one that was deleted: a file is open from the checkpoint that makes it until the first one
//! that names nothing in it. So the acknowledgements name it in an unbroken row, as they name a file that was uploaded whole,
//! and after the last of them it gets no byte more. What an earlier attempt wrote is never open here at all.

use crate::snapshot::SharedFile;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::{String, ToString};

/// How small files are merged (Flink: `execution.checkpointing.file-merging.*`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Merging {
    /// No physical file becomes larger (`max-file-size`). What is larger than a quarter of it has a file of its own.
    pub max_file_bytes: u64,
    /// Whether a physical file may hold segments of several checkpoints (`across-checkpoint-boundary`).
    pub across_checkpoints: bool,
    /// A physical file that is more times as large as what is still used of it is not used any more (`max-space-amplification`).
    pub max_space_amplification: u32,
}

/// A setting of [`Merging`] that cannot be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergingError {
    /// Too small to merge anything. Set a larger one.
    #[error("merged files of at most {0} bytes merge nothing: at least {MERGED_LEAST_BYTES} are needed")]
    FileSize(u64),
    /// Every byte that goes out of use would make the rest be written again. Set 2 or more.
    #[error("a space amplification of at most {0} cannot be kept: at least 2 is needed")]
    Amplification(u32),
}

/// The least that a physical file may be allowed.
pub const MERGED_LEAST_BYTES: u64 = 1 << 10;
/// Segments are put together in memory.
pub const SEGMENT_LIMIT_BYTES: u64 = 4 << 20;

impl Default for Merging {
    fn default() -> Self {
        Self { max_file_bytes: 32 << 20, across_checkpoints: true, max_space_amplification: 2 }
    }
}

impl Merging {
    /// Whether it can be.
    ///
    /// # Errors
    /// What cannot.
    pub fn validated(self) -> Result<Self, MergingError> {
        if self.max_file_bytes < MERGED_LEAST_BYTES {
            return Err(MergingError::FileSize(self.max_file_bytes));
        }
        if self.max_space_amplification < 2 {
            return Err(MergingError::Amplification(self.max_space_amplification));
        }
        Ok(self)
    }

    /// What is larger has a file of its own.
    #[must_use]
    pub fn segment_limit_bytes(&self) -> u64 {
        (self.max_file_bytes / 4).min(SEGMENT_LIMIT_BYTES)
    }

    /// In which of the files that the tasks of a worker share for one checkpoint a segment lies, by what its task has put there before.
    /// Depends on nothing that other tasks do, and no file gets more than it may. `None`: it is too large to be merged.
    #[must_use]
    pub fn file_of(&self, tasks: u64, before_bytes: u64, size_bytes: u64) -> Option<u64> {
        // A task's last segment in a file may begin just before the end of its share, and be as large as that.
        let share = (self.max_file_bytes / (2 * tasks.max(1))).max(1);
        (size_bytes <= share.min(self.segment_limit_bytes())).then_some(before_bytes / share)
    }
}

/// The physical files of one operator and subtask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Segments {
    merging: Merging,
    /// The one that is written to, by its path.
    open: Option<String>,
    /// How large the files are that the snapshot names.
    sizes: BTreeMap<String, u64>,
}

impl Segments {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(merging: Merging) -> Self {
        Self { merging, open: None, sizes: BTreeMap::new() }
    }

    /// A snapshot begins that could name these files. Gives those, by name, that are to be written again: too little of their
    /// physical file is still used.
    pub fn begin<'a>(&mut self, known: impl IntoIterator<Item = &'a SharedFile>) -> BTreeSet<String> {
        let mut used: BTreeMap<&str, (u64, BTreeSet<&str>)> = BTreeMap::new();
        for file in known {
            let Some(segment) = file.segment else { continue };
            let (bytes, names) = used.entry(&file.path).or_default();
            *bytes += file.size_bytes;
            names.insert(&file.name);
            // What another attempt wrote is known from what it has said.
            let size = self.sizes.entry(file.path.clone()).or_default();
            *size = segment.file_bytes.max(*size);
        }
        let mut again = BTreeSet::new();
        self.sizes.retain(|path, size| {
            let Some((bytes, names)) = used.get(path.as_str()) else { return false };
            let wasteful = *size > bytes.saturating_mul(self.merging.max_space_amplification.into());
            if wasteful {
                again.extend(names.iter().map(ToString::to_string));
            }
            !wasteful
        });
        // Why: this snapshot does not name it, so it may be deleted once this one is complete.
        self.open = self.open.take().filter(|open| self.merging.across_checkpoints && self.sizes.contains_key(open));
        again
    }

    /// The file that a segment goes into: the one that is open, or a new one, which `name` gives a path that no file ever had.
    pub fn place(&mut self, size_bytes: u64, name: impl FnOnce() -> String) -> &str {
        let fits = |size: u64| size.saturating_add(size_bytes) <= self.merging.max_file_bytes;
        if !self.open.as_ref().and_then(|open| self.sizes.get(open)).is_some_and(|size| fits(*size)) {
            let path = name();
            self.sizes.insert(path.clone(), 0);
            self.open = Some(path);
        }
        self.open.as_deref().expect("it was opened")
    }

    /// So much is in the file that is open.
    pub fn written(&mut self, file_bytes: u64) {
        if let Some(size) = self.open.as_ref().and_then(|open| self.sizes.get_mut(open)) {
            *size = file_bytes;
        }
    }

    /// Nobody knows how the file ends that is open. What was durable in it before stays.
    pub fn broken(&mut self) {
        self.open = None;
    }

    /// The file that is open.
    #[must_use]
    pub fn open(&self) -> Option<&str> {
        self.open.as_deref()
    }

    /// How large a file is by now that the snapshot names.
    #[must_use]
    pub fn file_bytes(&self, path: &str) -> Option<u64> {
        self.sizes.get(path).copied()
    }
}

#[cfg(test)]
mod tests;
