//! What crashes, partitions and resets do to connections.

use super::connection::{ConnectionId, EndState, Phase, Side};
use super::wires::{Arrival, Wires};
use crate::world::{NodeIndex, WorldEvent};
use std::time::Duration;

const SIDES: [Side; 2] = [Side::Client, Side::Server];

impl Wires {
    pub(super) fn process_died(&mut self, node: NodeIndex, now: Duration) {
        self.ports.retain(|(host, _), _| *host != node);
        for (id, side) in self.ends_on(node) {
            let Some(connection) = self.get(id) else { continue };
            connection.end_mut(side).state = EndState::Dead;
            if side == Side::Client {
                // Of the server's death the client learns by a reset, or by its own patience.
                connection.connecting = None;
            }
            let outgoing = connection.pipe_from(side);
            outgoing.writer = None;
            if outgoing.stalled {
                outgoing.cut();
            }
            let incoming = connection.pipe_from(side.other());
            incoming.reader = None;
            // The peer may write on, and will be answered by a reset, should it miss this one.
            incoming.discard_unread();
            incoming.wake_writer();
            if connection.end(side.other()).state == EndState::Open {
                self.send_reset(id, side.other(), now);
            }
            self.remove_if_over(id);
        }
    }

    pub(super) fn power_lost(&mut self, node: NodeIndex) {
        self.ports.retain(|(host, _), _| *host != node);
        self.hosts[node.at()].powered = false;
        for (id, side) in self.ends_on(node) {
            let Some(connection) = self.get(id) else { continue };
            connection.end_mut(side).state = EndState::Dead;
            if side == Side::Client {
                // Of the server's death the client learns by a reset, or by its own patience.
                connection.connecting = None;
            }
            // What is on the wire arrives; what the machine had to repeat is lost. Its full window stays full.
            let outgoing = connection.pipe_from(side);
            outgoing.writer = None;
            if outgoing.stalled {
                outgoing.cut();
            }
            connection.pipe_from(side.other()).reader = None;
            self.remove_if_over(id);
        }
    }

    pub(super) fn power_on(&mut self, node: NodeIndex, now: Duration) {
        if std::mem::replace(&mut self.hosts[node.at()].powered, true) {
            return;
        }
        let live: Vec<ConnectionId> = self.live.iter().copied().collect();
        for id in live {
            let Some(connection) = self.get(id) else { continue };
            for side in SIDES {
                if connection.end(side).node == node && connection.end(side).state == EndState::Dead {
                    let incoming = connection.pipe_from(side.other());
                    incoming.discard_unread();
                    incoming.wake_writer();
                }
            }
        }
        for from in 0..self.hosts.len() {
            self.let_through(NodeIndex::nth(from), node, now);
        }
    }

    pub(super) fn block(&mut self, from: NodeIndex, to: NodeIndex) {
        if from != to && !std::mem::replace(&mut self.links.get_mut(from, to).blocked, true) {
            self.sink.fault("blocked-link");
            self.sink.world_event(&WorldEvent::Blocked(from, to));
        }
    }

    pub(super) fn unblock(&mut self, from: NodeIndex, to: NodeIndex) {
        if from != to && std::mem::replace(&mut self.links.get_mut(from, to).blocked, false) {
            self.sink.world_event(&WorldEvent::Unblocked(from, to));
            let now = self.alarm.now();
            self.let_through(from, to, now);
        }
    }

    /// Resets all connections between two nodes, on both ends.
    pub(super) fn reset_between(&mut self, a: NodeIndex, b: NodeIndex) {
        let live: Vec<ConnectionId> = self.live.iter().copied().collect();
        for id in live {
            let Some(connection) = self.get(id) else { continue };
            let (client, server) = (connection.client.node, connection.server.node);
            if (client, server) == (a, b) || (client, server) == (b, a) {
                self.sink.fault("connection-reset");
                self.reset_end(id, Side::Client);
                self.reset_end(id, Side::Server);
            }
        }
    }

    /// All that was sent arrives, with an end behind it, and the sender gets a reset at once.
    pub(super) fn report_failed(&mut self, from: NodeIndex, to: NodeIndex) {
        let now = self.alarm.now();
        let live: Vec<ConnectionId> = self.live.iter().copied().collect();
        for id in live {
            for side in SIDES {
                let Some(connection) = self.get(id) else { continue };
                let (here, there) = (connection.end(side), connection.end(side.other()));
                if (here.node, there.node) != (from, to) || here.state != EndState::Open || connection.phase != Phase::Established {
                    continue;
                }
                self.sink.fault("delivered-reported-failed");
                self.finish(id, side, now);
                let Some(connection) = self.get(id) else { continue };
                connection.end_mut(side).state = EndState::Reset;
                connection.pipe_from(side).wake_writer();
                let incoming = connection.pipe_from(side.other());
                incoming.cut();
                incoming.clear();
                incoming.wake_reader();
                self.sink.world_event(&WorldEvent::Reset(from, to));
            }
        }
    }

    /// What waited for this way is sent again.
    fn let_through(&mut self, from: NodeIndex, to: NodeIndex, now: Duration) {
        if !self.is_open(from, to) {
            return;
        }
        let live: Vec<ConnectionId> = self.live.iter().copied().collect();
        for id in live {
            for side in SIDES {
                let at = {
                    let Some(connection) = self.get(id) else { continue };
                    if (connection.end(side).node, connection.end(side.other()).node) != (from, to) {
                        continue;
                    }
                    if !connection.pipe_from(side).stalled {
                        continue;
                    }
                    now + self.latency(from, to)
                };
                let Some(pipe) = self.get(id).map(|connection| connection.pipe_from(side)) else { continue };
                pipe.stalled = false;
                pipe.queued = true;
                pipe.latest = pipe.latest.max(at);
                self.schedule(at, Arrival::Data(id, side));
            }
        }
        for (source, target, arrival) in std::mem::take(&mut self.held) {
            if (source, target) == (from, to) {
                let at = now + self.latency(from, to);
                self.schedule(at, arrival);
            } else {
                self.held.push((source, target, arrival));
            }
        }
    }

    fn ends_on(&mut self, node: NodeIndex) -> Vec<(ConnectionId, Side)> {
        let live: Vec<ConnectionId> = self.live.iter().copied().collect();
        let mut ends = Vec::new();
        for id in live {
            let Some(connection) = self.get(id) else { continue };
            ends.extend(
                SIDES
                    .into_iter()
                    .filter(|&side| connection.end(side).node == node && !connection.end(side).is_gone())
                    .map(|side| (id, side)),
            );
        }
        ends
    }
}
