//! Each invariant accepts a history as it should be, and is seen red over one that contradicts it.

use super::*;
use crate::scenario::{CheckpointSpec, StorageKind};
use crate::world::Crash;
use cofferdam_engine::observe::{Actor, Detail, Moment};
use cofferdam_protocol::coordinator::FailureReason;
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, WorkerId};

const COORDINATOR: NodeIndex = NodeIndex(1);
const WORKER: NodeIndex = NodeIndex(2);
const SPARE: NodeIndex = NodeIndex(3);

/// One event of a hand-made history.
enum Told {
    Engine { at: Duration, node: NodeIndex, event: Event },
    World { at: Duration, event: WorldEvent },
}

fn told(at_ms: u64, node: NodeIndex, actor: Actor, moment: Moment) -> Told {
    let event = Event { actor, attempt: None, checkpoint: None, moment, detail: Detail::None };
    Told::Engine { at: Duration::from_millis(at_ms), node, event }
}

/// The coordinator of an epoch does something.
fn coordinator(at_ms: u64, epoch: u64, moment: Moment) -> Told {
    told(at_ms, COORDINATOR, Actor::Coordinator(Epoch(epoch)), moment)
}

/// A subtask does something.
fn task(node: NodeIndex, task: TaskId, moment: Moment) -> Told {
    told(0, node, Actor::Task(task), moment)
}

/// A worker does something.
fn worker(node: NodeIndex, moment: Moment) -> Told {
    told(0, node, Actor::Worker(WorkerId(node.0)), moment)
}

fn world(at_ms: u64, event: WorldEvent) -> Told {
    Told::World { at: Duration::from_millis(at_ms), event }
}

impl Told {
    fn change(mut self, change: impl FnOnce(&mut Event)) -> Self {
        match &mut self {
            Self::Engine { event, .. } => change(event),
            Self::World { .. } => panic!("the world has no checkpoints"),
        }
        self
    }

    fn c(self, checkpoint: u64) -> Self {
        self.change(|event| event.checkpoint = Some(CheckpointId(checkpoint)))
    }

    fn a(self, epoch: u64, number: u32) -> Self {
        self.change(|event| event.attempt = Some(AttemptId { epoch: Epoch(epoch), number }))
    }

    fn detail(self, detail: Detail) -> Self {
        self.change(|event| event.detail = detail)
    }
}

/// Tells the history to the end, or to the first contradiction.
fn tell(invariant: &mut dyn Invariant, history: Vec<Told>) -> Result<(), String> {
    for told in history {
        match told {
            Told::Engine { at, node, event } => invariant.event(at, node, &event)?,
            Told::World { at, event } => invariant.world(at, &event),
        }
    }
    Ok(())
}

fn assert_accepted(mut invariant: impl Invariant, history: Vec<Told>) {
    assert_eq!(tell(&mut invariant, history), Ok(()));
}

/// The last event of the history, and none before, is the contradiction, and the witness names what is needed to find it.
fn assert_red(mut invariant: impl Invariant, mut history: Vec<Told>, witness: &[&str]) {
    let last = history.pop().expect("a contradiction has an event");
    assert_eq!(tell(&mut invariant, history), Ok(()), "{} is red too early", invariant.name());
    let red = tell(&mut invariant, vec![last]).expect_err("it must be seen red");
    for word in witness {
        assert!(red.contains(word), "{} says {red:?}, without {word:?}", invariant.name());
    }
}

/// A whole checkpoint as its coordinator sees it.
fn checkpoint(at_ms: u64, number: u64, end: Moment) -> [Told; 2] {
    [coordinator(at_ms, 1, Moment::CheckpointTriggered).c(number), coordinator(at_ms + 100, 1, end).c(number)]
}

fn failed(at_ms: u64, number: u64, reason: FailureReason) -> Vec<Told> {
    let [triggered, aborted] = checkpoint(at_ms, number, Moment::CheckpointAborted);
    vec![triggered, aborted.detail(Detail::Reason(reason))]
}

fn completed(at_ms: u64, number: u64) -> Vec<Told> {
    checkpoint(at_ms, number, Moment::CheckpointCompleted).into()
}

#[test]
fn every_invariant_is_named_after_its_file() {
    let scenario: Scenario = Scenario {
        name: "none".into(),
        story: String::new(),
        job: Default::default(),
        cluster: Default::default(),
        checkpoints: Default::default(),
        restart: cofferdam_protocol::settings::RestartStrategy::None,
        network: Default::default(),
        disk: Default::default(),
        objects: Default::default(),
        clocks: Vec::new(),
        faults: Vec::new(),
        chaos: None,
        world: Default::default(),
        calm_after_ms: 0,
        liveness_bound_ms: 1,
        resume: None,
        expect: Default::default(),
    };
    let setting = Setting { scenario: &scenario, tasks: &BTreeSet::new(), coordinator: COORDINATOR, origin: None };
    let names: BTreeSet<String> = all(&setting).iter().map(|invariant| invariant.name().replace('-', "_")).collect();
    let folder = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/invariant")).expect("it is there");
    let files = folder.map(|entry| entry.expect("readable").path().file_stem().expect("named").to_string_lossy().into_owned());
    assert_eq!(names, files.filter(|file| file != "tests").collect());
}

mod acks_before_complete;
mod committed_is_complete;
mod failures_counted;
mod ids_unique;
mod latest_restored;
mod local_copies_optional;
mod local_copies_pruned;
mod max_concurrent;
mod min_pause;
mod no_unreferenced_files;
mod one_live_attempt;
mod one_release;
mod others_go_on;
mod stopped_is_over;
mod timeout;
mod written_once;
