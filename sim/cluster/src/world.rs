//! One simulated world: nodes that crash, and all that they share.
//!
//! Lives here: which nodes there are, whether they run, and what a crash does to each part of the world.
//! Never here: what the parts do by themselves (network, disk, clock), when faults happen, what is right.

mod event;
mod run;
mod sink;
mod timers;

pub use event::{Crash, WorldEvent};
pub use run::{run, Panicked};
pub use sink::Watcher;
pub use timers::Sleep;

pub(crate) use run::{guarded, Who};
pub(crate) use sink::Sink;
pub(crate) use timers::Alarm;

use crate::buggify::Buggify;
use crate::clock::Clock;
use crate::disk::{DiskControl, Disks};
use crate::env::{SimEnv, SimTask};
use crate::network::{Network, NetworkControl};
use crate::object_store::{ObjectControl, ObjectStore};
use crate::picture::{Picture, TimerPicture};
use crate::streams::{Concern, Streams};
use cofferdam_engine::observe::{Event, MachineStep};
use cofferdam_engine::sight::Sight;
use cofferdam_engine::sometimes;
use cofferdam_engine::sometimes::Point;
use madsim::runtime::{Handle, NodeHandle};
use madsim::task::NodeId;
use madsim::time::TimeHandle;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;
use timers::{Pump, Timers};

/// A node, counted from 0 in the order in which they were added.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeIndex(pub u32);

impl NodeIndex {
    pub(crate) fn at(self) -> usize {
        self.0 as usize
    }

    pub(crate) fn nth(position: usize) -> Self {
        Self(u32::try_from(position).expect("fewer than four billion nodes"))
    }
}

impl fmt::Display for NodeIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("n{}", self.0))
    }
}

/// Locks, whatever happened to the last holder. Why: destructors run after a panic too, and a second one would abort.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The world of one simulation. Cheap to clone. Belongs to the harness; nodes get a [`SimEnv`].
#[derive(Clone)]
pub struct World {
    pub(crate) inner: Arc<WorldInner>,
}

pub(crate) struct WorldInner {
    streams: Streams,
    /// Where tasks of no node run.
    main: NodeHandle,
    pub(crate) alarm: Arc<Alarm>,
    pub(crate) timers: Arc<Timers>,
    pub(crate) sink: Arc<Sink>,
    pub(crate) network: Network,
    pub(crate) disks: Disks,
    pub(crate) objects: ObjectStore,
    pub(crate) buggify: Arc<Buggify>,
    nodes: Mutex<Vec<Arc<Node>>>,
    clock_rng: Mutex<ChaCha8Rng>,
    /// As of the last jump.
    latest_wall_ms: Mutex<i64>,
    failure: Mutex<Failure>,
    /// As the world was when the watcher wanted a picture of it.
    picture: Mutex<Option<Picture>>,
}

#[derive(Default)]
struct Failure {
    message: Option<String>,
    story: Option<Waker>,
}

/// One node, over all its lives.
pub(crate) struct Node {
    pub(crate) index: NodeIndex,
    name: String,
    pub(crate) ip: IpAddr,
    /// Set right after madsim knows the node.
    id: Mutex<Option<NodeId>>,
    /// Grows with each crash and restart, so that what an earlier life holds is known to be stale.
    incarnation: AtomicU64,
    /// Whether its process runs.
    up: AtomicBool,
    /// Whether its machine runs.
    powered: AtomicBool,
    paused: AtomicBool,
    /// Which release of the program is installed; 0 is the one that is tested.
    release: AtomicU32,
    pub(crate) clock: Mutex<Clock>,
    pub(crate) rng: Mutex<ChaCha8Rng>,
    pub(crate) work_rng: Mutex<ChaCha8Rng>,
}

impl Node {
    /// Whether what was handed out in that life may still act.
    pub(crate) fn is_current(&self, incarnation: u64) -> bool {
        self.incarnation.load(Ordering::Relaxed) == incarnation
    }

    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Relaxed)
    }
}

impl World {
    fn new(streams: Streams) -> Self {
        let time = TimeHandle::current();
        let alarm = Arc::new(Alarm::new(time.clone()));
        let sink = Arc::new(Sink::new(time));
        let buggify = Arc::new(Buggify::new(sink.clone()));
        let world = Self {
            inner: Arc::new(WorldInner {
                streams,
                main: Handle::current().create_node().name("world").build(),
                timers: Arc::new(Timers::new(alarm.clone())),
                network: Network::new(streams.stream(Concern::Network), alarm.clone(), sink.clone(), buggify.clone()),
                disks: Disks::new(streams.stream(Concern::Disk), sink.clone()),
                objects: ObjectStore::new(streams.stream(Concern::Objects), sink.clone()),
                alarm,
                sink,
                buggify,
                nodes: Mutex::default(),
                clock_rng: Mutex::new(streams.stream(Concern::Clock)),
                latest_wall_ms: Mutex::new(i64::MIN),
                failure: Mutex::default(),
                picture: Mutex::default(),
            }),
        };
        world.inner.main.spawn(Pump { world: world.clone() });
        world
    }

    /// Simulated time since the beginning; the true time, which no node knows.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.inner.alarm.now()
    }

    /// The random streams of this simulation's seed.
    #[must_use]
    pub fn streams(&self) -> Streams {
        self.inner.streams
    }

    /// Waits by true time, at least a millisecond.
    pub fn sleep(&self, duration: Duration) -> Sleep {
        self.inner.timers.sleep(duration)
    }

    /// Starts a task of the harness, outside of all nodes. Dropping what it returns aborts it.
    pub fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> SimTask {
        SimTask::new(&self.inner.main.spawn(guarded(self.clone(), Who { node: None, task: name }, future)))
    }

    /// Adds a node and starts it. `init` is its main function: it runs again with each restart, and the process exits when
    /// it returns.
    ///
    /// # Panics
    /// If the name or the address is taken.
    pub fn add_node<F, Fut>(&self, name: &str, ip: IpAddr, init: F) -> NodeIndex
    where
        F: Fn(SimEnv) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let node = {
            let mut nodes = lock(&self.inner.nodes);
            assert!(nodes.iter().all(|node| node.name != name && node.ip != ip), "{name} or {ip} exists");
            let index = NodeIndex::nth(nodes.len());
            let uptime = Duration::from_secs(lock(&self.inner.clock_rng).gen_range(0..1_000_000));
            let node = Arc::new(Node {
                index,
                name: name.to_owned(),
                ip,
                id: Mutex::new(None),
                incarnation: AtomicU64::new(1),
                up: AtomicBool::new(true),
                powered: AtomicBool::new(true),
                paused: AtomicBool::new(false),
                release: AtomicU32::new(0),
                clock: Mutex::new(Clock::new(uptime)),
                rng: Mutex::new(self.inner.streams.stream(Concern::Engine(index.0))),
                work_rng: Mutex::new(self.inner.streams.stream(Concern::Work(index.0))),
            });
            nodes.push(node.clone());
            node
        };
        self.inner.network.add_node(node.index, ip);
        self.inner.disks.add_node(node.index);
        self.note(&WorldEvent::Started(node.index));

        let (world, of_init) = (self.clone(), node.clone());
        let init = Arc::new(init);
        let handle = Handle::current()
            .create_node()
            .name(name)
            .init(move || {
                // madsim holds its own locks here, so its handle may be asked only once the future runs.
                let (world, node, init) = (world.clone(), of_init.clone(), init.clone());
                let incarnation = node.incarnation.load(Ordering::Relaxed);
                let who = Who { node: Some(node.index), task: "main" };
                let main = {
                    let world = world.clone();
                    async move {
                        let handle = Handle::current().get_node(madsim::plugin::node()).expect("a task runs on a node");
                        init(SimEnv::new(world.clone(), node.clone(), incarnation, handle)).await;
                        world.exited(&node, incarnation);
                    }
                };
                guarded(world, who, main)
            })
            .build();
        *lock(&node.id) = Some(handle.id());
        node.index
    }

    /// Takes a node down. A process that does not run cannot die; a machine can lose power without one.
    pub fn kill(&self, node: NodeIndex, crash: Crash) {
        let node = self.entry(node);
        let running = match crash {
            Crash::Process => node.is_up(),
            Crash::Power => node.powered.swap(false, Ordering::Relaxed),
        };
        if !running {
            return;
        }
        self.take_down(&node, crash);
        self.inner.sink.fault(match crash {
            Crash::Process => "process-crash",
            Crash::Power => "power-loss",
        });
        self.note(&WorldEvent::Crashed(node.index, crash));
        match crash {
            Crash::Process => self.inner.network.process_died(node.index),
            Crash::Power => {
                self.inner.network.power_lost(node.index);
                self.inner.disks.power_lost(node.index);
                lock(&node.clock).reboot(self.now());
            }
        }
        // Last, because destructors run from here on, and what they touch must be stale by then.
        Handle::current().kill(node.id());
    }

    /// Starts a node again, killing its process first if it is up.
    pub fn restart(&self, node: NodeIndex) {
        let node = self.entry(node);
        if node.is_up() {
            self.kill(node.index, Crash::Process);
        }
        // A process that exited by itself may have left connections behind, whose destructors have not run yet.
        self.inner.network.process_died(node.index);
        self.inner.network.power_on(node.index);
        node.incarnation.fetch_add(1, Ordering::Relaxed);
        node.powered.store(true, Ordering::Relaxed);
        node.up.store(true, Ordering::Relaxed);
        self.note(&WorldEvent::Restarted(node.index));
        let handle = Handle::current();
        handle.kill(node.id());
        handle.restart(node.id());
    }

    /// Erases the disk of a node that is down, as when a machine is replaced.
    ///
    /// # Panics
    /// If the node is up.
    pub fn wipe(&self, node: NodeIndex) {
        assert!(!self.is_up(node), "{} must be down to lose its disk", self.name(node));
        self.inner.disks.wipe(node);
        self.inner.sink.fault("disk-wiped");
        self.note(&WorldEvent::Wiped(node));
    }

    /// Stops a node in its tracks: its tasks do not run, its machine still receives.
    pub fn pause(&self, node: NodeIndex) {
        let node = self.entry(node);
        if node.is_up() && !node.paused.swap(true, Ordering::Relaxed) {
            self.inner.sink.fault("pause");
            self.note(&WorldEvent::Paused(node.index));
            Handle::current().pause(node.id());
        }
    }

    /// Lets a paused node go on; its timers fire late.
    pub fn resume(&self, node: NodeIndex) {
        let node = self.entry(node);
        if node.paused.swap(false, Ordering::Relaxed) {
            self.note(&WorldEvent::Resumed(node.index));
            Handle::current().resume(node.id());
        }
    }

    /// Whether the node's process runs (or is paused).
    #[must_use]
    pub fn is_up(&self, node: NodeIndex) -> bool {
        self.entry(node).is_up()
    }

    /// Whether the node stands still.
    #[must_use]
    pub fn is_paused(&self, node: NodeIndex) -> bool {
        self.entry(node).paused.load(Ordering::Relaxed)
    }

    /// All nodes.
    #[must_use]
    pub fn nodes(&self) -> Vec<NodeIndex> {
        lock(&self.inner.nodes).iter().map(|node| node.index).collect()
    }

    /// The node of a name.
    #[must_use]
    pub fn node(&self, name: &str) -> Option<NodeIndex> {
        lock(&self.inner.nodes).iter().find(|node| node.name == name).map(|node| node.index)
    }

    /// The name of a node.
    #[must_use]
    pub fn name(&self, node: NodeIndex) -> String {
        self.entry(node).name.clone()
    }

    /// The network, to slow it down and cut it apart.
    #[must_use]
    pub fn network(&self) -> NetworkControl<'_> {
        self.inner.network.control()
    }

    /// The disk of a node, to look at it and to break it.
    #[must_use]
    pub fn storage(&self, node: NodeIndex) -> DiskControl<'_> {
        self.inner.disks.control(self.entry(node).index)
    }

    /// The object store, to look at it and to break it.
    #[must_use]
    pub fn objects(&self) -> ObjectControl<'_> {
        self.inner.objects.control()
    }

    /// From now on every path under `folder` is, on every node, on the disk of `storage`, where it has the same path. The
    /// folder is made.
    pub fn mount(&self, folder: &str, storage: NodeIndex) {
        self.inner.disks.mount(folder, self.entry(storage).index);
    }

    /// Reads the wall clock of a node.
    #[must_use]
    pub fn wall_clock_ms(&self, node: NodeIndex) -> i64 {
        lock(&self.entry(node).clock).wall_ms(self.now())
    }

    /// The latest time that the wall clock of any node has shown so far.
    #[must_use]
    pub fn latest_wall_clock_ms(&self) -> i64 {
        let before = *lock(&self.inner.latest_wall_ms);
        self.nodes().into_iter().map(|node| self.wall_clock_ms(node)).fold(before, i64::max)
    }

    /// Lets the wall clock of a node jump.
    pub fn jump(&self, node: NodeIndex, delta_ms: i64) {
        // It may never be as late again.
        let latest_ms = self.latest_wall_clock_ms();
        *lock(&self.inner.latest_wall_ms) = latest_ms;
        lock(&self.entry(node).clock).jump_ms(delta_ms);
        self.inner.sink.fault("clock-jump");
        self.note(&WorldEvent::ClockJumped(node, delta_ms));
    }

    /// Lets the clocks of a node run fast (or slow, if negative) by so many millionths.
    pub fn set_drift_ppm(&self, node: NodeIndex, drift_ppm: i32) {
        lock(&self.entry(node).clock).set_drift_ppm(self.now(), drift_ppm);
        self.inner.sink.fault("clock-drift");
        self.note(&WorldEvent::ClockDrifts(node, drift_ppm));
    }

    /// Everybody who waits for a time, now.
    #[must_use]
    pub fn timers_now(&self) -> Vec<TimerPicture> {
        let waiting = self.inner.timers.now_waiting().into_iter();
        let mut timers: Vec<TimerPicture> = waiting
            .map(|(due, who)| TimerPicture { due, node: who.and_then(|who| who.node), task: who.map_or("the run", |who| who.task) })
            .collect();
        timers.sort();
        timers
    }

    /// A point was reached, on whatever node.
    pub fn reached(&self, point: &'static Point) {
        self.inner.sink.reached(point);
    }

    /// A machine on a node, for the watcher.
    pub fn look(&self, node: NodeIndex, sight: &Sight<'_>) {
        self.inner.sink.look(node, sight);
    }

    /// Installs a release of the program on a node; the process that runs is still of the one before.
    pub fn install(&self, node: NodeIndex, release: u32) {
        self.entry(node).release.store(release, Ordering::Relaxed);
        self.note(&WorldEvent::Installed(node, release));
    }

    /// Which release of the program is installed on a node: 0 is the one that is tested, larger ones are later.
    #[must_use]
    pub fn release(&self, node: NodeIndex) -> u32 {
        self.entry(node).release.load(Ordering::Relaxed)
    }

    /// Rare things at the ports, to be switched on.
    #[must_use]
    pub fn buggify(&self) -> &Buggify {
        &self.inner.buggify
    }

    /// Sets who watches, and returns who did. Read the rules at [`Watcher`].
    pub fn set_watcher(&self, watcher: Option<Box<dyn Watcher>>) -> Option<Box<dyn Watcher>> {
        self.inner.sink.set_watcher(watcher)
    }

    /// An engine's transition, for the watcher.
    pub fn observe(&self, node: NodeIndex, event: &Event) {
        self.inner.sink.event(node, event);
        // Here, since the watcher is called with the sink locked, and since nothing else can have happened yet.
        if self.inner.sink.wants_a_picture() {
            self.take_picture();
        }
    }

    /// Keeps what the world looks like now.
    pub fn take_picture(&self) {
        let picture = Picture::of(self);
        *lock(&self.inner.picture) = Some(picture);
    }

    /// What was kept.
    #[must_use]
    pub fn picture(&self) -> Option<Picture> {
        lock(&self.inner.picture).take()
    }

    /// A step of a machine of the protocol, for a watcher that replays them.
    pub fn machine(&self, node: NodeIndex, step: impl FnOnce() -> MachineStep) {
        self.inner.sink.machine(node, step);
    }

    /// A fact about the world, for the watcher.
    pub fn note(&self, event: &WorldEvent) {
        self.inner.sink.world_event(event);
    }

    /// Counts a fault of the harness's own making under its kind.
    pub fn count_fault(&self, kind: &'static str) {
        self.inner.sink.fault(kind);
    }

    /// How many faults of each kind really happened.
    #[must_use]
    pub fn faults(&self) -> BTreeMap<&'static str, u64> {
        self.inner.sink.faults()
    }

    pub(crate) fn entry(&self, node: NodeIndex) -> Arc<Node> {
        lock(&self.inner.nodes)[node.at()].clone()
    }

    fn take_down(&self, node: &Node, crash: Crash) {
        node.up.store(false, Ordering::Relaxed);
        node.incarnation.fetch_add(1, Ordering::Relaxed);
        // A stopped process dies as well; a machine that is off is not stopped.
        let paused = node.paused.swap(false, Ordering::Relaxed);
        sometimes!(self, paused, "world/down-while-standing-still");
        if paused && crash == Crash::Process {
            self.note(&WorldEvent::Resumed(node.index));
        }
    }

    fn exited(&self, node: &Node, incarnation: u64) {
        if node.is_current(incarnation) {
            node.up.store(false, Ordering::Relaxed);
            self.note(&WorldEvent::Exited(node.index));
        }
    }

    /// Kills everything, so that nothing is leaked.
    fn shut_down(&self, handle: &Handle) {
        self.set_watcher(None);
        let nodes = lock(&self.inner.nodes).clone();
        for node in nodes {
            self.take_down(&node, Crash::Power);
            self.inner.network.process_died(node.index);
            handle.kill(node.id());
        }
        handle.kill(self.inner.main.id());
    }
}

impl Node {
    fn id(&self) -> NodeId {
        lock(&self.id).expect("set when the node was added")
    }
}
