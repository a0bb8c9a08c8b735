//! Reads copies. Nothing that is not exactly what was written comes out of here.

use super::{Restorable, MANIFEST};
use crate::env::Env;
use crate::storage::state_file::StateFileReader;
use crate::storage::StorageError;
use cofferdam_protocol::block::FileKind;
use cofferdam_protocol::local::{LocalFile, LocalSnapshot};
use cofferdam_protocol::stored::StoredError;

/// Reads what a copy consists of.
pub(super) async fn manifest<E: Env>(env: &E, folder: &str) -> Result<LocalSnapshot, StorageError> {
    let path = format!("{folder}/{MANIFEST}");
    let mut reader = StateFileReader::open(env, FileKind::LocalCopy, &path, None).await?;
    let mut encoding = Vec::new();
    while let Some((_, block)) = reader.next().await? {
        encoding.extend_from_slice(&block);
    }
    LocalSnapshot::decode(&encoding).map_err(StorageError::corrupt(&path))
}

/// Reads one file of a copy, block by block.
pub struct CopyReader<E: Env> {
    path: String,
    reader: StateFileReader<E>,
    expected: u32,
    hasher: crc32fast::Hasher,
}

impl<E: Env> CopyReader<E> {
    /// Opens it.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub async fn open(env: &E, copy: &Restorable<E>, file: &LocalFile) -> Result<Self, StorageError> {
        let path = copy.path(&file.name);
        let reader = StateFileReader::open(env, FileKind::State, &path, Some(file.size_bytes)).await?;
        Ok(Self { path, reader, expected: file.checksum, hasher: crc32fast::Hasher::new() })
    }

    /// The next payload and where it stands; `None` once all have come and are those of the manifest. Use nothing before that.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        let next = self.reader.next().await?;
        match &next {
            Some((_, block)) => self.hasher.update(block),
            None => {
                let found = self.hasher.clone().finalize();
                if found != self.expected {
                    let source = StoredError::Checksum { offset: 0, found, expected: self.expected };
                    return Err(StorageError::Corrupt { path: self.path.clone(), source });
                }
            }
        }
        Ok(next)
    }

    /// Reads it to its end.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub async fn verify(mut self) -> Result<(), StorageError> {
        while self.next().await?.is_some() {}
        Ok(())
    }
}
