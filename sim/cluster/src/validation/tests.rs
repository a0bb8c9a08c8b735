//! What is noticed, step by step.

use super::{Difference, Validation};
use crate::world::NodeIndex;
use cofferdam_engine::observe::{Actor, Detail, Event, MachineStep, Moment, Step};
use cofferdam_protocol::coordinator::Journal;
use cofferdam_protocol::coordinator::{Coordinator, Plan, Standing};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::subtask::{Input, Output, Participant};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, CheckpointSettings, Epoch, Machine, Regions, RestartStrategy, TaskId};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

const NODE: NodeIndex = NodeIndex(2);
const C1: CheckpointId = CheckpointId(1);
const CH0: ChannelIndex = ChannelIndex(0);

fn task() -> TaskId {
    TaskId::new(1, 0)
}

fn attempt() -> AttemptId {
    AttemptId { epoch: Epoch(1), number: 1 }
}

/// A subtask with two channels, one of whose senders has sent a barrier.
struct Story(Validation);

impl Story {
    fn begun() -> Self {
        let mut story = Self(Validation::default());
        let source =
            MachineStep::Subtask(attempt(), TaskId::new(0, 0), Step::Recovered(Participant { channels: 1, ..Participant::default() }));
        story.0.machine(NODE, source).expect("it begins");
        story.0.said.by_subtask(attempt(), TaskId::new(0, 0), &Output::Forward(C1));
        story.step(Step::Recovered(Participant { channels: 2, ..Participant::default() })).expect("it begins");
        story
    }

    fn step(&mut self, step: Step<Participant, Input, Output>) -> Result<(), Difference> {
        self.0.machine(NODE, MachineStep::Subtask(attempt(), task(), step))
    }

    fn see(&mut self, moment: Moment, checkpoint: Option<CheckpointId>, detail: Detail) -> Result<(), Difference> {
        self.0.event(NODE, &Event { actor: Actor::Task(task()), attempt: Some(attempt()), checkpoint, moment, detail })
    }

    fn barrier(&mut self) -> Result<(), Difference> {
        self.see(Moment::BarrierArrived, Some(C1), Detail::Channel(CH0))?;
        self.step(Step::Input(Input::Barrier { channel: CH0, checkpoint: C1 }))
    }

    fn held(&mut self) -> Result<(), Difference> {
        self.step(Step::Output(Output::Hold(CH0)))?;
        self.see(Moment::ChannelHeld, None, Detail::Channel(CH0))
    }
}

#[test]
fn what_the_machine_wants_is_what_is_done() {
    let mut story = Story::begun();
    story.barrier().expect("it was sent");
    story.held().expect("the machine wants it");
    story.barrier().expect("a repeated one changes nothing");
    assert_eq!(story.0.steps(), 2);
}

#[test]
fn an_output_that_is_left_out_is_noticed_at_the_next_step() {
    let mut story = Story::begun();
    story.barrier().expect("it was sent");
    let difference = story.barrier().expect_err("the channel is not held").to_string();
    assert!(difference.starts_with("subtask v1.s0 of a1.1 on n2, step 1, input Barrier"), "{difference}");
    assert!(difference.ends_with("expected [Hold(ChannelIndex(0))], found []"), "{difference}");
}

#[test]
fn an_output_that_nobody_wants_is_noticed() {
    let mut story = Story::begun();
    story.barrier().expect("it was sent");
    story.held().expect("the machine wants it");
    let difference = story.held().expect_err("once is enough").to_string();
    assert!(difference.ends_with("expected [Hold(ChannelIndex(0))], found [Hold(ChannelIndex(0)), Hold(ChannelIndex(0))]"), "{difference}");
}

#[test]
fn an_output_that_has_no_effect_is_noticed() {
    let mut story = Story::begun();
    story.barrier().expect("it was sent");
    story.step(Step::Output(Output::Hold(CH0))).expect("the machine wants it");
    let difference = story.barrier().expect_err("nobody saw it").to_string();
    assert!(difference.ends_with("expected that channel-held is observed, found that it is not"), "{difference}");
}

#[test]
fn an_input_that_comes_twice_is_noticed() {
    let mut story = Story::begun();
    story.barrier().expect("it was sent");
    story.held().expect("the machine wants it");
    let again = story.step(Step::Input(Input::Barrier { channel: CH0, checkpoint: C1 })).expect_err("it came once").to_string();
    assert!(again.ends_with("expected that barrier-arrived was observed before it, found nothing"), "{again}");
}

#[test]
fn what_nobody_has_said_cannot_be_heard() {
    let mut story = Story::begun();
    let difference = story.step(Step::Input(Input::Completed(C1))).expect_err("no coordinator says so").to_string();
    assert!(difference.ends_with("expected that somebody has said Complete of c1 in a1.1, found that nobody has"), "{difference}");
}

#[test]
fn a_coordinator_begins_from_what_was_written_last() {
    let second = Duration::from_secs(1);
    let plan = Plan {
        tasks: BTreeSet::from([task()]),
        sources: BTreeSet::from([task()]),
        predecessors: BTreeMap::new(),
        committers: BTreeSet::new(),
        regions: Regions::whole(),
        checkpoints: CheckpointSettings::default(),
        restart: RestartStrategy::FixedDelay { attempts: 1, delay: second },
        hooks: false,
        enumerators: false,
        origin: None,
        local_recovery: false,
        heartbeat_timeout: second,
        deploy_timeout: second,
        stop_timeout: second,
    };
    let mut validation = Validation::default();
    let mut begin = |journal: &Journal, durable: bool| {
        let standing = Standing { plan: plan.clone(), journal: journal.clone() };
        validation.machine(NODE, MachineStep::Coordinator(Box::new(Step::Recovered(standing.clone()))))?;
        let mut outputs = Vec::new();
        Coordinator::<TaskSnapshot>::recover(standing, &mut outputs);
        for output in outputs {
            validation.machine(NODE, MachineStep::Coordinator(Box::new(Step::Output(output))))?;
        }
        if durable {
            let answer = cofferdam_protocol::coordinator::Input::Journal(cofferdam_protocol::coordinator::Written::Durable);
            validation.machine(NODE, MachineStep::Coordinator(Box::new(Step::Input(answer))))?;
        }
        Ok::<(), Difference>(())
    };
    begin(&Journal::default(), true).expect("nothing was there");
    let first = Journal { epoch: Epoch(1), reserved: CheckpointId(8), ..Journal::default() };
    begin(&first, true).expect("it was written");
    let stale = begin(&first, false).expect_err("the second epoch is durable").to_string();
    assert!(stale.contains("or a later journal entry, found"), "{stale}");
    let made_up = Journal { epoch: Epoch(7), ..Journal::default() };
    let unknown = begin(&made_up, false).expect_err("nobody has written it").to_string();
    assert!(unknown.contains("expected a journal entry that was written"), "{unknown}");
}

#[test]
fn what_a_gateway_lets_through_is_held_against_one() {
    use cofferdam_engine::connector::split::ReaderEvent;
    use cofferdam_protocol::gateway::{EventNumber, Input, Output};
    use cofferdam_protocol::{SubtaskIndex, VertexId};

    let mut validation = Validation::default();
    let mut step = |step| validation.machine(NODE, MachineStep::Gateway(attempt(), VertexId(0), step));
    let (subtask, event) = (SubtaskIndex(1), ReaderEvent::NoMore);
    let delivered = |number| Step::Output(Output::Deliver { subtask, number: EventNumber(number), event: event.clone() });
    step(Step::Recovered(2)).expect("it begins");
    step(Step::Input(Input::Send { subtask, event: event.clone() })).expect("there is such a reader");
    step(delivered(1)).expect("nothing holds it back");
    step(Step::Input(Input::Snapshot(C1))).expect("it closes");
    step(Step::Input(Input::Send { subtask, event: event.clone() })).expect("it waits");
    let ahead = step(delivered(2)).expect_err("it goes to the far side of the cut").to_string();
    assert!(ahead.starts_with("the gateway to the readers of"), "{ahead}");
}
