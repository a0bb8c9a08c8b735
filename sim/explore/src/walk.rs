//! Random walks, where a world cannot be exhausted: from the first state on, one of the things that can happen, again and again.

use crate::model::{Counterexample, Progress, Shared};
use crate::moves::Action;
use crate::properties;
use crate::turn::Setup;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Mutex;
use std::time::Duration;

/// A small generator of its own, so that walks are the same in any build (xorshift64*).
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, count: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        ((u128::from(self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)) * count as u128) >> 64) as usize
    }
}

/// Walks until it is stopped or a promise does not hold. Walk `n` of a seed is the same whoever walks it; which ones are walked in a given
/// time is not. `unique` counts walks here.
pub fn walk(
    setup: &Setup,
    shared: &Shared,
    threads: usize,
    seed: u64,
    depth: Option<usize>,
    mut watch: impl FnMut(Progress),
) -> (Progress, Option<Counterexample>) {
    let (next, steps, walks, deepest) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    let found = Mutex::new(None);
    let progress = || Progress {
        states: steps.load(Ordering::Relaxed),
        unique: walks.load(Ordering::Relaxed),
        depth: deepest.load(Ordering::Relaxed),
    };
    std::thread::scope(|scope| {
        let one = || {
            while !shared.is_stopped() {
                let number = next.fetch_add(1, Ordering::Relaxed) as u64;
                let (path, broken) = one_walk(setup, shared, &mut Dice::new(seed.wrapping_add(number)), depth);
                steps.fetch_add(path.len(), Ordering::Relaxed);
                walks.fetch_add(1, Ordering::Relaxed);
                deepest.fetch_max(path.len(), Ordering::Relaxed);
                if let Some(promise) = broken {
                    shared.stop();
                    let mut found = found.lock().expect("nobody panics with it");
                    found.get_or_insert(Counterexample { promise, actions: path });
                }
            }
        };
        let walkers: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        while !walkers.iter().all(std::thread::ScopedJoinHandle::is_finished) {
            std::thread::sleep(Duration::from_millis(50));
            watch(progress());
        }
    });
    (progress(), found.into_inner().expect("nobody panics with it"))
}

fn one_walk(setup: &Setup, shared: &Shared, dice: &mut Dice, depth: Option<usize>) -> (Vec<Action>, Option<properties::Promise>) {
    let (mut state, mut path, mut actions) = (setup.first(), Vec::new(), Vec::new());
    while depth.is_none_or(|depth| path.len() < depth) && !shared.is_stopped() {
        actions.clear();
        setup.actions(&state, &mut actions);
        if actions.is_empty() {
            break;
        }
        let action = actions[dice.below(actions.len())];
        let (after, marks) = setup.after(&state, &action);
        shared.met(marks);
        path.push(action);
        state = after;
        if let Some(broken) = properties::broken(setup, &state) {
            return (path, Some(broken.promise));
        }
    }
    (path, None)
}
