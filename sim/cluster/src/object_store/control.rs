//! What a harness can do to the object store, and what an oracle sees of it without time passing.

use super::{ObjectSettings, ObjectStore};
use crate::world::{lock, NodeIndex};
use bytes::Bytes;
use std::collections::BTreeMap;
use std::time::Duration;

/// The object store, for who injects faults and who judges. From [`World::objects`](crate::World::objects).
#[derive(Clone, Copy)]
pub struct ObjectControl<'w> {
    pub(super) store: &'w ObjectStore,
}

impl ObjectControl<'_> {
    /// From now on this node serves.
    pub fn serve(&self, node: NodeIndex) {
        lock(&self.store.state).node = Some(node);
    }

    /// How the store behaves, from now on.
    pub fn set(&self, settings: ObjectSettings) {
        lock(&self.store.state).settings = settings;
    }

    /// Changes how the store behaves, from now on.
    pub fn adjust(&self, change: impl FnOnce(&mut ObjectSettings)) {
        change(&mut lock(&self.store.state).settings);
    }

    /// How the store behaves.
    #[must_use]
    pub fn settings(&self) -> ObjectSettings {
        lock(&self.store.state).settings
    }

    /// A whole object, now.
    #[must_use]
    pub fn read_now(&self, url: &str) -> Option<Bytes> {
        lock(&self.store.state).bucket.objects.get(url).map(|object| object.bytes.clone())
    }

    /// The names of all objects, now, and whether anybody can know of each.
    #[must_use]
    pub fn names_now(&self) -> BTreeMap<String, bool> {
        lock(&self.store.state).bucket.objects.iter().map(|(url, object)| (url.clone(), object.known)).collect()
    }

    /// The names under which parts have been uploaded that nobody has completed or aborted.
    #[must_use]
    pub fn unfinished_now(&self) -> Vec<String> {
        let state = lock(&self.store.state);
        state.bucket.uploads.values().filter(|upload| !upload.parts.is_empty()).map(|upload| upload.url.clone()).collect()
    }

    /// Whether, since then, something below a prefix was written by another life of this node, or by another node.
    #[must_use]
    pub fn written_by_another(&self, prefix: &str, since: Duration, node: NodeIndex, incarnation: u64) -> bool {
        let state = lock(&self.store.state);
        let mut below = state.bucket.objects.iter().filter(|(url, _)| url.starts_with(prefix));
        below.any(|(_, object)| object.written_at >= since && (object.by.node, object.by.incarnation) != (node, incarnation))
    }
}
