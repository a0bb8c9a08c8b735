//! The port to object storage: whole objects, by URL. Nothing here is POSIX: no folders, no renames, no appends, no syncs.
//!
//! An object appears whole or not at all, and is durable once its put is answered. What was written is what reads see from
//! then on. A listing promises less: it may be older than the last answer.

use bytes::Bytes;
use std::future::Future;

/// How a put meets an object that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PutMode {
    /// Replaces it.
    Overwrite,
    /// Leaves it, and is [`ObjectError::AlreadyExists`] (a conditional put, `If-None-Match: *`).
    Create,
}

/// An upload in parts, as the store calls it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UploadId(pub String);

/// A part of an upload, as the store calls it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PartId(pub String);

/// Some of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// From the offset that was asked for, one byte at least. May be less than asked for, not only at the end.
    pub bytes: Bytes,
    /// How large the whole object is.
    pub object_size_bytes: u64,
}

/// Why a request to an object store failed. The texts are for people and contain no credentials.
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum ObjectError {
    /// There is no such object, or no such upload.
    #[error("it is not there")]
    NotFound,
    /// There is one already.
    #[error("it exists already")]
    AlreadyExists,
    /// Overloaded, throttled, out of reach, no answer in time. Try again; a change may have happened all the same.
    #[error("{0}")]
    Transient(String),
    /// The store will never do this: no permission, a name that it cannot have.
    #[error("{0}")]
    Permanent(String),
}

/// Object stores. An object is named by a URL whose scheme and authority say which store: `s3://bucket/path/of/object`.
///
/// No request is repeated in here: who asks knows for how long it is worth it.
pub trait Objects: Clone + Send + Sync + 'static {
    /// How large the parts of an upload are, all but the last; and from which size on an upload in parts is worth it.
    fn part_size(&self) -> usize;
    /// Writes a whole object.
    fn put(&self, url: &str, bytes: Bytes, mode: PutMode) -> impl Future<Output = Result<(), ObjectError>> + Send;
    /// Reads up to `length` bytes of an object from an offset on, which is below its size.
    fn get_range(&self, url: &str, offset: u64, length: u64) -> impl Future<Output = Result<Piece, ObjectError>> + Send;
    /// The size of an object in bytes; also the cheapest way to ask whether it is there.
    fn size(&self, url: &str) -> impl Future<Output = Result<u64, ObjectError>> + Send;
    /// Deletes objects. Those that are not there are as good as deleted. After an error some may be gone.
    fn delete(&self, urls: &[String]) -> impl Future<Output = Result<(), ObjectError>> + Send;
    /// The URLs of all objects below `prefix` and a slash, sorted. May miss what is new and show what is gone: good enough to
    /// clean up by, and for nothing else.
    fn list(&self, prefix: &str) -> impl Future<Output = Result<Vec<String>, ObjectError>> + Send;
    /// Begins an upload in parts. It costs until it is completed or aborted.
    fn begin_upload(&self, url: &str) -> impl Future<Output = Result<UploadId, ObjectError>> + Send;
    /// Writes one part, counted from 0; all but the last have the part size. A part can be written again.
    fn put_part(&self, url: &str, upload: &UploadId, number: u32, bytes: Bytes)
        -> impl Future<Output = Result<PartId, ObjectError>> + Send;
    /// Makes the object appear, from all its parts in order. The upload is gone then.
    fn complete_upload(&self, url: &str, upload: &UploadId, parts: &[PartId]) -> impl Future<Output = Result<(), ObjectError>> + Send;
    /// Forgets an upload and its parts.
    fn abort_upload(&self, url: &str, upload: &UploadId) -> impl Future<Output = Result<(), ObjectError>> + Send;
}

/// An environment without object storage.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoObjects;

fn none<T>() -> Result<T, ObjectError> {
    Err(ObjectError::Permanent("there is no object storage here".into()))
}

impl Objects for NoObjects {
    fn part_size(&self) -> usize {
        usize::MAX
    }

    async fn put(&self, _: &str, _: Bytes, _: PutMode) -> Result<(), ObjectError> {
        none()
    }

    async fn get_range(&self, _: &str, _: u64, _: u64) -> Result<Piece, ObjectError> {
        none()
    }

    async fn size(&self, _: &str) -> Result<u64, ObjectError> {
        none()
    }

    async fn delete(&self, _: &[String]) -> Result<(), ObjectError> {
        none()
    }

    async fn list(&self, _: &str) -> Result<Vec<String>, ObjectError> {
        none()
    }

    async fn begin_upload(&self, _: &str) -> Result<UploadId, ObjectError> {
        none()
    }

    async fn put_part(&self, _: &str, _: &UploadId, _: u32, _: Bytes) -> Result<PartId, ObjectError> {
        none()
    }

    async fn complete_upload(&self, _: &str, _: &UploadId, _: &[PartId]) -> Result<(), ObjectError> {
        none()
    }

    async fn abort_upload(&self, _: &str, _: &UploadId) -> Result<(), ObjectError> {
        none()
    }
}
