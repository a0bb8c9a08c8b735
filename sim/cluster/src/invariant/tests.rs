//! Each invariant accepts a history as it should be, and is seen red over one that contradicts it.

use super::*;
use crate::scenario::{CheckpointSpec, StorageKind};
use crate::world::Crash;
use cofferdam_engine::observe::{Actor, Detail, Moment};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, WorkerId};

const COORDINATOR: NodeIndex = NodeIndex(1);
const WORKER: NodeIndex = NodeIndex(2);
const SPARE: NodeIndex = NodeIndex(3);

/// One event of a hand-made history.
enum Told {
    Engine { at: Duration, node: NodeIndex, event: Event },
    World { at: Duration, event: WorldEvent },
}

fn told(at_ms: u64, node: NodeIndex, actor: Actor, moment: Moment) -> Told {
    let event = Event { actor, attempt: None, checkpoint: None, moment, detail: Detail::None };
    Told::Engine { at: Duration::from_millis(at_ms), node, event }
}

/// The coordinator of an epoch does something.
fn coordinator(at_ms: u64, epoch: u64, moment: Moment) -> Told {
    told(at_ms, COORDINATOR, Actor::Coordinator(Epoch(epoch)), moment)
}

/// A subtask does something.
fn task(node: NodeIndex, task: TaskId, moment: Moment) -> Told {
    told(0, node, Actor::Task(task), moment)
}

/// A worker does something.
fn worker(node: NodeIndex, moment: Moment) -> Told {
    told(0, node, Actor::Worker(WorkerId(node.0)), moment)
}

fn world(at_ms: u64, event: WorldEvent) -> Told {
    Told::World { at: Duration::from_millis(at_ms), event }
}

impl Told {
    fn change(mut self, change: impl FnOnce(&mut Event)) -> Self {
        match &mut self {
            Self::Engine { event, .. } => change(event),
            Self::World { .. } => panic!("the world has no checkpoints"),
        }
        self
    }

    fn c(self, checkpoint: u64) -> Self {
        self.change(|event| event.checkpoint = Some(CheckpointId(checkpoint)))
    }

    fn a(self, epoch: u64, number: u32) -> Self {
        self.change(|event| event.attempt = Some(AttemptId { epoch: Epoch(epoch), number }))
    }

    fn detail(self, detail: Detail) -> Self {
        self.change(|event| event.detail = detail)
    }
}

/// Tells the history to the end, or to the first contradiction.
fn tell(invariant: &mut dyn Invariant, history: Vec<Told>) -> Result<(), String> {
    for told in history {
        match told {
            Told::Engine { at, node, event } => invariant.event(at, node, &event)?,
            Told::World { at, event } => invariant.world(at, &event),
        }
    }
    Ok(())
}

fn assert_accepted(mut invariant: impl Invariant, history: Vec<Told>) {
    assert_eq!(tell(&mut invariant, history), Ok(()));
}

/// The last event of the history, and none before, is the contradiction, and the witness names what is needed to find it.
fn assert_red(mut invariant: impl Invariant, mut history: Vec<Told>, witness: &[&str]) {
    let last = history.pop().expect("a contradiction has an event");
    assert_eq!(tell(&mut invariant, history), Ok(()), "{} is red too early", invariant.name());
    let red = tell(&mut invariant, vec![last]).expect_err("it must be seen red");
    for word in witness {
        assert!(red.contains(word), "{} says {red:?}, without {word:?}", invariant.name());
    }
}

/// A whole checkpoint as its coordinator sees it.
fn checkpoint(at_ms: u64, number: u64, end: Moment) -> [Told; 2] {
    [coordinator(at_ms, 1, Moment::CheckpointTriggered).c(number), coordinator(at_ms + 100, 1, end).c(number)]
}

fn failed(at_ms: u64, number: u64, reason: FailureReason) -> Vec<Told> {
    let [triggered, aborted] = checkpoint(at_ms, number, Moment::CheckpointAborted);
    vec![triggered, aborted.detail(Detail::Reason(reason))]
}

fn completed(at_ms: u64, number: u64) -> Vec<Told> {
    checkpoint(at_ms, number, Moment::CheckpointCompleted).into()
}

#[test]
fn every_invariant_is_named_after_its_file() {
    let scenario: Scenario = Scenario {
        name: "none".into(),
        story: String::new(),
        job: Default::default(),
        cluster: Default::default(),
        checkpoints: Default::default(),
        restart: cofferdam_protocol::settings::RestartStrategy::None,
        network: Default::default(),
        disk: Default::default(),
        objects: Default::default(),
        clocks: Vec::new(),
        faults: Vec::new(),
        chaos: None,
        calm_after_ms: 0,
        liveness_bound_ms: 1,
        resume: None,
        expect: Default::default(),
    };
    let setting = Setting { scenario: &scenario, tasks: &BTreeSet::new(), coordinator: COORDINATOR, origin: None };
    let names: BTreeSet<String> = all(&setting).iter().map(|invariant| invariant.name().replace('-', "_")).collect();
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/invariant")).expect("it is there");
    let files = folder.map(|entry| entry.expect("readable").path().file_stem().expect("named").to_string_lossy().into_owned());
    assert_eq!(names, files.filter(|file| file != "tests").collect());
}

mod ids_unique {
    use super::*;
    use crate::invariant::ids_unique::IdsUnique;

    #[test]
    fn numbers_that_grow_are_accepted_also_with_gaps_and_over_a_takeover() {
        let history = vec![
            coordinator(0, 1, Moment::CheckpointTriggered).c(1),
            coordinator(1, 1, Moment::CheckpointAborted).c(1),
            coordinator(2, 1, Moment::CheckpointTriggered).c(2),
            coordinator(3, 2, Moment::CheckpointTriggered).c(7),
        ];
        assert_accepted(IdsUnique::default(), history);
    }

    #[test]
    fn the_number_of_an_aborted_checkpoint_used_again_is_red() {
        let history = vec![
            coordinator(0, 1, Moment::CheckpointTriggered).c(1),
            coordinator(1, 1, Moment::CheckpointTriggered).c(2),
            coordinator(2, 1, Moment::CheckpointAborted).c(2),
            coordinator(3, 2, Moment::CheckpointTriggered).c(2),
        ];
        assert_red(IdsUnique::default(), history, &["c2", "coord e2"]);
    }

    #[test]
    fn a_number_that_falls_is_red() {
        let history = vec![coordinator(0, 1, Moment::CheckpointTriggered).c(5), coordinator(1, 2, Moment::CheckpointTriggered).c(4)];
        assert_red(IdsUnique::default(), history, &["c4", "c5"]);
    }
}

mod acks_before_complete {
    use super::*;
    use crate::invariant::acks_before_complete::AcksBeforeComplete;

    const FIRST: TaskId = TaskId::new(0, 0);
    const SECOND: TaskId = TaskId::new(1, 1);

    fn invariant() -> AcksBeforeComplete {
        AcksBeforeComplete::new([FIRST, SECOND].into())
    }

    #[test]
    fn all_parts_durable_in_one_attempt_are_accepted() {
        let history = vec![
            task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
            task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 1),
            coordinator(1, 1, Moment::AllAcked).c(1),
            coordinator(2, 1, Moment::CheckpointCompleted).c(1),
        ];
        assert_accepted(invariant(), history);
    }

    #[test]
    fn a_part_that_is_missing_is_red_and_named() {
        let history = vec![task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1), coordinator(1, 1, Moment::AllAcked).c(1)];
        assert_red(invariant(), history, &["c1", "v1.s1", "all-acked"]);
    }

    #[test]
    fn a_part_that_was_only_taken_is_red() {
        let history = vec![
            task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
            task(SPARE, SECOND, Moment::SnapshotTaken).c(1).a(1, 1),
            coordinator(2, 1, Moment::CheckpointCompleted).c(1),
        ];
        assert_red(invariant(), history, &["c1", "v1.s1"]);
    }

    #[test]
    fn parts_of_two_attempts_are_red() {
        let history = vec![
            task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
            task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 2),
            coordinator(1, 1, Moment::AllAcked).c(1),
        ];
        assert_red(invariant(), history, &["c1", "one attempt"]);
    }

    #[test]
    fn parts_of_another_checkpoint_are_red() {
        let history = vec![
            task(WORKER, FIRST, Moment::SnapshotDurable).c(1).a(1, 1),
            task(SPARE, SECOND, Moment::SnapshotDurable).c(1).a(1, 1),
            coordinator(1, 1, Moment::AllAcked).c(2),
        ];
        assert_red(invariant(), history, &["c2"]);
    }
}

mod committed_is_complete {
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
}

mod failures_counted {
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
}

mod latest_restored {
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
}

mod max_concurrent {
    use super::*;
    use crate::invariant::max_concurrent::MaxConcurrent;

    fn triggered(epoch: u64, number: u64) -> Told {
        coordinator(number, epoch, Moment::CheckpointTriggered).c(number)
    }

    #[test]
    fn as_many_as_there_may_be_are_accepted() {
        let history = vec![
            triggered(1, 1),
            triggered(1, 2),
            coordinator(3, 1, Moment::CheckpointCompleted).c(2),
            coordinator(3, 1, Moment::CheckpointAborted).c(1),
            triggered(1, 3),
            triggered(1, 4),
            // What a coordinator has left pending is not its successor's.
            triggered(2, 5),
            triggered(2, 6),
        ];
        assert_accepted(MaxConcurrent::new(2), history);
    }

    #[test]
    fn one_too_many_is_red() {
        let history =
            vec![triggered(1, 1), coordinator(1, 1, Moment::CheckpointCompleted).c(1), triggered(1, 2), triggered(1, 3), triggered(1, 4)];
        assert_red(MaxConcurrent::new(2), history, &["c2, c3, c4", "2 may be"]);
    }
}

mod min_pause {
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
}

mod no_unreferenced_files {
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
}

mod one_live_attempt {
    use super::*;
    use crate::invariant::one_live_attempt::OneLiveAttempt;

    const TASK: TaskId = TaskId::new(0, 1);

    fn deployed(epoch: u64, number: u32) -> Told {
        coordinator(0, epoch, Moment::Deploying).a(epoch, number)
    }

    fn starts(node: NodeIndex, epoch: u64, number: u32) -> Told {
        worker(node, Moment::TasksStarting).a(epoch, number)
    }

    fn batch(node: NodeIndex, epoch: u64, number: u32) -> Told {
        task(node, TASK, Moment::Batch).a(epoch, number)
    }

    #[test]
    fn one_attempt_after_the_other_is_accepted_and_a_zombie_elsewhere_too() {
        let history = vec![
            deployed(1, 1),
            starts(WORKER, 1, 1),
            batch(WORKER, 1, 1),
            deployed(1, 2),
            starts(SPARE, 1, 2),
            batch(SPARE, 1, 2),
            // Cut off, it does not know yet; what it does reaches nobody.
            batch(WORKER, 1, 1),
            deployed(2, 1),
            starts(WORKER, 2, 1),
            batch(WORKER, 2, 1),
        ];
        assert_accepted(OneLiveAttempt::default(), history);
    }

    #[test]
    fn an_attempt_deployed_twice_is_red() {
        assert_red(OneLiveAttempt::default(), vec![deployed(1, 1), deployed(1, 2), deployed(1, 2)], &["a1.2 is deployed after a1.2"]);
    }

    #[test]
    fn a_deposed_coordinator_that_deploys_is_red() {
        assert_red(OneLiveAttempt::default(), vec![deployed(1, 1), deployed(2, 1), deployed(1, 2)], &["a1.2", "a2.1"]);
    }

    #[test]
    fn an_attempt_that_runs_undeployed_is_red() {
        let history = vec![deployed(1, 1), coordinator(1, 1, Moment::JobRunning).a(1, 2)];
        assert_red(OneLiveAttempt::default(), history, &["a1.2 runs", "a1.1"]);
    }

    #[test]
    fn an_older_attempt_started_after_a_newer_one_is_red() {
        let history = vec![deployed(1, 1), deployed(1, 2), starts(WORKER, 1, 2), starts(WORKER, 1, 1)];
        assert_red(OneLiveAttempt::default(), history, &["n2", "a1.1", "a1.2"]);
    }

    #[test]
    fn a_task_of_an_old_attempt_beside_a_new_one_is_red() {
        let history =
            vec![deployed(1, 1), starts(WORKER, 1, 1), deployed(1, 2), starts(WORKER, 1, 2), batch(WORKER, 1, 2), batch(WORKER, 1, 1)];
        assert_red(OneLiveAttempt::default(), history, &["v0.s1", "a1.1", "n2", "a1.2"]);
    }
}

mod timeout {
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
}

mod written_once {
    use super::*;
    use crate::invariant::written_once::WrittenOnce;

    fn next() -> Told {
        told(1, WORKER, Actor::Worker(WorkerId(1)), Moment::Registered)
    }

    #[test]
    fn whatever_else_happens_is_accepted() {
        assert_accepted(WrittenOnce::default(), vec![next(), world(1, WorldEvent::Note("nothing".into())), next()]);
    }

    #[test]
    fn something_published_that_is_written_again_is_red() {
        let replaced = WorldEvent::ObjectReplaced { url: "s3://bucket/job/chk-7/_metadata".into() };
        assert_red(WrittenOnce::default(), vec![next(), world(1, replaced), next()], &["chk-7/_metadata"]);
    }
}
