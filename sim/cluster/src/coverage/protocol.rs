//! Situations of the protocol's machines, recognised from outside by what a step has made: a machine is pure, and tells nobody where
//! it has been.

use super::{Expected, Known};
use cofferdam_protocol::coordinator::{self, FailureReason};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::{local, subtask};

/// Why an input did not matter, by machine: the machine's words, the point's name, and how often a sweep gets there.
type Reason = (&'static str, &'static str, Expected);

macro_rules! reasons {
    ($machine:literal: $($why:literal $($frequency:ident $($because:literal)?)?,)*) => {
        &[$(($why, concat!($machine, "/ignored: ", $why), reasons!(@ $($frequency $($because)?)?)),)*]
    };
    (@) => { Expected::Sometimes };
    (@ seldom) => { Expected::Seldom };
    (@ never $because:literal) => { Expected::Never($because) };
}

const COORDINATOR: &[Reason] = reasons! { "coordinator":
    "another coordinator has taken over" never "its driver ends with the step in which it finds out",
    "no journal entry is unanswered" never "the journal answers each entry once",
    "nobody waits for this answer" seldom,
    "the acknowledgement is for an earlier coordinator" never "workers of an earlier coordinator speak on connections of theirs",
    "the checkpoint is complete, or may be" seldom,
    "the task has acknowledged before" never "a subtask acknowledges once, on one connection",
    "nobody waits for this task",
    "its journal entry is under way",
    "the checkpoint is not pending",
    "no savepoint of an earlier coordinator" never "each is asked about once",
    "no snapshot is being deleted" never "it is asked for once",
    "no snapshot is being forgotten" never "it is asked for once",
    "nobody waits for what it published",
    "it is known already" never "it is asked for once",
    "it is not being discarded" never "each is asked for once",
    "a later attempt counts" seldom,
    "the attempt does not run",
    "a later life of the worker has joined" never "the driver drops registrations that were overtaken",
    "that life of the worker is over",
    "that attempt is not being deployed",
    "the task is not being started" seldom,
    "the attempt is not being deployed",
    "the attempt does not run, or the task was drained before",
    "nobody waits for it to stop",
    "nobody waits for this attempt to stop" seldom,
    "no restart is due" seldom,
    "that attempt does not run" seldom,
    "the job is over" seldom,
    "no source of this attempt" seldom,
    "a periodic checkpoint waits already",
    "a later pause counts" seldom,
};

const SUBTASK: &[Reason] = reasons! { "subtask":
    "a later checkpoint counts, or this one is over",
    "the channel has delivered this barrier" never "a sender sends each barrier once",
    "the channel has announced this barrier",
    "the cut was made before",
    "a later checkpoint is complete, or this one is over" seldom,
    "the checkpoint is cancelled" seldom,
    "the checkpoint is over here",
    "this or a later one is committed",
    "only sources are triggered" never "the coordinator knows the sources",
    "this or a later one was triggered" never "a source is told once, on one connection",
    "there is no such channel" never "channels are counted by the input",
    "barriers do not overtake here" seldom,
    "it overtakes already, or it is over",
    "its logs are not whole" never "the asynchronous part waits for them",
    "it is not being written any more" seldom,
};

const COPIES: &[Reason] = reasons! { "copies":
    "a later checkpoint is complete" seldom,
    "this or a later one is complete",
};

/// Where the coordinator stands.
type Situation<O> = (&'static str, fn(&O) -> bool);

const STANDING: &[Situation<coordinator::Outline>] = &[
    ("coordinator/several-checkpoints-pending", |it| it.pending.len() > 1),
    ("coordinator/savepoint-beside-a-checkpoint", |it| {
        it.pending.iter().any(|(kind, ..)| *kind == "savepoint") && it.pending.iter().any(|(kind, ..)| *kind != "savepoint")
    }),
    ("coordinator/final-checkpoint-pending", |it| it.pending.iter().any(|(.., is_final, _)| *is_final)),
    ("coordinator/one-acknowledgement-missing", |it| {
        it.pending.iter().any(|(_, stage, _, missing)| *stage == "collecting" && *missing == 1)
    }),
    ("coordinator/journal-outcome-unknown", |it| it.retrying),
    ("coordinator/checkpoint-in-doubt", |it| it.doubtful > 0),
    ("coordinator/aborted-with-an-answer-outstanding", |it| it.abandoned > 0),
    ("coordinator/entry-waits-for-its-turn", |it| it.writing && it.journal_waits),
    ("coordinator/savepoint-being-handed-over", |it| it.handing_over > 0),
    ("coordinator/savepoint-of-another-being-settled", |it| it.left > 0),
    ("coordinator/failing-with-an-entry-under-way", |it| {
        it.job == "failing" && it.pending.iter().any(|(_, stage, ..)| *stage == "storing")
    }),
    ("coordinator/waiting-in-doubt", |it| it.job == "waiting" && it.doubtful > 0),
    ("coordinator/deploying-while-cleaning-up", |it| it.job == "deploying" && it.cleaning > 0),
    ("coordinator/running-before-shared-files-are-known", |it| it.job == "running" && !it.shared_is_known),
    ("coordinator/some-tasks-drained", |it| it.job == "running" && it.drained > 0),
    ("coordinator/committing", |it| it.job == "committing"),
    ("coordinator/sources-are-behind", |it| it.behind),
    ("coordinator/pausing", |it| it.pausing),
    ("coordinator/ending-while-cleaning-up", |it| it.job == "ending" && it.cleaning > 0),
    ("coordinator/taking-over-cancelled", |it| it.job == "taking-over-cancelled"),
    ("coordinator/claimed-snapshot-going", |it| it.parting == "discarding"),
    ("coordinator/claimed-snapshot-shared-yet", |it| it.parting == "discarded"),
];

const TAKING_PART: &[Situation<subtask::Outline>] = &[
    ("subtask/all-channels-but-one-held", |it| it.held.len() > 1 && it.held.iter().filter(|held| !**held).count() == 1),
    ("subtask/several-snapshots-being-written", |it| it.writing > 1),
    ("subtask/next-barrier-while-writing", |it| it.writing > 0 && it.collecting),
    ("subtask/logging-while-writing", |it| it.logging && it.writing > 0),
    ("subtask/aborted-ahead-of-its-barrier", |it| it.aborted > 0),
    ("subtask/several-aborted-ahead", |it| it.aborted > 1),
    ("subtask/barrier-may-become-urgent", |it| it.waiting),
];

const ABORTED: &[(FailureReason, &str, Expected)] = &[
    (FailureReason::TooManyRequests, "aborted/too-many-requests", Expected::Never("a thousand requests would have to wait")),
    (FailureReason::MinimumTimeBetweenCheckpoints, "aborted/minimum-time-between-checkpoints", Expected::Sometimes),
    (FailureReason::NotAllRequiredTasksRunning, "aborted/not-all-required-tasks-running", Expected::Sometimes),
    (FailureReason::Expired, "aborted/expired", Expected::Sometimes),
    (FailureReason::AsyncException, "aborted/async-exception", Expected::Sometimes),
    (FailureReason::Declined, "aborted/declined", Expected::Never("no operator says no by itself")),
    (FailureReason::DeclinedSubsumed, "aborted/declined-subsumed", Expected::Seldom),
    (FailureReason::DeclinedNotReady, "aborted/declined-not-ready", Expected::Never("tasks are told of checkpoints only while they run")),
    (FailureReason::Subsumed, "aborted/subsumed", Expected::Sometimes),
    (FailureReason::TriggerFailure, "aborted/trigger-failure", Expected::Sometimes),
    (FailureReason::IoException, "aborted/io-exception", Expected::Sometimes),
    (FailureReason::FinalizeFailure, "aborted/finalize-failure", Expected::Sometimes),
    (FailureReason::TaskFailure, "aborted/task-failure", Expected::Sometimes),
    (FailureReason::CoordinatorSuspend, "aborted/coordinator-suspend", Expected::Sometimes),
    (FailureReason::CoordinatorShutdown, "aborted/coordinator-shutdown", Expected::Sometimes),
];

const MADE: &[&str] = &[
    "coordinator/begins-from-nothing",
    "coordinator/begins-from-another-jobs",
    "coordinator/stopped-before-any-checkpoint",
    "coordinator/snapshot-of-nobody-discarded",
    "subtask/marker-instead-of-a-barrier",
    "subtask/logs-dropped",
    "subtask/hastened",
    "subtask/cut-before-all-barriers",
];

/// Of these, what thousands of runs may pass without.
const SELDOM: &[&str] = &["coordinator/running-before-shared-files-are-known", "coordinator/taking-over-cancelled"];

/// All of them.
pub(super) fn known() -> impl Iterator<Item = Known> {
    let ignored = [COORDINATOR, SUBTASK, COPIES].into_iter().flatten().map(|(_, name, expected)| (*name, *expected));
    let standing = STANDING.iter().map(|(name, _)| *name).chain(TAKING_PART.iter().map(|(name, _)| *name));
    let made = standing
        .chain(MADE.iter().copied())
        .map(|name| (name, if SELDOM.contains(&name) { Expected::Seldom } else { Expected::Sometimes }));
    let aborted = ABORTED.iter().map(|(_, name, expected)| (*name, *expected));
    let all = ignored.chain(made).chain(aborted);
    all.map(|(name, expected)| Known { name, place: "a step of the protocol".into(), expected })
}

fn ignored(reasons: &[Reason], why: &str, reached: &mut dyn FnMut(&'static str)) {
    // A reason that is in no list is found by tests/it/coverage.rs, which reads the machines' sources.
    if let Some((_, name, _)) = reasons.iter().find(|(known, ..)| *known == why) {
        reached(name);
    }
}

pub(super) fn coordinator(
    outline: &coordinator::Outline,
    outputs: &[coordinator::Output<TaskSnapshot>],
    reached: &mut dyn FnMut(&'static str),
) {
    for (name, is_so) in STANDING {
        if is_so(outline) {
            reached(name);
        }
    }
    for output in outputs {
        match output {
            coordinator::Output::Ignored(why) => ignored(COORDINATOR, why, reached),
            coordinator::Output::Aborted { reason, .. } => {
                if let Some((_, name, _)) = ABORTED.iter().find(|(known, ..)| known == reason) {
                    reached(name);
                }
            }
            coordinator::Output::Deploy { attempt, restore: None, .. } if attempt.number > 1 => reached("coordinator/begins-from-nothing"),
            coordinator::Output::Deploy { restore: Some(coordinator::RestorePoint::Origin(_)), .. } => {
                reached("coordinator/begins-from-another-jobs");
            }
            coordinator::Output::Stop { .. } if outline.job == "failing" && outline.completed == 0 => {
                reached("coordinator/stopped-before-any-checkpoint");
            }
            coordinator::Output::DiscardSnapshot { .. } => reached("coordinator/snapshot-of-nobody-discarded"),
            _ => {}
        }
    }
}

pub(super) fn subtask(outline: &subtask::Outline, outputs: &[subtask::Output], reached: &mut dyn FnMut(&'static str)) {
    for (name, is_so) in TAKING_PART {
        if is_so(outline) {
            reached(name);
        }
    }
    for output in outputs {
        match output {
            subtask::Output::Ignored(why) => ignored(SUBTASK, why, reached),
            subtask::Output::ForwardCancel(_) => reached("subtask/marker-instead-of-a-barrier"),
            subtask::Output::DropLogs(_) => reached("subtask/logs-dropped"),
            subtask::Output::Hasten(_) => reached("subtask/hastened"),
            subtask::Output::Overtake(_) => reached("subtask/cut-before-all-barriers"),
            _ => {}
        }
    }
}

pub(super) fn copies(outputs: &[local::Output], reached: &mut dyn FnMut(&'static str)) {
    for output in outputs {
        match output {
            local::Output::Ignored(why) => ignored(COPIES, why, reached),
            local::Output::Delete(_) => {}
        }
    }
}
