//! Folders of the real machine for what cannot be simulated: in memory where there is such a place, each gone with whoever holds it.
//!
//! Their names are of this process and this run alone. So they must never get into a trace: see [`Folder::hidden_in`].

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Once};

const PREFIX: &str = "cofferdam-sim-";

/// Files in memory.
const MEMORY: &str = "/dev/shm";

/// The scratch of one run.
pub(crate) struct Scratch {
    root: Arc<Folder>,
    lives: AtomicU64,
}

/// A folder, and what is in it. Dropping it removes both.
pub(crate) struct Folder {
    path: PathBuf,
    /// What it is in, and what is removed after it.
    _root: Option<Arc<Folder>>,
}

impl Scratch {
    /// A new one.
    ///
    /// # Panics
    /// If there is no room for an empty folder.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        static ONCE: Once = Once::new();
        let place = Some(Path::new(MEMORY)).filter(|place| place.is_dir()).map_or_else(std::env::temp_dir, Path::to_owned);
        ONCE.call_once(|| remove_of_the_dead(&place));
        let name = format!("{PREFIX}{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        Self { root: Arc::new(Folder::make(place.join(name), None)), lives: AtomicU64::new(0) }
    }

    /// An empty folder for one life of a process. Nobody ever gets it again, so a crash has wiped it.
    pub(crate) fn of_a_life(&self) -> Arc<Folder> {
        let path = self.root.path.join(self.lives.fetch_add(1, Ordering::Relaxed).to_string());
        Arc::new(Folder::make(path, Some(self.root.clone())))
    }
}

impl Folder {
    fn make(path: PathBuf, root: Option<Arc<Self>>) -> Self {
        let made = fs::create_dir_all(&path);
        assert!(made.is_ok(), "{}: a scratch folder cannot be made there: {made:?}", path.display());
        Self { path, _root: root }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// A message without this folder's name.
    pub(crate) fn hidden_in(&self, message: &str) -> String {
        message.replace(&*self.path.to_string_lossy(), "<scratch>")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed now the next process removes.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Processes that were killed have left their folders.
fn remove_of_the_dead(place: &Path) {
    let processes = Path::new("/proc");
    if !processes.join("self").exists() {
        return;
    }
    for entry in fs::read_dir(place).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let owner = name.strip_prefix(PREFIX).and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
        if owner.is_some_and(|pid| !processes.join(pid.to_string()).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_life_finds_nothing_of_another_and_nothing_stays() {
        let scratch = Scratch::new();
        let (one, other) = (scratch.of_a_life(), scratch.of_a_life());
        fs::write(one.path().join("file"), "something").expect("there is room");
        assert_eq!(fs::read_dir(other.path()).expect("it is there").count(), 0);
        assert_eq!(one.hidden_in(&format!("cannot read {}/file", one.path().display())), "cannot read <scratch>/file");
        let (root, life) = (scratch.root.path.clone(), one.path().to_owned());
        drop(one);
        assert!(!life.exists());
        drop((scratch, other));
        assert!(!root.exists());
    }

    #[test]
    fn what_killed_processes_left_is_removed() {
        let place = tempfile::tempdir().expect("there is room");
        let left = place.path().join(format!("{PREFIX}{}-0", u32::MAX));
        let own = place.path().join(format!("{PREFIX}{}-0", std::process::id()));
        for folder in [&left, &own] {
            fs::create_dir_all(folder.join("database")).expect("there is room");
        }
        remove_of_the_dead(place.path());
        assert!(!left.exists() && own.exists());
    }
}
