use super::*;
use crate::invariant::timeout::Timeout;

fn invariant() -> Timeout {
    Timeout::new(&CheckpointSpec { timeout_ms: 1000, ..CheckpointSpec::default() }, COORDINATOR)
}

fn triggered() -> Told {
    coordinator(0, 1, Moment::CheckpointTriggered).c(1)
}

/// Any event: time goes on.
fn later(at_ms: u64) -> Told {
    told(at_ms, WORKER, Actor::Worker(WorkerId(1)), Moment::Registered)
}

#[test]
fn one_that_is_acknowledged_expired_or_complete_in_time_is_accepted() {
    for end in [Moment::AllAcked, Moment::CheckpointAborted, Moment::CheckpointCompleted] {
        assert_accepted(invariant(), vec![triggered(), later(900), coordinator(1000, 1, end).c(1), later(9000)]);
    }
}

#[test]
fn one_that_waits_for_longer_is_red() {
    let [first, second] = checkpoint(500, 2, Moment::CheckpointCompleted);
    assert_red(invariant(), vec![triggered(), first, second, later(1030)], &["c1", "1.03s", "1s"]);
}

#[test]
fn a_coordinator_that_is_not_there_keeps_no_time() {
    for event in [WorldEvent::Crashed(COORDINATOR, Crash::Process), WorldEvent::Paused(COORDINATOR), WorldEvent::Exited(COORDINATOR)] {
        assert_accepted(invariant(), vec![triggered(), world(500, event), later(5000)]);
    }
    let of_another = world(500, WorldEvent::Crashed(WORKER, Crash::Power));
    assert_red(invariant(), vec![triggered(), of_another, later(5000)], &["c1"]);
}
