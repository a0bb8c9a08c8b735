//! What the functions of a simulated job write down while they run: in which order their records come.
//!
//! It is about the workload, not the engine: sources number what they give out, and whoever takes it in looks at the numbers. So every
//! record of every attempt is judged at once, also those of attempts that leave nothing behind.

use crate::trace::{lock, SharedSeen, Signal};
use cofferdam_protocol::AttemptId;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc;

/// What is reported, of records and of watermarks.
const NAME: &str = "channel-order";
const TIDE: &str = "watermark-advances";

#[derive(Default)]
struct Notes {
    /// Jobs of this world so far.
    jobs: u64,
    /// Attempts whose sources have been opened, by job.
    lives: BTreeMap<(u64, AttemptId), u64>,
    /// With how many subtasks.
    parallelism: BTreeMap<u64, u32>,
    /// Numbers given out.
    given: u64,
    /// The latest event time that a function has got a record of, and that a timer has fired for.
    reached: Reached,
}

/// How far the functions of a job have come in event time, in whatever attempt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reached {
    /// The latest record.
    pub record_ms: i64,
    /// The latest timer.
    pub fired_ms: i64,
}

/// Shared by all functions of one job.
#[derive(Clone)]
pub struct Watch {
    job: u64,
    notes: Arc<Mutex<Notes>>,
    report: Option<(SharedSeen, mpsc::UnboundedSender<Signal>)>,
}

impl Watch {
    /// Nobody is told.
    #[must_use]
    pub fn nobody() -> Self {
        Self { job: 0, notes: Arc::default(), report: None }
    }

    /// Numbers begin above those that a copy of another world may hold.
    #[must_use]
    pub fn beginning_at(self, number: u64) -> Self {
        self.notes().given = number;
        self
    }

    /// For the next job of the same world: what its snapshots hold is older than all that it makes.
    #[must_use]
    pub fn of_next_job(&self, seen: SharedSeen, signals: mpsc::UnboundedSender<Signal>) -> Self {
        let job = {
            let mut notes = self.notes();
            notes.jobs += 1;
            notes.jobs
        };
        Self { job, notes: self.notes.clone(), report: Some((seen, signals)) }
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        // What is guarded is valid at every step.
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of an attempt, larger than that of every attempt whose checkpoints it can have begun from. Why: a checkpoint is only
    /// complete when all sources of its attempt have been opened.
    pub(super) fn life(&self, attempt: AttemptId, parallelism: u32) -> u64 {
        let notes = &mut *self.notes();
        let given = &mut notes.given;
        let life = *notes.lives.entry((self.job, attempt)).or_insert_with(|| {
            *given += 1;
            *given
        });
        notes.parallelism.insert(life, parallelism);
        life
    }

    /// A number that nobody else has.
    pub(super) fn number(&self) -> u64 {
        let mut notes = self.notes();
        notes.given += 1;
        notes.given
    }

    /// Whether an attempt had so many subtasks.
    fn had(&self, life: u64, parallelism: u32) -> bool {
        self.notes().parallelism.get(&life) == Some(&parallelism)
    }

    /// How far this world's jobs have come.
    #[must_use]
    pub fn reached(&self) -> Reached {
        self.notes().reached
    }

    /// Something that must not be.
    pub(super) fn violated(&self, invariant: &'static str, witness: String) {
        let Some((seen, signals)) = &self.report else { return };
        let mut seen = lock(seen);
        let last = seen.last;
        seen.violated(invariant, witness, last);
        // The run may be over.
        let _ = signals.send(Signal::Violated);
    }
}

/// Where a record comes from, in the order in which its sender has sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    /// The sender, among those of one edge.
    pub(super) sender: u64,
    /// Its attempt.
    pub(super) life: u64,
    /// Counted from 0 in each life of the sender.
    pub(super) number: u64,
}

/// One subtask that takes records in. A copy is another subtask's.
pub(super) struct Eye {
    watch: Watch,
    at: &'static str,
    rule: Rule,
    seen: Mutex<BTreeMap<String, (u64, u64)>>,
}

/// What the mapping of an edge promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Each key of each sender keeps its order, at any parallelism: also what was under way and what is new.
    ByKey,
    /// All that a sender sends to this subtask does, where the parallelism has stayed what it was.
    InTurn(u32),
}

impl Clone for Eye {
    fn clone(&self) -> Self {
        Self::new(self.watch.clone(), self.at, self.rule)
    }
}

impl Eye {
    pub(super) fn new(watch: Watch, at: &'static str, rule: Rule) -> Self {
        Self { watch, at, rule, seen: Mutex::default() }
    }

    /// A record of this sender and key has come.
    pub(super) fn look(&self, key: &str, sent: Sent) {
        let Sent { sender, life, number } = sent;
        let class = match self.rule {
            Rule::ByKey => format!("{sender} {key}"),
            Rule::InTurn(parallelism) if self.watch.had(life, parallelism) => sender.to_string(),
            Rule::InTurn(_) => return,
        };
        let before = self.seen.lock().unwrap_or_else(PoisonError::into_inner).insert(class, (life, number));
        if let Some((before_life, before_number)) = before.filter(|before| *before >= (life, number)) {
            let what = format!("record {number} of life {life} from sender {sender} for {key}");
            self.watch.violated(NAME, format!("{}: {what} comes behind {before_number} of life {before_life}", self.at));
        }
    }
}

/// The watermark at one subtask: in the life of a subtask it never goes back. A copy is another subtask's.
pub(super) struct Tide {
    watch: Watch,
    watermark: i64,
}

impl Clone for Tide {
    fn clone(&self) -> Self {
        Self::new(self.watch.clone())
    }
}

impl Tide {
    pub(super) fn new(watch: Watch) -> Self {
        Self { watch, watermark: i64::MIN }
    }

    /// A record of this time has come.
    pub(super) fn came(&mut self, time_ms: i64, watermark: i64) {
        self.at(watermark);
        let reached = &mut self.watch.notes().reached;
        reached.record_ms = reached.record_ms.max(time_ms);
    }

    /// A timer for this time has fired.
    pub(super) fn fired(&mut self, time_ms: i64, watermark: i64) {
        self.at(watermark);
        let reached = &mut self.watch.notes().reached;
        reached.fired_ms = reached.fired_ms.max(time_ms);
    }

    fn at(&mut self, watermark: i64) {
        if watermark < self.watermark {
            self.watch.violated(TIDE, format!("the watermark of a subtask was {}, and is {watermark}", self.watermark));
        }
        self.watermark = watermark;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::trace::nothing_seen;
    use cofferdam_protocol::AttemptId;

    fn judged(rule: Rule, records: &[(&str, u64, u64, u64)]) -> Option<String> {
        let seen = nothing_seen();
        let (signals, _heard) = mpsc::unbounded_channel();
        let watch = Watch::nobody().of_next_job(seen.clone(), signals);
        let (first, second) = (AttemptId::default(), AttemptId { number: 7, ..AttemptId::default() });
        assert_eq!((watch.life(first, 2), watch.life(second, 3), watch.life(first, 2)), (1, 2, 1));
        let eye = Eye::new(watch, "gather", rule);
        records.iter().for_each(|(key, sender, life, number)| eye.look(key, Sent { sender: *sender, life: *life, number: *number }));
        let violation = lock(&seen).violation.clone();
        violation.map(|violation| violation.witness)
    }

    #[test]
    fn senders_and_keys_may_come_in_any_order_to_each_other() {
        assert_eq!(judged(Rule::ByKey, &[("a", 0, 1, 4), ("b", 0, 1, 2), ("a", 1, 1, 3), ("a", 0, 2, 0)]), None);
    }

    #[test]
    fn a_record_that_comes_again_or_too_late_is_red() {
        assert!(judged(Rule::ByKey, &[("a", 0, 1, 4), ("a", 0, 1, 4)]).is_some());
        assert!(judged(Rule::ByKey, &[("a", 0, 1, 4), ("a", 0, 1, 3)]).is_some());
        assert!(judged(Rule::InTurn(2), &[("a", 0, 1, 4), ("b", 0, 1, 3)]).is_some());
    }

    #[test]
    fn what_was_under_way_behind_something_new_is_red() {
        assert!(judged(Rule::ByKey, &[("a", 0, 2, 0), ("a", 0, 1, 9)]).is_some_and(|red| red.contains("of life 1 ")));
        assert!(judged(Rule::InTurn(3), &[("b", 0, 2, 7), ("a", 0, 2, 3)]).is_some());
    }

    #[test]
    fn in_turn_nothing_is_promised_at_another_parallelism() {
        assert_eq!(judged(Rule::InTurn(3), &[("a", 0, 1, 4), ("b", 0, 1, 3)]), None);
    }

    #[test]
    fn a_watermark_that_goes_back_is_red_but_not_in_another_life() {
        let seen = nothing_seen();
        let (signals, _heard) = mpsc::unbounded_channel();
        let watch = Watch::nobody().of_next_job(seen.clone(), signals);
        let mut tide = Tide::new(watch.clone());
        tide.came(70, 50);
        tide.fired(60, 60);
        tide.clone().came(10, i64::MIN);
        assert_eq!(lock(&seen).violation, None);
        assert_eq!(watch.reached(), Reached { record_ms: 70, fired_ms: 60 });
        tide.came(80, 59);
        assert!(lock(&seen).violation.as_ref().is_some_and(|violation| violation.invariant == TIDE));
    }

    #[test]
    fn a_copy_of_an_eye_has_seen_nothing() {
        let eye = Eye::new(Watch::nobody(), "gather", Rule::ByKey);
        eye.look("a", Sent { sender: 0, life: 1, number: 4 });
        assert!(eye.clone().seen.lock().expect("nobody panics").is_empty());
    }
}
