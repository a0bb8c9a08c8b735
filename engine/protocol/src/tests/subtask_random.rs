//! Random lives of a subtask.

use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use crate::subtask::{Input, Output, Subtask};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn any_input() -> impl Strategy<Value = Input> {
    let checkpoint = || (1..9_u64).prop_map(CheckpointId);
    let channel = || (0..4_u32).prop_map(ChannelIndex);
    prop_oneof![
        4 => (channel(), checkpoint()).prop_map(|(channel, checkpoint)| Input::Barrier { channel, checkpoint }),
        1 => (channel(), checkpoint()).prop_map(|(channel, checkpoint)| Input::Cancelled { channel, checkpoint }),
        1 => checkpoint().prop_map(Input::Triggered),
        1 => checkpoint().prop_map(Input::Durable),
        1 => checkpoint().prop_map(Input::WriteFailed),
        1 => checkpoint().prop_map(Input::Completed),
        1 => (checkpoint(), prop::option::of(checkpoint()))
            .prop_map(|(checkpoint, latest_completed)| Input::Aborted { checkpoint, latest_completed }),
    ]
}

fn any_mode() -> impl Strategy<Value = Mode> {
    prop_oneof![Just(Mode::ExactlyOnce), Just(Mode::AtLeastOnce)]
}

/// What a bystander can tell of a subtask from its inputs and outputs.
#[derive(Default)]
struct Bystander {
    barriers: BTreeMap<CheckpointId, BTreeSet<ChannelIndex>>,
    held: BTreeSet<ChannelIndex>,
    snapshots: BTreeSet<CheckpointId>,
    acknowledged: BTreeSet<CheckpointId>,
    cancelled: BTreeSet<CheckpointId>,
    aborted: BTreeSet<CheckpointId>,
    committed: Option<CheckpointId>,
}

impl Bystander {
    fn watch(&mut self, mode: Mode, channels: u32, input: &Input, outputs: &[Output]) {
        if let Input::Barrier { channel, checkpoint } = *input {
            self.barriers.entry(checkpoint).or_default().insert(channel);
        }
        if let Input::Aborted { checkpoint, .. } = *input {
            self.aborted.insert(checkpoint);
        }
        for (index, output) in outputs.iter().enumerate() {
            match *output {
                Output::Hold(channel) => {
                    assert_eq!(mode, Mode::ExactlyOnce, "at least once holds nothing back");
                    assert!(self.held.insert(channel), "{channel} is held twice");
                }
                Output::ReleaseAll => self.held.clear(),
                Output::Forward(checkpoint) => {
                    assert_eq!(outputs.get(index + 1), Some(&Output::Snapshot(checkpoint)), "nothing comes in between");
                }
                Output::Snapshot(checkpoint) => {
                    let arrived = self.barriers.get(&checkpoint).map_or(0, BTreeSet::len);
                    assert!(channels == 0 || arrived >= channels as usize, "{checkpoint} is cut before all barriers");
                    assert_eq!(outputs[index - 1], Output::Forward(checkpoint), "the barrier leaves first");
                    assert!(!self.cancelled.contains(&checkpoint), "{checkpoint} is cut after its marker left");
                    assert!(!self.aborted.contains(&checkpoint), "{checkpoint} is cut after it was aborted");
                    assert!(self.snapshots.insert(checkpoint), "{checkpoint} is cut twice");
                }
                Output::ForwardCancel(checkpoint) => {
                    assert!(!self.snapshots.contains(&checkpoint), "the marker of {checkpoint} leaves after its barrier");
                    assert!(self.cancelled.insert(checkpoint), "the marker of {checkpoint} leaves twice");
                }
                Output::Acknowledge(checkpoint) => {
                    assert!(self.snapshots.contains(&checkpoint), "{checkpoint} is acknowledged without a snapshot");
                    assert!(self.acknowledged.insert(checkpoint), "{checkpoint} is acknowledged twice");
                }
                Output::Commit(checkpoint) => {
                    assert!(self.committed < Some(checkpoint), "commits go forward");
                    self.committed = Some(checkpoint);
                }
                Output::Decline(..) | Output::Forget(_) | Output::Ignored(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cut_before_all_barriers_whatever_happens(
        mode in any_mode(),
        channels in 0..4_u32,
        inputs in prop::collection::vec(any_input(), 0..80),
    ) {
        let mut subtask = Subtask::new(mode, channels);
        let mut bystander = Bystander::default();
        for input in inputs {
            let mut out = Vec::new();
            subtask.step(input.clone(), &mut out);
            prop_assert!(!out.is_empty() || quiet(&input), "{:?} is answered by nothing", input);
            bystander.watch(mode, channels, &input, &out);
            for channel in (0..channels).map(ChannelIndex) {
                prop_assert_eq!(subtask.holds(channel), bystander.held.contains(&channel));
            }
            prop_assert_eq!(bystander.held.is_empty(), subtask.collecting().is_none() || mode == Mode::AtLeastOnce);
        }
    }

    /// Channels deliver in order and a held one delivers nothing: every channel is read to its end, and each record that came
    /// before a barrier is before the cut on exactly once.
    #[test]
    fn aligned_channels_are_read_to_their_end_and_cut_at_the_barrier(
        gaps in prop::collection::vec(prop::collection::vec(0..3_usize, 5), 1..4),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..200),
    ) {
        let channels = gaps.len() as u32;
        let queue = |gaps: &Vec<usize>| -> VecDeque<Option<CheckpointId>> {
            let part = |(index, &records): (usize, &usize)| {
                std::iter::repeat_n(None, records).chain([Some(CheckpointId(index as u64 + 1))])
            };
            gaps.iter().enumerate().flat_map(part).collect()
        };
        let mut queues: Vec<_> = gaps.iter().map(queue).collect();
        let mut subtask = Subtask::new(Mode::ExactlyOnce, channels);
        let (mut read, mut cuts) = (vec![0_usize; gaps.len()], Vec::new());
        let mut order = order.into_iter();
        loop {
            let open = |&index: &usize| !subtask.holds(ChannelIndex(index as u32)) && !queues[index].is_empty();
            let readable: Vec<usize> = (0..queues.len()).filter(open).collect();
            if readable.is_empty() {
                break;
            }
            let index = order.next().map_or(readable[0], |pick| *pick.get(&readable));
            match queues[index].pop_front().expect("a readable channel has something") {
                None => read[index] += 1,
                Some(checkpoint) => {
                    let mut out = Vec::new();
                    subtask.step(Input::Barrier { channel: ChannelIndex(index as u32), checkpoint }, &mut out);
                    if out.contains(&Output::Snapshot(checkpoint)) {
                        cuts.push(read.clone());
                    }
                }
            }
        }
        prop_assert!(queues.iter().all(VecDeque::is_empty), "a channel is held for ever");
        let expected: Vec<Vec<usize>> = (1..=5).map(|n| gaps.iter().map(|gaps| gaps[..n].iter().sum()).collect()).collect();
        prop_assert_eq!(cuts, expected);
    }
}

/// Inputs that may change only what is remembered.
fn quiet(input: &Input) -> bool {
    match input {
        // Counted only, at least once.
        Input::Barrier { .. } => true,
        // Remembered until its barrier comes.
        Input::Aborted { .. } => true,
        Input::Triggered(_) | Input::Cancelled { .. } | Input::Durable(_) => false,
        Input::WriteFailed(_) | Input::Completed(_) => false,
    }
}
