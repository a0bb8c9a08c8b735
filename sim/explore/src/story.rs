//! A path through a world, told in the columns of `replay --trace`.

use crate::moves::Action;
use crate::turn::Setup;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, TaskId, WorkerId};
use std::fmt;

/// Who did something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Actor {
    /// A coordinator.
    Coordinator(Epoch),
    /// A worker.
    Worker(WorkerId),
    /// A task, and the worker that it runs on.
    Task(WorkerId, TaskId),
}

/// One thing that came of an action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// Who.
    pub actor: Actor,
    /// Of which attempt.
    pub attempt: Option<AttemptId>,
    /// Which checkpoint it is about.
    pub checkpoint: Option<CheckpointId>,
    /// What.
    pub what: &'static str,
    /// More of it.
    pub detail: String,
}

impl fmt::Display for Line {
    /// Columns that never move: node, who, attempt, checkpoint, what, details.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (node, who) = match self.actor {
            Actor::Coordinator(epoch) => ("n1".to_owned(), format!("coord {epoch}")),
            Actor::Worker(worker) => (format!("n{}", worker.0 + 1), worker.to_string()),
            Actor::Task(worker, task) => (format!("n{}", worker.0 + 1), task.to_string()),
        };
        let attempt = self.attempt.map(|attempt| attempt.to_string()).unwrap_or_default();
        let checkpoint = self.checkpoint.map(|checkpoint| checkpoint.to_string()).unwrap_or_default();
        let line = format!("{node:<3} {who:<9} {attempt:<6} {checkpoint:<5} {:<21} {}", self.what, self.detail);
        f.write_str(line.trim_end())
    }
}

/// A path that cannot be gone: the world has changed since it was saved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("step {step} is {action:?}, which cannot happen there; there are {possible}")]
pub struct Diverged {
    /// Which step, counted from 1.
    pub step: usize,
    /// What was to happen.
    pub action: String,
    /// What could.
    pub possible: String,
}

/// The actions of these names, one after the other from the first state.
///
/// # Errors
/// One of them cannot happen where it is.
pub fn find_actions(setup: &Setup, names: &[String]) -> Result<Vec<Action>, Diverged> {
    let (mut state, mut found) = (setup.first(), Vec::new());
    for (index, name) in names.iter().enumerate() {
        let mut actions = Vec::new();
        setup.actions(&state, &mut actions);
        let Some(&action) = actions.iter().find(|action| action.to_string() == *name) else {
            let possible: Vec<String> = actions.iter().map(ToString::to_string).collect();
            return Err(Diverged { step: index + 1, action: name.clone(), possible: possible.join(", ") });
        };
        state = setup.after(&state, &action).0;
        found.push(action);
    }
    Ok(found)
}

/// The whole path, step by step: each action, and below it what came of it. At the end the promise that does not hold, if there is one.
#[must_use]
pub fn tell(setup: &Setup, actions: &[Action]) -> Vec<String> {
    let (mut state, mut story) = (setup.first(), Vec::new());
    for (index, action) in actions.iter().enumerate() {
        story.push(format!("{:>9}   --  {action}", index + 1));
        let (next, lines) = setup.told(&state, action);
        story.extend(lines.iter().map(|line| format!("{:>9}   {line}", "")));
        state = next;
    }
    story
}
