//! What an operator's part at the coordinator tells its subtasks, on the right side of every cut (Flink:
//! `OperatorCoordinatorHolder`, `SubtaskGatewayImpl`).
//!
//! What was told before the coordinator's part of a checkpoint was taken must be in the subtask's part, and what was told after
//! that must not. So from the coordinator's snapshot on nothing is let through to a subtask until it has taken its own; and no
//! barrier is injected before all that was told earlier has been taken in. Nothing is presumed of the order in which events,
//! triggers and answers travel.
//!
//! Lives here: which events wait, which are under way, and for which checkpoint all is taken in.
//! Never here: what an event says, connections, who is to be told what.
//!
//! ```text
//! per subtask:    open --snapshot c--> closed by c --cut c here, or c is over--> open      (what waited goes out, in order)
//! per checkpoint: snapshot c --all that was sent before is taken in--> settled c           (barriers may flow)
//! ```
//!
//! Several checkpoints may be under way. An event that was sent behind the snapshots of c1 and before that of c2 waits until the subtask
//! has cut c1, and c2 waits until it is taken in.
//!
//! One gateway lives as long as one attempt: what an earlier one was told comes back with the states that the next one begins from.

use crate::ids::{CheckpointId, SubtaskIndex};
use crate::machine::Machine;
use alloc::collections::{BTreeMap, BTreeSet, VecDeque};
use alloc::vec::Vec;
use core::fmt::{self, Debug};
use core::hash::Hash;
use serde::{Deserialize, Serialize};

/// An event to a subtask, counted over all subtasks of one gateway from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EventNumber(pub u64);

impl fmt::Display for EventNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&alloc::format!("n{}", self.0))
    }
}

/// What the world tells the gateway.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Input<T> {
    /// The subtask is to be told this.
    Send {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// What.
        event: T,
    },
    /// The subtask has made it part of its state.
    TakenIn {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// Which event.
        number: EventNumber,
    },
    /// It will never get there.
    Lost {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// Which event.
        number: EventNumber,
    },
    /// The coordinator's part of the checkpoint has been taken, just now.
    Snapshot(CheckpointId),
    /// The subtask has taken its part.
    Cut {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// Of which checkpoint.
        checkpoint: CheckpointId,
    },
    /// The checkpoint is complete, and no earlier one will be.
    Completed(CheckpointId),
    /// The checkpoint will not be.
    Aborted(CheckpointId),
}

/// What the gateway wants done.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Output<T> {
    /// Tell the subtask; answered by [`Input::TakenIn`] or [`Input::Lost`].
    Deliver {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// Names it in the answer.
        number: EventNumber,
        /// What.
        event: T,
    },
    /// All that was sent before this checkpoint's snapshot is taken in: its barriers may be injected.
    Settled(CheckpointId),
    /// The subtask lacks an event: its attempt has failed.
    Failed {
        /// Which subtask.
        subtask: SubtaskIndex,
        /// Which event.
        number: EventNumber,
    },
    /// The input came too late to matter.
    Ignored(&'static str),
}

/// An event that may not go yet.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Held<T> {
    number: EventNumber,
    event: T,
    /// The newest checkpoint whose snapshot was taken before it was sent.
    behind: CheckpointId,
}

/// The way to one subtask.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Lane<T> {
    under_way: BTreeSet<EventNumber>,
    /// Checkpoints that the coordinator has taken its part of, and this subtask has not.
    closed_by: BTreeSet<CheckpointId>,
    /// In the order in which they were sent.
    held: VecDeque<Held<T>>,
}

/// The gateway from one operator's part at the coordinator to its subtasks, in one attempt. `T` is what is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Gateway<T> {
    lanes: BTreeMap<SubtaskIndex, Lane<T>>,
    newest: EventNumber,
    /// Checkpoints whose barriers may not flow yet, and what they wait for.
    settling: BTreeMap<CheckpointId, BTreeSet<EventNumber>>,
    /// No snapshot of this one or an earlier one is taken any more.
    newest_snapshot: CheckpointId,
}

impl<T: Clone + Eq + Hash + Debug> Machine for Gateway<T> {
    type Input = Input<T>;
    type Output = Output<T>;
    /// How many subtasks there are. Nothing else survives: it is all in the checkpoint.
    type Durable = u32;

    fn recover(subtasks: u32, _: &mut Vec<Output<T>>) -> Self {
        let lane =
            |subtask| (SubtaskIndex(subtask), Lane { under_way: BTreeSet::new(), closed_by: BTreeSet::new(), held: VecDeque::new() });
        Self {
            lanes: (0..subtasks).map(lane).collect(),
            newest: EventNumber(0),
            settling: BTreeMap::new(),
            newest_snapshot: CheckpointId::NONE,
        }
    }

    /// Total: every input is legal in every state. What can no longer matter comes out as `Ignored`.
    fn step(&mut self, input: Input<T>, out: &mut Vec<Output<T>>) {
        match input {
            Input::Send { subtask, event } => self.send(subtask, event, out),
            Input::TakenIn { subtask, number } => self.taken_in(subtask, number, out),
            Input::Lost { subtask, number } => self.lost(subtask, number, out),
            Input::Snapshot(checkpoint) => self.snapshot(checkpoint, out),
            Input::Cut { subtask, checkpoint } => self.cut(subtask, checkpoint, out),
            Input::Completed(checkpoint) => self.completed(checkpoint, out),
            Input::Aborted(checkpoint) => self.aborted(checkpoint, out),
        }
        self.check();
    }
}

impl<T: Clone + Eq + Hash + Debug> Gateway<T> {
    /// Where nothing was ever told.
    #[must_use]
    pub fn new(subtasks: u32) -> Self {
        Self::recover(subtasks, &mut Vec::new())
    }

    /// Whether what is sent to the subtask now goes out at once.
    #[must_use]
    pub fn is_open(&self, subtask: SubtaskIndex) -> bool {
        self.lanes.get(&subtask).is_some_and(|lane| lane.closed_by.is_empty())
    }

    fn send(&mut self, subtask: SubtaskIndex, event: T, out: &mut Vec<Output<T>>) {
        let Some(lane) = self.lanes.get_mut(&subtask) else {
            out.push(Output::Ignored("there is no such subtask"));
            return;
        };
        self.newest.0 += 1;
        let number = self.newest;
        match lane.closed_by.last() {
            Some(&behind) => lane.held.push_back(Held { number, event, behind }),
            None => {
                lane.under_way.insert(number);
                out.push(Output::Deliver { subtask, number, event });
            }
        }
    }

    fn taken_in(&mut self, subtask: SubtaskIndex, number: EventNumber, out: &mut Vec<Output<T>>) {
        if !self.lanes.get_mut(&subtask).is_some_and(|lane| lane.under_way.remove(&number)) {
            out.push(Output::Ignored("the event is not under way"));
            return;
        }
        self.settling.values_mut().for_each(|missing| {
            missing.remove(&number);
        });
        let settled = self.settling.iter().filter(|(_, missing)| missing.is_empty()).map(|(&checkpoint, _)| checkpoint);
        for checkpoint in settled.collect::<Vec<_>>() {
            self.settling.remove(&checkpoint);
            out.push(Output::Settled(checkpoint));
        }
    }

    /// No checkpoint that waits for it ever settles.
    fn lost(&mut self, subtask: SubtaskIndex, number: EventNumber, out: &mut Vec<Output<T>>) {
        if self.lanes.get(&subtask).is_some_and(|lane| lane.under_way.contains(&number)) {
            out.push(Output::Failed { subtask, number });
        } else {
            out.push(Output::Ignored("the event is not under way"));
        }
    }

    fn snapshot(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<T>>) {
        if checkpoint <= self.newest_snapshot {
            out.push(Output::Ignored("that snapshot was taken, or a later one"));
            return;
        }
        self.newest_snapshot = checkpoint;
        let mut missing = BTreeSet::new();
        for lane in self.lanes.values_mut() {
            lane.closed_by.insert(checkpoint);
            missing.extend(&lane.under_way);
            missing.extend(lane.held.iter().map(|held| held.number));
        }
        if missing.is_empty() {
            out.push(Output::Settled(checkpoint));
        } else {
            self.settling.insert(checkpoint, missing);
        }
    }

    fn cut(&mut self, subtask: SubtaskIndex, checkpoint: CheckpointId, out: &mut Vec<Output<T>>) {
        let Some(lane) = self.lanes.get_mut(&subtask).filter(|lane| lane.closed_by.contains(&checkpoint)) else {
            out.push(Output::Ignored("nothing waits for that cut"));
            return;
        };
        // One that has cut a later checkpoint never cuts an earlier one.
        lane.closed_by = lane.closed_by.split_off(&checkpoint);
        lane.closed_by.remove(&checkpoint);
        release(subtask, lane, out);
    }

    fn completed(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<T>>) {
        let after = checkpoint.next();
        self.settling = self.settling.split_off(&after);
        for (&subtask, lane) in &mut self.lanes {
            lane.closed_by = lane.closed_by.split_off(&after);
            release(subtask, lane, out);
        }
    }

    fn aborted(&mut self, checkpoint: CheckpointId, out: &mut Vec<Output<T>>) {
        self.settling.remove(&checkpoint);
        for (&subtask, lane) in &mut self.lanes {
            lane.closed_by.remove(&checkpoint);
            release(subtask, lane, out);
        }
    }

    /// What is true between any two steps.
    fn check(&self) {
        let mut known = BTreeSet::new();
        for (subtask, lane) in &self.lanes {
            known.extend(&lane.under_way);
            for held in &lane.held {
                // Why: nothing would ever let it go.
                assert!(
                    lane.closed_by.first().is_some_and(|closed| *closed <= held.behind),
                    "{} waits for {subtask}, which nothing holds it back from",
                    held.number
                );
                known.insert(held.number);
            }
        }
        for (checkpoint, missing) in &self.settling {
            assert!(!missing.is_empty(), "{checkpoint} waits for something");
            // Why: it would wait for ever.
            assert!(missing.is_subset(&known), "{checkpoint} waits for what is neither under way nor held");
        }
    }
}

/// What waits goes out as far as no checkpoint that it is behind of holds it back.
fn release<T>(subtask: SubtaskIndex, lane: &mut Lane<T>, out: &mut Vec<Output<T>>) {
    let first = lane.closed_by.first().copied();
    while lane.held.front().is_some_and(|held| first.is_none_or(|closed| closed > held.behind)) {
        let Held { number, event, .. } = lane.held.pop_front().expect("it was looked at just now");
        lane.under_way.insert(number);
        out.push(Output::Deliver { subtask, number, event });
    }
}

impl<T: fmt::Display> fmt::Display for Output<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deliver { subtask, number, event } => write!(f, "deliver {number} to {subtask}: {event}"),
            Self::Settled(checkpoint) => write!(f, "settled {checkpoint}"),
            Self::Failed { subtask, number } => write!(f, "failed {subtask}: {number} is lost"),
            Self::Ignored(why) => write!(f, "ignored: {why}"),
        }
    }
}
