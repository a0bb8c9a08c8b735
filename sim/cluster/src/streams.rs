//! One seed, many independent random streams: a new draw in one concern does not move any other.

use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// What a random number is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Concern {
    /// Which ready task runs next.
    Schedule,
    /// Latencies, short reads and writes.
    Network,
    /// Disk latencies, disk faults, what a power loss keeps.
    Disk,
    /// Where clocks start.
    Clock,
    /// Which faults happen when.
    Faults,
    /// What the job is and what it reads.
    Workload,
    /// Which kinds of fault and which settings this run has at all.
    Swarm,
    /// Latencies and faults of the object store.
    Objects,
    /// Which rare things happen, and when.
    Buggify,
    /// What one node's engine draws, by the index of the node.
    Engine(u32),
    /// How long work takes that a node does away from its tasks, by the index of the node.
    Work(u32),
}

impl Concern {
    fn number(self) -> u64 {
        match self {
            Self::Schedule => 0,
            Self::Network => 1,
            Self::Disk => 2,
            Self::Clock => 3,
            Self::Faults => 4,
            Self::Workload => 5,
            Self::Swarm => 6,
            Self::Objects => 7,
            Self::Buggify => 8,
            Self::Engine(node) => (1 << 32) | u64::from(node),
            Self::Work(node) => (2 << 32) | u64::from(node),
        }
    }
}

/// The source of all randomness of one simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streams {
    seed: u64,
}

impl Streams {
    /// All streams of a seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed }
    }

    /// The seed.
    #[must_use]
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// The stream of a concern, from its beginning. Same key, other nonce: independent by construction.
    #[must_use]
    pub fn stream(&self, concern: Concern) -> ChaCha8Rng {
        let mut stream = ChaCha8Rng::seed_from_u64(self.seed);
        stream.set_stream(concern.number());
        stream
    }
}

/// True with that probability. Draws nothing when it cannot happen: a fault that is off costs nothing.
pub(crate) fn happens(rng: &mut ChaCha8Rng, chance: f64) -> bool {
    // 32 bits are plenty for a probability of a fault.
    chance > 0.0 && f64::from(rng.next_u32()) < chance * 4_294_967_296.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn first(seed: u64, concern: Concern) -> [u64; 4] {
        let mut stream = Streams::new(seed).stream(concern);
        std::array::from_fn(|_| stream.next_u64())
    }

    #[test]
    fn concerns_of_one_seed_draw_different_numbers() {
        let all = [
            Concern::Schedule,
            Concern::Network,
            Concern::Disk,
            Concern::Clock,
            Concern::Faults,
            Concern::Workload,
            Concern::Swarm,
            Concern::Objects,
            Concern::Engine(0),
            Concern::Engine(1),
            Concern::Work(0),
            Concern::Work(1),
        ];
        let distinct: std::collections::BTreeSet<_> = all.iter().map(|&c| first(7, c)).collect();
        assert_eq!(distinct.len(), all.len());
    }

    #[test]
    fn a_stream_depends_on_nothing_but_seed_and_concern() {
        assert_eq!(first(7, Concern::Disk), first(7, Concern::Disk));
        assert_ne!(first(7, Concern::Disk), first(8, Concern::Disk));
    }
}
