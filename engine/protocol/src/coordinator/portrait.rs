//! What a coordinator looks like from outside: for people all that matters of it, for a testbed's count of what was met its shape.

use super::leftovers::Parting;
use super::lifecycle::Job;
use super::pending::Stage;
use super::show::Row;
use super::{Coordinator, Kind};
use crate::ids::TaskId;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use core::fmt;

/// A coordinator without its numbers: two that are the same in it differ in ids, names and contents only. Counts end at [`MANY`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Outline {
    /// What the job does.
    pub job: &'static str,
    /// How many workers are believed alive.
    pub workers: usize,
    /// How many tasks or workers the job waits for.
    pub awaited: usize,
    /// Of each pending checkpoint its kind, its stage, whether it is final, and how many acknowledgements are missing.
    pub pending: Vec<(&'static str, &'static str, bool, usize)>,
    /// How many completed checkpoints are retained.
    pub completed: usize,
    /// Whether a journal entry is unanswered.
    pub writing: bool,
    /// Whether one waits for its turn.
    pub journal_waits: bool,
    /// Whether the outcome of the last one is unknown.
    pub retrying: bool,
    /// How many checkpoints were aborted with an answer outstanding.
    pub abandoned: usize,
    /// How many may be complete or not.
    pub doubtful: usize,
    /// How many are being deleted.
    pub cleaning: usize,
    /// How many savepoints the journal names.
    pub begun: usize,
    /// How many of those an earlier coordinator has begun.
    pub left: usize,
    /// How many are durable and not their user's yet.
    pub handing_over: usize,
    /// How far the deletion of a claimed snapshot is.
    pub parting: &'static str,
    /// How many tasks have processed all their input.
    pub drained: usize,
    /// How many have finished.
    pub finished: usize,
    /// Whether a source is behind.
    pub behind: bool,
    /// Whether the minimum pause runs.
    pub pausing: bool,
    /// Whether it is known who needs which shared file.
    pub shared_is_known: bool,
}

/// Where an outline stops counting.
pub const MANY: usize = 4;

fn few(count: usize) -> usize {
    count.min(MANY)
}

fn job(job: &Job) -> (&'static str, usize) {
    match job {
        Job::TakingOver { cancelled: false } => ("taking-over", 0),
        Job::TakingOver { cancelled: true } => ("taking-over-cancelled", 0),
        Job::Waiting { .. } => ("waiting", 0),
        Job::Deploying { starting } => ("deploying", starting.len()),
        Job::Running => ("running", 0),
        Job::Stopping(stopping) => ("stopping", stopping.awaited()),
        Job::Committing { missing, .. } => ("committing", missing.len()),
        Job::Failing { stopping, .. } => ("failing", stopping.len()),
        Job::Restarting => ("restarting", 0),
        Job::Ending => ("ending", 0),
        Job::Ended => ("ended", 0),
        Job::SteppedDown => ("stepped-down", 0),
    }
}

fn stage(stage: Stage) -> &'static str {
    match stage {
        Stage::Naming => "naming",
        Stage::Locating => "locating",
        Stage::Enumerating => "enumerating",
        Stage::Hooking => "hooking",
        Stage::Collecting => "collecting",
        Stage::Publishing => "publishing",
        Stage::Queued => "queued",
        Stage::Storing => "storing",
    }
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Savepoint(_) => "savepoint",
        Kind::Stop { drain: false, .. } => "stop",
        Kind::Stop { drain: true, .. } => "drain",
        Kind::Requested => "requested",
        Kind::Periodic => "periodic",
    }
}

fn parting(parting: Parting) -> &'static str {
    match parting {
        Parting::NotBegun => "not-begun",
        Parting::Discarding => "discarding",
        Parting::Discarded => "discarded",
        Parting::Forgetting => "forgetting",
        Parting::Over => "over",
    }
}

impl<S> Coordinator<S> {
    /// Its shape.
    pub fn outline(&self) -> Outline {
        let (job, awaited) = job(&self.job);
        let pending = self.pending.values().map(|it| (kind(it.kind), stage(it.stage), it.is_final, few(it.missing.len())));
        Outline {
            job,
            workers: few(self.workers.len()),
            awaited: few(awaited),
            pending: pending.collect(),
            completed: few(self.ledger.durable.completed.len()),
            writing: self.ledger.writing.is_some(),
            journal_waits: !self.ledger.wanted.is_empty(),
            retrying: self.ledger.retrying,
            abandoned: few(self.abandoned.len()),
            doubtful: few(self.doubtful.len()),
            cleaning: few(self.cleaning.len()),
            begun: few(self.begun.len()),
            left: few(self.left.len()),
            handing_over: few(self.handing_over.len()),
            parting: parting(self.parting),
            drained: few(self.drained.len()),
            finished: few(self.finished.len()),
            behind: !self.behind.is_empty(),
            pausing: self.scheduler.pausing.is_some(),
            shared_is_known: self.shared_is_known,
        }
    }
}

/// A line for each thing that is not as it is when nothing goes on.
impl<S> fmt::Display for Coordinator<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (job, _) = job(&self.job);
        write!(f, "{} {job} {}", self.epoch, self.attempt)?;
        let awaited: BTreeSet<TaskId> = match &self.job {
            Job::Deploying { starting } => starting.clone(),
            Job::Committing { missing, .. } => missing.clone(),
            Job::TakingOver { .. }
            | Job::Waiting { .. }
            | Job::Running
            | Job::Stopping(_)
            | Job::Failing { .. }
            | Job::Restarting
            | Job::Ending
            | Job::Ended
            | Job::SteppedDown => BTreeSet::new(),
        };
        if !awaited.is_empty() {
            write!(f, ", waits for {}", Row(&awaited))?;
        }
        if let Job::Failing { cause, stopping, .. } = &self.job {
            write!(f, " ({cause}), waits for {}", Row(stopping))?;
        }
        write!(f, "\nworkers {}", Row(&self.workers.keys().copied().collect()))?;
        write!(f, "\njournal {}", self.ledger.durable)?;
        if let Some(writing) = &self.ledger.writing {
            write!(f, "\nwriting {}", writing.entry)?;
        }
        for (checkpoint, it) in &self.pending {
            let last = if it.is_final { " final" } else { "" };
            write!(f, "\npending {checkpoint} {}{last} {}, missing {}", it.kind, stage(it.stage), Row(&it.missing))?;
        }
        let sets = [
            ("abandoned", self.abandoned.keys().copied().collect()),
            ("doubtful", self.doubtful.clone()),
            ("cleaning", self.cleaning.clone()),
            ("settling", self.left.clone()),
            ("handing-over", self.handing_over.keys().copied().collect()),
        ];
        for (name, set) in sets.iter().filter(|(_, set)| !set.is_empty()) {
            write!(f, "\n{name} {}", Row(set))?;
        }
        for (name, tasks) in [("drained", &self.drained), ("finished", &self.finished), ("behind", &self.behind)] {
            if !tasks.is_empty() {
                write!(f, "\n{name} {}", Row(tasks))?;
            }
        }
        if self.is_down_in_part() || !self.older.is_empty() {
            f.write_str("\ngoing-on")?;
            let going_on = self.placement.keys().filter(|task| self.is_down_in_part() || self.older.contains_key(task));
            going_on.into_iter().try_for_each(|task| write!(f, " {task}@{}", self.attempt_of(*task)))?;
        }
        if let Some(checkpoint) = self.scheduler.pausing {
            write!(f, "\npausing after {checkpoint}")?;
        }
        Ok(())
    }
}
