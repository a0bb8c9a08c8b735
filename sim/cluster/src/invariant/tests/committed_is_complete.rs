use super::*;
use crate::invariant::committed_is_complete::CommittedIsComplete;

const SINK: TaskId = TaskId::new(2, 0);

#[test]
fn commits_after_completion_or_after_a_restore_are_accepted() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointCompleted).c(1),
        task(WORKER, SINK, Moment::Committed).c(1),
        coordinator(1, 2, Moment::Deploying).c(2).a(2, 1),
        task(WORKER, SINK, Moment::Committed).c(2),
    ];
    assert_accepted(CommittedIsComplete::default(), history);
}

#[test]
fn a_commit_before_completion_is_red() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointCompleted).c(1),
        coordinator(1, 1, Moment::MetadataDurable).c(2),
        task(WORKER, SINK, Moment::Committed).c(2),
    ];
    assert_red(CommittedIsComplete::default(), history, &["v2.s0", "c2"]);
}
