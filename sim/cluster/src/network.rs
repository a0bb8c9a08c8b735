//! A network of byte streams, entirely in memory.
//!
//! Lives here: connections, listeners, the links that they run over, and what a fault does to them. Bytes are copied once into
//! the connection and once out of it; when they arrive is a matter of one queue for the whole network, which the world's pump
//! serves. Nothing here waits by itself.
//! Never here: when faults happen.
//!
//! Like TCP: ordered, half-close, back-pressure by a window, reset. Lost packets show as delay only. Unlike TCP, the news that
//! a reader has made room reaches the writer at once.

mod connection;
mod control;
mod faults;
mod link;
mod listener;
mod meddler;
mod picture;
mod stream;
mod wires;

pub use control::NetworkControl;
pub use link::LinkSettings;
pub use listener::SimListener;
pub use meddler::{MeddledPorts, Meddling};
pub use picture::LinkPicture;
pub use stream::SimStream;

use crate::buggify::Buggify;
use crate::world::{lock, Alarm, NodeIndex, Sink};
use rand_chacha::ChaCha8Rng;
use std::net::IpAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use wires::Wires;

/// The whole network.
#[derive(Clone)]
pub(crate) struct Network {
    wires: Arc<Mutex<Wires>>,
    alarm: Arc<Alarm>,
}

impl Network {
    pub(crate) fn new(rng: ChaCha8Rng, alarm: Arc<Alarm>, sink: Arc<Sink>, buggify: Arc<Buggify>) -> Self {
        Self { wires: Arc::new(Mutex::new(Wires::new(rng, alarm.clone(), sink, buggify))), alarm }
    }

    pub(crate) fn control(&self) -> NetworkControl<'_> {
        NetworkControl { network: self }
    }

    pub(crate) fn add_node(&self, node: NodeIndex, ip: IpAddr) {
        lock(&self.wires).add_node(node, ip);
    }

    /// Delivers what is due, and says when the next thing is.
    pub(crate) fn pump(&self, now: Duration) -> Option<Duration> {
        lock(&self.wires).pump(now)
    }

    /// The machine lives, its process does not: peers get a reset.
    pub(crate) fn process_died(&self, node: NodeIndex) {
        lock(&self.wires).process_died(node, self.alarm.now());
    }

    /// The machine is off: peers hear nothing.
    pub(crate) fn power_lost(&self, node: NodeIndex) {
        lock(&self.wires).power_lost(node);
    }

    /// The machine is on again and knows none of its former connections.
    pub(crate) fn power_on(&self, node: NodeIndex) {
        lock(&self.wires).power_on(node, self.alarm.now());
    }

    /// How long a packet takes now; `None` if it does not get through.
    pub(crate) fn one_way(&self, from: NodeIndex, to: NodeIndex) -> Option<Duration> {
        lock(&self.wires).one_way(from, to)
    }
}
