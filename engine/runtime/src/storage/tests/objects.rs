//! An object store in memory: any request can be made to fail, before or after it took effect, and a listing can lag behind.

use super::disk::Fault;
use crate::env::objects::{ObjectError, Objects, PartId, Piece, PutMode, UploadId};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::Poll;

/// So small that a few bytes of state are an upload.
pub const PART_SIZE: usize = 24;

#[derive(Default)]
struct State {
    objects: BTreeMap<String, Bytes>,
    uploads: BTreeMap<UploadId, (String, BTreeMap<u32, Bytes>)>,
    upload_count: u64,
    operation_count: u64,
    fault: Option<(u64, Fault)>,
    /// What listings show, if not what there is.
    listing: Option<Vec<String>>,
    list_count: u64,
}

/// The store. Clones share it.
#[derive(Clone, Default)]
pub struct TestObjects {
    state: Arc<Mutex<State>>,
}

fn broken() -> ObjectError {
    ObjectError::Transient("it answers 503".into())
}

impl TestObjects {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock held")
    }

    /// One request: an await, at which others can go first, then the effect.
    async fn operation<T>(&self, effect: impl FnOnce(&mut State) -> Result<T, ObjectError>) -> Result<T, ObjectError> {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let mut state = self.lock();
        let number = state.operation_count;
        state.operation_count += 1;
        match state.fault {
            Some((at, Fault::Before)) if at == number => Err(broken()),
            Some((at, Fault::After)) if at == number => effect(&mut state).and(Err(broken())),
            Some((at, Fault::Halt)) if at <= number => Err(broken()),
            Some(_) | None => effect(&mut state),
        }
    }

    /// How many requests there have been.
    pub fn operation_count(&self) -> u64 {
        self.lock().operation_count
    }

    /// How many of them were listings.
    pub fn list_count(&self) -> u64 {
        self.lock().list_count
    }

    /// Makes the request of this number fail.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// Nothing fails any more.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// From now on, listings show what there is now.
    pub fn freeze_listings(&self) {
        let mut state = self.lock();
        state.listing = Some(state.objects.keys().cloned().collect());
    }

    /// All names.
    pub fn names(&self) -> Vec<String> {
        self.lock().objects.keys().cloned().collect()
    }

    /// How many uploads are under way, and how many parts they have.
    pub fn uploads(&self) -> (usize, usize) {
        let state = self.lock();
        (state.uploads.len(), state.uploads.values().map(|(_, parts)| parts.len()).sum())
    }

    /// What an object holds.
    pub fn bytes(&self, url: &str) -> Vec<u8> {
        self.lock().objects[url].to_vec()
    }

    /// Puts an object there, behind everybody's back.
    pub fn set_bytes(&self, url: &str, bytes: impl Into<Bytes>) {
        self.lock().objects.insert(url.into(), bytes.into());
    }
}

impl Objects for TestObjects {
    fn part_size(&self) -> usize {
        PART_SIZE
    }

    async fn put(&self, url: &str, bytes: Bytes, mode: PutMode) -> Result<(), ObjectError> {
        self.operation(|state| {
            if mode == PutMode::Create && state.objects.contains_key(url) {
                return Err(ObjectError::AlreadyExists);
            }
            state.objects.insert(url.into(), bytes);
            Ok(())
        })
        .await
    }

    /// Gives less than asked for, as a store may.
    async fn get_range(&self, url: &str, offset: u64, length: u64) -> Result<Piece, ObjectError> {
        self.operation(|state| {
            let whole = state.objects.get(url).ok_or(ObjectError::NotFound)?;
            let begin = usize::try_from(offset).expect("small");
            let end = whole.len().min(begin + usize::try_from(length.min(100_000)).expect("small"));
            Ok(Piece { bytes: whole.slice(begin..end), object_size_bytes: whole.len() as u64 })
        })
        .await
    }

    async fn size(&self, url: &str) -> Result<u64, ObjectError> {
        self.operation(|state| state.objects.get(url).map(|bytes| bytes.len() as u64).ok_or(ObjectError::NotFound)).await
    }

    async fn delete(&self, urls: &[String]) -> Result<(), ObjectError> {
        self.operation(|state| {
            state.objects.retain(|url, _| !urls.contains(url));
            Ok(())
        })
        .await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        self.operation(|state| {
            state.list_count += 1;
            let shown = state.listing.clone().unwrap_or_else(|| state.objects.keys().cloned().collect());
            Ok(shown.into_iter().filter(|url| url.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))).collect())
        })
        .await
    }

    async fn begin_upload(&self, url: &str) -> Result<UploadId, ObjectError> {
        self.operation(|state| {
            state.upload_count += 1;
            let id = UploadId(state.upload_count.to_string());
            state.uploads.insert(id.clone(), (url.into(), BTreeMap::new()));
            Ok(id)
        })
        .await
    }

    async fn put_part(&self, url: &str, upload: &UploadId, number: u32, bytes: Bytes) -> Result<PartId, ObjectError> {
        self.operation(|state| {
            let (of, parts) = state.uploads.get_mut(upload).ok_or(ObjectError::NotFound)?;
            assert_eq!(of, url);
            parts.insert(number, bytes);
            Ok(PartId(number.to_string()))
        })
        .await
    }

    async fn complete_upload(&self, url: &str, upload: &UploadId, parts: &[PartId]) -> Result<(), ObjectError> {
        self.operation(|state| {
            let (of, written) = state.uploads.remove(upload).ok_or(ObjectError::NotFound)?;
            assert_eq!(of, url);
            assert!(parts.iter().map(|part| &part.0).eq(written.keys().map(u32::to_string).collect::<Vec<_>>().iter()));
            let sizes: Vec<usize> = written.values().map(Bytes::len).collect();
            assert!(sizes[..sizes.len() - 1].iter().all(|size| *size == PART_SIZE), "all parts but the last are alike");
            state.objects.insert(url.into(), written.into_values().flatten().collect());
            Ok(())
        })
        .await
    }

    async fn abort_upload(&self, _: &str, upload: &UploadId) -> Result<(), ObjectError> {
        self.operation(|state| state.uploads.remove(upload).map(drop).ok_or(ObjectError::NotFound)).await
    }
}
