//! Requests to an object store, each repeated for as long as it is worth it, with growing waits in between.
//!
//! A change whose answer is an error may have happened. Where that matters less (a put of the same bytes under a name that
//! nobody else uses, a delete) it is simply done again; where it matters (a create-only put) what is there is read back and
//! compared. Nothing is ever overwritten to find out.

use crate::env::objects::{PartId, PutMode, UploadId};
use crate::env::{Env, ObjectError, Objects};
use crate::sometimes;
use bytes::{Bytes, BytesMut};
use std::future::Future;
use std::time::Duration;

/// The first and the longest wait between two tries.
const WAIT: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));
/// How often anything is tried. Who wants more asks again: a write gives its checkpoint up, a discard goes on for ever.
const TRIES: u32 = 6;
/// More than any object has that is read as a whole; a larger one is not ours.
const WHOLE_LIMIT: u64 = 16 << 20;

/// The tries that are left.
struct Patience {
    tries: u32,
    wait: Duration,
}

impl Patience {
    fn new() -> Self {
        Self { tries: TRIES, wait: WAIT.0 }
    }

    /// Waits before another try, if there is one.
    async fn again<E: Env>(&mut self, env: &E) -> bool {
        self.tries -= 1;
        if self.tries == 0 {
            sometimes!(env, "objects/not-worth-another-try");
            return false;
        }
        // Half of it drawn: those that were turned away together do not come back together.
        let half = u64::try_from(self.wait.as_micros() / 2).unwrap_or(u64::MAX).max(1);
        env.sleep(Duration::from_micros(half + env.random() % half)).await;
        self.wait = (self.wait * 2).min(WAIT.1);
        true
    }
}

/// Tries until it works, can never work, or is not worth it any more.
async fn patiently<E, T, F>(env: &E, mut request: impl FnMut() -> F + Send) -> Result<T, ObjectError>
where
    E: Env,
    F: Future<Output = Result<T, ObjectError>> + Send,
{
    let mut patience = Patience::new();
    loop {
        match request().await {
            Err(ObjectError::Transient(why)) => {
                if !patience.again(env).await {
                    return Err(ObjectError::Transient(why));
                }
            }
            other => return other,
        }
    }
}

/// Writes an object that nobody else writes otherwise.
pub async fn put<E: Env>(env: &E, url: &str, bytes: &Bytes) -> Result<(), ObjectError> {
    patiently(env, || env.objects().put(url, bytes.clone(), PutMode::Overwrite)).await
}

/// What stands under a name after an attempt to create it.
pub enum Created {
    /// Our bytes.
    Ours,
    /// What was there before us.
    Theirs(Bytes),
}

/// Creates an object. If there is one already, it is either ours, from a try whose answer was lost, or it stays.
///
/// # Errors
/// After `Transient` it may exist.
pub async fn create<E: Env>(env: &E, url: &str, bytes: &Bytes) -> Result<Created, ObjectError> {
    let mut patience = Patience::new();
    loop {
        let failed = match env.objects().put(url, bytes.clone(), PutMode::Create).await {
            Ok(()) => return Ok(Created::Ours),
            Err(ObjectError::AlreadyExists) => match get(env, url).await {
                Ok(found) if found == bytes => {
                    sometimes!(env, "objects/created-by-a-try-whose-answer-was-lost");
                    return Ok(Created::Ours);
                }
                Ok(found) => {
                    sometimes!(env, seldom "objects/created-by-somebody-else");
                    return Ok(Created::Theirs(found));
                }
                // Some stores say that it exists while another put is under way that may yet fail.
                Err(ObjectError::NotFound) => ObjectError::Transient("it exists and is not there".into()),
                Err(error) => error,
            },
            Err(error) => error,
        };
        let ObjectError::Transient(_) = failed else { return Err(failed) };
        if !patience.again(env).await {
            return Err(failed);
        }
    }
}

/// Reads a small object as a whole.
pub async fn get<E: Env>(env: &E, url: &str) -> Result<Bytes, ObjectError> {
    let first = range(env, url, 0, WHOLE_LIMIT).await?;
    if first.object_size_bytes > WHOLE_LIMIT {
        return Err(ObjectError::Permanent(format!("it has {} bytes, which none of ours has", first.object_size_bytes)));
    }
    if first.bytes.len() as u64 == first.object_size_bytes {
        return Ok(first.bytes);
    }
    sometimes!(env, seldom "objects/read-in-pieces");
    let mut whole = BytesMut::from(first.bytes);
    while (whole.len() as u64) < first.object_size_bytes {
        let at = whole.len() as u64;
        let piece = range(env, url, at, first.object_size_bytes - at).await?;
        if piece.bytes.is_empty() {
            return Err(ObjectError::Transient("nothing came of what is there".into()));
        }
        whole.extend_from_slice(&piece.bytes);
    }
    Ok(whole.freeze())
}

/// Reads some of an object.
pub async fn range<E: Env>(env: &E, url: &str, offset: u64, length: u64) -> Result<crate::env::objects::Piece, ObjectError> {
    patiently(env, || env.objects().get_range(url, offset, length)).await
}

/// The size of an object.
pub async fn size<E: Env>(env: &E, url: &str) -> Result<u64, ObjectError> {
    patiently(env, || env.objects().size(url)).await
}

/// Whether there is such an object.
pub async fn exists<E: Env>(env: &E, url: &str) -> Result<bool, ObjectError> {
    match size(env, url).await {
        Ok(_) => Ok(true),
        Err(ObjectError::NotFound) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Deletes objects, which may be gone already.
pub async fn delete<E: Env>(env: &E, urls: &[String]) -> Result<(), ObjectError> {
    if urls.is_empty() {
        return Ok(());
    }
    patiently(env, || env.objects().delete(urls)).await
}

/// What a listing shows, for cleaning up.
pub async fn list<E: Env>(env: &E, prefix: &str) -> Result<Vec<String>, ObjectError> {
    patiently(env, || env.objects().list(prefix)).await
}

/// Begins an upload. One whose answer is lost has no parts.
pub async fn begin_upload<E: Env>(env: &E, url: &str) -> Result<UploadId, ObjectError> {
    patiently(env, || env.objects().begin_upload(url)).await
}

/// Writes a part.
pub async fn put_part<E: Env>(env: &E, url: &str, upload: &UploadId, number: u32, bytes: &Bytes) -> Result<PartId, ObjectError> {
    patiently(env, || env.objects().put_part(url, upload, number, bytes.clone())).await
}

/// Completes an upload of so many bytes. After a lost answer the upload is gone, and the object is there.
pub async fn complete_upload<E: Env>(env: &E, url: &str, upload: &UploadId, parts: &[PartId], size_bytes: u64) -> Result<(), ObjectError> {
    match patiently(env, || env.objects().complete_upload(url, upload, parts)).await {
        Err(ObjectError::NotFound) if size(env, url).await? == size_bytes => {
            sometimes!(env, "objects/upload-was-completed-without-an-answer");
            Ok(())
        }
        other => other,
    }
}

/// Forgets an upload, which may be gone already.
pub async fn abort_upload<E: Env>(env: &E, url: &str, upload: &UploadId) -> Result<(), ObjectError> {
    match patiently(env, || env.objects().abort_upload(url, upload)).await {
        Err(ObjectError::NotFound) => {
            sometimes!(env, "objects/aborted-upload-was-gone");
            Ok(())
        }
        other => other,
    }
}
