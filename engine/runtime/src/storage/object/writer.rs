//! One piece of state: a single put if it is small, an upload in parts if it is not. Never more than a part and a block in memory.

use super::{check_wanted, requests, UPLOAD};
use crate::env::objects::{PartId, UploadId};
use crate::env::{Env, ObjectError, Objects};
use crate::storage::StorageError;
use bytes::Bytes;
use cofferdam_protocol::block::{write_block, write_end, write_header, BlockWriter, FileKind};
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

/// Stores number the parts of an upload up to here.
const MOST_PARTS: u32 = 10_000;

/// Writes a state file into an object store.
pub struct ObjectWriter<E: Env> {
    env: E,
    folder: String,
    url: String,
    pending: Vec<u8>,
    total: u64,
    size_bytes: u64,
    parts: Vec<PartId>,
    failed: bool,
    litter: Litter<E>,
}

impl<E: Env> fmt::Debug for ObjectWriter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectWriter").field("url", &self.url).field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl<E: Env> ObjectWriter<E> {
    /// Begins; nothing is sent before there is enough of it. `name` is that of [`state_path`](crate::storage::filesystem::state_path).
    #[must_use]
    pub fn new(env: &E, root: &str, name: &str) -> Self {
        let url = format!("{root}/{name}");
        let folder = url.rsplit_once('/').map_or(root, |(folder, _)| folder).to_owned();
        let mut pending = Vec::new();
        write_header(FileKind::State, &mut pending);
        let litter = Litter { env: env.clone(), objects: Vec::new(), upload: None };
        Self { env: env.clone(), folder, url, pending, total: 0, size_bytes: 0, parts: Vec::new(), failed: false, litter }
    }

    /// As for files: goes on from blocks that were small enough for memory at first.
    pub(in crate::storage) fn take_over(&mut self, blocks: BlockWriter) {
        (self.pending, self.total) = blocks.into_unfinished();
    }

    /// Appends a block of 1 byte to 1 MiB.
    ///
    /// # Errors
    /// `BlockSize`, or `Object`, after which the object is given up.
    pub async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Abandoned { path: self.url.clone() });
        }
        write_block(payload, &mut self.pending).map_err(|source| StorageError::BlockSize { path: self.url.clone(), source })?;
        self.total += payload.len() as u64;
        let part_size = self.env.objects().part_size();
        while self.pending.len() >= part_size {
            let rest = self.pending.split_off(part_size);
            let part = std::mem::replace(&mut self.pending, rest);
            self.part(part).await?;
        }
        Ok(())
    }

    /// Appends the end, lets the object appear, and says how many bytes it has. After an error it is deleted as far as possible.
    ///
    /// # Errors
    /// `Object`, such as `NotFound` if the checkpoint was discarded in the meantime.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        write_end(self.total, &mut self.pending);
        self.appear().await?;
        // Nothing of it is litter.
        drop(self.litter.take());
        Ok(self.size_bytes)
    }

    async fn part(&mut self, bytes: Vec<u8>) -> Result<(), StorageError> {
        // Until all of it is there: what was dropped half way is not gone on with.
        self.failed = true;
        let upload = match &self.litter.upload {
            Some(upload) => upload.clone(),
            None => self.begin().await?,
        };
        let number = u32::try_from(self.parts.len()).unwrap_or(u32::MAX);
        if number >= MOST_PARTS {
            let why = format!("it has more than {MOST_PARTS} parts of {} bytes", self.env.objects().part_size());
            return Err(self.error("write a part of")(ObjectError::Permanent(why)));
        }
        let bytes = Bytes::from(bytes);
        let part = requests::put_part(&self.env, &self.url, &upload.id, number, &bytes).await.map_err(self.error("write a part of"))?;
        self.parts.push(part);
        self.size_bytes += bytes.len() as u64;
        self.failed = false;
        Ok(())
    }

    async fn begin(&mut self) -> Result<Upload, StorageError> {
        let id = requests::begin_upload(&self.env, &self.url).await.map_err(self.error("begin to upload"))?;
        let upload = Upload { url: self.url.clone(), id };
        self.litter.upload = Some(upload.clone());
        let name = format!("{}/{UPLOAD}{:016x}", self.folder, self.env.random());
        self.litter.objects.push(name.clone());
        // Why before the first part: whoever cleans up after this process finds the upload by it.
        requests::put(&self.env, &name, &upload.to_bytes()).await.map_err(StorageError::object("write", &name))?;
        Ok(upload)
    }

    async fn appear(&mut self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Abandoned { path: self.url.clone() });
        }
        // From here on it may be there.
        self.litter.objects.push(self.url.clone());
        let rest = std::mem::take(&mut self.pending);
        if self.litter.upload.is_some() {
            self.part(rest).await?;
            let upload = self.litter.upload.clone().expect("it was there before the last part");
            let completed = requests::complete_upload(&self.env, &self.url, &upload.id, &self.parts, self.size_bytes);
            completed.await.map_err(self.error("complete"))?;
            // Why: the answer may have been found out by the size alone.
            if requests::size(&self.env, &self.url).await.map_err(self.error("find"))? != self.size_bytes {
                return Err(StorageError::ReadBack { path: self.url.clone() });
            }
            self.litter.upload = None;
            // One that stays names an upload that is gone, and goes with the checkpoint.
            let names: Vec<String> = self.litter.objects.iter().filter(|name| **name != self.url).cloned().collect();
            let _ = requests::delete(&self.env, &names).await;
        } else {
            let bytes = Bytes::from(rest);
            requests::put(&self.env, &self.url, &bytes).await.map_err(self.error("write"))?;
            self.size_bytes = bytes.len() as u64;
        }
        check_wanted(&self.env, &self.folder).await
    }

    fn error(&self, operation: &'static str) -> impl FnOnce(ObjectError) -> StorageError {
        StorageError::object(operation, &self.url)
    }
}

/// An upload in parts, as its `_upload-` object names it.
#[derive(Clone, Debug)]
struct Upload {
    url: String,
    id: UploadId,
}

impl Upload {
    /// The name below the folder, and what the store calls it.
    fn to_bytes(&self) -> Bytes {
        let name = self.url.rsplit_once('/').map_or(self.url.as_str(), |(_, name)| name);
        Bytes::from(format!("{name}\n{}\n", self.id.0))
    }

    fn from_bytes(folder: &str, bytes: &[u8]) -> Option<Self> {
        let (name, id) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once('\n')?;
        let harmless = !name.is_empty() && !name.contains('/') && !name.starts_with(['.', '_']);
        (harmless && !id.is_empty()).then(|| Self { url: format!("{folder}/{name}"), id: UploadId(id.to_owned()) })
    }
}

/// Aborts the upload that an `_upload-` object names. It may have been completed or aborted before.
pub(super) async fn abort_named<E: Env>(env: &E, folder: &str, name: &str) -> Result<(), StorageError> {
    let bytes = match requests::get(env, name).await {
        Ok(bytes) => bytes,
        Err(ObjectError::NotFound) => return Ok(()),
        Err(error) => return Err(StorageError::object("read", name)(error)),
    };
    match Upload::from_bytes(folder, &bytes) {
        Some(upload) => requests::abort_upload(env, &upload.url, &upload.id).await.map_err(StorageError::object("abort", &upload.url)),
        // Not one of ours.
        None => Ok(()),
    }
}

/// What a writer leaves if it does not come to its end: cleaned up in the background if the writer is dropped.
struct Litter<E: Env> {
    env: E,
    objects: Vec<String>,
    upload: Option<Upload>,
}

struct Rubbish {
    objects: Vec<String>,
    upload: Option<Upload>,
}

impl Rubbish {
    /// As far as possible: a sweep finds the rest.
    async fn clean<E: Env>(self, env: &E) {
        if let Some(upload) = self.upload {
            if requests::abort_upload(env, &upload.url, &upload.id).await.is_err() {
                // Its name is what a sweep finds it by.
                return;
            }
        }
        let _ = requests::delete(env, &self.objects).await;
    }
}

impl<E: Env> Litter<E> {
    fn take(&mut self) -> Rubbish {
        Rubbish { objects: std::mem::take(&mut self.objects), upload: self.upload.take() }
    }
}

impl<E: Env> Drop for Litter<E> {
    fn drop(&mut self) {
        let rubbish = self.take();
        if rubbish.objects.is_empty() && rubbish.upload.is_none() {
            return;
        }
        let (env, own) = (self.env.clone(), Arc::<Mutex<Option<E::Task>>>::default());
        let held = own.clone();
        let task = self.env.spawn("clean up", async move {
            rubbish.clean(&env).await;
            // It holds itself until it is done.
            held.lock().unwrap_or_else(PoisonError::into_inner).take();
        });
        *own.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }
}
