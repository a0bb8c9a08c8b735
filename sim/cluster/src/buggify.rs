//! Rare things that ports may do at any time, on two levels: each run has some of the points enabled, and an enabled one happens with a
//! probability of its own (FoundationDB: `BUGGIFY`).
//!
//! Lives here: which points there are, which of them a run has, how often they happened. The ports ask, at the place where it happens.
//! Never here: decisions. Each point is something that the port's contract allows, so the engine needs no atlas to survive it; it only
//! seldom happens.

use crate::streams::happens;
use crate::world::{lock, Sink};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::sync::{Arc, Mutex};
use std::time::Duration;

macro_rules! points {
    ($($(#[$doc:meta])* $name:ident = $text:literal, at most $most:literal;)*) => {
        /// Something rare.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Point { $($(#[$doc])* $name,)* }

        impl Point {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// As it is counted by.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The largest probability that a run draws for it.
            fn most(self) -> f64 {
                match self { $(Self::$name => $most,)* }
            }
        }
    };
}

points! {
    /// A read or write of a connection takes one byte.
    OneByte = "buggify-one-byte", at most 0.1;
    /// An attempt to connect fails at once as if nobody had answered for long.
    EarlyConnectTimeout = "buggify-early-connect-timeout", at most 0.2;
    /// A sleep takes much longer than it should.
    LateWakeup = "buggify-late-wakeup", at most 0.02;
    /// A task that was started begins later.
    LateStart = "buggify-late-start", at most 0.1;
    /// Work away from the tasks takes long.
    LongWork = "buggify-long-work", at most 0.2;
    /// An operation of a disk takes long.
    SlowOperation = "buggify-slow-operation", at most 0.05;
    /// A read of a file gives a few bytes.
    FewBytes = "buggify-few-bytes", at most 0.5;
    /// An object store takes parts of a few bytes only.
    SmallParts = "buggify-small-parts", at most 1.0;
    /// A request to the object store is given up at once; it may be served all the same.
    EarlyObjectTimeout = "buggify-early-object-timeout", at most 0.05;
}

/// With what probability a run has a point enabled.
const ENABLED: f64 = 0.35;
/// A late thing is late by so much.
const LATE_MS: std::ops::Range<u64> = 1..400;

/// The points of one run. None is enabled before somebody says so, and then nothing is drawn.
pub struct Buggify {
    sink: Arc<Sink>,
    state: Mutex<Option<State>>,
}

struct State {
    rng: ChaCha8Rng,
    chances: Vec<f64>,
}

impl Buggify {
    pub(crate) fn new(sink: Arc<Sink>) -> Self {
        Self { sink, state: Mutex::new(None) }
    }

    /// Draws which points this run has, and how often they happen.
    pub fn enable(&self, mut rng: ChaCha8Rng) {
        let chance = |point: &Point, rng: &mut ChaCha8Rng| {
            let (enabled, exponent) = (rng.gen_bool(ENABLED), rng.gen_range(0..7));
            if enabled {
                point.most() / f64::from(1 << exponent)
            } else {
                0.0
            }
        };
        let chances = Point::ALL.iter().map(|point| chance(point, &mut rng)).collect();
        *lock(&self.state) = Some(State { rng, chances });
    }

    /// Nothing rare happens any more.
    pub fn end(&self) {
        *lock(&self.state) = None;
    }

    /// Whether it happens now.
    pub(crate) fn fires(&self, point: Point) -> bool {
        let fires = match &mut *lock(&self.state) {
            Some(State { rng, chances }) => happens(rng, chances[point as usize]),
            None => false,
        };
        if fires {
            self.sink.fault(point.name());
        }
        fires
    }

    /// By how much something is late, if it is.
    pub(crate) fn late(&self, point: Point) -> Option<Duration> {
        self.fires(point).then(|| match &mut *lock(&self.state) {
            Some(State { rng, .. }) => Duration::from_millis(rng.gen_range(LATE_MS)),
            None => Duration::ZERO,
        })
    }

    /// How many of so many there are, at least one, if few are there.
    pub(crate) fn few(&self, point: Point, of: usize) -> Option<usize> {
        (of > 1 && self.fires(point)).then(|| match &mut *lock(&self.state) {
            Some(State { rng, .. }) => rng.gen_range(1..=of.min(16)),
            None => of,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::world;
    use rand::SeedableRng;
    use std::collections::BTreeSet;

    #[test]
    fn nothing_happens_before_a_run_has_drawn_its_points() {
        let fired = world::run(1, Duration::from_secs(1), |world| async move {
            (0..1000).filter(|_| Point::ALL.iter().any(|point| world.buggify().fires(*point))).count()
        });
        assert_eq!(fired, Ok(0));
    }

    #[test]
    fn runs_have_different_points_and_each_is_in_some_run() {
        let mut sets = BTreeSet::new();
        for seed in 0..40 {
            let fired = world::run(seed, Duration::from_secs(1), move |world| async move {
                world.buggify().enable(ChaCha8Rng::seed_from_u64(seed));
                let fires = |point: &&Point| (0..20_000).any(|_| world.buggify().fires(**point));
                let fired: BTreeSet<Point> = Point::ALL.iter().filter(fires).copied().collect();
                let counted: BTreeSet<&str> = world.faults().into_keys().collect();
                assert_eq!(counted, fired.iter().map(|point| point.name()).collect());
                fired
            });
            sets.insert(fired.expect("nothing panics"));
        }
        assert!(sets.len() > 20, "{} different sets", sets.len());
        assert_eq!(sets.into_iter().flatten().collect::<BTreeSet<_>>().len(), Point::ALL.len());
    }
}
