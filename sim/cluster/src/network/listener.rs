//! An open port, as the engine holds it.

use super::connection::{EndState, Side};
use super::stream::{aborted, SimStream};
use super::Network;
use crate::world::{lock, NodeIndex};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::task::Poll;

/// An open port of a simulated node. Dropping it closes the port and resets who was not accepted yet.
pub struct SimListener {
    network: Network,
    node: NodeIndex,
    address: SocketAddr,
    opened: u64,
}

impl Network {
    pub(crate) fn bind(&self, node: NodeIndex, address: SocketAddr) -> io::Result<SimListener> {
        let (address, opened) = lock(&self.wires).bind(node, address)?;
        Ok(SimListener { network: self.clone(), node, address, opened })
    }
}

impl cofferdam_engine::env::Listener for SimListener {
    type Stream = SimStream;

    async fn accept(&self) -> io::Result<(SimStream, SocketAddr)> {
        poll_fn(|cx| {
            let mut wires = lock(&self.network.wires);
            let Some(port) = wires.ports.get_mut(&(self.node, self.address.port())).filter(|port| port.opened == self.opened) else {
                return Poll::Ready(Err(aborted()));
            };
            let Some(id) = port.waiting.pop_front() else {
                port.acceptors.push(cx.waker().clone());
                return Poll::Pending;
            };
            let Some(connection) = wires.get(id) else { return Poll::Ready(Err(aborted())) };
            let peer = connection.client.address;
            drop(wires);
            Poll::Ready(Ok((self.network.accepted(id), peer)))
        })
        .await
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Drop for SimListener {
    fn drop(&mut self) {
        let mut wires = lock(&self.network.wires);
        let key = (self.node, self.address.port());
        if wires.ports.get(&key).is_none_or(|port| port.opened != self.opened) {
            return;
        }
        let Some(port) = wires.ports.remove(&key) else { return };
        let now = self.network.alarm.now();
        for id in port.waiting {
            let Some(connection) = wires.get(id) else { continue };
            connection.server.state = EndState::Closed;
            if connection.client.state == EndState::Open {
                wires.send_reset(id, Side::Client, now);
            }
            wires.remove_if_over(id);
        }
    }
}
