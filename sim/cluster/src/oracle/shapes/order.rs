//! The order of channels, as snapshots and output show it: what has come to the end came in the order of its channel, and what is under way
//! comes behind all of that.

use super::{at_the_end, under_way, ways, Class, Origin};
use crate::oracle::cut::Contradiction;
use crate::oracle::decode::Checkpoint;
use crate::scenario::Shape;
use crate::workload::lane_of;
use std::collections::BTreeMap;

/// The channel of a record on a way: side, key, source and partition, and the other key where it counts.
type Channel = (u64, String, String, u64, String);

/// Which channel of those that keep their order, and the line.
pub(super) fn channel(shape: Shape, side: u64, origin: &Origin) -> Result<Option<(Channel, u64)>, Contradiction> {
    let (partition, line) = origin.place()?;
    let way = ways(shape).iter().find(|way| way.side == side && way.source == origin.source());
    let lane = match way.and_then(|way| way.ordered) {
        None => return Ok(None),
        Some(Class::Partition) => String::new(),
        Some(Class::PartitionAndLane) => lane_of(&origin.name),
    };
    Ok(Some(((side, origin.key.clone(), origin.source().to_owned(), partition, lane), line)))
}

/// Takes records one after the other.
#[derive(Debug, Default)]
pub(super) struct Channels(BTreeMap<Channel, u64>);

impl Channels {
    /// # Errors
    /// A record that is not behind the last one of its channel.
    pub(super) fn next(&mut self, shape: Shape, side: u64, origin: &Origin) -> Result<(), Contradiction> {
        let Some((channel, line)) = channel(shape, side, origin)? else { return Ok(()) };
        match self.0.insert(channel, line) {
            Some(before) if before >= line => {
                let Origin { key, name } = origin;
                Err(format!("key {key} has {name} on side {side} behind line {before} of the same channel"))
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// Judges a checkpoint of a job that is exactly-once; elsewhere lines come again.
///
/// # Errors
/// The first record out of order.
pub fn judge(shape: Shape, checkpoint: &Checkpoint) -> Result<(), Contradiction> {
    let mut channels = Channels::default();
    for (side, origin) in at_the_end(checkpoint)? {
        channels.next(shape, side, &origin)?;
    }
    // What is nearer to the end comes first.
    let on_edges = under_way(checkpoint)?;
    for way in ways(shape) {
        for edge in way.edges.iter().rev() {
            let mut on_edge = Channels::default();
            for (_, origins) in on_edges.iter().filter(|(name, _)| name == edge) {
                for origin in origins.iter().filter(|origin| origin.source() == way.source) {
                    on_edge.next(shape, way.side, origin)?;
                    behind(&channels, shape, way.side, origin)?;
                }
            }
            channels.0.extend(on_edge.0);
        }
    }
    Ok(())
}

fn behind(channels: &Channels, shape: Shape, side: u64, origin: &Origin) -> Result<(), Contradiction> {
    let Some((channel, line)) = channel(shape, side, origin)? else { return Ok(()) };
    match channels.0.get(&channel) {
        Some(before) if *before >= line => Err(format!(
            "{} is under way to side {side} of key {}, and line {before} of the same channel went ahead",
            origin.name, origin.key
        )),
        Some(_) | None => Ok(()),
    }
}
