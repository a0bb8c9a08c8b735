use super::*;
use crate::invariant::no_unreferenced_files::NoUnreferencedFiles;

fn invariant() -> NoUnreferencedFiles {
    NoUnreferencedFiles::new(&CheckpointSpec { retained: 1, ..CheckpointSpec::default() })
}

fn discarding(at_ms: u64, number: u64) -> Told {
    coordinator(at_ms, 1, Moment::Discarding).c(number)
}

fn triggered(at_ms: u64, number: u64) -> Told {
    coordinator(at_ms, 1, Moment::CheckpointTriggered).c(number)
}

/// c1 fails at 0.1 s, and c2 shows that the storage works.
fn one_failed() -> Vec<Told> {
    let mut history = failed(0, 1, FailureReason::Expired);
    history.extend(completed(200, 2));
    history
}

/// c1 is subsumed at 0.3 s, and c3 shows that the storage works.
fn one_subsumed() -> Vec<Told> {
    [completed(0, 1), completed(200, 2), completed(400, 3)].into_iter().flatten().collect()
}

#[test]
fn files_that_are_deleted_are_accepted_soon_or_late() {
    for delay in [0, 7000] {
        let mut history = one_failed();
        history.extend([discarding(400 + delay, 1), triggered(20_000, 3)]);
        assert_accepted(invariant(), history);
        let mut history = one_subsumed();
        history.extend([discarding(600 + delay, 1), discarding(600 + delay, 2), coordinator(20_000, 1, Moment::JobEnded)]);
        assert_accepted(invariant(), history);
    }
}

#[test]
fn as_many_as_are_retained_stay() {
    let several = NoUnreferencedFiles::new(&CheckpointSpec { retained: 3, ..CheckpointSpec::default() });
    let mut history = one_subsumed();
    history.push(triggered(20_000, 4));
    assert_accepted(several, history);
}

#[test]
fn a_storage_that_may_not_answer_is_waited_for() {
    let mut history = failed(0, 1, FailureReason::IoException);
    history.extend([triggered(20_000, 2), triggered(40_000, 3)]);
    assert_accepted(invariant(), history);
    let mut history = one_failed();
    history.push(triggered(8000, 3));
    assert_accepted(invariant(), history);
}

#[test]
fn a_new_coordinator_sweeps_what_its_predecessor_left() {
    let mut history = one_failed();
    history.push(coordinator(20_000, 2, Moment::CheckpointTriggered).c(5));
    assert_accepted(invariant(), history);
}

#[test]
fn a_failed_one_that_nobody_deletes_is_red() {
    let mut history = one_failed();
    history.push(triggered(8200, 3));
    assert_red(invariant(), history, &["c1", "100ms"]);
}

#[test]
fn a_subsumed_one_that_nobody_deletes_is_red_at_the_end() {
    let mut history = one_subsumed();
    history.extend([discarding(600, 2), coordinator(8400, 1, Moment::JobEnded)]);
    assert_red(invariant(), history, &["c1", "300ms"]);
}

#[test]
fn a_savepoint_that_fails_before_the_journal_names_it_has_no_files() {
    let aborted = || coordinator(100, 1, Moment::CheckpointAborted).c(1);
    let located = |at_ms| coordinator(at_ms, 1, Moment::LocationReady).c(1);
    let fails = |between: Vec<Told>| {
        let mut history = vec![coordinator(0, 1, Moment::SavepointTriggered).c(1)];
        history.extend(between);
        history.extend(completed(200, 2));
        history.push(triggered(20_000, 3));
        history
    };
    assert_accepted(invariant(), fails(vec![aborted()]));
    assert_red(invariant(), fails(vec![located(50), aborted()]), &["c1", "100ms"]);
    // Its folder was being made when it failed.
    assert_red(invariant(), fails(vec![aborted(), located(150)]), &["c1", "150ms"]);
}
