//! What is stored, and what of it is known to anybody.

use crate::world::NodeIndex;
use bytes::Bytes;
use cofferdam_engine::env::objects::{ObjectError, PartId, PutMode, UploadId};
use std::collections::BTreeMap;
use std::time::Duration;

/// One life of one node.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sender {
    pub(super) node: NodeIndex,
    pub(super) incarnation: u64,
}

/// An object.
#[derive(Clone, Debug)]
pub(super) struct Object {
    pub(super) bytes: Bytes,
    pub(super) by: Sender,
    created_at: Duration,
    pub(super) written_at: Duration,
    /// Whether anybody can know that it is there: its sender was answered, or the last listing that should show it did.
    pub(super) known: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Upload {
    pub(super) url: String,
    pub(super) parts: BTreeMap<u32, Bytes>,
}

/// All of it. Every method is what one request does.
#[derive(Default)]
pub(super) struct Bucket {
    pub(super) objects: BTreeMap<String, Object>,
    pub(super) uploads: BTreeMap<UploadId, Upload>,
    deleted_at: BTreeMap<String, Duration>,
    issued: u64,
}

/// What a listing shows, and whether it misleads.
pub(super) struct Listing {
    pub(super) urls: Vec<String>,
    pub(super) stale: bool,
}

fn is_below(url: &str, prefix: &str) -> bool {
    url.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('/'))
}

impl Bucket {
    /// Says whether it replaced an object.
    pub(super) fn put(&mut self, now: Duration, by: Sender, url: &str, bytes: Bytes, mode: PutMode) -> Result<bool, ObjectError> {
        let before = self.objects.get(url);
        if before.is_some() && mode == PutMode::Create {
            return Err(ObjectError::AlreadyExists);
        }
        let (replaces, created_at) = (before.is_some(), before.map_or(now, |before| before.created_at));
        self.objects.insert(url.to_owned(), Object { bytes, by, created_at, written_at: now, known: false });
        Ok(replaces)
    }

    pub(super) fn get(&self, url: &str) -> Result<&Object, ObjectError> {
        self.objects.get(url).ok_or(ObjectError::NotFound)
    }

    pub(super) fn delete(&mut self, now: Duration, urls: &[String]) {
        for url in urls {
            if self.objects.remove(url).is_some() {
                self.deleted_at.insert(url.clone(), now);
            }
        }
    }

    /// What there was at some moment up to now, as far as objects have come and gone since.
    pub(super) fn list(&mut self, now: Duration, lag: Duration, prefix: &str) -> Listing {
        let since = now.saturating_sub(lag);
        let mut listing = Listing { urls: Vec::new(), stale: false };
        for (url, object) in self.objects.iter_mut().filter(|(url, _)| is_below(url, prefix)) {
            object.known = lag.is_zero() || object.created_at < since;
            if object.known {
                listing.urls.push(url.clone());
            } else {
                listing.stale = true;
            }
        }
        let gone = self.deleted_at.iter().filter(|(url, at)| is_below(url, prefix) && **at > since && !self.objects.contains_key(*url));
        for (url, _) in gone {
            listing.urls.push(url.clone());
            listing.stale = true;
        }
        listing.urls.sort();
        listing
    }

    pub(super) fn begin_upload(&mut self, url: &str) -> UploadId {
        self.issued += 1;
        let id = UploadId(format!("upload-{}", self.issued));
        self.uploads.insert(id.clone(), Upload { url: url.to_owned(), parts: BTreeMap::new() });
        id
    }

    pub(super) fn put_part(&mut self, url: &str, id: &UploadId, number: u32, bytes: Bytes) -> Result<PartId, ObjectError> {
        let upload = self.uploads.get_mut(id).filter(|upload| upload.url == url).ok_or(ObjectError::NotFound)?;
        upload.parts.insert(number, bytes);
        Ok(PartId(format!("part-{number}")))
    }

    pub(super) fn complete_upload(
        &mut self,
        now: Duration,
        by: Sender,
        url: &str,
        id: &UploadId,
        parts: &[PartId],
    ) -> Result<(), ObjectError> {
        let upload = self.uploads.get(id).filter(|upload| upload.url == url).ok_or(ObjectError::NotFound)?;
        let written = upload.parts.keys().map(|number| PartId(format!("part-{number}")));
        if !written.eq(parts.iter().cloned()) {
            return Err(ObjectError::Permanent("some parts were never written".into()));
        }
        let upload = self.uploads.remove(id).expect("it was there");
        let bytes: Vec<u8> = upload.parts.into_values().flatten().collect();
        self.put(now, by, url, bytes.into(), PutMode::Overwrite).map(drop)
    }

    pub(super) fn abort_upload(&mut self, id: &UploadId) -> Result<(), ObjectError> {
        self.uploads.remove(id).map(drop).ok_or(ObjectError::NotFound)
    }

    /// The sender of what is there now has heard that it is.
    pub(super) fn acknowledged(&mut self, by: Sender, url: &str) {
        if let Some(object) = self.objects.get_mut(url).filter(|object| object.by == by) {
            object.known = true;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BY: Sender = Sender { node: NodeIndex(1), incarnation: 1 };

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn put(bucket: &mut Bucket, ms: u64, url: &str, mode: PutMode) -> Result<bool, ObjectError> {
        bucket.put(at(ms), BY, url, Bytes::from(url.to_owned()), mode)
    }

    #[test]
    fn a_conditional_put_never_replaces() {
        let mut bucket = Bucket::default();
        assert_eq!(put(&mut bucket, 1, "b/x", PutMode::Create), Ok(false));
        assert_eq!(put(&mut bucket, 2, "b/x", PutMode::Create), Err(ObjectError::AlreadyExists));
        assert_eq!(put(&mut bucket, 3, "b/x", PutMode::Overwrite), Ok(true));
    }

    #[test]
    fn a_listing_that_lags_misses_what_is_new_and_shows_what_is_gone() {
        let mut bucket = Bucket::default();
        for (ms, url) in [(10, "b/old"), (10, "b/gone"), (90, "b/new"), (10, "bc/foreign")] {
            put(&mut bucket, ms, url, PutMode::Create).expect("new");
        }
        bucket.delete(at(80), &["b/gone".to_owned()]);
        let fresh = bucket.list(at(100), Duration::ZERO, "b");
        assert_eq!((fresh.urls, fresh.stale), (vec!["b/new".to_owned(), "b/old".to_owned()], false));
        let stale = bucket.list(at(100), at(50), "b");
        assert_eq!((stale.urls, stale.stale), (vec!["b/gone".to_owned(), "b/old".to_owned()], true));
        assert!(!bucket.objects["b/new"].known && bucket.objects["b/old"].known);
    }

    #[test]
    fn an_upload_appears_whole_and_only_with_all_its_parts() {
        let mut bucket = Bucket::default();
        let id = bucket.begin_upload("b/x");
        let mut parts = Vec::new();
        for number in 0..3 {
            parts.push(bucket.put_part("b/x", &id, number, Bytes::from(vec![7; 10])).expect("begun"));
        }
        assert_eq!(bucket.get("b/x").map(drop), Err(ObjectError::NotFound));
        assert!(bucket.complete_upload(at(1), BY, "b/x", &id, &parts[..2]).is_err());
        assert_eq!(bucket.complete_upload(at(1), BY, "b/x", &id, &parts), Ok(()));
        assert_eq!(bucket.get("b/x").map(|object| object.bytes.len()), Ok(30));
        assert_eq!(bucket.abort_upload(&id), Err(ObjectError::NotFound));
    }
}
