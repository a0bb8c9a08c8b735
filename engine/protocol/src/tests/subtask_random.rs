//! Random lives of a subtask.

use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use crate::subtask::{Ending, Input, Output, Participant, Subtask};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

fn any_input() -> impl Strategy<Value = Input> {
    let checkpoint = || (1..9_u64).prop_map(CheckpointId);
    let channel = || (0..4_u32).prop_map(ChannelIndex);
    prop_oneof![
        4 => (channel(), checkpoint()).prop_map(|(channel, checkpoint)| Input::Barrier { channel, checkpoint }),
        1 => (channel(), checkpoint()).prop_map(|(channel, checkpoint)| Input::Cancelled { channel, checkpoint }),
        4 => (channel(), checkpoint(), any::<bool>())
            .prop_map(|(channel, checkpoint, urgent)| Input::Announced { channel, checkpoint, urgent }),
        1 => checkpoint().prop_map(Input::TimedOut),
        1 => (checkpoint(), any::<bool>()).prop_map(|(checkpoint, urgent)| Input::Triggered { checkpoint, urgent }),
        1 => (checkpoint(), any::<bool>()).prop_map(|(checkpoint, drain)| Input::Stops { checkpoint, drain }),
        1 => channel().prop_map(|channel| Input::EndAnnounced { channel }),
        1 => channel().prop_map(|channel| Input::Ended { channel }),
        1 => prop_oneof![Just(Ending::Stays), Just(Ending::Leaves), Just(Ending::LeavesWhenPublished)].prop_map(Input::Drained),
        1 => checkpoint().prop_map(Input::Published),
        3 => checkpoint().prop_map(Input::Durable),
        1 => checkpoint().prop_map(Input::WriteFailed),
        1 => checkpoint().prop_map(Input::Completed),
        1 => (checkpoint(), prop::option::of(checkpoint()))
            .prop_map(|(checkpoint, latest_completed)| Input::Aborted { checkpoint, latest_completed }),
    ]
}

fn any_participant() -> impl Strategy<Value = Participant> {
    let forced = |channels: u32| prop::collection::btree_set((0..channels.max(1)).prop_map(ChannelIndex), 0..=channels as usize);
    let overtaking = (0..4_u32).prop_flat_map(move |channels| (Just(channels), forced(channels)));
    prop_oneof![
        (0..4_u32).prop_map(|channels| Participant { mode: Mode::ExactlyOnce, channels, overtaking: None }),
        (0..4_u32).prop_map(|channels| Participant { mode: Mode::AtLeastOnce, channels, overtaking: None }),
        overtaking.prop_map(|(channels, forced)| Participant { mode: Mode::ExactlyOnce, channels, overtaking: Some(forced) }),
    ]
}

/// What a bystander can tell of a subtask from its inputs and outputs.
#[derive(Default)]
struct Bystander {
    /// Reached.
    barriers: BTreeMap<CheckpointId, BTreeSet<ChannelIndex>>,
    /// Announced or reached.
    announced: BTreeMap<CheckpointId, BTreeSet<ChannelIndex>>,
    urgent: BTreeSet<CheckpointId>,
    armed: BTreeSet<CheckpointId>,
    overtaken: BTreeSet<CheckpointId>,
    hastened: BTreeSet<CheckpointId>,
    logging: Option<CheckpointId>,
    held: BTreeSet<ChannelIndex>,
    snapshots: BTreeSet<CheckpointId>,
    acknowledged: BTreeSet<CheckpointId>,
    cancelled: BTreeSet<CheckpointId>,
    aborted: BTreeSet<CheckpointId>,
    committed: Option<CheckpointId>,
    /// With which the job may stop, and whether its input ends there.
    stops: BTreeSet<(CheckpointId, bool)>,
    suspended: Option<CheckpointId>,
    ending: BTreeSet<ChannelIndex>,
    ended: BTreeSet<ChannelIndex>,
    triggered: BTreeSet<CheckpointId>,
    drained: bool,
    cut_behind_the_end: Option<CheckpointId>,
    published: Option<CheckpointId>,
    finished: bool,
}

impl Bystander {
    fn hear(&mut self, input: &Input) {
        match *input {
            Input::Barrier { channel, checkpoint } => {
                self.barriers.entry(checkpoint).or_default().insert(channel);
                self.announced.entry(checkpoint).or_default().insert(channel);
            }
            Input::Announced { channel, checkpoint, urgent } => {
                self.announced.entry(checkpoint).or_default().insert(channel);
                self.urgent.extend(urgent.then_some(checkpoint));
            }
            Input::Triggered { checkpoint, urgent } => {
                self.triggered.insert(checkpoint);
                self.urgent.extend(urgent.then_some(checkpoint));
            }
            // A channel that is held is not read.
            Input::Ended { channel } if !self.held.contains(&channel) => {
                self.ending.insert(channel);
                self.ended.insert(channel);
            }
            Input::Ended { .. } => {}
            Input::EndAnnounced { channel } => {
                self.ending.insert(channel);
            }
            Input::Drained(_) => self.drained = true,
            Input::Published(checkpoint) => self.published = self.published.max(Some(checkpoint)),
            Input::TimedOut(checkpoint) => self.urgent.extend(Some(checkpoint)),
            Input::Aborted { checkpoint, .. } => self.aborted.extend(Some(checkpoint)),
            Input::Stops { checkpoint, drain } => self.stops.extend(Some((checkpoint, drain))),
            Input::Cancelled { .. } | Input::Durable(_) | Input::WriteFailed(_) | Input::Completed(_) => {}
        }
    }

    fn watch(&mut self, participant: &Participant, input: &Input, outputs: &[Output]) {
        let Participant { mode, channels, overtaking } = participant;
        self.hear(input);
        let finished_before = self.finished;
        assert!(!finished_before || matches!(outputs, [Output::Ignored(_)]), "whoever has finished does nothing");
        let (ending, ended) = (self.ending.clone(), self.ended.clone());
        let all = |set: &BTreeMap<CheckpointId, BTreeSet<ChannelIndex>>, ends: &BTreeSet<ChannelIndex>, checkpoint| {
            let heard = set.get(&checkpoint).into_iter().flatten().chain(ends).filter(|channel| channel.0 < *channels);
            heard.collect::<BTreeSet<_>>().len() == *channels as usize
        };
        for (index, output) in outputs.iter().enumerate() {
            match *output {
                Output::Hold(channel) => {
                    assert_eq!(*mode, Mode::ExactlyOnce, "at least once holds nothing back");
                    assert!(self.held.insert(channel), "{channel} is held twice");
                }
                Output::ReleaseAll => self.held.clear(),
                Output::Arm(checkpoint) => {
                    assert!(overtaking.is_some(), "where nothing overtakes there is nothing to wait for");
                    assert!(self.armed.insert(checkpoint), "{checkpoint} is armed twice");
                }
                Output::Overtake(checkpoint) => {
                    assert_eq!(outputs.get(index + 1), Some(&Output::Forward(checkpoint)), "nothing comes in between");
                    assert!(self.urgent.contains(&checkpoint), "{checkpoint} overtakes though there is time");
                    assert!(!all(&self.barriers, &ended, checkpoint), "{checkpoint} overtakes on the last barrier");
                    let forced = overtaking.as_ref().expect("barriers may overtake");
                    let reached = |channel: &&ChannelIndex| self.barriers.get(&checkpoint).is_some_and(|set| set.contains(channel));
                    let late = forced.iter().find(|channel| !reached(channel) && !ended.contains(channel));
                    assert_eq!(late, None, "{checkpoint} overtakes on a channel that stays aligned");
                    assert_eq!(self.logging.replace(checkpoint), None, "two are logged at once");
                    self.overtaken.insert(checkpoint);
                }
                Output::LogsComplete(checkpoint) => {
                    assert_eq!(self.logging.take(), Some(checkpoint), "the logs of {checkpoint} come from nowhere");
                    assert!(all(&self.announced, &ending, checkpoint), "the logs of {checkpoint} are whole before all barriers have come");
                }
                Output::DropLogs(checkpoint) => assert_eq!(self.logging.take(), Some(checkpoint), "there are logs to drop"),
                Output::Hasten(checkpoint) => {
                    assert!(
                        self.snapshots.contains(&checkpoint) && self.urgent.contains(&checkpoint),
                        "{checkpoint} is hastened for nothing"
                    );
                    assert!(!self.overtaken.contains(&checkpoint), "{checkpoint} is urgent already");
                    assert!(self.hastened.insert(checkpoint), "{checkpoint} is hastened twice");
                }
                Output::Forward(checkpoint) => {
                    assert_eq!(outputs.get(index + 1), Some(&Output::Snapshot(checkpoint)), "nothing comes in between");
                }
                Output::Snapshot(checkpoint) => {
                    let overtaken = self.overtaken.contains(&checkpoint);
                    assert!(
                        *channels == 0 || overtaken || all(&self.barriers, &ended, checkpoint),
                        "{checkpoint} is cut before all barriers"
                    );
                    let told = self.announced.contains_key(&checkpoint) || self.triggered.contains(&checkpoint);
                    assert!(told, "{checkpoint} comes from nowhere");
                    if self.drained {
                        self.cut_behind_the_end.get_or_insert(checkpoint);
                    }
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
                    assert!(self.logging != Some(checkpoint), "{checkpoint} is acknowledged before its logs are whole");
                    assert!(self.acknowledged.insert(checkpoint), "{checkpoint} is acknowledged twice");
                }
                Output::EndInput(checkpoint) => {
                    assert_eq!(*channels, 0, "only the input of a source ends");
                    assert!(self.stops.contains(&(checkpoint, true)), "the input ends at {checkpoint} for nothing");
                    assert!(outputs[index..].contains(&Output::Forward(checkpoint)), "the barrier follows");
                }
                Output::Suspend(checkpoint) => {
                    assert_eq!(outputs[index - 1], Output::Snapshot(checkpoint), "nothing comes in between");
                    assert!(self.stops.iter().any(|(stops, _)| *stops == checkpoint), "{checkpoint} suspends for nothing");
                    self.suspended = Some(checkpoint);
                }
                Output::Resume(checkpoint) => {
                    assert_eq!(self.suspended.take(), Some(checkpoint), "it goes on after what suspended it");
                    assert!(self.aborted.contains(&checkpoint), "{checkpoint} is not over");
                }
                Output::Commit(checkpoint) => {
                    assert!(self.committed < Some(checkpoint), "commits go forward");
                    self.committed = Some(checkpoint);
                }
                Output::Decline(checkpoint, _) | Output::Forget(checkpoint) => {
                    assert!(self.logging != Some(checkpoint), "{checkpoint} is given up, and its logs are not");
                }
                Output::Finish => {
                    assert_eq!(index + 1, outputs.len(), "it is the last thing that anybody does");
                    let last = self.cut_behind_the_end.expect("its state was taken behind its end");
                    assert!(self.committed >= Some(last), "no checkpoint with its last state is complete");
                    assert!((0..*channels).all(|channel| ended.contains(&ChannelIndex(channel))), "it is still sent something");
                    assert_eq!(self.suspended, None, "the job may go on from here");
                    self.finished = true;
                }
                Output::Ignored(_) => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_cut_before_all_barriers_whatever_happens(
        participant in any_participant(),
        inputs in prop::collection::vec(any_input(), 0..80),
    ) {
        let mut subtask = Subtask::new(participant.clone());
        let mut bystander = Bystander::default();
        for input in inputs {
            let mut out = Vec::new();
            subtask.step(input.clone(), &mut out);
            prop_assert!(!out.is_empty() || quiet(&input), "{:?} is answered by nothing", input);
            bystander.watch(&participant, &input, &out);
            for channel in (0..participant.channels).map(ChannelIndex) {
                prop_assert_eq!(subtask.holds(channel), bystander.held.contains(&channel));
            }
            prop_assert_eq!(subtask.logging(), bystander.logging);
            prop_assert_eq!(subtask.suspended(), bystander.suspended);
            prop_assert!(bystander.held.is_empty() || subtask.collecting().is_some());
            if participant.overtaking.is_none() && participant.mode == Mode::ExactlyOnce {
                prop_assert_eq!(bystander.held.is_empty(), subtask.collecting().is_none());
            }
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
        let mut subtask = Subtask::new(Participant { mode: Mode::ExactlyOnce, channels, overtaking: None });
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
        // Counted only, until it is time.
        Input::Announced { .. } | Input::TimedOut(_) => true,
        // Remembered until the cut.
        Input::Stops { .. } => true,
        // Remembered until it matters.
        Input::Triggered { .. } | Input::EndAnnounced { .. } | Input::Ended { .. } | Input::Drained(_) | Input::Published(_) => true,
        Input::Cancelled { .. } | Input::Durable(_) => false,
        Input::WriteFailed(_) | Input::Completed(_) => false,
    }
}
