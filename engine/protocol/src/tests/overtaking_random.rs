//! Random lives of a subtask whose barriers overtake, with data: each record ahead of a barrier is in the state or in a log, once, and none
//! behind it is in either.

use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use crate::subtask::{Input, Output, Participant, Subtask};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// How many checkpoints a life has.
const CHECKPOINTS: u64 = 4;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Element {
    /// Numbered within its channel.
    Record(u32),
    Barrier {
        checkpoint: CheckpointId,
        urgent: bool,
    },
    /// In place of the barrier.
    Marker(CheckpointId),
}

/// What happens next, if it can.
#[derive(Clone, Debug)]
enum Event {
    /// The first element that is on its way arrives in the queue.
    Arrive(prop::sample::Index),
    /// The first element in a queue that is not held is taken.
    Take(prop::sample::Index),
    /// The timer of the newest checkpoint that has one fires.
    Time,
    /// The newest checkpoint is aborted, or the one after it.
    Abort(bool),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        10 => any::<prop::sample::Index>().prop_map(Event::Arrive),
        10 => any::<prop::sample::Index>().prop_map(Event::Take),
        2 => Just(Event::Time),
        1 => any::<bool>().prop_map(Event::Abort),
    ]
}

/// Before each barrier so many records; whether the barrier is urgent; whether it never comes.
fn part() -> impl Strategy<Value = (usize, bool, bool)> {
    (0..4_usize, prop::bool::weighted(0.3), prop::bool::weighted(0.05))
}

fn channel() -> impl Strategy<Value = VecDeque<Element>> {
    (prop::collection::vec(part(), CHECKPOINTS as usize), 0..3_usize).prop_map(|(parts, behind)| {
        let mut elements = VecDeque::new();
        let mut records = (0..).map(Element::Record);
        for (checkpoint, (before, urgent, never)) in (1..).map(CheckpointId).zip(parts) {
            elements.extend(records.by_ref().take(before));
            elements.push_back(if never { Element::Marker(checkpoint) } else { Element::Barrier { checkpoint, urgent } });
        }
        elements.extend(records.take(behind));
        elements
    })
}

/// What a checkpoint has taken, by channel.
#[derive(Debug, Default)]
struct Taken {
    state: Vec<BTreeSet<u32>>,
    logs: Vec<BTreeSet<u32>>,
}

struct Life {
    machine: Subtask,
    sent: Vec<VecDeque<Element>>,
    on_its_way: Vec<VecDeque<Element>>,
    queues: Vec<VecDeque<Element>>,
    processed: Vec<BTreeSet<u32>>,
    taken: BTreeMap<CheckpointId, Taken>,
    /// Channels of which all that arrives is logged, and for which checkpoint.
    open: Option<(CheckpointId, BTreeSet<usize>)>,
    armed: Option<CheckpointId>,
    aborted: BTreeSet<CheckpointId>,
    acknowledged: BTreeSet<CheckpointId>,
    overtaken: usize,
}

impl Life {
    fn new(sent: Vec<VecDeque<Element>>, forced: BTreeSet<ChannelIndex>) -> Self {
        let channels = sent.len();
        let participant = Participant { mode: Mode::ExactlyOnce, channels: channels as u32, overtaking: Some(forced) };
        Self {
            machine: Subtask::new(participant),
            on_its_way: sent.clone(),
            sent,
            queues: vec![VecDeque::new(); channels],
            processed: vec![BTreeSet::new(); channels],
            taken: BTreeMap::new(),
            open: None,
            armed: None,
            aborted: BTreeSet::new(),
            acknowledged: BTreeSet::new(),
            overtaken: 0,
        }
    }

    fn arrive(&mut self, at: usize) {
        let element = self.on_its_way[at].pop_front().expect("something is on its way");
        self.queues[at].push_back(element);
        if let Some((checkpoint, open)) = self.open.as_mut().filter(|(_, open)| open.contains(&at)) {
            match element {
                Element::Record(record) => {
                    let taken = self.taken.get_mut(checkpoint).expect("it is logged");
                    assert!(taken.logs[at].insert(record), "a record arrives once");
                }
                Element::Barrier { checkpoint: other, .. } if other == *checkpoint => _ = open.remove(&at),
                Element::Barrier { .. } | Element::Marker(_) => {}
            }
        }
        if let Element::Barrier { checkpoint, urgent } = element {
            self.step(Input::Announced { channel: ChannelIndex(at as u32), checkpoint, urgent });
        }
    }

    fn take(&mut self, at: usize) {
        let channel = ChannelIndex(at as u32);
        match self.queues[at].pop_front().expect("something is in the queue") {
            Element::Record(record) => _ = self.processed[at].insert(record),
            Element::Barrier { checkpoint, .. } => self.step(Input::Barrier { channel, checkpoint }),
            Element::Marker(checkpoint) => self.step(Input::Cancelled { channel, checkpoint }),
        }
    }

    fn step(&mut self, input: Input) {
        let mut outputs = Vec::new();
        self.machine.step(input, &mut outputs);
        let mut durable = Vec::new();
        let mut overtakes = None;
        for output in outputs {
            match output {
                Output::Arm(checkpoint) => self.armed = Some(checkpoint),
                Output::Overtake(checkpoint) => overtakes = Some(checkpoint),
                Output::Snapshot(checkpoint) => {
                    let logs = vec![BTreeSet::new(); self.queues.len()];
                    self.taken.insert(checkpoint, Taken { state: self.processed.clone(), logs });
                    if overtakes == Some(checkpoint) {
                        self.overtaken += 1;
                        self.log(checkpoint);
                    } else {
                        durable.push(checkpoint);
                    }
                }
                Output::LogsComplete(checkpoint) => {
                    let (logged, open) = self.open.take().expect("something is logged");
                    assert!(logged == checkpoint && open.is_empty(), "{checkpoint} misses what comes on {open:?}");
                    durable.push(checkpoint);
                }
                Output::DropLogs(checkpoint) => {
                    assert_eq!(self.open.take().map(|(logged, _)| logged), Some(checkpoint));
                }
                Output::Acknowledge(checkpoint) => {
                    self.acknowledged.insert(checkpoint);
                    self.judge(checkpoint);
                }
                Output::Hold(_) | Output::ReleaseAll | Output::Hasten(_) | Output::Forward(_) | Output::ForwardCancel(_) => {}
                Output::Decline(..) | Output::Commit(_) | Output::Forget(_) | Output::Ignored(_) => {}
                Output::EndInput(_) | Output::Suspend(_) | Output::Resume(_) | Output::Finish => panic!("nobody stops"),
            }
        }
        durable.into_iter().for_each(|checkpoint| self.step(Input::Durable(checkpoint)));
    }

    /// What the queues hold ahead of the barrier, and whatever comes until it does.
    fn log(&mut self, checkpoint: CheckpointId) {
        let is_barrier = |element: &Element| matches!(element, Element::Barrier { checkpoint: other, .. } if *other == checkpoint);
        let (mut open, taken) = (BTreeSet::new(), self.taken.get_mut(&checkpoint).expect("it was just taken"));
        for (at, queue) in self.queues.iter().enumerate() {
            let ahead = queue.iter().take_while(|element| !is_barrier(element));
            let records = ahead.filter_map(|element| if let Element::Record(record) = element { Some(*record) } else { None });
            let arrived = queue.iter().any(is_barrier);
            // One that was reached is in no queue any more, and has nothing on its way.
            if arrived || self.on_its_way[at].iter().any(is_barrier) {
                taken.logs[at] = records.collect();
                if !arrived {
                    open.insert(at);
                }
            } else if self.on_its_way[at].iter().chain(queue).any(|element| *element == Element::Marker(checkpoint)) {
                // Nobody knows yet that it will not come.
                open.insert(at);
            }
        }
        self.open = Some((checkpoint, open));
    }

    fn judge(&self, checkpoint: CheckpointId) {
        let taken = &self.taken[&checkpoint];
        for (at, sent) in self.sent.iter().enumerate() {
            let ahead =
                sent.iter().take_while(|element| !matches!(element, Element::Barrier { checkpoint: other, .. } if *other == checkpoint));
            let records: BTreeSet<u32> =
                ahead.filter_map(|element| if let Element::Record(record) = element { Some(*record) } else { None }).collect();
            let both: Vec<_> = taken.state[at].intersection(&taken.logs[at]).collect();
            assert!(both.is_empty(), "{checkpoint}: ch{at} has {both:?} in its state and in its log");
            let all: BTreeSet<u32> = taken.state[at].union(&taken.logs[at]).copied().collect();
            assert_eq!(all, records, "{checkpoint}: what ch{at} puts in is not what is ahead of the barrier");
        }
    }

    fn happen(&mut self, event: &Event) {
        match event {
            Event::Arrive(pick) => {
                let possible = self.arriving();
                if !possible.is_empty() {
                    self.arrive(*pick.get(&possible));
                }
            }
            Event::Take(pick) => {
                let possible = self.readable();
                if !possible.is_empty() {
                    self.take(*pick.get(&possible));
                }
            }
            Event::Time => {
                if let Some(checkpoint) = self.armed {
                    self.step(Input::TimedOut(checkpoint));
                }
            }
            Event::Abort(next) => {
                let checkpoint = if *next { self.machine.newest().next() } else { self.machine.newest() };
                if !self.acknowledged.contains(&checkpoint) {
                    self.aborted.insert(checkpoint);
                    self.step(Input::Aborted { checkpoint, latest_completed: None });
                }
            }
        }
    }

    fn arriving(&self) -> Vec<usize> {
        (0..self.on_its_way.len()).filter(|&at| !self.on_its_way[at].is_empty()).collect()
    }

    fn readable(&self) -> Vec<usize> {
        (0..self.queues.len()).filter(|&at| !self.queues[at].is_empty() && !self.machine.holds(ChannelIndex(at as u32))).collect()
    }
}

fn forced(channels: usize) -> impl Strategy<Value = BTreeSet<ChannelIndex>> {
    prop::collection::btree_set((0..channels as u32).prop_map(ChannelIndex), 0..=channels)
}

fn world() -> impl Strategy<Value = (Vec<VecDeque<Element>>, BTreeSet<ChannelIndex>)> {
    prop::collection::vec(channel(), 1..4).prop_flat_map(|channels| (Just(channels.clone()), forced(channels.len())))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn each_record_ahead_of_a_barrier_is_in_the_state_or_in_a_log(
        (sent, forced) in world(),
        events in prop::collection::vec(event(), 0..120),
    ) {
        let mut life = Life::new(sent, forced.clone());
        events.iter().for_each(|event| life.happen(event));
        // Calm: all arrives and is read, and nothing is held for ever.
        while let Some(&at) = life.arriving().first() {
            life.arrive(at);
        }
        while let Some(&at) = life.readable().first() {
            life.take(at);
        }
        prop_assert!(life.queues.iter().all(VecDeque::is_empty), "a channel is held for ever");
        let last = CheckpointId(CHECKPOINTS);
        let comes = life.sent.iter().all(|sent| !sent.contains(&Element::Marker(last)));
        prop_assert_eq!(life.acknowledged.contains(&last), comes && !life.aborted.contains(&last), "the last one depends on nobody else");
        prop_assert!(life.overtaken == 0 || forced.len() < life.sent.len(), "all channels stay aligned");
    }
}

/// A test in which nothing overtakes would prove nothing.
#[test]
fn random_lives_overtake() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    let (mut overtaken, mut aligned) = (0, 0);
    for _ in 0..200 {
        let (sent, forced) = world().new_tree(&mut runner).expect("there are worlds").current();
        let events = prop::collection::vec(event(), 60..120).new_tree(&mut runner).expect("there are events").current();
        let mut life = Life::new(sent, forced);
        events.iter().for_each(|event| life.happen(event));
        overtaken += life.overtaken;
        aligned += life.taken.len() - life.overtaken;
    }
    assert!(overtaken > 50 && aligned > 50, "{overtaken} cuts overtake, {aligned} are aligned");
}
