//! The adapter to stateright: the only file that knows it.

use crate::moves::Action;
use crate::properties::{self, Marks, Promise};
use crate::state::State;
use crate::turn::Setup;
use stateright::{Checker, HasDiscoveries, Model, Property};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// What a search and those who watch it share.
#[derive(Debug, Default)]
pub struct Shared {
    stop: AtomicBool,
    found: AtomicBool,
    marks: AtomicU64,
}

impl Shared {
    /// The search ends with what it has seen: nothing can happen any more, so what waits to be looked at is soon gone.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Whether it was told to.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// A promise does not hold: that is the end. Whether it is the first time: stateright would go on for a while, and keep the last path.
    fn found(&self) -> bool {
        self.stop();
        !self.found.swap(true, Ordering::Relaxed)
    }

    /// Which situations were met so far.
    #[must_use]
    pub fn marks(&self) -> Marks {
        Marks(self.marks.load(Ordering::Relaxed))
    }

    /// Situations belong to transitions, and stateright looks at states: so they are collected here.
    pub fn met(&self, marks: Marks) {
        if marks.0 & !self.marks.load(Ordering::Relaxed) != 0 {
            self.marks.fetch_or(marks.0, Ordering::Relaxed);
        }
    }
}

struct Explored {
    setup: Arc<Setup>,
    shared: Arc<Shared>,
}

impl Model for Explored {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![self.setup.first()]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if !self.shared.is_stopped() {
            self.setup.actions(state, actions);
        }
    }

    fn next_state(&self, state: &State, action: Action) -> Option<State> {
        let (next, marks) = self.setup.after(state, &action);
        self.shared.met(marks);
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        self.setup.world.promises().map(|promise| Property::always(promise.name(), condition(promise))).collect()
    }
}

/// A function for each promise, as a property cannot hold on to anything.
fn condition(promise: Promise) -> fn(&Explored, &State) -> bool {
    fn holds<const AT: usize>(explored: &Explored, state: &State) -> bool {
        let promise = Promise::ALL[AT];
        let holds = match &state.broken {
            Some(broken) => broken.promise != promise,
            // Only what counts records is looked up in the state itself.
            None if promise == Promise::ExactlyOnce || promise == Promise::NothingLost => {
                properties::broken(&explored.setup, state).is_none()
            }
            None => true,
        };
        holds || !explored.shared.found()
    }
    match promise {
        Promise::MachineAssertions => holds::<0>,
        Promise::AcksBeforeComplete => holds::<1>,
        Promise::IdsUnique => holds::<2>,
        Promise::ConsistentCut => holds::<3>,
        Promise::ExactlyOnce => holds::<4>,
        Promise::NothingLost => holds::<5>,
        Promise::OneLiveAttempt => holds::<6>,
        Promise::ToldAfterDurable => holds::<7>,
        Promise::LatestRestored => holds::<8>,
        Promise::RetainedFiles => holds::<9>,
        Promise::MaxConcurrent => holds::<10>,
        Promise::JournalGoesForward => holds::<11>,
        Promise::NeverStuck => holds::<12>,
        Promise::NothingLeftOver => holds::<13>,
        Promise::CommittedOnly => holds::<14>,
    }
}

/// How far a search is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Progress {
    /// States that were generated, also those that had been seen before.
    pub states: usize,
    /// Different ones.
    pub unique: usize,
    /// Steps from the first state.
    pub depth: usize,
}

/// A path to a state in which a promise does not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counterexample {
    /// Which promise.
    pub promise: Promise,
    /// What happens.
    pub actions: Vec<Action>,
}

/// Visits every state, breadth first, until all are seen, a promise does not hold, or it is stopped. `watch` is called now and then.
/// With one thread a counterexample is the shortest one.
pub fn search(
    setup: &Arc<Setup>,
    shared: &Arc<Shared>,
    threads: usize,
    depth: Option<usize>,
    mut watch: impl FnMut(Progress),
) -> (Progress, Option<Counterexample>) {
    let explored = Explored { setup: setup.clone(), shared: shared.clone() };
    let mut builder = explored.checker().threads(threads).finish_when(HasDiscoveries::AnyFailures);
    if let Some(depth) = depth {
        // Counted in states there, in steps here.
        builder = builder.target_max_depth(depth + 1);
    }
    let mut checker = builder.spawn_bfs();
    let handles = checker.handles();
    let progress = |checker: &dyn Fn() -> (usize, usize, usize)| {
        let (states, unique, depth) = checker();
        Progress { states, unique, depth: depth.saturating_sub(1) }
    };
    let mut pause = Duration::from_millis(1);
    while !handles.iter().all(std::thread::JoinHandle::is_finished) {
        std::thread::sleep(pause);
        pause = (pause * 2).min(Duration::from_millis(100));
        watch(progress(&|| (checker.state_count(), checker.unique_state_count(), checker.max_depth())));
    }
    for handle in handles {
        handle.join().expect("what machines assert is caught, and nothing else panics");
    }
    // Paths are gone once more from the first state, which needs actions.
    shared.stop.store(false, Ordering::Relaxed);
    let seen = progress(&|| (checker.state_count(), checker.unique_state_count(), checker.max_depth()));
    let found = checker.discoveries().into_iter().map(|(name, path)| (name, path.into_actions())).min_by_key(|(_, path)| path.len());
    let found = found.map(|(name, actions)| Counterexample {
        promise: Promise::ALL.into_iter().find(|promise| promise.name() == name).expect("only promises are properties"),
        actions,
    });
    (seen, found)
}
