//! Files of former stores, as they arrive.

use crate::failure::{cannot_at, BACKEND};
use cofferdam_engine::state::cold::{ColdError, LoadSink, Loaded};
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Component, Path, PathBuf};

/// Writes a file. It is scratch: nobody waits for the disk.
pub struct FileSink {
    path: PathBuf,
    file: File,
}

impl FileSink {
    /// Makes the file, and its folder where that is missing.
    pub fn create(folder: &Path, name: &str) -> Result<Self, ColdError> {
        let path = folder.join(plain(name)?);
        let create = || {
            fs::create_dir_all(folder)?;
            File::create(&path)
        };
        let file = create().map_err(cannot_at("make a file for what is fetched", &path))?;
        Ok(Self { path, file })
    }
}

impl LoadSink for FileSink {
    fn append(&mut self, bytes: &[u8]) -> Result<(), ColdError> {
        self.file.write_all(bytes).map_err(cannot_at("write what is fetched", &self.path))
    }

    fn finish(self: Box<Self>) -> Result<Loaded, ColdError> {
        Ok(Loaded::Path(self.path))
    }
}

/// A name of a file from metadata, if it is one: it must not lead out of its folder.
pub fn plain(name: &str) -> Result<&str, ColdError> {
    let mut components = Path::new(name).components();
    match (components.next(), components.next()) {
        (Some(Component::Normal(only)), None) if only == name => Ok(name),
        _ => Err(ColdError { backend: BACKEND, operation: "restore a file", cause: format!("{name:?} is not the name of one") }),
    }
}

#[cfg(test)]
mod tests {
    use super::plain;

    #[test]
    fn a_name_leads_nowhere_else() {
        assert!(plain("000012.sst").is_ok());
        for name in ["", ".", "..", "/etc/passwd", "../x", "a/b", "a/"] {
            assert!(plain(name).is_err(), "{name}");
        }
    }
}
