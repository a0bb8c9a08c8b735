use super::*;
use crate::invariant::failures_counted::FailuresCounted;

fn failing(at_ms: u64) -> Told {
    coordinator(at_ms, 1, Moment::JobFailing)
        .detail(Detail::Text("more than 1 checkpoints in a row failed, c2 as the last: Expired".into()))
}

#[test]
fn an_attempt_that_fails_after_one_too_many_is_accepted() {
    let history = [failed(0, 1, FailureReason::Declined), failed(200, 2, FailureReason::Expired), vec![failing(300)]];
    assert_accepted(FailuresCounted::new(1), history.into_iter().flatten().chain(completed(400, 3)).collect());
}

#[test]
fn a_completed_one_between_two_failures_begins_the_count_anew() {
    let history = [failed(0, 1, FailureReason::Expired), completed(200, 2), failed(400, 3, FailureReason::Expired), completed(600, 4)];
    assert_accepted(FailuresCounted::new(1), history.into_iter().flatten().collect());
}

#[test]
fn failures_that_do_not_count_are_not_counted() {
    let history = (1..10).flat_map(|number| failed(200 * number, number, FailureReason::DeclinedNotReady));
    assert_accepted(FailuresCounted::new(0), history.collect());
}

/// The second one is a task's fault.
#[test]
fn of_savepoints_only_what_a_task_says_is_counted() {
    let savepoint = |at_ms: u64, number: u64, reason: FailureReason| {
        let aborted = coordinator(at_ms + 100, 1, Moment::CheckpointAborted).c(number).detail(Detail::Reason(reason));
        [coordinator(at_ms, 1, Moment::SavepointTriggered).c(number), aborted]
    };
    let mut history: Vec<Told> = savepoint(0, 1, FailureReason::FinalizeFailure).into();
    history.extend(completed(200, 2));
    history.extend(savepoint(400, 3, FailureReason::Expired));
    history.push(coordinator(600, 1, Moment::CheckpointTriggered).c(4));
    assert_accepted(FailuresCounted::new(0), history);
    let mut history: Vec<Told> = savepoint(0, 1, FailureReason::AsyncException).into();
    history.push(coordinator(200, 1, Moment::CheckpointTriggered).c(2));
    assert_red(FailuresCounted::new(0), history, &["c2", "1 failed"]);
}

#[test]
fn a_checkpoint_after_one_failure_too_many_is_red() {
    let mut history =
        [failed(0, 1, FailureReason::Declined), failed(200, 2, FailureReason::Expired)].into_iter().flatten().collect::<Vec<_>>();
    history.push(coordinator(400, 1, Moment::CheckpointTriggered).c(3));
    assert_red(FailuresCounted::new(1), history, &["c3", "2 failed", "1 are tolerable"]);
}

#[test]
fn an_attempt_that_fails_over_too_few_is_red() {
    let mut history = failed(0, 1, FailureReason::Expired);
    history.push(failing(300));
    assert_red(FailuresCounted::new(1), history, &["1 failed", "1 are tolerable"]);
}
