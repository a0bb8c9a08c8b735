//! All connections and the one queue of what is under way.

use super::connection::{Connection, ConnectionId, End, EndState, Fin, Phase, Pipe, Segment, Side};
use super::link::Links;
use super::meddler::Meddler;
use crate::buggify::{Buggify, Point};
use crate::streams::happens;
use crate::world::{Alarm, NodeIndex, Sink, WorldEvent};
use cofferdam_engine::sometimes;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::cmp::{Ordering, Reverse};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What is written within so short a time travels together. Saves a draw and a queue entry per small write.
const TOGETHER: Duration = Duration::from_micros(100);
const FIRST_EPHEMERAL_PORT: u16 = 32_768;

pub(super) struct Wires {
    pub(super) rng: ChaCha8Rng,
    pub(super) alarm: Arc<Alarm>,
    pub(super) sink: Arc<Sink>,
    pub(super) links: Links,
    pub(super) hosts: Vec<Host>,
    by_ip: BTreeMap<IpAddr, NodeIndex>,
    pub(super) ports: BTreeMap<(NodeIndex, u16), Port>,
    ports_opened: u64,
    connections: Vec<Option<Box<Connection>>>,
    pub(super) live: BTreeSet<ConnectionId>,
    queue: BinaryHeap<Reverse<Entry>>,
    queued: u64,
    /// Parts of handshakes that do not get through now.
    pub(super) held: Vec<(NodeIndex, NodeIndex, Arrival)>,
    pub(super) connect_timeout: Duration,
    /// Chance that a read or write is cut short.
    pub(super) short_io: f64,
    /// Looks at whole messages, where the world may do something to them.
    pub(super) meddler: Option<Meddler>,
    /// Rare things that happen all the same.
    pub(super) buggify: Arc<Buggify>,
}

/// A machine, as the network sees it.
pub(super) struct Host {
    pub(super) ip: IpAddr,
    pub(super) powered: bool,
    next_port: u16,
}

/// Someone listens here.
pub(super) struct Port {
    /// Tells this listener from an earlier one on the same port.
    pub(super) opened: u64,
    pub(super) waiting: VecDeque<ConnectionId>,
    pub(super) acceptors: Vec<Waker>,
}

/// What the queue brings.
#[derive(Clone, Copy, Debug)]
pub(super) enum Arrival {
    /// Whatever is due in the pipe that this side writes into.
    Data(ConnectionId, Side),
    /// The client asks.
    Ask(ConnectionId),
    /// The server says yes.
    Answer(ConnectionId),
    /// The server says no.
    Refusal(ConnectionId),
    /// The client gives up, if it still waits.
    GiveUp(ConnectionId),
    /// This side learns that its peer knows nothing of the connection.
    Reset(ConnectionId, Side),
    /// A message that was held back is told.
    Late(ConnectionId, Side),
}

struct Entry {
    at: Duration,
    number: u64,
    arrival: Arrival,
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Entry {
    fn cmp(&self, other: &Self) -> Ordering {
        (self.at, self.number).cmp(&(other.at, other.number))
    }
}

impl Wires {
    pub(super) fn new(rng: ChaCha8Rng, alarm: Arc<Alarm>, sink: Arc<Sink>, buggify: Arc<Buggify>) -> Self {
        Self {
            rng,
            alarm,
            sink,
            links: Links::default(),
            hosts: Vec::new(),
            by_ip: BTreeMap::new(),
            ports: BTreeMap::new(),
            ports_opened: 0,
            connections: Vec::new(),
            live: BTreeSet::new(),
            queue: BinaryHeap::new(),
            queued: 0,
            held: Vec::new(),
            connect_timeout: Duration::from_secs(3),
            short_io: 0.02,
            meddler: None,
            buggify,
        }
    }

    pub(super) fn add_node(&mut self, node: NodeIndex, ip: IpAddr) {
        // Why: links and hosts are found by the index of the node.
        assert_eq!(node.at(), self.hosts.len(), "nodes are added in order");
        self.links.add_node();
        self.hosts.push(Host { ip, powered: true, next_port: FIRST_EPHEMERAL_PORT });
        self.by_ip.insert(ip, node);
    }

    pub(super) fn get(&mut self, id: ConnectionId) -> Option<&mut Connection> {
        self.connections.get_mut(id.0 as usize)?.as_deref_mut()
    }

    pub(super) fn remove(&mut self, id: ConnectionId) {
        if let Some(meddler) = &mut self.meddler {
            meddler.forget(id);
        }
        self.live.remove(&id);
        self.connections[id.0 as usize] = None;
    }

    pub(super) fn remove_if_over(&mut self, id: ConnectionId) {
        if self.get(id).is_some_and(|connection| connection.is_over()) {
            self.remove(id);
        }
    }

    /// Whether a packet gets through now.
    pub(super) fn is_open(&self, from: NodeIndex, to: NodeIndex) -> bool {
        from == to || (!self.links.get(from, to).blocked && self.hosts[to.at()].powered)
    }

    pub(super) fn one_way(&mut self, from: NodeIndex, to: NodeIndex) -> Option<Duration> {
        if !self.is_open(from, to) {
            return None;
        }
        Some(self.latency(from, to))
    }

    pub(super) fn latency(&mut self, from: NodeIndex, to: NodeIndex) -> Duration {
        if from == to {
            return Duration::ZERO;
        }
        self.links.get(from, to).latency(&mut self.rng)
    }

    pub(super) fn schedule(&mut self, at: Duration, arrival: Arrival) {
        self.queued += 1;
        self.queue.push(Reverse(Entry { at, number: self.queued, arrival }));
        self.alarm.due(at);
    }

    pub(super) fn pump(&mut self, now: Duration) -> Option<Duration> {
        while let Some(Reverse(entry)) = self.queue.peek() {
            if entry.at > now {
                return Some(entry.at);
            }
            if let Some(Reverse(entry)) = self.queue.pop() {
                self.arrived(entry.arrival, now);
            }
        }
        None
    }

    fn arrived(&mut self, arrival: Arrival, now: Duration) {
        match arrival {
            Arrival::Data(id, side) => self.data_arrived(id, side, now),
            Arrival::Ask(id) => self.asked(id, now),
            Arrival::Answer(id) => self.answered(id, Phase::Established, now),
            Arrival::Refusal(id) => self.answered(id, Phase::Refused, now),
            Arrival::GiveUp(id) => self.gave_up(id),
            Arrival::Reset(id, side) => self.reset_arrived(id, side),
            Arrival::Late(id, side) => self.late(id, side),
        }
    }

    /// Puts bytes on the way that are already in the pipe's buffer.
    pub(super) fn transmit(&mut self, id: ConnectionId, side: Side, length: usize, now: Duration) {
        let Some(connection) = self.connections[id.0 as usize].as_deref_mut() else { return };
        let (from, to) = (connection.end(side).node, connection.end(side.other()).node);
        let pipe = connection.pipe_from(side);
        if from == to {
            pipe.readable += length;
            pipe.wake_reader();
            return;
        }
        let link = self.links.get_mut(from, to);
        if link.settings.bandwidth_bytes_per_second == 0 {
            if let Some(last) = pipe.segments.back_mut().filter(|last| now.saturating_sub(last.sent) < TOGETHER) {
                last.length += length;
                return;
            }
        }
        let arrives = link.arrival(now, length, &mut self.rng).max(pipe.latest);
        pipe.latest = arrives;
        pipe.segments.push_back(Segment { sent: now, arrives, length });
        self.enqueue(id, side);
    }

    /// Puts the end of a direction on the way, behind its data.
    pub(super) fn finish(&mut self, id: ConnectionId, side: Side, now: Duration) {
        self.let_go(id, side);
        let Some(connection) = self.connections[id.0 as usize].as_deref_mut() else { return };
        let (from, to) = (connection.end(side).node, connection.end(side.other()).node);
        let pipe = connection.pipe_from(side);
        if pipe.fin != Fin::No {
            return;
        }
        if from == to {
            pipe.fin = Fin::Arrived;
            pipe.wake_reader();
            return;
        }
        let arrives = (now + self.links.get(from, to).latency(&mut self.rng)).max(pipe.latest);
        pipe.latest = arrives;
        pipe.fin = Fin::Sent { arrives };
        self.enqueue(id, side);
    }

    /// Makes sure that the queue knows of a pipe with something under way.
    fn enqueue(&mut self, id: ConnectionId, side: Side) {
        let Some(pipe) = self.get(id).map(|connection| connection.pipe_from(side)) else { return };
        if pipe.queued || pipe.stalled {
            return;
        }
        if let Some(at) = pipe.next_arrival() {
            pipe.queued = true;
            self.schedule(at, Arrival::Data(id, side));
        }
    }

    fn data_arrived(&mut self, id: ConnectionId, side: Side, now: Duration) {
        let Some(connection) = self.connections[id.0 as usize].as_deref_mut() else { return };
        let (from, to) = (connection.end(side).node, connection.end(side.other()).node);
        let (sender, receiver) = (connection.end(side).state, connection.end(side.other()).state);
        let pipe = connection.pipe_from(side);
        pipe.queued = false;
        if self.links.get(from, to).blocked || !self.hosts[to.at()].powered {
            pipe.stalled = true;
            return;
        }
        match receiver {
            EndState::Open => {
                if pipe.arrive(now) {
                    pipe.wake_reader();
                }
                self.enqueue(id, side);
            }
            EndState::Reset => pipe.clear(),
            EndState::Closed | EndState::Dead => {
                let data = !pipe.segments.is_empty();
                pipe.clear();
                if let Fin::Sent { .. } = pipe.fin {
                    pipe.fin = Fin::Arrived;
                }
                pipe.wake_writer();
                if sender == EndState::Open && (data || receiver == EndState::Dead) {
                    self.send_reset(id, side, now);
                }
            }
        }
    }

    /// The other side answers this one by a reset.
    pub(super) fn send_reset(&mut self, id: ConnectionId, to: Side, now: Duration) {
        let Some(connection) = self.get(id) else { return };
        let (here, there) = (connection.end(to.other()).node, connection.end(to).node);
        let latest = connection.pipe_from(to.other()).latest;
        let at = (now + self.latency(here, there)).max(latest);
        self.schedule(at, Arrival::Reset(id, to));
    }

    /// Nobody repeats a reset: what does not get through is lost.
    fn reset_arrived(&mut self, id: ConnectionId, side: Side) {
        let Some(connection) = self.get(id) else { return };
        let (from, to) = (connection.end(side.other()).node, connection.end(side).node);
        if self.is_open(from, to) {
            self.reset_end(id, side);
        }
    }

    /// This end learns that its connection is no more.
    pub(super) fn reset_end(&mut self, id: ConnectionId, side: Side) {
        // Some systems still hand out what had arrived before the reset, some do not.
        let unread_lost = happens(&mut self.rng, 0.5);
        let Some(connection) = self.connections[id.0 as usize].as_deref_mut() else { return };
        if connection.end(side).state != EndState::Open {
            return;
        }
        let (node, peer) = (connection.end(side).node, connection.end(side.other()).node);
        connection.end_mut(side).state = EndState::Reset;
        if side == Side::Client && matches!(connection.phase, Phase::Asking | Phase::Answering) {
            connection.phase = Phase::Refused;
        }
        if let Some(connecting) = connection.connecting.take() {
            connecting.wake();
        }
        let incoming = connection.pipe_from(side.other());
        incoming.cut();
        if unread_lost {
            sometimes!(self.sink, incoming.readable > 0, "network/unread-bytes-lost-with-a-reset");
            incoming.clear();
        }
        incoming.wake_reader();
        let outgoing = connection.pipe_from(side);
        outgoing.cut();
        outgoing.wake_writer();
        self.sink.world_event(&WorldEvent::Reset(node, peer));
    }

    /// Begins a handshake; the answer is waited for by [`poll_connected`](Self::poll_connected).
    pub(super) fn connect(&mut self, node: NodeIndex, address: SocketAddr) -> ConnectionId {
        let now = self.alarm.now();
        let id = ConnectionId(u32::try_from(self.connections.len()).expect("fewer than four billion connections"));
        let client = SocketAddr::new(self.hosts[node.at()].ip, self.ephemeral_port(node));
        let target = if address.ip().is_loopback() { Some(node) } else { self.by_ip.get(&address.ip()).copied() };
        let server = target.unwrap_or(node);
        self.connections.push(Some(Box::new(Connection {
            phase: Phase::Asking,
            connecting: None,
            client: End { node, address: client, state: EndState::Open },
            server: End { node: server, address, state: EndState::Closed },
            up: Pipe::new(),
            down: Pipe::new(),
        })));
        self.live.insert(id);
        let at = now + self.connect_timeout;
        self.schedule(at, Arrival::GiveUp(id));
        if target == Some(node) {
            self.asked(id, now);
        } else if target.is_some() {
            let at = now + self.latency(node, server);
            self.schedule(at, Arrival::Ask(id));
        }
        id
    }

    fn ephemeral_port(&mut self, node: NodeIndex) -> u16 {
        loop {
            let host = &mut self.hosts[node.at()];
            let port = host.next_port;
            host.next_port = port.checked_add(1).unwrap_or(FIRST_EPHEMERAL_PORT);
            if !self.ports.contains_key(&(node, port)) {
                return port;
            }
        }
    }

    /// The server hears of a connection.
    fn asked(&mut self, id: ConnectionId, now: Duration) {
        let Some(connection) = self.get(id) else { return };
        let (client, server, port) = (connection.client.node, connection.server.node, connection.server.address.port());
        if connection.phase != Phase::Asking || connection.client.state != EndState::Open {
            return self.remove_if_over(id);
        }
        if !self.is_open(client, server) {
            sometimes!(self.sink, "network/handshake-waits-at-a-blocked-link");
            self.held.push((client, server, Arrival::Ask(id)));
            return;
        }
        let at = now + self.latency(server, client);
        let Some(port) = self.ports.get_mut(&(server, port)) else {
            return if client == server { self.answered(id, Phase::Refused, now) } else { self.schedule(at, Arrival::Refusal(id)) };
        };
        port.waiting.push_back(id);
        port.acceptors.drain(..).for_each(Waker::wake);
        if let Some(connection) = self.get(id) {
            connection.server.state = EndState::Open;
            connection.phase = Phase::Answering;
            connection.down.latest = at;
        }
        if client == server {
            self.answered(id, Phase::Established, now);
        } else {
            self.schedule(at, Arrival::Answer(id));
        }
    }

    /// The client hears what the server says.
    fn answered(&mut self, id: ConnectionId, phase: Phase, now: Duration) {
        let Some(connection) = self.get(id) else { return };
        let (client, server) = (connection.client.node, connection.server.node);
        if !self.is_open(server, client) {
            let answer = if phase == Phase::Refused { Arrival::Refusal(id) } else { Arrival::Answer(id) };
            sometimes!(self.sink, "network/answer-waits-at-a-blocked-link");
            self.held.push((server, client, answer));
            return;
        }
        let Some(connection) = self.get(id) else { return };
        if connection.client.state != EndState::Open {
            return if connection.server.state == EndState::Open {
                self.send_reset(id, Side::Server, now)
            };
        }
        if !matches!(connection.phase, Phase::Asking | Phase::Answering) {
            return;
        }
        connection.phase = phase;
        if let Some(connecting) = connection.connecting.take() {
            connecting.wake();
        }
        let event = if phase == Phase::Refused { WorldEvent::Refused(client, server) } else { WorldEvent::Connected(client, server) };
        self.sink.world_event(&event);
    }

    fn gave_up(&mut self, id: ConnectionId) {
        let Some(connection) = self.get(id) else { return };
        let (client, server) = (connection.client.node, connection.server.node);
        if matches!(connection.phase, Phase::Asking | Phase::Answering) && connection.client.state == EndState::Open {
            connection.phase = Phase::TimedOut;
            if let Some(connecting) = connection.connecting.take() {
                connecting.wake();
            }
            self.sink.world_event(&WorldEvent::ConnectTimedOut(client, server));
        }
    }

    pub(super) fn poll_connected(&mut self, id: ConnectionId, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = self.get(id) else { return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into())) };
        if connection.client.state == EndState::Dead {
            return Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()));
        }
        match connection.phase {
            Phase::Asking | Phase::Answering => {
                connection.connecting = Some(cx.waker().clone());
                Poll::Pending
            }
            Phase::Established => Poll::Ready(Ok(())),
            Phase::Refused => Poll::Ready(Err(io::ErrorKind::ConnectionRefused.into())),
            Phase::TimedOut => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
        }
    }

    /// Opens a port, and says which one and how this listener is told from later ones.
    pub(super) fn bind(&mut self, node: NodeIndex, address: SocketAddr) -> io::Result<(SocketAddr, u64)> {
        let ip = self.hosts[node.at()].ip;
        if address.ip() != ip && !address.ip().is_unspecified() && !address.ip().is_loopback() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        let port = if address.port() == 0 { self.ephemeral_port(node) } else { address.port() };
        if self.ports.contains_key(&(node, port)) {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        self.ports_opened += 1;
        let opened = self.ports_opened;
        self.ports.insert((node, port), Port { opened, waiting: VecDeque::new(), acceptors: Vec::new() });
        Ok((SocketAddr::new(ip, port), opened))
    }

    /// Cuts a read or write short now and then.
    pub(super) fn shorten(&mut self, length: usize) -> usize {
        if length > 1 && self.buggify.fires(Point::OneByte) {
            return 1;
        }
        if length > 1 && happens(&mut self.rng, self.short_io) {
            return self.rng.gen_range(1..length);
        }
        length
    }
}
