//! Lives, drawn at random, and what must be true of all of them.

use super::*;
use crate::settings::RestartStrategy;
use crate::tests::coordinator::by_index;
use proptest::prelude::*;
use std::time::Duration;

fn any_plan() -> impl Strategy<Value = Plan> {
    let flags = (any::<bool>(), any::<bool>(), prop::option::of(any::<bool>()), any::<bool>(), any::<bool>(), any::<bool>());
    (1..4_u32, 0..4_u32, 0..3_u64, 1..3_u32, flags).prop_map(|(concurrent, tolerable, pause, retained, flags)| {
        let (rate, hooks, origin, commits, unaligned, regions) = flags;
        let mut plan = plan(&[2, 2]);
        if regions {
            by_index(&mut plan);
        }
        plan.checkpoints.unaligned = unaligned && concurrent == 1;
        plan.committers = (0..2).filter(|_| commits).map(|subtask| TaskId::new(1, subtask)).collect();
        plan.checkpoints.interval = Some(Duration::from_secs(10));
        plan.checkpoints.max_concurrent = concurrent;
        plan.checkpoints.tolerable_failures = tolerable;
        plan.checkpoints.min_pause = Duration::from_secs(pause);
        plan.checkpoints.retained = retained;
        plan.checkpoints.interval_during_backlog = hooks.then_some(Duration::ZERO);
        plan.hooks = hooks;
        plan.enumerators = hooks && commits;
        plan.origin = origin.map(|claimed| {
            let claim = if claimed { ClaimMode::Claim } else { ClaimMode::NoClaim };
            Origin { path: "/s".into(), checkpoint: CheckpointId(5), claim }
        });
        let delay = Duration::from_secs(1);
        let by_rate = RestartStrategy::FailureRate { failures: 1000, interval: delay, delay };
        plan.restart = if rate { by_rate } else { RestartStrategy::default() };
        plan
    })
}

/// Mostly things go well, or nothing would ever come far.
fn any_happening() -> impl Strategy<Value = (u8, u8)> {
    let what = prop_oneof![
        120 => Just(0_u8), 40 => Just(8), 2 => Just(10), 14 => Just(11), 1 => Just(12), 2 => Just(13), 3 => Just(14),
        1 => Just(15), 8 => Just(16), 8 => Just(17), 1 => Just(18), 1 => Just(19), 2 => Just(20), 2 => 21..24_u8, 3 => Just(24),
        2 => Just(25),
    ];
    (what, any::<u8>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_life_of_a_coordinator_breaks_a_promise_and_calm_brings_a_checkpoint(
        plan in any_plan(),
        merging in any::<bool>(),
        lives in prop::collection::vec(any_happening(), 0..600),
    ) {
        let mut world = World::new(plan, merging);
        for (what, pick) in lives {
            world.happen(what, pick);
        }
        world.calm();
    }

    #[test]
    fn the_same_inputs_give_the_same_outputs_and_state(lives in prop::collection::vec(any_happening(), 0..200)) {
        let live = || {
            let mut world = World::new(plan(&[2, 2]), true);
            lives.iter().for_each(|&(what, pick)| world.happen(what, pick));
            world.job
        };
        prop_assert_eq!(live(), live());
    }
}

/// A world that only ever waits would keep every promise, too.
#[test]
fn random_lives_get_far() {
    let mut runner = proptest::test_runner::TestRunner::deterministic();
    let lives = (any_plan(), prop::collection::vec(any_happening(), 600));
    let (mut completed, mut savepoints, mut takeovers, mut restarts, mut discarded) = (0, 0, 0, 0, 0);
    let (mut kept, mut cleaned, mut claimed, mut forgotten) = (0, 0, 0, 0);
    let (mut stopped, mut regional) = ((0, 0), 0);
    for at in 0..100 {
        let tree = lives.new_tree(&mut runner).expect("a life");
        let (plan, happenings) = proptest::strategy::ValueTree::current(&tree);
        let mut world = World::new(plan, at % 2 == 0);
        for (what, pick) in happenings {
            world.happen(what, pick);
            restarts = restarts.max(world.job.attempt().number);
        }
        completed += world.completions;
        savepoints += world.savepoints.len();
        takeovers += world.job.epoch().0;
        discarded += world.gone.len();
        (kept, cleaned) = (kept + world.settled.0, cleaned + world.settled.1);
        stopped = (stopped.0 + world.stopped.0, stopped.1 + world.stopped.1);
        regional += world.regional;
        claimed += usize::from(!world.origin.0);
        forgotten += usize::from(!world.origin.1);
    }
    assert!(regional > 20, "{regional} times some tasks were deployed while others went on");
    assert!(stopped.0 > 10 && stopped.1 > 0, "jobs were stopped: {stopped:?}");
    let settled = kept > 2 && cleaned > 10 && claimed > 10 && forgotten > 5 && forgotten < claimed;
    assert!(settled, "{kept} savepoints kept and {cleaned} cleaned up; {claimed} origins deleted, {forgotten} to the end");
    let far = completed > 200 && savepoints > 50 && takeovers > 200 && restarts > 2 && discarded > 200;
    assert!(far, "{completed} completed, {savepoints} savepoints, {takeovers} reigns, {restarts} attempts, {discarded} discarded");
}
