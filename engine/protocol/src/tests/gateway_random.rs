//! Random lives of a gateway between a coordinator and subtasks, where events, triggers and answers travel in any order: each event is
//! on the same side of each cut at both ends, exactly once, and nothing is held back for ever.

use crate::gateway::{EventNumber, Gateway, Input, Output};
use crate::ids::{CheckpointId, SubtaskIndex};
use crate::machine::Machine;
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const SUBTASKS: u32 = 3;

/// What travels to a subtask.
#[derive(Clone, Debug)]
enum ToSubtask {
    Event(SubtaskIndex, EventNumber, u64),
    Trigger(SubtaskIndex, CheckpointId),
}

#[derive(Debug, Default)]
struct Subtask {
    has: BTreeSet<u64>,
    newest: CheckpointId,
    /// What it had at each cut.
    cuts: BTreeMap<CheckpointId, BTreeSet<u64>>,
}

struct Life {
    gateway: Gateway<u64>,
    sent: BTreeMap<SubtaskIndex, BTreeSet<u64>>,
    next: u64,
    subtasks: BTreeMap<SubtaskIndex, Subtask>,
    to_subtasks: Vec<ToSubtask>,
    to_gateway: Vec<Input<u64>>,
    /// What had been sent at each snapshot of the coordinator, until its checkpoint is over.
    open: BTreeMap<CheckpointId, BTreeMap<SubtaskIndex, BTreeSet<u64>>>,
    last: CheckpointId,
    triggered: BTreeSet<CheckpointId>,
    completed: u32,
}

impl Life {
    fn new() -> Self {
        let all = || (0..SUBTASKS).map(SubtaskIndex);
        Self {
            gateway: Gateway::new(SUBTASKS),
            sent: all().map(|subtask| (subtask, BTreeSet::new())).collect(),
            next: 0,
            subtasks: all().map(|subtask| (subtask, Subtask::default())).collect(),
            to_subtasks: Vec::new(),
            to_gateway: Vec::new(),
            open: BTreeMap::new(),
            last: CheckpointId::NONE,
            triggered: BTreeSet::new(),
            completed: 0,
        }
    }

    fn step(&mut self, input: Input<u64>) {
        let mut out = Vec::new();
        self.gateway.step(input, &mut out);
        for output in out {
            match output {
                Output::Deliver { subtask, number, event } => self.to_subtasks.push(ToSubtask::Event(subtask, number, event)),
                Output::Settled(checkpoint) => {
                    assert!(self.open.contains_key(&checkpoint), "{checkpoint} settles when it is over");
                    assert!(self.triggered.insert(checkpoint), "{checkpoint} settles once");
                    let trigger = |subtask| ToSubtask::Trigger(SubtaskIndex(subtask), checkpoint);
                    self.to_subtasks.extend((0..SUBTASKS).map(trigger));
                }
                Output::Failed { .. } => unreachable!("nothing is lost here"),
                Output::Ignored(_) => {}
            }
        }
    }

    fn arrive(&mut self, at: usize) {
        if self.to_subtasks.is_empty() {
            return;
        }
        let at = at % self.to_subtasks.len();
        match self.to_subtasks.remove(at) {
            ToSubtask::Event(subtask, number, event) => {
                let has = &mut self.subtasks.get_mut(&subtask).expect("it is one of them").has;
                assert!(has.insert(event), "{event} gets to {subtask} once");
                self.to_gateway.push(Input::TakenIn { subtask, number });
            }
            ToSubtask::Trigger(subtask, checkpoint) => {
                let state = self.subtasks.get_mut(&subtask).expect("it is one of them");
                // A later one came first: this one can only be aborted.
                if checkpoint > state.newest {
                    state.newest = checkpoint;
                    state.cuts.insert(checkpoint, state.has.clone());
                    self.to_gateway.push(Input::Cut { subtask, checkpoint });
                }
            }
        }
    }

    fn complete(&mut self, checkpoint: CheckpointId) {
        let snapshot = self.open.remove(&checkpoint).expect("it is open");
        for (subtask, sent) in snapshot {
            assert_eq!(self.subtasks[&subtask].cuts[&checkpoint], sent, "{checkpoint} has {subtask} on both sides alike");
        }
        let older: Vec<CheckpointId> = self.open.range(..checkpoint).map(|(&older, _)| older).collect();
        for older in older {
            self.open.remove(&older);
            self.step(Input::Aborted(older));
        }
        self.completed += 1;
        self.step(Input::Completed(checkpoint));
    }

    fn is_cut_everywhere(&self, checkpoint: CheckpointId) -> bool {
        self.subtasks.values().all(|subtask| subtask.cuts.contains_key(&checkpoint))
    }

    fn act(&mut self, action: u8, at: usize) {
        match action {
            0..=3 => {
                let subtask = SubtaskIndex(u32::try_from(at % SUBTASKS as usize).expect("a small number"));
                self.next += 1;
                let event = self.next;
                self.sent.get_mut(&subtask).expect("it is one of them").insert(event);
                self.step(Input::Send { subtask, event });
            }
            4 if self.open.len() < 3 => {
                self.last = self.last.next();
                self.open.insert(self.last, self.sent.clone());
                self.step(Input::Snapshot(self.last));
            }
            5 => {
                if let Some(&checkpoint) = self.open.keys().nth(at % self.open.len().max(1)) {
                    self.open.remove(&checkpoint);
                    self.step(Input::Aborted(checkpoint));
                }
            }
            6 => {
                if let Some(checkpoint) = self.open.keys().copied().find(|checkpoint| self.is_cut_everywhere(*checkpoint)) {
                    self.complete(checkpoint);
                }
            }
            7..=10 => {
                if !self.to_gateway.is_empty() {
                    let answer = self.to_gateway.remove(at % self.to_gateway.len());
                    self.step(answer);
                }
            }
            _ => self.arrive(at),
        }
    }

    /// Everything arrives, and what cannot complete is aborted.
    fn come_to_rest(&mut self) {
        loop {
            while !self.to_subtasks.is_empty() || !self.to_gateway.is_empty() {
                self.arrive(0);
                if !self.to_gateway.is_empty() {
                    let answer = self.to_gateway.remove(0);
                    self.step(answer);
                }
            }
            let Some(&checkpoint) = self.open.keys().next() else { break };
            if self.is_cut_everywhere(checkpoint) {
                self.complete(checkpoint);
            } else {
                self.open.remove(&checkpoint);
                self.step(Input::Aborted(checkpoint));
            }
        }
        for (subtask, sent) in &self.sent {
            assert!(self.gateway.is_open(*subtask), "no checkpoint is left, so {subtask} is told at once");
            assert_eq!(&self.subtasks[subtask].has, sent, "{subtask} got all that it was sent");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn every_event_is_on_one_side_of_every_cut(life in prop::collection::vec((0..15_u8, any::<usize>()), 0..160)) {
        let mut world = Life::new();
        life.into_iter().for_each(|(action, at)| world.act(action, at));
        world.come_to_rest();
    }
}

#[test]
fn random_lives_complete_checkpoints_with_events_on_both_sides() {
    let (mut completed, mut state) = (0, 7_u64);
    for _ in 0..50 {
        let mut world = Life::new();
        for _ in 0..300 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let action = u8::try_from(state >> 33 & 15).expect("four bits");
            world.act(action.min(14), usize::try_from(state >> 40).expect("24 bits"));
        }
        completed += world.completed;
        world.come_to_rest();
    }
    assert!(completed > 50, "{completed} checkpoints in 50 lives say little");
}
