//! One connection: two ends, and a pipe in each direction.

use crate::world::NodeIndex;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::Waker;
use std::time::Duration;

/// A connection, counted from 0 within one world and never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct ConnectionId(pub(super) u32);

/// An end of a connection: that of who connected, or that of who accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Side {
    Client,
    Server,
}

impl Side {
    pub(super) fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// How far the handshake is, from where the client stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The server has not heard of it.
    Asking,
    /// The server has it, the client does not know.
    Answering,
    Established,
    Refused,
    TimedOut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndState {
    Open,
    /// Got a reset; all operations fail.
    Reset,
    /// Closed by its holder; also the server's end before the server has heard of it. Late data is answered by a reset.
    Closed,
    /// Its process died. Whatever arrives is answered by a reset, if the machine runs.
    Dead,
}

#[derive(Debug)]
pub(super) struct End {
    pub(super) node: NodeIndex,
    pub(super) address: SocketAddr,
    pub(super) state: EndState,
}

impl End {
    /// Nobody holds it.
    pub(super) fn is_gone(&self) -> bool {
        matches!(self.state, EndState::Closed | EndState::Dead)
    }
}

/// A number of bytes that arrive together.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub(super) sent: Duration,
    pub(super) arrives: Duration,
    pub(super) length: usize,
}

/// The end of a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fin {
    No,
    Sent { arrives: Duration },
    Arrived,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Pipe {
    /// All bytes that are written and not yet read, whether they have arrived or not.
    pub(super) buffer: VecDeque<u8>,
    /// How many of them have arrived.
    pub(super) readable: usize,
    /// The rest, in order.
    pub(super) segments: VecDeque<Segment>,
    pub(super) fin: Fin,
    /// When the last thing sent arrives: nothing overtakes.
    pub(super) latest: Duration,
    /// The network's queue has an entry for this pipe.
    pub(super) queued: bool,
    /// Something is due and cannot get through.
    pub(super) stalled: bool,
    pub(super) reader: Option<Waker>,
    pub(super) writer: Option<Waker>,
}

impl Pipe {
    pub(super) fn new() -> Self {
        Self {
            buffer: VecDeque::new(),
            readable: 0,
            segments: VecDeque::new(),
            fin: Fin::No,
            latest: Duration::ZERO,
            queued: false,
            stalled: false,
            reader: None,
            writer: None,
        }
    }

    /// When the next thing arrives.
    pub(super) fn next_arrival(&self) -> Option<Duration> {
        match (self.segments.front(), self.fin) {
            (Some(segment), _) => Some(segment.arrives),
            (None, Fin::Sent { arrives }) => Some(arrives),
            (None, Fin::No | Fin::Arrived) => None,
        }
    }

    /// Everything that is due arrives. Says whether there is anything new for the reader.
    pub(super) fn arrive(&mut self, now: Duration) -> bool {
        let mut news = false;
        while let Some(segment) = self.segments.front() {
            if segment.arrives > now {
                return news;
            }
            self.readable += segment.length;
            self.segments.pop_front();
            news = true;
        }
        if let Fin::Sent { arrives } = self.fin {
            if arrives <= now {
                self.fin = Fin::Arrived;
                news = true;
            }
        }
        news
    }

    /// Forgets what has not arrived.
    pub(super) fn cut(&mut self) {
        self.buffer.truncate(self.readable);
        self.segments.clear();
        if let Fin::Sent { .. } = self.fin {
            self.fin = Fin::No;
        }
    }

    /// Forgets what has arrived and was not read.
    pub(super) fn discard_unread(&mut self) {
        self.buffer.drain(..self.readable);
        self.readable = 0;
    }

    /// Forgets all bytes.
    pub(super) fn clear(&mut self) {
        self.buffer.clear();
        self.readable = 0;
        self.segments.clear();
    }

    pub(super) fn wake_reader(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }

    pub(super) fn wake_writer(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.wake();
        }
    }
}

#[derive(Debug)]
pub(super) struct Connection {
    pub(super) phase: Phase,
    /// Waits for the handshake.
    pub(super) connecting: Option<Waker>,
    pub(super) client: End,
    pub(super) server: End,
    /// From client to server.
    pub(super) up: Pipe,
    /// From server to client.
    pub(super) down: Pipe,
}

impl Connection {
    pub(super) fn end(&self, side: Side) -> &End {
        match side {
            Side::Client => &self.client,
            Side::Server => &self.server,
        }
    }

    pub(super) fn end_mut(&mut self, side: Side) -> &mut End {
        match side {
            Side::Client => &mut self.client,
            Side::Server => &mut self.server,
        }
    }

    /// What this side writes into.
    pub(super) fn pipe_from(&mut self, side: Side) -> &mut Pipe {
        match side {
            Side::Client => &mut self.up,
            Side::Server => &mut self.down,
        }
    }

    /// Nobody will ever look at it again.
    pub(super) fn is_over(&self) -> bool {
        self.client.is_gone() && self.server.is_gone()
    }
}
