//! One exploration, from its bounds to its verdicts.

use crate::bounds::{Bound, Bounds};
use crate::model::{self, Counterexample, Progress, Shared};
use crate::properties::{self, Marks, Promise, Situation};
use crate::story::{self, Diverged};
use crate::turn::Setup;
use crate::walk;
use crate::worlds;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How to explore.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Manner {
    /// How many threads.
    pub threads: usize,
    /// No longer than this.
    pub time: Option<Duration>,
    /// With no more resident memory than this, in bytes.
    pub memory_bytes: Option<u64>,
    /// At random, with this seed, instead of everything.
    pub random: Option<u64>,
}

impl Default for Manner {
    fn default() -> Self {
        Self { threads: 2, time: None, memory_bytes: None, random: None }
    }
}

/// Why it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every state within the bounds was visited.
    Exhausted,
    /// Paths are longer than the bound `depth`.
    Depth,
    /// The time was over.
    Time,
    /// The memory was used up.
    Memory,
    /// A promise does not hold.
    Broken,
}

impl End {
    /// For people.
    #[must_use]
    pub fn text(self) -> &'static str {
        match self {
            Self::Exhausted => "exhausted: every state within the bounds was visited",
            Self::Depth => "cut off by the bound depth",
            Self::Time => "cut off by --for",
            Self::Memory => "cut off by --memory-limit",
            Self::Broken => "ended at the first promise that does not hold",
        }
    }
}

/// What came of it.
#[derive(Clone, Debug)]
pub struct Report {
    /// Which world.
    pub world: &'static str,
    /// How large it was.
    pub bounds: Bounds,
    /// What was seen; of random walks `unique` counts the walks.
    pub seen: Progress,
    /// Why it ended.
    pub end: End,
    /// How long it took.
    pub took: Duration,
    /// The most resident memory that was seen, in bytes; 0 where that cannot be known.
    pub memory_bytes: u64,
    /// What was promised.
    pub promises: Vec<Promise>,
    /// What had to be met: all of it, if nothing was cut off and no bound made smaller.
    pub expected: Vec<Situation>,
    /// What was met.
    pub met: Marks,
    /// What was found.
    pub found: Option<Found>,
}

/// A promise that does not hold, and the way there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Found {
    /// The world.
    pub world: String,
    /// Which promise.
    pub violated: String,
    /// What shows it.
    pub witness: String,
    /// How large the world was.
    pub bounds: Bounds,
    /// What happens.
    pub actions: Vec<String>,
}

/// A saved path that cannot be followed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The world is not there any more.
    #[error("no world is called {0:?}")]
    UnknownWorld(String),
    /// The world has changed.
    #[error(transparent)]
    Diverged(#[from] Diverged),
}

impl Report {
    /// Situations that had to be met and were not. Of what was cut off or made smaller nothing is asked.
    #[must_use]
    pub fn not_met(&self) -> Vec<Situation> {
        let as_described = worlds::find(self.world).is_some_and(|world| is_at_least(&self.bounds, &world.bounds));
        let all = self.end == End::Exhausted && as_described;
        self.expected.iter().copied().filter(|situation| all && !self.met.has(*situation)).collect()
    }

    /// Whether all is well.
    #[must_use]
    pub fn is_green(&self) -> bool {
        self.found.is_none() && self.not_met().is_empty()
    }
}

fn is_at_least(bounds: &Bounds, described: &Bounds) -> bool {
    Bound::ALL.into_iter().all(|bound| match bound {
        // Of these more is not more of everything.
        Bound::Capacity | Bound::Retained | Bound::Tolerable | Bound::Depth => bounds.get(bound) == described.get(bound),
        _ => bounds.get(bound) >= described.get(bound),
    })
}

/// Explores a world. `watch` hears how far it is.
pub fn explore(setup: Setup, manner: Manner, mut watch: impl FnMut(Progress, Duration, u64)) -> Report {
    let begun = Instant::now();
    let (setup, shared) = (Arc::new(setup), Arc::new(Shared::default()));
    let bounds = setup.world.bounds.clone();
    let depth = Some(bounds.get(Bound::Depth) as usize).filter(|depth| *depth > 0);
    let (mut memory_bytes, mut cut_off) = (0, None);
    let mut seen_by = |progress: Progress| {
        let now_bytes = resident_bytes();
        memory_bytes = now_bytes.max(memory_bytes);
        if cut_off.is_none() {
            if manner.time.is_some_and(|time| begun.elapsed() >= time) {
                cut_off = Some(End::Time);
            } else if manner.memory_bytes.is_some_and(|limit| now_bytes > limit) {
                cut_off = Some(End::Memory);
            }
            if cut_off.is_some() {
                shared.stop();
            }
        }
        watch(progress, begun.elapsed(), now_bytes);
    };
    let (seen, found) = match manner.random {
        None => model::search(&setup, &shared, manner.threads, depth, &mut seen_by),
        Some(seed) => walk::walk(&setup, &shared, manner.threads, seed, depth, &mut seen_by),
    };
    let took = begun.elapsed();
    let found = found.map(|found| shortest(&setup, manner, found));
    let end = match (found.is_some(), cut_off) {
        (true, _) => End::Broken,
        (false, Some(end)) => end,
        (false, None) if depth.is_some_and(|depth| seen.depth >= depth) => End::Depth,
        (false, None) => End::Exhausted,
    };
    Report {
        world: setup.world.name,
        seen,
        end,
        took,
        memory_bytes,
        promises: setup.world.promises().collect(),
        expected: setup.world.expected.to_vec(),
        met: shared.marks(),
        found: found.map(|found| describe(&setup, bounds.clone(), &found)),
        bounds,
    }
}

/// What several threads find is short, but need not be the shortest; one thread finds that, and no deeper than it.
fn shortest(setup: &Arc<Setup>, manner: Manner, found: Counterexample) -> Counterexample {
    if manner.threads == 1 || manner.random.is_some() || found.actions.is_empty() {
        return found;
    }
    let (_, again) = model::search(setup, &Arc::new(Shared::default()), 1, Some(found.actions.len()), |_| {});
    again.filter(|again| again.actions.len() < found.actions.len()).unwrap_or(found)
}

fn describe(setup: &Setup, bounds: Bounds, found: &Counterexample) -> Found {
    let mut state = setup.first();
    found.actions.iter().for_each(|action| state = setup.after(&state, action).0);
    let witness = properties::broken(setup, &state).map(|broken| broken.witness).unwrap_or_default();
    Found {
        world: setup.world.name.into(),
        violated: found.promise.name().into(),
        witness,
        bounds,
        actions: found.actions.iter().map(ToString::to_string).collect(),
    }
}

/// Follows a saved path: the story, and the promise that does not hold at its end, if it still does not.
///
/// # Errors
/// The path cannot be followed any more.
pub fn replay(found: &Found) -> Result<(Vec<String>, Option<properties::Broken>), ReplayError> {
    let mut world = worlds::find(&found.world).ok_or_else(|| ReplayError::UnknownWorld(found.world.clone()))?;
    world.bounds = found.bounds.clone();
    let setup = Setup::new(world);
    let actions = story::find_actions(&setup, &found.actions)?;
    let mut state = setup.first();
    actions.iter().for_each(|action| state = setup.after(&state, action).0);
    Ok((story::tell(&setup, &actions), properties::broken(&setup, &state)))
}

/// What this process has in memory; 0 where that cannot be known.
fn resident_bytes() -> u64 {
    const PAGE_BYTES: u64 = 4096;
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split_whitespace().nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * PAGE_BYTES
}
