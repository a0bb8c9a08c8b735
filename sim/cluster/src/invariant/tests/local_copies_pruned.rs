use super::*;
use crate::invariant::local_copies_pruned::LocalCopiesPruned;

const COUNT: TaskId = TaskId::new(1, 0);

fn at(at_ms: u64, mut told: Told) -> Told {
    if let Told::Engine { at, .. } = &mut told {
        *at = Duration::from_millis(at_ms);
    }
    told
}

fn written(at_ms: u64, number: u64) -> Told {
    at(at_ms, task(WORKER, COUNT, Moment::LocalCopyWritten).c(number))
}

fn deleted(at_ms: u64, number: u64) -> Told {
    at(at_ms, worker(WORKER, Moment::LocalCopyDeleted).c(number).detail(Detail::Task(COUNT)))
}

/// c1 is complete, with a copy where the task runs.
fn one_complete() -> Vec<Told> {
    let mut history = vec![task(WORKER, COUNT, Moment::TaskRunning), written(50, 1)];
    history.extend(completed(0, 1));
    history
}

#[test]
fn copies_that_are_deleted_when_nobody_needs_them_are_accepted() {
    let mut history = one_complete();
    history.extend([written(150, 2), coordinator(200, 1, Moment::CheckpointCompleted).c(2), deleted(210, 1), written(20_000, 3)]);
    history.extend([coordinator(20_010, 1, Moment::CheckpointAborted).c(3), deleted(20_020, 3), written(40_000, 4)]);
    history.extend([coordinator(40_010, 1, Moment::JobEnded), deleted(40_020, 2), deleted(40_030, 4)]);
    assert_accepted(LocalCopiesPruned::default(), history);
}

#[test]
fn the_copy_that_a_restart_would_begin_from_stays() {
    let mut history = one_complete();
    history.push(deleted(200, 1));
    assert_red(LocalCopiesPruned::default(), history, &["v1.s0", "c1", "restart"]);
}

#[test]
fn one_that_is_broken_or_whose_task_moves_may_go() {
    let mut history = one_complete();
    history.extend([task(WORKER, COUNT, Moment::LocalCopyUnusable).c(1), deleted(200, 1)]);
    assert_accepted(LocalCopiesPruned::default(), history);
    let mut history = one_complete();
    history.extend([coordinator(300, 1, Moment::Deploying).c(1), task(SPARE, COUNT, Moment::TaskRunning), deleted(400, 1)]);
    assert_accepted(LocalCopiesPruned::default(), history);
}

#[test]
fn one_that_was_never_made_may_go() {
    let mut history = one_complete();
    history.extend(completed(200, 2));
    history.extend([deleted(400, 1), deleted(410, 2)]);
    assert_accepted(LocalCopiesPruned::default(), history);
}

#[test]
fn the_copy_of_a_checkpoint_that_failed_goes_in_time() {
    let mut history = one_complete();
    history.extend([written(200, 2), coordinator(300, 1, Moment::CheckpointAborted).c(2), written(5200, 3), written(5400, 4)]);
    assert_red(LocalCopiesPruned::default(), history, &["v1.s0", "c2", "of no use"]);
}

#[test]
fn what_a_crash_or_a_failing_disk_interrupts_is_found_later() {
    let crashed = world(350, WorldEvent::Crashed(WORKER, Crash::Process));
    let mut history = one_complete();
    history.extend([written(200, 2), coordinator(300, 1, Moment::CheckpointAborted).c(2), crashed, written(9000, 3)]);
    assert_accepted(LocalCopiesPruned::default(), history);
}
