//! Where everything that can be watched goes, in the order in which it happens.

use crate::world::{lock, NodeIndex, WorldEvent};
use cofferdam_engine::observe::{Event, MachineStep};
use cofferdam_engine::sight::Sight;
use cofferdam_engine::sometimes::Point;
use madsim::time::TimeHandle;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Mutex;
use std::time::Duration;

/// Hears of everything: a trace, an oracle, whoever waits for a moment to inject a fault.
///
/// It is called in the middle of things, with parts of the world locked. So it may only take notes: calling back into the
/// [`World`](crate::World) deadlocks. Queue what is to be done and let a task of the harness do it.
pub trait Watcher: Send {
    /// The engine on a node reports a transition. `at` is the world's time, not the node's.
    fn event(&mut self, at: Duration, node: NodeIndex, event: &Event);
    /// Something happened in the world.
    fn world_event(&mut self, at: Duration, event: &WorldEvent);
    /// Whether it wants to hear of the steps of machines: else nobody makes them.
    fn replays_machines(&self) -> bool {
        false
    }
    /// A machine of the protocol on a node gets something, or something is done for it.
    fn machine(&mut self, at: Duration, node: NodeIndex, step: MachineStep) {
        let _ = (at, node, step);
    }
    /// A point of `sometimes!` was reached.
    fn reached(&mut self, point: &'static Point) {
        let _ = point;
    }
    /// A machine on a node has made a step.
    fn look(&mut self, at: Duration, node: NodeIndex, sight: &Sight<'_>) {
        let _ = (at, node, sight);
    }
    /// Whether the event that it was told of last is the one at which it wants a picture of the world.
    fn wants_a_picture(&mut self) -> bool {
        false
    }
}

/// Passes on to the watcher, and counts injected faults.
pub(crate) struct Sink {
    time: TimeHandle,
    watcher: Mutex<Option<Box<dyn Watcher>>>,
    replays: AtomicBool,
    faults: Mutex<BTreeMap<&'static str, u64>>,
}

impl Sink {
    pub(crate) fn new(time: TimeHandle) -> Self {
        Self { time, watcher: Mutex::new(None), replays: AtomicBool::new(false), faults: Mutex::default() }
    }

    pub(crate) fn now(&self) -> Duration {
        self.time.elapsed()
    }

    pub(crate) fn set_watcher(&self, watcher: Option<Box<dyn Watcher>>) -> Option<Box<dyn Watcher>> {
        self.replays.store(watcher.as_ref().is_some_and(|watcher| watcher.replays_machines()), Ordering::Relaxed);
        std::mem::replace(&mut *lock(&self.watcher), watcher)
    }

    pub(crate) fn machine(&self, node: NodeIndex, step: impl FnOnce() -> MachineStep) {
        if self.replays.load(Ordering::Relaxed) {
            if let Some(watcher) = lock(&self.watcher).as_mut() {
                watcher.machine(self.time.elapsed(), node, step());
            }
        }
    }

    pub(crate) fn event(&self, node: NodeIndex, event: &Event) {
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            watcher.event(self.time.elapsed(), node, event);
        }
    }

    pub(crate) fn world_event(&self, event: &WorldEvent) {
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            watcher.world_event(self.time.elapsed(), event);
        }
    }

    pub(crate) fn reached(&self, point: &'static Point) {
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            watcher.reached(point);
        }
    }

    pub(crate) fn look(&self, node: NodeIndex, sight: &Sight<'_>) {
        if let Some(watcher) = lock(&self.watcher).as_mut() {
            watcher.look(self.time.elapsed(), node, sight);
        }
    }

    pub(crate) fn wants_a_picture(&self) -> bool {
        lock(&self.watcher).as_mut().is_some_and(|watcher| watcher.wants_a_picture())
    }

    /// Counts a fault that really happened.
    pub(crate) fn fault(&self, kind: &'static str) {
        *lock(&self.faults).entry(kind).or_default() += 1;
    }

    pub(crate) fn faults(&self) -> BTreeMap<&'static str, u64> {
        lock(&self.faults).clone()
    }
}
