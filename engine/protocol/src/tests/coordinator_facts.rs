//! What is true of a coordinator, one fact per test.

use super::coordinator::{plan, requested};
use crate::coordinator::{
    Coordinator, Ended, FailureKind, FailureReason, Input, Journal, Kind, Output, Plan, RequestNumber, Standing, Status, Written,
};
use crate::ids::{AttemptId, CheckpointId, Epoch, Incarnation, TaskId, WorkerId};
use crate::machine::Machine;
use crate::settings::{RestartStrategy, Retention};
use crate::timer::Timer;
use std::time::Duration;

type Job = Coordinator<u32>;

fn periodic(vertices: &[u32]) -> Plan {
    let mut plan = plan(vertices);
    plan.checkpoints.interval = Some(Duration::from_secs(10));
    plan
}

fn steps(job: &mut Job, inputs: impl IntoIterator<Item = Input<u32>>) -> Vec<Output<u32>> {
    let mut out = Vec::new();
    inputs.into_iter().for_each(|input| job.step(input, &mut out));
    out
}

fn joined(worker: u32, slots: u32) -> Input<u32> {
    Input::WorkerJoined { worker: WorkerId(worker), incarnation: Incarnation(1), slots }
}

fn running(plan: Plan) -> Job {
    let mut job = Job::new(plan, &mut Vec::new());
    steps(&mut job, [Input::Journal(Written::Durable), joined(1, 9)]);
    let attempt = job.attempt();
    let tasks = job.plan().tasks.clone();
    steps(&mut job, tasks.into_iter().map(|task| Input::TaskRunning { attempt, task }));
    job
}

fn c(id: u64) -> CheckpointId {
    CheckpointId(id)
}

fn acks(job: &Job, checkpoint: CheckpointId) -> Vec<Input<u32>> {
    let attempt = job.attempt();
    let ack = |task| Input::Acknowledged { attempt, checkpoint, task, snapshot: 7 };
    job.plan().tasks.iter().copied().map(ack).collect()
}

/// Requests the checkpoint and answers everything up to its journal entry.
fn until_entry(job: &mut Job, id: u64) -> Vec<Output<u32>> {
    let mut out = steps(job, [requested(Kind::Requested), Input::LocationReady(c(id))]);
    let acks = acks(job, c(id));
    out.extend(steps(job, acks));
    out.extend(steps(job, [Input::MetadataDurable(c(id))]));
    out
}

fn notified(out: &[Output<u32>]) -> bool {
    out.iter().any(|output| matches!(output, Output::NotifyComplete { .. }))
}

#[test]
fn nobody_hears_of_completion_before_the_journal_is_durable() {
    let mut job = running(periodic(&[2, 1]));
    assert!(!notified(&until_entry(&mut job, 1)), "neither acknowledgements nor metadata complete it");
    assert!(notified(&steps(&mut job, [Input::Journal(Written::Durable)])));
}

#[test]
fn late_ack_of_an_expired_checkpoint_completes_nothing() {
    let mut job = running(periodic(&[1]));
    steps(&mut job, [requested(Kind::Requested), Input::LocationReady(c(1))]);
    steps(&mut job, [Input::Fired(Timer::CheckpointDeadline(c(1)))]);
    let late = acks(&job, c(1));
    let out = steps(&mut job, late);
    assert_eq!(out[0], Output::DiscardSnapshot { checkpoint: c(1), snapshot: 7 });
    assert_eq!(out.len(), 2, "{out:?}");
}

#[test]
fn files_of_a_checkpoint_in_doubt_are_kept_until_an_entry_without_it_is_durable() {
    let mut plan = periodic(&[1]);
    plan.checkpoints.tolerable_failures = 1;
    let mut job = running(plan);
    until_entry(&mut job, 1);
    let discarded = |out: &[Output<u32>]| out.contains(&Output::Discard(c(1)));
    assert!(!discarded(&steps(&mut job, [Input::Journal(Written::Unknown)])), "its entry may be durable");
    assert!(!discarded(&steps(&mut job, [Input::Fired(Timer::JournalRetry)])), "and still may be");
    assert!(discarded(&steps(&mut job, [Input::Journal(Written::Durable)])));
}

#[test]
fn a_fenced_coordinator_says_so_and_then_nothing_more() {
    let mut job = running(periodic(&[1]));
    until_entry(&mut job, 1);
    assert_eq!(steps(&mut job, [Input::Journal(Written::Fenced)]), [Output::SteppedDown]);
    let later = [requested(Kind::Savepoint(RequestNumber(0))), Input::CancelRequested, Input::Fired(Timer::JournalRetry), joined(3, 1)];
    let out = steps(&mut job, later);
    assert!(out.iter().all(|output| matches!(output, Output::Ignored(_))), "{out:?}");
    assert!(job.has_stepped_down());
}

#[test]
fn a_takeover_skips_every_number_that_may_have_been_used() {
    let journal = Journal { epoch: Epoch(3), reserved: c(16), completed: [c(11)].into(), ..Journal::default() };
    let mut out = Vec::new();
    let mut job = Job::recover(Standing { plan: periodic(&[1]), journal }, &mut out);
    let expected = Journal { epoch: Epoch(4), reserved: c(24), completed: [c(11)].into(), ..Journal::default() };
    assert_eq!(out, [Output::Write(expected)], "and does nothing else before that is durable");
    let out = steps(&mut job, [Input::Journal(Written::Durable), joined(1, 1)]);
    assert!(out.contains(&Output::Sweep { keep: [c(11)].into(), up_to: c(16) }), "{out:?}");
    let attempt = AttemptId { epoch: Epoch(4), number: 1 };
    let out = steps(&mut job, [Input::TaskRunning { attempt, task: TaskId::new(0, 0) }, requested(Kind::Requested)]);
    assert!(out.contains(&Output::Triggered { checkpoint: c(17), kind: Kind::Requested }), "{out:?}");
}

#[test]
fn a_job_that_has_ended_is_never_deployed_again() {
    let journal = Journal { epoch: Epoch(3), reserved: c(16), ended: Some(Ended::Finished), ..Journal::default() };
    let mut job = Job::recover(Standing { plan: periodic(&[1]), journal }, &mut Vec::new());
    let out = steps(&mut job, [joined(1, 5), Input::Journal(Written::Durable), joined(2, 5)]);
    assert!(!out.iter().any(|output| matches!(output, Output::Deploy { .. })), "{out:?}");
    assert_eq!(job.status(), Some(&Status::Ended(Ended::Finished)));
}

#[test]
fn slots_are_used_in_rounds_over_the_workers() {
    let mut job = Job::new(periodic(&[5, 2]), &mut Vec::new());
    steps(&mut job, [Input::Journal(Written::Durable), joined(2, 3), joined(1, 1), joined(3, 2)]);
    let places: Vec<u32> = (0..5).map(|subtask| job.placement()[&TaskId::new(0, subtask)].0).collect();
    assert_eq!(places, [1, 2, 3, 2, 3]);
    assert_eq!(job.placement()[&TaskId::new(1, 1)], WorkerId(2), "one slot holds one subtask of every vertex");
}

#[test]
fn retention_decides_what_outlives_the_job() {
    let kept = |retention, end: fn(&mut Job)| {
        let mut plan = periodic(&[1]);
        plan.checkpoints.retention = retention;
        plan.restart = RestartStrategy::None;
        let mut job = running(plan);
        until_entry(&mut job, 1);
        steps(&mut job, [Input::Journal(Written::Durable)]);
        end(&mut job);
        steps(&mut job, [Input::Journal(Written::Durable)]);
        assert!(matches!(job.status(), Some(Status::Ended(_))), "{:?}", job.status());
        !job.completed().is_empty()
    };
    let cancel = |job: &mut Job| drop(steps(job, [Input::CancelRequested]));
    let fail = |job: &mut Job| {
        let attempt = job.attempt();
        steps(job, [Input::TaskFailed { attempt, task: TaskId::new(0, 0), cause: "power".into(), kind: FailureKind::Recoverable }]);
        steps(job, [Input::WorkerStopped { attempt, worker: WorkerId(1) }]);
    };
    let finish = |job: &mut Job| {
        let attempt = job.attempt();
        steps(job, [Input::TaskDrained { attempt, task: TaskId::new(0, 0) }, Input::LocationReady(c(2))]);
        let acks = acks(job, c(2));
        steps(job, acks);
        steps(job, [Input::MetadataDurable(c(2)), Input::Journal(Written::Durable)]);
    };
    let table = [Retention::Never, Retention::DeleteOnCancellation, Retention::RetainOnCancellation]
        .map(|retention| (kept(retention, finish), kept(retention, cancel), kept(retention, fail)));
    assert_eq!(table, [(false, false, false), (false, false, true), (false, true, true)]);
}

#[test]
fn exactly_five_reasons_count_against_the_job() {
    let counted = [
        FailureReason::Expired,
        FailureReason::AsyncException,
        FailureReason::Declined,
        FailureReason::IoException,
        FailureReason::FinalizeFailure,
    ];
    let uncounted = [
        FailureReason::TooManyRequests,
        FailureReason::MinimumTimeBetweenCheckpoints,
        FailureReason::NotAllRequiredTasksRunning,
        FailureReason::DeclinedSubsumed,
        FailureReason::DeclinedNotReady,
        FailureReason::Subsumed,
        FailureReason::TaskFailure,
        FailureReason::CoordinatorSuspend,
        FailureReason::CoordinatorShutdown,
    ];
    assert!(counted.into_iter().all(FailureReason::counted));
    assert!(!uncounted.into_iter().any(FailureReason::counted));
}

#[test]
fn a_failure_of_an_older_checkpoint_than_the_last_success_does_not_count() {
    let mut plan = periodic(&[1]);
    plan.checkpoints.max_concurrent = 2;
    let mut job = running(plan);
    let savepoint = [requested(Kind::Savepoint(RequestNumber(0))), Input::Journal(Written::Durable), Input::LocationReady(c(1))];
    steps(&mut job, savepoint);
    until_entry(&mut job, 2);
    steps(&mut job, [Input::Journal(Written::Durable)]);
    let attempt = job.attempt();
    let reason = FailureReason::AsyncException;
    steps(&mut job, [Input::Declined { attempt, checkpoint: c(1), task: TaskId::new(0, 0), reason }]);
    assert_eq!(job.status(), Some(&Status::Running(attempt)));
}

#[test]
fn the_first_trigger_is_drawn_from_the_whole_interval_and_later_ones_follow_the_pause() {
    let mut plan = periodic(&[1]);
    plan.checkpoints.min_pause = Duration::from_secs(3);
    let mut job = Job::new(plan, &mut Vec::new());
    steps(&mut job, [Input::Journal(Written::Durable), joined(1, 1)]);
    let start = |job: &mut Job| {
        let (attempt, task) = (job.attempt(), TaskId::new(0, 0));
        let out = steps(job, [Input::TaskRunning { attempt, task }]);
        let trigger = Timer::Trigger(attempt);
        let arm = out.into_iter().find_map(|output| match output {
            Output::Arm { timer, from, to } if timer == trigger => Some((from.as_secs(), to.as_secs())),
            _ => None,
        });
        steps(job, [Input::TaskFailed { attempt, task, cause: "power".into(), kind: FailureKind::Recoverable }]);
        steps(job, [Input::WorkerStopped { attempt, worker: WorkerId(1) }, Input::Fired(Timer::Restart(attempt))]);
        arm
    };
    assert_eq!(start(&mut job), Some((3, 10)));
    assert_eq!(start(&mut job), Some((3, 3)));
}
