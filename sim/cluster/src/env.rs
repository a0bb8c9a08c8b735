//! The simulated [`Env`]: what one process on one node sees of the world.

use crate::buggify;
use crate::disk::SimFiles;
use crate::network::{SimListener, SimStream};
use crate::object_store::SimObjects;
use crate::world::{guarded, lock, Node, NodeIndex, Sleep, Who, World};
use cofferdam_engine::env::Env;
use cofferdam_engine::observe::{Event, MachineStep};
use cofferdam_engine::sight::Sight;
use cofferdam_engine::sometimes::Point;
use madsim::runtime::NodeHandle;
use madsim::task::{AbortHandle, JoinHandle};
use rand::{Rng, RngCore};
use rand_chacha::ChaCha8Rng;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// One life of one process. Fails in all it does once that life is over.
#[derive(Clone)]
pub struct SimEnv {
    process: Arc<Process>,
}

struct Process {
    world: World,
    node: Arc<Node>,
    incarnation: u64,
    /// madsim's node in this life; later ones have another.
    handle: NodeHandle,
    files: SimFiles,
    objects: SimObjects,
}

impl SimEnv {
    pub(crate) fn new(world: World, node: Arc<Node>, incarnation: u64, handle: NodeHandle) -> Self {
        let files = SimFiles::new(world.clone(), node.clone(), incarnation);
        let objects = SimObjects::new(world.clone(), node.clone(), incarnation);
        Self { process: Arc::new(Process { world, node, incarnation, handle, files, objects }) }
    }

    /// The node that the process runs on.
    #[must_use]
    pub fn node(&self) -> NodeIndex {
        self.process.node.index
    }

    /// Which life of the node this is; each has a larger number than those before.
    #[must_use]
    pub fn incarnation(&self) -> u64 {
        self.process.incarnation
    }

    /// The node's address, with a port.
    #[must_use]
    pub fn address(&self, port: u16) -> SocketAddr {
        SocketAddr::new(self.process.node.ip, port)
    }

    fn is_alive(&self) -> bool {
        self.process.node.is_current(self.process.incarnation)
    }

    fn check_alive(&self) -> io::Result<()> {
        if self.is_alive() {
            return Ok(());
        }
        Err(io::ErrorKind::ConnectionAborted.into())
    }
}

impl Env for SimEnv {
    type Stream = SimStream;
    type Listener = SimListener;
    type Files = SimFiles;
    type Objects = SimObjects;
    type Task = SimTask;

    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> SimTask {
        // Destructors run after a crash, and start tasks that clean up: nobody is there to do so.
        if !self.is_alive() {
            return SimTask { abort: None };
        }
        let who = Who { node: Some(self.node()), task: name };
        if let Some(late) = self.process.world.buggify().late(buggify::Point::LateStart) {
            let sleep = self.process.world.sleep(late);
            let begins_late = async move {
                sleep.await;
                future.await;
            };
            return SimTask::new(&self.process.handle.spawn(guarded(self.process.world.clone(), who, begins_late)));
        }
        SimTask::new(&self.process.handle.spawn(guarded(self.process.world.clone(), who, future)))
    }

    fn now(&self) -> Duration {
        lock(&self.process.node.clock).monotonic(self.process.world.now())
    }

    fn wall_clock_ms(&self) -> i64 {
        lock(&self.process.node.clock).wall_ms(self.process.world.now())
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        let mut duration = lock(&self.process.node.clock).to_global(duration);
        if let Some(late) = self.process.world.buggify().late(buggify::Point::LateWakeup) {
            duration = duration.saturating_add(late);
        }
        let sleep: Sleep = self.process.world.sleep(duration);
        sleep
    }

    fn random(&self) -> u64 {
        lock(&self.process.node.rng).next_u64()
    }

    /// It is done at some moment of the time that it takes: others may come before it, and after it before its caller knows.
    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        let (before, after) = {
            let rng = &mut *lock(&self.process.node.work_rng);
            (work_time(rng), work_time(rng))
        };
        let before = before + self.process.world.buggify().late(buggify::Point::LongWork).unwrap_or_default();
        self.sleep(before).await;
        let done = work();
        self.sleep(after).await;
        done
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<SimListener> {
        self.check_alive()?;
        self.process.world.inner.network.bind(self.node(), address)
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<SimStream> {
        self.check_alive()?;
        if self.process.world.buggify().fires(buggify::Point::EarlyConnectTimeout) {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.process.world.inner.network.connect(self.node(), address).await
    }

    fn files(&self) -> &SimFiles {
        &self.process.files
    }

    fn objects(&self) -> &SimObjects {
        &self.process.objects
    }

    fn observe(&self, event: Event) {
        // The dead tell nothing: destructors run after a crash.
        if self.is_alive() {
            self.process.world.observe(self.node(), &event);
        }
    }

    fn machine(&self, step: impl FnOnce() -> MachineStep) {
        // As above.
        if self.is_alive() {
            self.process.world.machine(self.node(), step);
        }
    }

    fn reached(&self, point: &'static Point) {
        if self.is_alive() {
            self.process.world.reached(point);
        }
    }

    fn look(&self, sight: Sight<'_>) {
        if self.is_alive() {
            self.process.world.look(self.node(), &sight);
        }
    }
}

/// Mostly short, now and then as long as a merge of files.
fn work_time(rng: &mut ChaCha8Rng) -> Duration {
    let most_us = match rng.gen_range(0..16) {
        0 => 200_000,
        1..4 => 10_000,
        _ => 500,
    };
    Duration::from_micros(rng.gen_range(0..=most_us))
}

/// A running task. Dropping it aborts the task at its next await.
#[derive(Debug)]
#[must_use = "dropping a task aborts it"]
pub struct SimTask {
    abort: Option<AbortHandle>,
}

impl SimTask {
    pub(crate) fn new(task: &JoinHandle<()>) -> Self {
        Self { abort: Some(task.abort_handle()) }
    }

    /// Lets the task run for as long as its node does.
    pub fn detach(mut self) {
        self.abort = None;
    }
}

impl Drop for SimTask {
    fn drop(&mut self) {
        if let Some(abort) = &self.abort {
            abort.abort();
        }
    }
}
