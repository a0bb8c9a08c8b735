use super::*;
use crate::invariant::latest_restored::LatestRestored;

fn invariant() -> LatestRestored {
    LatestRestored::new(StorageKind::FileSystem)
}

#[test]
fn nothing_the_newest_or_a_durable_one_that_nobody_was_told_of_are_accepted() {
    let history = vec![
        coordinator(0, 1, Moment::Deploying).a(1, 1),
        coordinator(1, 1, Moment::CheckpointCompleted).c(1),
        coordinator(2, 1, Moment::Deploying).c(1).a(1, 2),
        coordinator(3, 1, Moment::MetadataDurable).c(2),
        coordinator(4, 2, Moment::TookOver),
        coordinator(5, 2, Moment::Deploying).c(2).a(2, 1),
    ];
    assert_accepted(invariant(), history);
}

#[test]
fn an_older_one_is_red() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointCompleted).c(1),
        coordinator(1, 1, Moment::CheckpointCompleted).c(2),
        coordinator(2, 1, Moment::Deploying).c(1).a(1, 2),
    ];
    assert_red(invariant(), history, &["c1", "c2 is complete"]);
}

#[test]
fn a_fresh_start_after_a_completed_one_is_red() {
    let history = vec![coordinator(0, 1, Moment::CheckpointCompleted).c(1), coordinator(1, 2, Moment::Deploying).a(2, 1)];
    assert_red(invariant(), history, &["c0", "c1 is complete"]);
}

#[test]
fn one_whose_metadata_was_never_durable_is_red() {
    let history = vec![
        coordinator(0, 1, Moment::CheckpointCompleted).c(1),
        coordinator(1, 1, Moment::MetadataRenamed).c(2),
        coordinator(2, 2, Moment::Deploying).c(2).a(2, 1),
    ];
    assert_red(invariant(), history, &["c2", "never durable"]);
}

#[test]
fn what_was_in_memory_is_gone_with_its_coordinator() {
    let history = || {
        vec![
            coordinator(0, 1, Moment::CheckpointCompleted).c(1),
            coordinator(1, 2, Moment::TookOver),
            coordinator(2, 2, Moment::Deploying).a(2, 1),
        ]
    };
    assert_accepted(LatestRestored::new(StorageKind::Memory), history());
    assert_red(invariant(), history(), &["c1 is complete"]);
}
