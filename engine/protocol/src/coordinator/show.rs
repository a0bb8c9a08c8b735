//! How the coordinator's words print: short and on one line, for traces and scripts.

use super::{ClaimMode, Ended, FailureReason, Journal, Kind, Origin, Output, RestorePoint, Status, StoppedWith};
use crate::ids::CheckpointId;
use alloc::collections::BTreeSet;
use core::fmt;
use core::time::Duration;

/// Things in a row, or a word for none.
pub(super) struct Row<'a, T>(pub(super) &'a BTreeSet<T>);

impl<T: fmt::Display> fmt::Display for Row<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("none");
        }
        for (index, item) in self.0.iter().enumerate() {
            write!(f, "{}{item}", if index == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

struct Maybe(Option<CheckpointId>);

impl fmt::Display for Maybe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(checkpoint) => write!(f, "{checkpoint}"),
            None => f.write_str("none"),
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Savepoint(_) => "savepoint",
            Self::Stop { drain: false, .. } => "stop",
            Self::Stop { drain: true, .. } => "drain",
            Self::Requested => "requested",
            Self::Periodic => "periodic",
        })
    }
}

impl fmt::Display for FailureReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::TooManyRequests => "too-many-requests",
            Self::MinimumTimeBetweenCheckpoints => "minimum-time-between-checkpoints",
            Self::NotAllRequiredTasksRunning => "not-all-required-tasks-running",
            Self::Expired => "expired",
            Self::AsyncException => "async-exception",
            Self::Declined => "declined",
            Self::DeclinedSubsumed => "declined-subsumed",
            Self::DeclinedNotReady => "declined-not-ready",
            Self::Subsumed => "subsumed",
            Self::TriggerFailure => "trigger-failure",
            Self::IoException => "io-exception",
            Self::FinalizeFailure => "finalize-failure",
            Self::TaskFailure => "task-failure",
            Self::CoordinatorSuspend => "coordinator-suspend",
            Self::CoordinatorShutdown => "coordinator-shutdown",
            Self::Stopping => "job-is-stopping",
            Self::PartiallyFinished => "partially-finished",
            Self::FailoverRegion => "failover-region",
        })
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Finished => f.write_str("finished"),
            Self::Failed(cause) => write!(f, "failed: {cause}"),
            Self::Cancelled => f.write_str("cancelled"),
            Self::Stopped(StoppedWith { checkpoint, target, drained }) => {
                let drained = if *drained { ", drained," } else { "" };
                write!(f, "stopped{drained} with savepoint {checkpoint} in {target}")
            }
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WaitingForWorkers { slots_missing } => write!(f, "waiting for {slots_missing} slots"),
            Self::Deploying(attempt) => write!(f, "deploying {attempt}"),
            Self::Running(attempt) => write!(f, "running {attempt}"),
            Self::Committing(attempt) => write!(f, "committing {attempt}"),
            Self::Stopping { attempt, checkpoint } => write!(f, "stopping {attempt} with {checkpoint}"),
            Self::Failing { attempt, cause } => write!(f, "failing {attempt}: {cause}"),
            Self::Restarting { after } => write!(f, "restarting after {after}"),
            Self::Ended(ended) => write!(f, "ended {ended}"),
        }
    }
}

impl fmt::Display for Journal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reserved={} completed={}", self.epoch, self.reserved, Row(&self.completed))?;
        if let Some(Origin { checkpoint, claim, .. }) = &self.origin {
            let claimed = if *claim == ClaimMode::Claim { "claimed" } else { "not-claimed" };
            write!(f, " origin={checkpoint},{claimed}")?;
        }
        if !self.begun.is_empty() {
            write!(f, " begun={}", Row(&self.begun.keys().collect()))?;
        }
        if let Some(Origin { checkpoint, .. }) = &self.discarding {
            write!(f, " discarding={checkpoint}")?;
        }
        match &self.ended {
            Some(ended) => write!(f, " ended {ended}"),
            None => Ok(()),
        }
    }
}

fn span(f: &mut fmt::Formatter<'_>, from: Duration, to: Duration) -> fmt::Result {
    if from == to {
        write!(f, "{from:?}")
    } else {
        write!(f, "{from:?}..{to:?}")
    }
}

impl<S> fmt::Display for Output<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Arm { timer, from, to } => {
                write!(f, "arm {timer} in ")?;
                span(f, *from, *to)
            }
            Self::ArmSooner { timer, after } => write!(f, "arm-sooner {timer} in {after:?}"),
            Self::Disarm(timer) => write!(f, "disarm {timer}"),
            Self::Write(entry) => write!(f, "write {entry}"),
            Self::CreateLocation(checkpoint, kind) => write!(f, "create-location {checkpoint} {kind}"),
            Self::SnapshotEnumerators(checkpoint) => write!(f, "snapshot-enumerators {checkpoint}"),
            Self::CallHooks(checkpoint) => write!(f, "call-hooks {checkpoint}"),
            Self::Trigger { attempt, checkpoint, kind, full, tasks } => {
                let full = if *full { " full" } else { "" };
                write!(f, "trigger {checkpoint} {kind}{full} {attempt} at {}", Row(tasks))
            }
            Self::WriteMetadata { attempt, checkpoint, kind, snapshots, finished } => {
                write!(f, "write-metadata {checkpoint} {kind} {attempt} of {} tasks", snapshots.len())?;
                if finished.is_empty() {
                    return Ok(());
                }
                write!(f, " finished={}", Row(finished))
            }
            Self::NotifyComplete { attempt, checkpoint } => write!(f, "notify-complete {checkpoint} {attempt}"),
            Self::NotifyAbort { attempt, checkpoint, latest_completed } => {
                write!(f, "notify-abort {checkpoint} {attempt} latest={}", Maybe(*latest_completed))
            }
            Self::Discard(checkpoint) => write!(f, "discard {checkpoint}"),
            Self::DiscardShared(files) => write!(f, "discard-shared {}", Row(files)),
            Self::SettleSavepoint { checkpoint, target } => write!(f, "settle-savepoint {checkpoint} in {target}"),
            Self::DiscardOrigin(origin) => write!(f, "discard-origin {}", origin.checkpoint),
            Self::ForgetOrigin(origin) => write!(f, "forget-origin {}", origin.checkpoint),
            Self::ListShared { checkpoints, origin } => {
                write!(f, "list-shared {}", Row(checkpoints))?;
                if origin.is_some() {
                    f.write_str(" and origin")
                } else {
                    Ok(())
                }
            }
            Self::SweepShared { keep, before: Some(epoch) } => write!(f, "sweep-shared before={epoch} keep={}", Row(keep)),
            Self::SweepShared { keep, before: None } => write!(f, "sweep-shared keep={}", Row(keep)),
            Self::DiscardSnapshot { checkpoint, snapshot: _ } => write!(f, "discard-snapshot {checkpoint}"),
            Self::Sweep { keep, up_to } => write!(f, "sweep up-to={up_to} keep={}", Row(keep)),
            Self::Deploy { attempt, restore, placement } => {
                write!(f, "deploy {attempt} restore={}", Maybe(restore.as_ref().map(RestorePoint::checkpoint)))?;
                if let Some(RestorePoint::Origin(_)) = restore {
                    f.write_str(" origin")?;
                }
                placement.iter().try_for_each(|(task, worker)| write!(f, " {task}@{worker}"))
            }
            Self::Stop { attempt } => write!(f, "stop {attempt}"),
            Self::StopTasks { attempt, tasks } => write!(f, "stop-tasks {attempt} {}", Row(tasks)),
            Self::Triggered { checkpoint, kind } => write!(f, "triggered {checkpoint} {kind}"),
            Self::Completed { checkpoint, kind } => write!(f, "completed {checkpoint} {kind}"),
            Self::Aborted { checkpoint, reason, kind: _ } => write!(f, "aborted {} {reason}", Maybe(*checkpoint)),
            Self::Stopped { checkpoint, unpublished: None, .. } => write!(f, "stopped {checkpoint}"),
            Self::Stopped { checkpoint, unpublished: Some(cause), .. } => write!(f, "stopped {checkpoint} unpublished: {cause}"),
            Self::Status(status) => write!(f, "status: {status}"),
            Self::SteppedDown => f.write_str("stepped-down"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}
