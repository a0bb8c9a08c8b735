//! What is under way at one instant.

use super::connection::{ConnectionId, Pipe, Side};
use super::wires::Wires;
use super::NetworkControl;
use crate::world::{lock, NodeIndex};
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// One direction between two nodes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LinkPicture {
    /// Where it begins.
    pub from: NodeIndex,
    /// Where it ends.
    pub to: NodeIndex,
    /// Whether nothing gets through now.
    pub blocked: bool,
    /// How many connections there are.
    pub connections: u64,
    /// How many frames of the network are under way: what was written within a moment travels together.
    pub frames: u64,
    /// How many bytes that is.
    pub bytes: u64,
    /// How many bytes have arrived that nobody has read.
    pub unread_bytes: u64,
    /// When the next frame arrives.
    pub next: Option<Duration>,
}

impl LinkPicture {
    fn new(from: NodeIndex, to: NodeIndex, blocked: bool) -> Self {
        Self { from, to, blocked, connections: 0, frames: 0, bytes: 0, unread_bytes: 0, next: None }
    }

    fn add(&mut self, pipe: &Pipe) {
        self.connections += 1;
        self.frames += pipe.segments.len() as u64;
        self.bytes += pipe.segments.iter().map(|segment| segment.length as u64).sum::<u64>();
        self.unread_bytes += pipe.readable as u64;
        if let Some(next) = pipe.segments.front().map(|segment| segment.arrives) {
            self.next = Some(self.next.map_or(next, |before| before.min(next)));
        }
    }

    fn is_quiet(&self) -> bool {
        !self.blocked && self.frames == 0 && self.unread_bytes == 0
    }
}

impl fmt::Display for LinkPicture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to, blocked, connections, frames, bytes, unread_bytes, next } = self;
        write!(f, "{:<9} {connections} connections, {frames} frames of {bytes} bytes under way", format!("{from}->{to}"))?;
        if let Some(next) = next {
            write!(f, ", the next arrives at {:.3} s", next.as_secs_f64())?;
        }
        if *unread_bytes > 0 {
            write!(f, ", {unread_bytes} bytes not read yet")?;
        }
        if *blocked {
            f.write_str(", blocked")?;
        }
        Ok(())
    }
}

impl NetworkControl<'_> {
    /// Every direction on which something is under way, waits to be read, or cannot pass; now.
    #[must_use]
    pub fn links_now(&self) -> Vec<LinkPicture> {
        let wires = &mut *lock(&self.network.wires);
        let mut found: BTreeMap<(NodeIndex, NodeIndex), LinkPicture> = BTreeMap::new();
        let count = wires.links.node_count();
        for (from, to) in (0..count).flat_map(|from| (0..count).map(move |to| (NodeIndex::nth(from), NodeIndex::nth(to)))) {
            if wires.links.get(from, to).blocked {
                found.insert((from, to), LinkPicture::new(from, to, true));
            }
        }
        let live: Vec<ConnectionId> = wires.live.iter().copied().collect();
        for id in live {
            pipes(wires, id, &mut found);
        }
        found.into_values().filter(|link| !link.is_quiet()).collect()
    }
}

fn pipes(wires: &mut Wires, id: ConnectionId, found: &mut BTreeMap<(NodeIndex, NodeIndex), LinkPicture>) {
    let Some(connection) = wires.get(id) else { return };
    let (client, server) = (connection.client.node, connection.server.node);
    for (from, to, side) in [(client, server, Side::Client), (server, client, Side::Server)] {
        found.entry((from, to)).or_insert_with(|| LinkPicture::new(from, to, false)).add(connection.pipe_from(side));
    }
}
