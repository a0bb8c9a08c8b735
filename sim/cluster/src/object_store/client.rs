//! The object store as one process sees it.

use super::bucket::{Bucket, Sender};
use super::{ObjectFault, ObjectOp, ObjectStore};
use crate::buggify::Point;
use crate::world::{lock, Node, World, WorldEvent};
use bytes::Bytes;
use cofferdam_engine::env::objects::{ObjectError, Objects, PartId, Piece, PutMode, UploadId};
use rand::Rng;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// The object store, from one life of one process.
#[derive(Clone)]
pub struct SimObjects {
    process: Arc<Process>,
}

struct Process {
    world: World,
    node: Arc<Node>,
    incarnation: u64,
}

fn transient(what: &str) -> ObjectError {
    ObjectError::Transient(what.to_owned())
}

impl ObjectStore {
    /// Serves a request that has arrived, as planned.
    fn serve<T>(
        &self,
        op: ObjectOp,
        url: &str,
        fault: Option<ObjectFault>,
        effect: impl FnOnce(&mut Bucket) -> Result<T, ObjectError>,
    ) -> Result<T, ObjectError> {
        let unavailable = lock(&self.state).settings.unavailable.then_some(ObjectFault::Unavailable);
        let fault = unavailable.or(fault);
        if let Some(fault) = fault {
            self.failed(op, fault, url);
        }
        match fault {
            None => effect(&mut lock(&self.state).bucket),
            Some(ObjectFault::LostAnswer) => {
                // What it came to is what nobody hears.
                let _ = effect(&mut lock(&self.state).bucket);
                Err(transient("it answers 500 InternalError"))
            }
            Some(ObjectFault::Throttled) => Err(transient("it answers 503 SlowDown")),
            Some(_) => Err(transient("it answers 503 ServiceUnavailable")),
        }
    }

    /// Of a delete of many, how many happen if its answer is lost.
    fn plan_some(&self, count: usize) -> usize {
        let state = &mut *lock(&self.state);
        if state.settings.lost_answers > 0.0 {
            state.rng.gen_range(0..=count)
        } else {
            count
        }
    }
}

impl SimObjects {
    pub(crate) fn new(world: World, node: Arc<Node>, incarnation: u64) -> Self {
        Self { process: Arc::new(Process { world, node, incarnation }) }
    }

    fn world(&self) -> &World {
        &self.process.world
    }

    fn store(&self) -> &ObjectStore {
        &self.process.world.inner.objects
    }

    fn sender(&self) -> Sender {
        Sender { node: self.process.node.index, incarnation: self.process.incarnation }
    }

    fn check_alive(&self) -> Result<(), ObjectError> {
        if self.process.node.is_current(self.process.incarnation) {
            return Ok(());
        }
        Err(transient("the process is over"))
    }

    /// Sends a request and waits for its answer. It arrives or not, whatever becomes of its sender.
    async fn ask<T: Send + 'static>(
        &self,
        op: ObjectOp,
        url: &str,
        effect: impl FnOnce(&World, Option<ObjectFault>, &mut Bucket) -> Result<T, ObjectError> + Send + 'static,
    ) -> Result<T, ObjectError> {
        self.check_alive()?;
        let mut plan = self.store().plan(op);
        if self.world().buggify().fires(Point::EarlyObjectTimeout) {
            plan.timeout = Duration::from_millis(1);
        }
        let (answer, answered) = oneshot::channel();
        let (world, client, of) = (self.world().clone(), self.process.node.index, url.to_owned());
        let request = async move {
            let Some(there) = way(&world, client, true) else { return };
            world.sleep(there + plan.delay).await;
            if way(&world, client, true).is_none() {
                return;
            }
            let served = world.inner.objects.serve(op, &of, plan.fault, |bucket| effect(&world, plan.fault, bucket));
            let Some(back) = way(&world, client, false) else { return };
            world.sleep(back).await;
            // Whoever asked may have given up or died.
            let _ = answer.send(served);
        };
        self.world().spawn("object-request", request).detach();
        let deadline = self.world().now() + plan.timeout;
        let received = tokio::select! {
            biased;
            received = answered => received.ok(),
            () = self.world().sleep(plan.timeout) => None,
        };
        if let Some(received) = received {
            self.check_alive()?;
            return received;
        }
        // The answer got lost on its way: nobody tells.
        self.world().sleep(deadline.saturating_sub(self.world().now())).await;
        self.check_alive()?;
        self.store().failed(op, ObjectFault::TimedOut, url);
        Err(transient("no answer in time"))
    }

    fn acknowledged(&self, url: &str) {
        let sender = self.sender();
        lock(&self.store().state).bucket.acknowledged(sender, url);
    }
}

/// How long a packet takes to the store, or from it; `None` if there is no way now.
fn way(world: &World, client: crate::world::NodeIndex, there: bool) -> Option<Duration> {
    let node = world.inner.objects.node().filter(|node| world.is_up(*node))?;
    let (from, to) = if there { (client, node) } else { (node, client) };
    world.inner.network.one_way(from, to)
}

/// What is published under a name stays what it is.
fn is_published(url: &str) -> bool {
    url.ends_with("/_metadata") || url.contains("/journal/")
}

impl Objects for SimObjects {
    fn part_size(&self) -> usize {
        let size = lock(&self.store().state).settings.part_bytes;
        self.world().buggify().few(Point::SmallParts, size).map_or(size, |few| few * 16)
    }

    async fn put(&self, url: &str, bytes: Bytes, mode: PutMode) -> Result<(), ObjectError> {
        let op = if mode == PutMode::Create { ObjectOp::Create } else { ObjectOp::Put };
        let (of, by) = (url.to_owned(), self.sender());
        let put = move |world: &World, _: Option<ObjectFault>, bucket: &mut Bucket| {
            let replaced = bucket.put(world.now(), by, &of, bytes, mode)?;
            if replaced && is_published(&of) {
                world.note(&WorldEvent::ObjectReplaced { url: of });
            }
            Ok(())
        };
        self.ask(op, url, put).await?;
        self.acknowledged(url);
        Ok(())
    }

    async fn get_range(&self, url: &str, offset: u64, length: u64) -> Result<Piece, ObjectError> {
        let of = url.to_owned();
        let read = move |_: &World, _: Option<ObjectFault>, bucket: &mut Bucket| {
            let whole = bucket.get(&of)?.bytes.clone();
            let begin = usize::try_from(offset).unwrap_or(usize::MAX).min(whole.len());
            let end = usize::try_from(length).unwrap_or(usize::MAX).saturating_add(begin).min(whole.len());
            Ok(Piece { bytes: whole.slice(begin..end), object_size_bytes: whole.len() as u64 })
        };
        let mut piece = self.ask(ObjectOp::Get, url, read).await?;
        let store = self.store();
        let kept = {
            let state = &mut *lock(&store.state);
            let cut = piece.bytes.len() > 1 && crate::streams::happens(&mut state.rng, state.settings.partial_reads);
            cut.then(|| state.rng.gen_range(1..piece.bytes.len()))
        };
        if let Some(kept) = kept {
            store.failed(ObjectOp::Get, ObjectFault::PartialRead, url);
            piece.bytes.truncate(kept);
        }
        Ok(piece)
    }

    async fn size(&self, url: &str) -> Result<u64, ObjectError> {
        let of = url.to_owned();
        self.ask(ObjectOp::Size, url, move |_, _, bucket| bucket.get(&of).map(|object| object.bytes.len() as u64)).await
    }

    async fn delete(&self, urls: &[String]) -> Result<(), ObjectError> {
        let Some(first) = urls.first() else { return Ok(()) };
        let all = urls.to_vec();
        let some = self.store().plan_some(all.len());
        let delete = move |world: &World, fault: Option<ObjectFault>, bucket: &mut Bucket| {
            let count = if fault == Some(ObjectFault::LostAnswer) { some } else { all.len() };
            bucket.delete(world.now(), &all[..count]);
            Ok(())
        };
        self.ask(ObjectOp::Delete, first, delete).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, ObjectError> {
        let of = prefix.to_owned();
        let lag = {
            let state = &mut *lock(&self.store().state);
            let most = u64::try_from(state.settings.listing_lag.as_nanos()).unwrap_or(u64::MAX);
            Duration::from_nanos(if most == 0 { 0 } else { state.rng.gen_range(0..=most) })
        };
        let list = move |world: &World, _: Option<ObjectFault>, bucket: &mut Bucket| Ok(bucket.list(world.now(), lag, &of));
        let listing = self.ask(ObjectOp::List, prefix, list).await?;
        if listing.stale {
            self.store().failed(ObjectOp::List, ObjectFault::StaleListing, prefix);
        }
        Ok(listing.urls)
    }

    async fn begin_upload(&self, url: &str) -> Result<UploadId, ObjectError> {
        let of = url.to_owned();
        self.ask(ObjectOp::BeginUpload, url, move |_, _, bucket| Ok(bucket.begin_upload(&of))).await
    }

    async fn put_part(&self, url: &str, upload: &UploadId, number: u32, bytes: Bytes) -> Result<PartId, ObjectError> {
        let (of, id) = (url.to_owned(), upload.clone());
        self.ask(ObjectOp::PutPart, url, move |_, _, bucket| bucket.put_part(&of, &id, number, bytes)).await
    }

    async fn complete_upload(&self, url: &str, upload: &UploadId, parts: &[PartId]) -> Result<(), ObjectError> {
        let (of, id, parts, by) = (url.to_owned(), upload.clone(), parts.to_vec(), self.sender());
        let complete =
            move |world: &World, _: Option<ObjectFault>, bucket: &mut Bucket| bucket.complete_upload(world.now(), by, &of, &id, &parts);
        self.ask(ObjectOp::CompleteUpload, url, complete).await?;
        self.acknowledged(url);
        Ok(())
    }

    async fn abort_upload(&self, url: &str, upload: &UploadId) -> Result<(), ObjectError> {
        let id = upload.clone();
        self.ask(ObjectOp::AbortUpload, url, move |_, _, bucket| bucket.abort_upload(&id)).await
    }
}
