//! The state of an operator: how often each record has been taken in.
//!
//! A record is known by its number: which source it is from, its position there, and on which of two paths it has come. Stronger than a
//! keyed sum, in which one record too few and another too many would go unseen.

use crate::queue::{Element, Queue};

/// Two bits for each of 32 records: never, once, twice, more often.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Tally(pub u64);

/// What a record's number grows by on the second path.
pub const SECOND_PATH: u8 = 16;
/// Record numbers of one path stay below this.
pub const MOST_RECORDS: u8 = SECOND_PATH;

impl Tally {
    /// How often: 3 stands for more.
    #[must_use]
    pub fn of(self, record: u8) -> u8 {
        (self.0 >> (2 * record) & 3) as u8
    }

    /// One more.
    pub fn add(&mut self, record: u8) {
        if self.of(record) < 3 {
            self.0 += 1 << (2 * record);
        }
    }

    /// Both together.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        if self.0 & (other.0 | other.0 << 1 | other.0 >> 1) == 0 {
            return Self(self.0 | other.0);
        }
        let mut sum = self;
        (0..32).for_each(|record| (0..other.of(record)).for_each(|_| sum.add(record)));
        sum
    }

    /// And the records in a queue.
    #[must_use]
    pub fn with(mut self, queue: Queue) -> Self {
        for element in queue.iter() {
            if let Element::Record(record) = element {
                self.add(record);
            }
        }
        self
    }

    /// The same records on the path that begins with this number.
    #[must_use]
    pub fn on(self, mark: u8) -> Self {
        Self(self.0 << (2 * mark))
    }

    /// Each record that is there, once.
    #[must_use]
    pub fn once(self) -> Self {
        Self((self.0 | self.0 >> 1) & 0x5555_5555_5555_5555)
    }

    /// The first record of which this has fewer than `other`.
    #[must_use]
    pub fn first_missing(self, other: Self) -> Option<u8> {
        (0..32).find(|&record| self.of(record) < other.of(record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tallies_count_to_three_and_add_up() {
        let mut tally = Tally::default();
        (0..5).for_each(|_| tally.add(7));
        tally.add(31);
        assert_eq!((tally.of(7), tally.of(31), tally.of(8)), (3, 1, 0));
        let mut other = Tally::default();
        other.add(31);
        other.add(8);
        let both = tally.and(other);
        assert_eq!((both.of(7), both.of(31), both.of(8)), (3, 2, 1));
        assert_eq!(other.first_missing(both), Some(7));
        assert_eq!(both.first_missing(other), None);
    }
}
