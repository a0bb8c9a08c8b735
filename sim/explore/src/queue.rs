//! A channel: what has been sent and not yet read, in order, in 16 bytes.

use cofferdam_protocol::CheckpointId;

/// What flows through a channel. Never zero, so that a queue needs no length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Element {
    /// A record, by its number (see [`tally`](crate::tally)).
    Record(u8),
    /// The barrier of a checkpoint.
    Barrier(CheckpointId),
    /// The same, when it overtakes: nothing before it waits for room.
    Urgent(CheckpointId),
    /// The marker that the barrier of a checkpoint will not come.
    Cancel(CheckpointId),
    /// No record will follow.
    End,
    /// Whoever sends has finished: nothing will follow.
    Gone,
}

/// Checkpoint numbers stay below this.
pub const MOST_CHECKPOINTS: u64 = 64;
const BARRIER: u8 = 0x40;
const CANCEL: u8 = 0x80;
const URGENT: u8 = BARRIER | CANCEL;
const END: u8 = BARRIER - 1;
/// Records stay below it.
const GONE: u8 = END - 1;

impl Element {
    fn code(self) -> u8 {
        let small = |checkpoint: CheckpointId| {
            assert!(checkpoint.0 < MOST_CHECKPOINTS, "{checkpoint} is beyond what a world uses");
            checkpoint.0 as u8
        };
        match self {
            Self::Record(record) => record + 1,
            Self::Barrier(checkpoint) => BARRIER | small(checkpoint),
            Self::Urgent(checkpoint) => URGENT | small(checkpoint),
            Self::Cancel(checkpoint) => CANCEL | small(checkpoint),
            Self::End => END,
            Self::Gone => GONE,
        }
    }

    fn of(code: u8) -> Self {
        let checkpoint = CheckpointId(u64::from(code & (BARRIER - 1)));
        match code {
            _ if code & URGENT == URGENT => Self::Urgent(checkpoint),
            _ if code & CANCEL != 0 => Self::Cancel(checkpoint),
            _ if code & BARRIER != 0 => Self::Barrier(checkpoint),
            END => Self::End,
            GONE => Self::Gone,
            _ => Self::Record(code - 1),
        }
    }
}

/// Up to sixteen elements; the first is in the lowest byte.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Queue(u128);

impl Queue {
    /// How many elements.
    #[must_use]
    pub fn len(self) -> u32 {
        16 - self.0.leading_zeros() / 8
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Adds one at the end.
    pub fn push(&mut self, element: Element) {
        let len = self.len();
        assert!(len < 16, "a channel holds at most 16 elements");
        self.0 |= u128::from(element.code()) << (8 * len);
    }

    /// Takes the first.
    pub fn pop(&mut self) -> Option<Element> {
        let first = self.first();
        self.0 >>= 8;
        first
    }

    /// The first.
    #[must_use]
    pub fn first(self) -> Option<Element> {
        (self.0 != 0).then(|| Element::of(self.0 as u8))
    }

    /// All, in order.
    pub fn iter(self) -> impl Iterator<Item = Element> {
        self.0.to_le_bytes().into_iter().take_while(|code| *code != 0).map(Element::of)
    }

    /// How many records.
    #[must_use]
    pub fn records(self) -> u32 {
        self.iter().map(|element| u32::from(matches!(element, Element::Record(_)))).sum()
    }

    /// The first so many.
    #[must_use]
    pub fn up_to(self, count: u32) -> Self {
        Self(if count < 16 { self.0 & ((1 << (8 * count)) - 1) } else { self.0 })
    }

    /// All but the first so many.
    #[must_use]
    pub fn behind(self, count: u32) -> Self {
        Self(self.0.checked_shr(8 * count).unwrap_or(0))
    }

    /// Makes a barrier urgent that is not among the first so many.
    pub fn hasten(&mut self, checkpoint: CheckpointId, count: u32) {
        let place = self.iter().position(|element| element == Element::Barrier(checkpoint)).filter(|at| *at >= count as usize);
        if let Some(at) = place {
            self.0 |= u128::from(URGENT) << (8 * at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_goes_in_comes_out_in_order() {
        let (first, last) = (CheckpointId(1), CheckpointId(63));
        let all = [Element::Record(0), Element::Barrier(first), Element::Cancel(last), Element::Record(31), Element::End, Element::Gone];
        let mut queue = Queue::default();
        all.into_iter().for_each(|element| queue.push(element));
        assert_eq!((queue.len(), queue.records()), (5, 2));
        assert!(queue.iter().eq(all));
        assert!(std::iter::from_fn(|| queue.pop()).eq(all));
        assert!(queue.is_empty());
    }

    #[test]
    fn a_barrier_is_hastened_behind_what_has_arrived() {
        let (one, two) = (CheckpointId(1), CheckpointId(2));
        let mut queue = Queue::default();
        [Element::Barrier(one), Element::Record(31), Element::Barrier(two)].into_iter().for_each(|element| queue.push(element));
        queue.hasten(one, 1);
        queue.hasten(two, 2);
        assert!(queue.iter().eq([Element::Barrier(one), Element::Record(31), Element::Urgent(two)]));
        assert!(queue.up_to(2).iter().eq([Element::Barrier(one), Element::Record(31)]));
        assert!(queue.behind(2).iter().eq([Element::Urgent(two)]) && queue.behind(16).is_empty() && queue.up_to(16) == queue);
    }
}
