use super::*;
use crate::invariant::local_copies_optional::LocalCopiesOptional;

const COUNT: TaskId = TaskId::new(1, 0);

fn because_of(moment: Moment, path: &str) -> Told {
    task(WORKER, COUNT, moment).a(1, 2).detail(Detail::Text(format!("cannot append to {path}: no space left")))
}

#[test]
fn the_storage_may_fail_a_checkpoint() {
    let history = vec![because_of(Moment::SnapshotFailed, "/shared/checkpoints/job/chk-3/count-0-a1.2")];
    assert_accepted(LocalCopiesOptional::default(), history);
}

#[test]
fn a_local_disk_may_not() {
    let history = vec![
        because_of(Moment::LocalCopyFailed, "/local/job/v1.s0-c3-a1.2/count-1"),
        because_of(Moment::SnapshotFailed, "/local/job/v1.s0-c3-a1.2/count-1"),
    ];
    assert_red(LocalCopiesOptional::default(), history, &["v1.s0", "second copy", "/local/job"]);
}

#[test]
fn a_task_fails_for_its_copy_only_if_that_broke_after_it_was_in_order() {
    let unusable = || because_of(Moment::LocalCopyUnusable, "/local/job/v1.s0-c3-a1.1/count-1");
    let fails = || because_of(Moment::TaskFailed, "/local/job/v1.s0-c3-a1.1/count-1");
    assert_accepted(LocalCopiesOptional::default(), vec![unusable(), fails()]);
    assert_red(LocalCopiesOptional::default(), vec![fails()], &["v1.s0"]);
}
