//! What happens to whole messages, where connections promise that nothing does.
//!
//! Lives here: frames cut out of the bytes of a connection, and told twice, or in another order. The transport is ordered and tells
//! everything once, so this is either what a sender may do that says something again (notices), or what breaks the promise (elements).
//! Never here: when, and whether the engine has promised to survive it.

use super::connection::{ConnectionId, Side};
use super::wires::{Arrival, Wires};
use crate::streams::happens;
use cofferdam_engine::cluster::message::ToWorker;
use cofferdam_engine::codec;
use cofferdam_engine::task::TaskControl;
use rand::Rng;
use std::collections::BTreeMap;
use std::time::Duration;

/// The bytes before each frame: its length.
const HEAD: usize = 4;
/// A message that is told late is told after so long, if nothing else is said meanwhile.
const LATE_MS: std::ops::Range<u64> = 5..300;

/// What is done to messages, adjustable at run time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Meddling {
    /// Probability that a notice of a checkpoint's completion or end is told twice.
    pub duplicated_notices: f64,
    /// Probability that such a notice is told behind what was said after it.
    pub reordered_notices: f64,
    /// Probability that an element of a channel comes behind the next one. No channel is allowed to.
    pub reordered_elements: f64,
}

/// Where messages are looked at at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MeddledPorts {
    /// Where the coordinator listens.
    pub coordinator: u16,
    /// Where workers listen for channels.
    pub data: u16,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Meddler {
    ports: MeddledPorts,
    pub(super) meddling: Meddling,
    frames: BTreeMap<(ConnectionId, Side), Frames>,
}

/// One direction of a connection.
#[derive(Debug, Default)]
struct Frames {
    /// The beginning of a frame.
    partial: Vec<u8>,
    /// A whole frame that is told behind the next.
    held: Option<Vec<u8>>,
    /// How many frames there were.
    count: u64,
}

impl Frames {
    /// The next whole frame, head and all.
    fn cut(&mut self) -> Option<Vec<u8>> {
        let head: [u8; HEAD] = self.partial.get(..HEAD)?.try_into().ok()?;
        let length = HEAD + usize::try_from(u32::from_le_bytes(head)).ok()?;
        if self.partial.len() < length {
            return None;
        }
        let rest = self.partial.split_off(length);
        self.count += 1;
        Some(std::mem::replace(&mut self.partial, rest))
    }
}

/// A notice, by the same code that reads it at the other end.
fn is_notice(frame: &[u8]) -> bool {
    let message = codec::decode::<ToWorker>(&frame[HEAD..]);
    matches!(message, Ok(ToWorker::Control { control: TaskControl::Completed(_) | TaskControl::Aborted { .. }, .. }))
}

/// What is done to one frame.
enum Fate {
    Told,
    Twice,
    TwiceAndLate,
    Late,
}

impl Meddler {
    pub(super) fn new(ports: MeddledPorts) -> Self {
        Self { ports, meddling: Meddling::default(), frames: BTreeMap::new() }
    }

    /// The connection is over.
    pub(super) fn forget(&mut self, id: ConnectionId) {
        for side in [Side::Client, Side::Server] {
            self.frames.remove(&(id, side));
        }
    }
}

impl Wires {
    /// Whether whole messages of this direction are looked at.
    fn is_meddled(&mut self, id: ConnectionId, side: Side) -> bool {
        let Some(ports) = self.meddler.as_ref().map(|meddler| meddler.ports) else { return false };
        let Some(port) = self.get(id).map(|connection| connection.server.address.port()) else { return false };
        port == ports.data || (port == ports.coordinator && side == Side::Server)
    }

    /// Bytes that a process has written: on their way at once, or once their message is whole.
    pub(super) fn written(&mut self, id: ConnectionId, side: Side, bytes: &[u8]) {
        if !self.is_meddled(id, side) {
            return self.put(id, side, bytes);
        }
        if let Some(meddler) = &mut self.meddler {
            meddler.frames.entry((id, side)).or_default().partial.extend_from_slice(bytes);
        }
        while let Some(frame) = self.meddler.as_mut().and_then(|meddler| meddler.frames.get_mut(&(id, side))?.cut()) {
            self.meddle(id, side, frame);
        }
    }

    fn meddle(&mut self, id: ConnectionId, side: Side, frame: Vec<u8>) {
        let before = self.held(id, side);
        match self.fate(id, side, &frame) {
            Fate::Told => self.put(id, side, &frame),
            Fate::Twice => {
                self.put(id, side, &frame);
                self.put(id, side, &frame);
            }
            Fate::TwiceAndLate => {
                self.put(id, side, &frame);
                self.hold(id, side, frame);
            }
            Fate::Late => self.hold(id, side, frame),
        }
        if let Some(before) = before {
            self.put(id, side, &before);
        }
    }

    fn fate(&mut self, id: ConnectionId, side: Side, frame: &[u8]) -> Fate {
        let Some(meddler) = &self.meddler else { return Fate::Told };
        let meddling = meddler.meddling;
        if meddling == Meddling::default() {
            return Fate::Told;
        }
        // The first frame says what the connection is for.
        let first = meddler.frames.get(&(id, side)).is_none_or(|frames| frames.count <= 1);
        let (data, control) = (meddler.ports.data, meddler.ports.coordinator);
        match self.get(id).map(|connection| connection.server.address.port()) {
            Some(port) if port == data && !first && happens(&mut self.rng, meddling.reordered_elements) => {
                self.sink.fault("reordered-element");
                Fate::Late
            }
            Some(port) if port == control && is_notice(frame) => {
                if happens(&mut self.rng, meddling.duplicated_notices) {
                    self.sink.fault("duplicated-notice");
                    if happens(&mut self.rng, 0.5) {
                        Fate::Twice
                    } else {
                        Fate::TwiceAndLate
                    }
                } else if happens(&mut self.rng, meddling.reordered_notices) {
                    self.sink.fault("reordered-notice");
                    Fate::Late
                } else {
                    Fate::Told
                }
            }
            Some(_) | None => Fate::Told,
        }
    }

    fn hold(&mut self, id: ConnectionId, side: Side, frame: Vec<u8>) {
        let at = self.alarm.now() + Duration::from_millis(self.rng.gen_range(LATE_MS));
        if let Some(frames) = self.meddler.as_mut().and_then(|meddler| meddler.frames.get_mut(&(id, side))) {
            frames.held = Some(frame);
        }
        self.schedule(at, Arrival::Late(id, side));
    }

    fn held(&mut self, id: ConnectionId, side: Side) -> Option<Vec<u8>> {
        self.meddler.as_mut()?.frames.get_mut(&(id, side))?.held.take()
    }

    /// Nothing more was said: what was held back is told.
    pub(super) fn late(&mut self, id: ConnectionId, side: Side) {
        if let Some(frame) = self.held(id, side) {
            self.put(id, side, &frame);
        }
    }

    /// The direction ends: all that was written is on its way.
    pub(super) fn let_go(&mut self, id: ConnectionId, side: Side) {
        let Some(frames) = self.meddler.as_mut().and_then(|meddler| meddler.frames.remove(&(id, side))) else { return };
        for bytes in frames.held.into_iter().chain([frames.partial]).filter(|bytes| !bytes.is_empty()) {
            self.put(id, side, &bytes);
        }
    }

    /// Puts bytes on their way.
    fn put(&mut self, id: ConnectionId, side: Side, bytes: &[u8]) {
        if let Some(connection) = self.get(id) {
            connection.pipe_from(side).buffer.extend(bytes);
            let now = self.alarm.now();
            self.transmit(id, side, bytes.len(), now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_protocol::{AttemptId, CheckpointId};

    fn frame(message: &ToWorker) -> Vec<u8> {
        let mut bytes = Vec::new();
        codec::encode(message, &mut bytes).expect("encodes");
        bytes
    }

    #[test]
    fn frames_are_cut_where_they_end_however_they_were_written() {
        let (one, other) = (frame(&ToWorker::Heartbeat), frame(&ToWorker::Shutdown));
        let all = [one.clone(), other.clone()].concat();
        for at in 0..all.len() {
            let mut frames = Frames::default();
            let mut found = Vec::new();
            for part in [&all[..at], &all[at..]] {
                frames.partial.extend_from_slice(part);
                found.extend(std::iter::from_fn(|| frames.cut()));
            }
            assert_eq!(found, [one.clone(), other.clone()]);
        }
    }

    #[test]
    fn notices_are_told_from_everything_else() {
        let control = |control| ToWorker::Control { attempt: AttemptId::default(), tasks: Vec::new(), control };
        assert!(is_notice(&frame(&control(TaskControl::Completed(CheckpointId(3))))));
        assert!(!is_notice(&frame(&ToWorker::Heartbeat)));
        assert!(!is_notice(&frame(&ToWorker::Stop { attempt: AttemptId::default() })));
    }
}
