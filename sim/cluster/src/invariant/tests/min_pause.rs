use super::*;
use crate::invariant::min_pause::MinPause;

fn invariant() -> MinPause {
    MinPause::new(&CheckpointSpec { min_pause_ms: 500, ..CheckpointSpec::default() })
}

#[test]
fn a_trigger_after_the_pause_or_after_a_failure_is_accepted() {
    let history = [completed(0, 1), failed(600, 2, FailureReason::Expired), completed(710, 3), completed(1310, 4)];
    assert_accepted(invariant(), history.into_iter().flatten().collect());
}

#[test]
fn the_final_checkpoint_and_a_successors_first_do_not_wait() {
    let mut history = completed(0, 1);
    history.push(coordinator(150, 2, Moment::CheckpointTriggered).c(2));
    history.push(coordinator(200, 2, Moment::CheckpointCompleted).c(2));
    history.push(task(WORKER, TaskId::new(0, 0), Moment::TaskDrained));
    history.push(coordinator(250, 2, Moment::CheckpointTriggered).c(3));
    assert_accepted(invariant(), history);
}

#[test]
fn a_trigger_within_the_pause_is_red() {
    let mut history = completed(0, 1);
    history.push(coordinator(550, 1, Moment::CheckpointTriggered).c(2));
    assert_red(invariant(), history, &["c2", "450ms", "500ms"]);
}

#[test]
fn after_a_deployment_the_pause_is_back() {
    let mut history = completed(0, 1);
    history.push(task(WORKER, TaskId::new(0, 0), Moment::TaskDrained));
    history.push(coordinator(150, 1, Moment::Deploying).c(1).a(1, 2));
    history.push(coordinator(300, 1, Moment::CheckpointTriggered).c(2));
    assert_red(invariant(), history, &["c2", "200ms"]);
}
