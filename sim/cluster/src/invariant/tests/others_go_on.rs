use super::super::others_go_on::OthersGoOn;
use super::*;

const LEFT: TaskId = TaskId::new(0, 0);
const RIGHT: TaskId = TaskId::new(0, 1);

fn invariant() -> OthersGoOn {
    OthersGoOn::new(vec![[LEFT].into(), [RIGHT].into()])
}

fn started(node: NodeIndex, of: TaskId, number: u32) -> Told {
    task(node, of, Moment::RestoreStarted).a(1, number)
}

fn failing(cause: &str) -> Told {
    coordinator(0, 1, Moment::JobFailing).a(1, 1).detail(Detail::Text(cause.into()))
}

fn running() -> Vec<Told> {
    vec![
        coordinator(0, 1, Moment::TookOver),
        worker(WORKER, Moment::TasksStarting).a(1, 1),
        worker(SPARE, Moment::TasksStarting).a(1, 1),
        started(WORKER, LEFT, 1),
        started(SPARE, RIGHT, 1),
        coordinator(0, 1, Moment::JobRunning).a(1, 1),
    ]
}

#[test]
fn what_has_failed_goes_back() {
    let mut history = running();
    history.extend([failing("task v0.s0 failed: power"), started(WORKER, LEFT, 2), coordinator(0, 1, Moment::JobRunning).a(1, 2)]);
    history.extend([failing("worker w3 lost"), started(WORKER, RIGHT, 3), coordinator(0, 1, Moment::JobRunning).a(1, 3)]);
    history.extend([failing("more than 2 checkpoints in a row failed"), started(WORKER, LEFT, 4), started(WORKER, RIGHT, 4)]);
    assert_accepted(invariant(), history);
}

#[test]
fn what_has_not_failed_goes_back() {
    let mut history = running();
    history.extend([failing("task v0.s0 failed: power"), started(WORKER, LEFT, 2), started(SPARE, RIGHT, 2)]);
    assert_red(invariant(), history, &["v0.s1", "a1.1", "a1.2"]);
    let mut history = running();
    history.extend([failing("worker w2 silent"), started(SPARE, RIGHT, 2)]);
    assert_red(invariant(), history, &["v0.s1"]);
}

#[test]
fn a_coordinator_that_takes_over_and_a_job_that_is_one_region_restart_all() {
    let mut history = running();
    history.extend([coordinator(5, 2, Moment::TookOver), task(SPARE, RIGHT, Moment::RestoreStarted).a(2, 1)]);
    assert_accepted(invariant(), history);
    assert_accepted(OthersGoOn::new(Vec::new()), vec![started(WORKER, LEFT, 1), started(WORKER, LEFT, 2)]);
}
