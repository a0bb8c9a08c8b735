//! A checkpoint of a store: hard links, and the files that name them.

use crate::failure::{cannot, cannot_at};
use crate::place::CheckpointFolder;
use cofferdam_engine::state::cold::{ColdCheckpoint, ColdContent, ColdError, ColdFile};
use rocksdb::checkpoint::Checkpoint;
use rocksdb::DB;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// Takes one into a folder that does not exist yet.
pub fn take(database: &DB, path: PathBuf) -> Result<ColdCheckpoint, ColdError> {
    let taking = Checkpoint::new(database).map_err(cannot("begin a checkpoint"))?;
    // From here on it is removed again if anything fails.
    let folder = CheckpointFolder(path);
    taking.create_checkpoint(&folder.0).map_err(cannot("take a checkpoint"))?;
    let files = files(&folder.0).map_err(cannot_at("list a checkpoint", &folder.0))?;
    Ok(ColdCheckpoint { files, hold: Arc::new(folder) })
}

/// Whether a file is a table: never changed once it is written.
pub fn is_table(name: &str) -> bool {
    name.ends_with(".sst")
}

/// What a database needs to be opened, by name. `OPTIONS` is not among it: we always say ourselves how to open one, and it has
/// paths of this machine in it. Neither are logs: nothing is ever in them.
fn files(folder: &Path) -> io::Result<Vec<ColdFile>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if is_table(&name) || name == "CURRENT" || name.starts_with("MANIFEST-") {
            let content = Arc::new(FileContent { path: entry.path(), file: OnceLock::new() });
            files.push(ColdFile { shared: is_table(&name), size_bytes: entry.metadata()?.len(), name, content });
        }
    }
    files.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(files)
}

/// A file, opened when it is first read: most tables of a checkpoint are in storage already.
struct FileContent {
    path: PathBuf,
    file: OnceLock<File>,
}

impl ColdContent for FileContent {
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let file = match self.file.get() {
            Some(file) => file,
            None => {
                let opened = File::open(&self.path)?;
                self.file.get_or_init(|| opened)
            }
        };
        file.read_at(buffer, offset)
    }
}
