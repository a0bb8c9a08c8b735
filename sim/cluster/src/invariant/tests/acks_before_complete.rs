use super::*;
use crate::invariant::acks_before_complete::AcksBeforeComplete;

const FIRST: TaskId = TaskId::new(0, 0);
const SECOND: TaskId = TaskId::new(1, 1);

fn invariant() -> AcksBeforeComplete {
    AcksBeforeComplete::new([FIRST, SECOND].into())
}

#[test]
fn all_parts_durable_in_one_attempt_are_accepted() {
    let history = vec![
        task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
        task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 1),
        coordinator(1, 1, Moment::AllAcked).c(1),
        coordinator(2, 1, Moment::CheckpointCompleted).c(1),
    ];
    assert_accepted(invariant(), history);
}

#[test]
fn a_part_that_is_missing_is_red_and_named() {
    let history = vec![task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1), coordinator(1, 1, Moment::AllAcked).c(1)];
    assert_red(invariant(), history, &["c1", "v1.s1", "all-acked"]);
}

#[test]
fn a_part_that_was_only_taken_is_red() {
    let history = vec![
        task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
        task(SPARE, SECOND, Moment::SnapshotTaken).c(1).a(1, 1),
        coordinator(2, 1, Moment::CheckpointCompleted).c(1),
    ];
    assert_red(invariant(), history, &["c1", "v1.s1"]);
}

#[test]
fn parts_of_two_attempts_are_red() {
    let history = vec![
        task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
        task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 2),
        coordinator(1, 1, Moment::AllAcked).c(1),
    ];
    assert_red(invariant(), history, &["c1", "one attempt"]);
}

#[test]
fn parts_of_another_checkpoint_are_red() {
    let history = vec![
        task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
        task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 1),
        coordinator(1, 1, Moment::AllAcked).c(2),
    ];
    assert_red(invariant(), history, &["c2"]);
}

#[test]
fn who_has_finished_in_the_attempt_needs_no_part() {
    let finished = |attempt| task(SPARE, SECOND, Moment::TaskFinished).a(1, attempt);
    let durable = || task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 2);
    let acked = || coordinator(1, 1, Moment::AllAcked).c(1);
    assert_accepted(invariant(), vec![finished(2), durable(), acked()]);
    let before = coordinator(0, 1, Moment::FinishedBefore).a(1, 2).detail(Detail::Task(SECOND));
    assert_accepted(invariant(), vec![before, durable(), acked()]);
    assert_red(invariant(), vec![finished(1), durable(), acked()], &["c1", "v1.s1"]);
}

#[test]
fn who_has_only_failed_needs_one() {
    let failed = task(SPARE, SECOND, Moment::TaskFailed).a(1, 1);
    let history = vec![failed, task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1), coordinator(1, 1, Moment::AllAcked).c(1)];
    assert_red(invariant(), history, &["c1", "v1.s1"]);
}

#[test]
fn parts_of_the_attempts_that_run_together_are_accepted_and_of_others_are_red() {
    let started = |of, number| task(WORKER, of, Moment::RestoreStarted).a(1, number);
    let durable = |of, number| task(WORKER, of, Moment::SnapshotDurable).c(1).a(1, number);
    let history = vec![started(FIRST, 1), started(SECOND, 1), started(SECOND, 2), durable(FIRST, 1), durable(SECOND, 2)];
    let mut fine = history;
    fine.push(coordinator(1, 1, Moment::AllAcked).c(1));
    assert_accepted(invariant(), fine);
    let mut stale = vec![started(FIRST, 1), started(SECOND, 1), started(FIRST, 2), durable(FIRST, 1), durable(SECOND, 2)];
    stale.push(coordinator(1, 1, Moment::AllAcked).c(1));
    assert_red(invariant(), stale, &["c1"]);
}

#[test]
fn who_has_finished_in_the_attempt_that_goes_on_beside_others_needs_no_part_and_who_has_begun_again_does() {
    let started = |of, number| task(WORKER, of, Moment::RestoreStarted).a(1, number);
    let finished = || task(WORKER, FIRST, Moment::TaskFinished).a(1, 1);
    let durable = || task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 2);
    let acked = || coordinator(1, 1, Moment::AllAcked).c(1);
    assert_accepted(invariant(), vec![started(FIRST, 1), started(SECOND, 1), finished(), started(SECOND, 2), durable(), acked()]);
    let both_again = vec![started(FIRST, 1), started(SECOND, 1), finished(), started(SECOND, 2), started(FIRST, 2), durable(), acked()];
    assert_red(invariant(), both_again, &["c1", "v0.s0"]);
    let before = coordinator(0, 1, Moment::FinishedBefore).a(1, 2).detail(Detail::Task(FIRST));
    assert_accepted(invariant(), vec![started(FIRST, 1), started(SECOND, 1), before, started(SECOND, 2), durable(), acked()]);
}
