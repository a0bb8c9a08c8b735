//! A file that many pieces of state lie in, one behind the other.
//!
//! A segment counts only once [`sync`](PhysicalFile::sync) has returned: content, name, and the size that all appends make up. One
//! sync serves all that were appended before it.

use super::state_file::{make_durable, FileOf, TRANSFER_SIZE};
use super::StorageError;
use crate::env::{Env, File, Files};

/// A file that is appended to. Made by its first append.
pub(super) struct PhysicalFile<E: Env> {
    env: E,
    path: String,
    file: Option<FileOf<E>>,
    size_bytes: u64,
    durable_bytes: u64,
    broken: bool,
}

impl<E: Env> PhysicalFile<E> {
    /// By its whole path, which no file has had before.
    pub(super) fn new(env: &E, path: String) -> Self {
        Self { env: env.clone(), path, file: None, size_bytes: 0, durable_bytes: 0, broken: false }
    }

    /// Appends a segment, and tells where it begins.
    ///
    /// # Errors
    /// `Io`, or `Abandoned` after an earlier error: nobody knows then where the file ends.
    pub(super) async fn append(&mut self, bytes: &[u8]) -> Result<u64, StorageError> {
        self.check()?;
        // Until all of it is there: an append that failed, or was dropped half way, leaves nobody knows what.
        self.broken = true;
        let file = match &mut self.file {
            Some(file) => file,
            None => {
                let created = self.env.files().create(&self.path).await.map_err(StorageError::io("create", &self.path))?;
                self.file.insert(created)
            }
        };
        for chunk in bytes.chunks(TRANSFER_SIZE) {
            file.append(chunk).await.map_err(StorageError::io("append to", &self.path))?;
        }
        self.broken = false;
        let offset = self.size_bytes;
        self.size_bytes += bytes.len() as u64;
        Ok(offset)
    }

    /// Makes durable whatever was appended.
    ///
    /// # Errors
    /// `Io`, `ReadBack`, or `Abandoned` after an earlier error.
    pub(super) async fn sync(&mut self) -> Result<(), StorageError> {
        self.check()?;
        let Some(file) = self.file.as_mut().filter(|_| self.durable_bytes < self.size_bytes) else { return Ok(()) };
        let outcome = make_durable(&self.env, &self.path, file, self.size_bytes).await;
        // Why: after a sync that failed, what was appended before may be there or not, for ever.
        self.broken = outcome.is_err();
        outcome?;
        self.durable_bytes = self.size_bytes;
        Ok(())
    }

    /// Whether what was appended up to there is durable.
    pub(super) fn is_durable(&self, end: u64) -> bool {
        end <= self.durable_bytes
    }

    pub(super) fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    fn check(&self) -> Result<(), StorageError> {
        if self.broken {
            return Err(StorageError::Abandoned { path: self.path.clone() });
        }
        Ok(())
    }
}
