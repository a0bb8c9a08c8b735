use super::*;
use crate::invariant::stopped_is_over::StoppedIsOver;
use cofferdam_protocol::coordinator::{Ended, StoppedWith};

const TASK: TaskId = TaskId::new(1, 0);

fn of_task(moment: Moment, number: u32) -> Told {
    task(WORKER, TASK, moment).a(1, number).c(4)
}

fn ended(epoch: u64, ended: Ended) -> Told {
    coordinator(9, epoch, Moment::JobEnded).detail(Detail::Ended(ended))
}

fn stopped() -> Ended {
    Ended::Stopped(StoppedWith { checkpoint: CheckpointId(4), target: "/s".into(), drained: false })
}

#[test]
fn a_job_that_goes_on_after_a_savepoint_that_failed_and_then_stops_is_accepted() {
    let history = vec![
        of_task(Moment::Batch, 1),
        of_task(Moment::TaskSuspended, 1),
        of_task(Moment::TaskResumed, 1),
        of_task(Moment::Batch, 1),
        of_task(Moment::TaskSuspended, 1),
        // The attempt has failed meanwhile.
        coordinator(5, 1, Moment::Deploying).a(1, 2),
        of_task(Moment::Batch, 2),
        coordinator(6, 1, Moment::JobStopping).a(1, 2).c(5),
        ended(2, stopped()),
    ];
    assert_accepted(StoppedIsOver::default(), history);
}

#[test]
fn records_behind_the_barrier_are_red() {
    let history = vec![of_task(Moment::TaskSuspended, 1), of_task(Moment::Batch, 1)];
    assert_red(StoppedIsOver::default(), history, &["v1.s0 of a1.1", "c4"]);
}

#[test]
fn a_stopped_job_that_is_deployed_is_red() {
    let history = vec![coordinator(0, 1, Moment::JobStopping).a(1, 2).c(5), coordinator(1, 2, Moment::Deploying).a(2, 1)];
    assert_red(StoppedIsOver::default(), history, &["a2.1", "a1.2"]);
    assert_red(StoppedIsOver::default(), vec![ended(1, stopped()), coordinator(1, 2, Moment::Deploying).a(2, 1)], &["a2.1"]);
}

#[test]
fn another_end_of_a_stopped_job_is_red() {
    let history = vec![coordinator(0, 1, Moment::JobStopping).a(1, 2).c(5), ended(1, Ended::Finished)];
    assert_red(StoppedIsOver::default(), history, &["Finished", "a1.2"]);
}
