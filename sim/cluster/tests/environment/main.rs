//! The simulated environment keeps its promises: network, disks, mounts, clocks, crashes, determinism, speed.
#![allow(missing_docs)]

mod determinism;
mod disk;
mod messages;
mod mounts;
mod network;
mod nodes;
mod silent;
mod speed;

use cofferdam_engine::env::{Env, Listener};
use cofferdam_sim::network::{LinkSettings, SimStream};
use cofferdam_sim::{run, NodeIndex, SimEnv, World};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

pub const PORT: u16 = 1000;

pub fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

pub fn ip(number: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, number).into()
}

pub fn at(number: u8) -> SocketAddr {
    SocketAddr::new(ip(number), PORT)
}

/// A run of ten simulated minutes at most, which must not panic.
pub fn simulate<T, Fut>(seed: u64, story: impl FnOnce(World) -> Fut + Send + 'static) -> T
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    match run(seed, secs(600), story) {
        Ok(value) => value,
        Err(panicked) => panic!("seed {seed}: {panicked}"),
    }
}

/// Something that a node hands to the test.
pub struct Handed<T>(Arc<Mutex<Option<T>>>);

impl<T> Clone for Handed<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T> Default for Handed<T> {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(None)))
    }
}

impl<T> Handed<T> {
    pub fn put(&self, value: T) {
        *self.0.lock().expect("no panic while held") = Some(value);
    }

    pub fn is_there(&self) -> bool {
        self.0.lock().expect("no panic while held").is_some()
    }

    pub async fn take(&self, world: &World) -> T {
        loop {
            if let Some(value) = self.0.lock().expect("no panic while held").take() {
                return value;
            }
            world.sleep(ms(1)).await;
        }
    }
}

/// A node that does nothing but live; the test acts through its environment.
pub async fn node(world: &World, number: u8) -> (NodeIndex, SimEnv) {
    let (index, handed) = restartable(world, number);
    (index, handed.take(world).await)
}

/// Likewise, and each restart hands out its new environment.
pub fn restartable(world: &World, number: u8) -> (NodeIndex, Handed<SimEnv>) {
    let handed = Handed::default();
    let mine = handed.clone();
    let index = world.add_node(&format!("node-{number}"), ip(number), move |env| {
        mine.put(env);
        std::future::pending()
    });
    (index, handed)
}

pub async fn connected(world: &World, client: &SimEnv, server: &SimEnv) -> (SimStream, SimStream) {
    let listener = server.bind(server.address(PORT)).await.expect("a free port");
    let accepted = Handed::default();
    let hand = accepted.clone();
    let task = server.spawn("accept", async move {
        let (stream, _) = listener.accept().await.expect("a living listener");
        hand.put(stream);
    });
    let connected = client.connect(server.address(PORT)).await.expect("an open port");
    let accepted = accepted.take(world).await;
    drop(task);
    (connected, accepted)
}

pub fn fixed(millis: u64) -> LinkSettings {
    LinkSettings::default().latency(ms(millis), ms(millis))
}
