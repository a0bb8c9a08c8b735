//! One thing happens: what comes of it.
//!
//! * `data`: records, barriers, and what subtask machines want done.
//! * `overtaking`: what arrives when, and what is logged, where barriers overtake.
//! * `leading`: what coordinator machines want done.
//! * `storing`: journal, metadata, shared files.
//! * `committing`: transactional output.
//! * `cluster`: workers and coordinators that come and go.

mod cluster;
mod committing;
mod data;
mod leading;
mod overtaking;
mod storing;

use crate::moves::Action;
use crate::properties::{Broken, Marks, Promise, Situation};
use crate::state::State;
use crate::story::{Actor, Line};
use crate::topology::Layout;
use crate::world::World;
use cofferdam_protocol::coordinator::Plan;
use cofferdam_protocol::{AttemptId, CheckpointId, TaskId, WorkerId};
use std::cell::Cell;
use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::{Arc, Once};

/// A world with everything worked out that does not change.
#[derive(Clone, Debug)]
pub struct Setup {
    /// Its description.
    pub world: World,
    /// Tasks and channels.
    pub layout: Layout,
    /// What the coordinator begins from.
    pub plan: Plan,
    /// Records in each source's log.
    pub records: u8,
    /// Records that fit into a channel.
    pub capacity: u32,
}

impl Setup {
    /// Works it out.
    #[must_use]
    pub fn new(world: World) -> Self {
        let layout = world.layout();
        let plan = world.plan(&layout);
        let records = u8::try_from(world.bounds.get(crate::bounds::Bound::Records)).expect("a log is short");
        let numbers = records * layout.sources;
        assert!(numbers <= crate::tally::MOST_RECORDS, "{numbers} records are more than a state has room for");
        let capacity = world.bounds.get(crate::bounds::Bound::Capacity);
        Self { world, layout, plan, records, capacity }
    }

    fn task(&self, id: TaskId) -> usize {
        self.layout.tasks.iter().position(|task| task.id == id).expect("machines know the tasks of their job only")
    }

    pub(crate) fn worker_id(&self, worker: usize) -> WorkerId {
        WorkerId(worker as u32 + 1)
    }

    /// The first state: all tasks run, nothing has been read.
    #[must_use]
    pub fn first(&self) -> State {
        let mut turn = Turn { setup: self, state: State::empty(self), marks: Marks::default(), lines: None, calm: true };
        turn.begin();
        turn.finish().0
    }

    /// What comes of an action, and which situations were met.
    #[must_use]
    pub fn after(&self, state: &State, action: &Action) -> (State, Marks) {
        let mut turn = Turn { setup: self, state: state.clone(), marks: Marks::default(), lines: None, calm: false };
        turn.perform(action);
        let (state, marks, _) = turn.finish();
        (state, marks)
    }

    /// The same, told.
    #[must_use]
    pub fn told(&self, state: &State, action: &Action) -> (State, Vec<Line>) {
        let mut turn = Turn { setup: self, state: state.clone(), marks: Marks::default(), lines: Some(Vec::new()), calm: false };
        turn.perform(action);
        let (state, _, lines) = turn.finish();
        (state, lines)
    }
}

/// A state on its way to the next.
struct Turn<'a> {
    setup: &'a Setup,
    state: State,
    marks: Marks,
    lines: Option<Vec<Line>>,
    /// Everything is answered at once.
    calm: bool,
}

impl Turn<'_> {
    fn finish(mut self) -> (State, Marks, Vec<Line>) {
        self.state.seal();
        (self.state, self.marks, self.lines.unwrap_or_default())
    }

    fn perform(&mut self, action: &Action) {
        if let Some(bound) = action.uses_up(&self.state) {
            self.state.left[bound as usize] -= 1;
        }
        match action {
            Action::Read(worker, task) => self.read(*worker, *task),
            Action::Take(worker, task, channel) => self.take(*worker, *task, *channel),
            Action::Announce(worker, task, channel) => self.announce(*worker, *task, *channel),
            Action::Recover(worker, task) => self.recover(*worker, *task),
            Action::TimeOut(worker, task) => self.time_out(*worker, *task),
            Action::Hear(worker, task) => self.hear(*worker, *task, true),
            Action::HearTwice(worker, task) => self.hear(*worker, *task, false),
            Action::Miss(worker, task) => self.miss(*worker, *task),
            Action::Written(worker, task, checkpoint) => self.written(*worker, *task, *checkpoint, true),
            Action::WriteFails(worker, task, checkpoint) => self.written(*worker, *task, *checkpoint, false),
            Action::Compact(worker, task) => self.compact(*worker, *task),
            Action::Drain(worker, task) => self.drain(*worker, *task),
            Action::Publish(worker, task) => self.publish_next(*worker, *task),
            Action::PublishFails(worker, task) => self.publish_fails(*worker, *task),
            Action::Report(worker) => self.report(*worker, true),
            Action::ReportTwice(worker) => self.report(*worker, false),
            Action::ReportBefore(worker) => self.report_before(*worker),
            Action::Stop(worker) => self.stop(*worker),
            Action::Crash(worker, keeps_reports) => self.crash(*worker, *keeps_reports),
            Action::Join(worker) => self.join(*worker),
            Action::Fire(reign, timer) => self.fire(*reign, *timer),
            Action::Journal(reign, outcome) => self.journal(*reign, *outcome),
            Action::Answer(reign, question, outcome) => self.answer(*reign, *question, *outcome),
            Action::TakeOver(lives_on) => self.take_over(*lives_on),
            Action::Stray(arrives) => self.stray(*arrives),
            Action::Stuck => {
                let witness = "records are left to process, and nothing can happen any more".to_owned();
                self.breaks(Promise::NeverStuck, witness);
            }
            Action::Quiet => {
                let witness = self.left_over().unwrap_or_default();
                self.breaks(Promise::NothingLeftOver, witness);
            }
        }
    }

    fn mark(&mut self, situation: Situation) {
        self.marks.add(situation);
    }

    /// The first promise that breaks ends it.
    fn breaks(&mut self, promise: Promise, witness: String) {
        let promise = match promise {
            Promise::ExactlyOnce | Promise::NothingLost => crate::properties::counting(&self.setup.world),
            other => other,
        };
        self.state.broken.get_or_insert_with(|| Arc::new(Broken { promise, witness }));
    }

    fn tell(
        &mut self,
        actor: Actor,
        attempt: Option<AttemptId>,
        checkpoint: Option<CheckpointId>,
        what: &'static str,
        detail: impl FnOnce() -> String,
    ) {
        if let Some(lines) = &mut self.lines {
            lines.push(Line { actor, attempt, checkpoint, what, detail: detail() });
        }
    }

    /// Calls a machine; what it asserts is a promise of its own.
    fn guarded(&mut self, step: impl FnOnce(&mut State)) -> bool {
        silence_panics();
        let state = &mut self.state;
        GUARDED.with(|guarded| guarded.set(true));
        let outcome = catch_unwind(AssertUnwindSafe(|| step(state)));
        GUARDED.with(|guarded| guarded.set(false));
        match outcome {
            Ok(()) => true,
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned();
                let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                self.breaks(Promise::MachineAssertions, text.unwrap_or_default().replace('\n', " "));
                false
            }
        }
    }
}

thread_local! {
    static GUARDED: Cell<bool> = const { Cell::new(false) };
}

/// A machine's assertion is something that was found, not something to print.
fn silence_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            if !GUARDED.with(Cell::get) {
                before(info);
            }
        }));
    });
}
