//! One object store that all nodes reach over the network, as a service on the storage node.
//!
//! Lives here: what is stored and what of it is known to anybody (`bucket`), how requests fare (`client`), and what a harness does
//! with both (`control`). Never here: when faults happen.
//!
//! A put that has arrived is durable and whole. Whether its sender hears of it is another matter: a request arrives though
//! its sender has died, answers get lost, and listings lag behind.

mod bucket;
mod client;
mod control;
mod settings;

pub use client::SimObjects;
pub use control::ObjectControl;
pub use settings::{ObjectFault, ObjectOp, ObjectSettings};

use crate::streams::happens;
use crate::world::{lock, NodeIndex, Sink, WorldEvent};
use bucket::Bucket;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// The object store of a world.
pub(crate) struct ObjectStore {
    state: Mutex<State>,
    sink: Arc<Sink>,
}

struct State {
    rng: ChaCha8Rng,
    /// The node that it is on; requests time out as long as there is none.
    node: Option<NodeIndex>,
    settings: ObjectSettings,
    bucket: Bucket,
}

/// What a request is in for.
struct Plan {
    delay: Duration,
    fault: Option<ObjectFault>,
    timeout: Duration,
}

impl ObjectStore {
    pub(crate) fn new(rng: ChaCha8Rng, sink: Arc<Sink>) -> Self {
        let state = State { rng, node: None, settings: ObjectSettings::default(), bucket: Bucket::default() };
        Self { state: Mutex::new(state), sink }
    }

    pub(crate) fn control(&self) -> ObjectControl<'_> {
        ObjectControl { store: self }
    }

    fn node(&self) -> Option<NodeIndex> {
        lock(&self.state).node
    }

    /// Draws how a request will fare. Draws nothing for what cannot happen.
    fn plan(&self, op: ObjectOp) -> Plan {
        let state = &mut *lock(&self.state);
        let (rng, settings) = (&mut state.rng, &state.settings);
        let (min, max) = settings.latency;
        let mut delay = min;
        if max > min {
            delay = Duration::from_nanos(rng.gen_range(min.as_nanos() as u64..=max.as_nanos() as u64));
        }
        let (min, max) = settings.read_latency;
        if op == ObjectOp::Get && max > Duration::ZERO {
            delay += Duration::from_nanos(rng.gen_range(min.as_nanos() as u64..=max.as_nanos() as u64));
        }
        let fault = if happens(rng, settings.throttled) {
            Some(ObjectFault::Throttled)
        } else if happens(rng, settings.errors) {
            Some(ObjectFault::Error)
        } else if op.changes() && happens(rng, settings.lost_answers) {
            Some(ObjectFault::LostAnswer)
        } else {
            None
        };
        Plan { delay, fault, timeout: settings.timeout }
    }

    fn failed(&self, op: ObjectOp, fault: ObjectFault, url: &str) {
        self.sink.fault(fault.name());
        self.sink.world_event(&WorldEvent::ObjectFault { op, fault, url: url.to_owned() });
    }
}
