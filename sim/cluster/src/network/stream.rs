//! One end of a connection, as the engine holds it.

use super::connection::{ConnectionId, EndState, Fin, Phase, Side};
use super::wires::Wires;
use super::Network;
use crate::world::{lock, NodeIndex};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// A blocked writer is woken when so much has become free, or half of a smaller window, as in TCP.
const WORTH_WAKING: usize = 1_460;

/// One end of a simulated connection. Dropping it ends the outgoing direction in order; nothing needs flushing.
pub struct SimStream {
    network: Network,
    id: ConnectionId,
    side: Side,
}

impl Network {
    /// Connects from a node.
    pub(crate) async fn connect(&self, node: NodeIndex, address: SocketAddr) -> io::Result<SimStream> {
        let id = lock(&self.wires).connect(node, address);
        // Held from here on, so that giving up (also by being dropped) closes it.
        let stream = SimStream { network: self.clone(), id, side: Side::Client };
        poll_fn(|cx| lock(&self.wires).poll_connected(id, cx)).await?;
        Ok(stream)
    }

    pub(super) fn accepted(&self, id: ConnectionId) -> SimStream {
        SimStream { network: self.clone(), id, side: Side::Server }
    }
}

impl AsyncRead for SimStream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        lock(&self.network.wires).poll_read(self.id, self.side, cx, out)
    }
}

impl AsyncWrite for SimStream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        lock(&self.network.wires).poll_write(self.id, self.side, cx, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(lock(&self.network.wires).shut_down(self.id, self.side))
    }
}

impl Drop for SimStream {
    fn drop(&mut self) {
        lock(&self.network.wires).close(self.id, self.side);
    }
}

impl Wires {
    fn poll_read(&mut self, id: ConnectionId, side: Side, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let Some(connection) = self.get(id) else { return Poll::Ready(Err(aborted())) };
        let state = connection.end(side).state;
        let pipe = connection.pipe_from(side.other());
        if state == EndState::Dead {
            return Poll::Ready(Err(aborted()));
        }
        if pipe.readable == 0 {
            if state == EndState::Reset {
                return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
            }
            if pipe.fin == Fin::Arrived {
                return Poll::Ready(Ok(()));
            }
            match &mut pipe.reader {
                Some(reader) => reader.clone_from(cx.waker()),
                None => pipe.reader = Some(cx.waker().clone()),
            }
            return Poll::Pending;
        }
        let length = pipe.readable.min(out.remaining());
        let length = self.shorten(length);
        let Some(connection) = self.get(id) else { return Poll::Ready(Err(aborted())) };
        let (from, to) = (connection.end(side.other()).node, connection.end(side).node);
        let pipe = connection.pipe_from(side.other());
        let (front, back) = pipe.buffer.as_slices();
        let in_front = front.len().min(length);
        out.put_slice(&front[..in_front]);
        out.put_slice(&back[..length - in_front]);
        pipe.buffer.drain(..length);
        pipe.readable -= length;
        if pipe.writer.is_some() {
            let (used, window) = (pipe.buffer.len(), self.links.get(from, to).settings.window_bytes);
            if window.saturating_sub(used) >= WORTH_WAKING.min(window.div_ceil(2)) {
                if let Some(connection) = self.get(id) {
                    connection.pipe_from(side.other()).wake_writer();
                }
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, id: ConnectionId, side: Side, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let Some(connection) = self.get(id) else { return Poll::Ready(Err(aborted())) };
        match connection.end(side).state {
            EndState::Open => {}
            EndState::Reset => return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            EndState::Closed | EndState::Dead => return Poll::Ready(Err(aborted())),
        }
        let (from, to) = (connection.end(side).node, connection.end(side.other()).node);
        let pipe = connection.pipe_from(side);
        if pipe.fin != Fin::No {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let used = pipe.buffer.len();
        let room = self.links.get(from, to).settings.window_bytes.saturating_sub(used);
        if room == 0 && !bytes.is_empty() {
            if let Some(connection) = self.get(id) {
                connection.pipe_from(side).writer = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        let length = self.shorten(room.min(bytes.len()));
        if length > 0 {
            self.written(id, side, &bytes[..length]);
        }
        Poll::Ready(Ok(length))
    }

    fn shut_down(&mut self, id: ConnectionId, side: Side) -> io::Result<()> {
        let Some(connection) = self.get(id) else { return Err(aborted()) };
        match connection.end(side).state {
            EndState::Open => {
                let now = self.alarm.now();
                self.finish(id, side, now);
                Ok(())
            }
            EndState::Reset => Err(io::ErrorKind::NotConnected.into()),
            EndState::Closed | EndState::Dead => Err(aborted()),
        }
    }

    fn close(&mut self, id: ConnectionId, side: Side) {
        let now = self.alarm.now();
        let Some(connection) = self.get(id) else { return };
        let state = connection.end(side).state;
        if connection.end(side).is_gone() {
            return;
        }
        let (phase, peer) = (connection.phase, connection.end(side.other()).state);
        connection.end_mut(side).state = EndState::Closed;
        let incoming = connection.pipe_from(side.other());
        incoming.discard_unread();
        incoming.reader = None;
        incoming.wake_writer();
        if side == Side::Client && phase != Phase::Established {
            if peer == EndState::Open {
                self.send_reset(id, Side::Server, now);
            }
        } else if state == EndState::Open {
            self.finish(id, side, now);
        }
        self.remove_if_over(id);
    }
}

/// What a process that is dead gets from what it left behind.
pub(super) fn aborted() -> io::Error {
    io::ErrorKind::ConnectionAborted.into()
}
