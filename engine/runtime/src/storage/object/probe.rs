//! Whether a store does what checkpoints ask of it, found out before a job is started on it.

use super::requests;
use crate::env::objects::PutMode;
use crate::env::{Env, ObjectError, Objects};
use crate::storage::StorageError;
use bytes::Bytes;

/// Writes, reads and deletes an object below `root`, and sees that it cannot be created twice.
///
/// # Errors
/// `Object`, or `Unfit` for a store that would let two coordinators write the same entry.
pub async fn check<E: Env>(env: &E, root: &str) -> Result<(), StorageError> {
    let url = format!("{root}/_probe-{:016x}", env.random());
    let (ours, theirs) = (Bytes::from_static(b"ours"), Bytes::from_static(b"theirs"));
    let unfit = |what| StorageError::Unfit { path: root.to_owned(), what };
    // Only once: who has mistyped a name or forgotten a password does not want to wait.
    match env.objects().get_range(&url, 0, 1).await {
        Err(ObjectError::NotFound) => {}
        Ok(_) => return Err(unfit("shows an object that was never written")),
        Err(error) => return Err(StorageError::object("read", &url)(error)),
    }
    requests::create(env, &url, &ours).await.map_err(StorageError::object("write", &url))?;
    let again = env.objects().put(&url, theirs, PutMode::Create).await;
    let found = requests::get(env, &url).await;
    requests::delete(env, std::slice::from_ref(&url)).await.map_err(StorageError::object("delete", &url))?;
    if found.map_err(StorageError::object("read", &url))? != ours {
        return Err(unfit("lets an object be created twice: it must honour conditional puts (If-None-Match: *)"));
    }
    match again {
        // An answer that was lost tells nothing, but what is there is ours.
        Err(ObjectError::AlreadyExists | ObjectError::Transient(_)) => Ok(()),
        Ok(()) => Err(unfit("says that it created an object that was there: it must honour conditional puts (If-None-Match: *)")),
        Err(error) => Err(StorageError::object("write", &url)(error)),
    }
}
