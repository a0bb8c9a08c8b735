use super::*;
use crate::invariant::one_live_attempt::OneLiveAttempt;

const TASK: TaskId = TaskId::new(0, 1);

fn deployed(epoch: u64, number: u32) -> Told {
    coordinator(0, epoch, Moment::Deploying).a(epoch, number)
}

fn starts(node: NodeIndex, epoch: u64, number: u32) -> Told {
    worker(node, Moment::TasksStarting).a(epoch, number)
}

fn batch(node: NodeIndex, epoch: u64, number: u32) -> Told {
    task(node, TASK, Moment::Batch).a(epoch, number)
}

#[test]
fn one_attempt_after_the_other_is_accepted_and_a_zombie_elsewhere_too() {
    let history = vec![
        deployed(1, 1),
        starts(WORKER, 1, 1),
        batch(WORKER, 1, 1),
        deployed(1, 2),
        starts(SPARE, 1, 2),
        batch(SPARE, 1, 2),
        // Cut off, it does not know yet; what it does reaches nobody.
        batch(WORKER, 1, 1),
        deployed(2, 1),
        starts(WORKER, 2, 1),
        batch(WORKER, 2, 1),
    ];
    assert_accepted(OneLiveAttempt::default(), history);
}

#[test]
fn an_attempt_deployed_twice_is_red() {
    assert_red(OneLiveAttempt::default(), vec![deployed(1, 1), deployed(1, 2), deployed(1, 2)], &["a1.2 is deployed after a1.2"]);
}

#[test]
fn a_deposed_coordinator_that_deploys_is_red() {
    assert_red(OneLiveAttempt::default(), vec![deployed(1, 1), deployed(2, 1), deployed(1, 2)], &["a1.2", "a2.1"]);
}

#[test]
fn an_attempt_that_runs_undeployed_is_red() {
    let history = vec![deployed(1, 1), coordinator(1, 1, Moment::JobRunning).a(1, 2)];
    assert_red(OneLiveAttempt::default(), history, &["a1.2 runs", "a1.1"]);
}

#[test]
fn an_older_attempt_started_after_a_newer_one_is_red() {
    let history = vec![deployed(1, 1), deployed(1, 2), starts(WORKER, 1, 2), starts(WORKER, 1, 1)];
    assert_red(OneLiveAttempt::default(), history, &["n2", "a1.1", "a1.2"]);
}

#[test]
fn a_task_of_an_old_attempt_beside_a_new_one_is_red() {
    let history =
        vec![deployed(1, 1), starts(WORKER, 1, 1), deployed(1, 2), starts(WORKER, 1, 2), batch(WORKER, 1, 2), batch(WORKER, 1, 1)];
    assert_red(OneLiveAttempt::default(), history, &["v0.s1", "a1.1", "n2", "a1.2"]);
}

fn starts_beside(node: NodeIndex, number: u32) -> Told {
    worker(node, Moment::TaskStarting).a(1, number).detail(Detail::Task(TASK))
}

#[test]
fn a_task_that_is_started_beside_others_runs_in_its_own_attempt() {
    let other = |number| task(WORKER, TaskId::new(0, 0), Moment::Batch).a(1, number);
    let stops = worker(WORKER, Moment::TaskStopped).a(1, 1).detail(Detail::Task(TASK));
    let history = || vec![deployed(1, 1), starts(WORKER, 1, 1), other(1), deployed(1, 2), starts_beside(WORKER, 2), batch(WORKER, 1, 2)];
    let mut fine = history();
    fine.extend([other(1), deployed(1, 3), starts(WORKER, 1, 3), other(3), batch(WORKER, 1, 3)]);
    assert_accepted(OneLiveAttempt::default(), fine);
    let mut stale = history();
    stale.push(batch(WORKER, 1, 1));
    assert_red(OneLiveAttempt::default(), stale, &["v0.s1", "a1.1", "a1.2"]);
    assert_red(OneLiveAttempt::default(), vec![deployed(1, 1), starts(WORKER, 1, 1), stops, batch(WORKER, 1, 1)], &["v0.s1", "stopped"]);
}
