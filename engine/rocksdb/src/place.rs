//! The folder of one store.

use crate::failure::cannot_at;
use cofferdam_engine::state::cold::{ColdError, ColdPlace};
use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const CHECKPOINT: &str = "checkpoint-";
const FETCHED: &str = "fetched-";

/// Where one store lives. Dropping it removes everything but checkpoints, which go when nobody holds them.
pub struct PlaceFolder {
    path: PathBuf,
}

impl PlaceFolder {
    /// Where the folder of a place is.
    pub fn path_of(root: &Path, place: &ColdPlace) -> PathBuf {
        root.join(folder_name(&place.name))
    }

    /// An empty folder, whatever was there.
    pub fn empty(root: &Path, place: &ColdPlace) -> Result<Self, ColdError> {
        let path = Self::path_of(root, place);
        Self::clear(&path)?;
        Ok(Self { path })
    }

    /// A folder with nothing but the files that were fetched for the place.
    pub fn with_fetched(root: &Path, place: &ColdPlace) -> Result<Self, ColdError> {
        let path = Self::path_of(root, place);
        let prepare = || -> io::Result<()> {
            fs::create_dir_all(&path)?;
            remove_all_but(FETCHED, &path)
        };
        prepare().map_err(cannot_at("prepare the folder of a store", &path))?;
        Ok(Self { path })
    }

    /// Makes a folder empty, whether or not it exists.
    pub fn clear(path: &Path) -> Result<(), ColdError> {
        let clear = || -> io::Result<()> {
            match fs::remove_dir_all(path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                Ok(()) | Err(_) => {}
            }
            fs::create_dir_all(path)
        };
        clear().map_err(cannot_at("prepare a folder", path))
    }

    /// The live database.
    pub fn database(&self) -> PathBuf {
        self.path.join("database")
    }

    /// The `n`-th checkpoint.
    pub fn checkpoint(&self, n: u64) -> PathBuf {
        self.path.join(format!("{CHECKPOINT}{n}"))
    }

    /// A former store that is being read.
    pub fn part(&self, part: usize) -> PathBuf {
        self.path.join(format!("part-{part}"))
    }

    /// Tables that the database is about to take in.
    pub fn ingest(&self) -> PathBuf {
        self.path.join("ingest")
    }

    /// Where files that were fetched for a part are.
    pub fn fetched(&self, part: usize) -> PathBuf {
        self.path.join(format!("{FETCHED}{part}"))
    }
}

impl Drop for PlaceFolder {
    fn drop(&mut self) {
        // Nothing here is worth an error: the next process removes what is left.
        let _ = remove_all_but(CHECKPOINT, &self.path);
        let _ = fs::remove_dir(&self.path);
    }
}

/// Keeps the folder of a checkpoint.
pub struct CheckpointFolder(pub PathBuf);

impl Drop for CheckpointFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // The last one out, where the store went first.
        if let Some(place) = self.0.parent() {
            let _ = fs::remove_dir(place);
        }
    }
}

fn remove_all_but(prefix: &str, folder: &Path) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(prefix) {
            fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

/// A place has a name for people, with whatever a user put into it. Different names stay different.
fn folder_name(name: &str) -> String {
    name.bytes().fold(String::new(), |mut folder, byte| {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' => folder.push(char::from(byte)),
            odd => write!(folder, "%{odd:02x}").expect("a text takes everything"),
        }
        folder
    })
}

#[cfg(test)]
mod tests {
    use super::folder_name;

    #[test]
    fn a_folder_is_below_its_root_whatever_the_place_is_called() {
        assert_eq!(folder_name("count s2 a1.3"), "count%20s2%20a1%2e3");
        assert_eq!(folder_name("../x"), "%2e%2e%2fx");
    }
}
