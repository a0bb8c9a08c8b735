//! A sequence of events of one key within a time: the least of Flink's CEP.

use super::Timely;
use crate::operator::{Context, Firing, KeyedProcess};
use crate::record::{Collect, EventTime};
use crate::state::key::{Key, StateKey};
use crate::state::{MapState, StateValue, StateVisitor, ValueState};
use std::sync::Arc;
use std::time::Duration;

type Step<T> = Arc<dyn Fn(&T) -> bool + Send + Sync>;

/// The events of a match so far.
type Partial<T> = Vec<T>;

/// Finds events of a key that follow each other in event time, whatever comes in between (Flink: `followedBy`, each match by itself).
///
/// Records are looked at in the order of their times, once the watermark says that none before them will come; those of one
/// millisecond in the order in which they came. Every event that the first step takes begins a match; a match takes the first event
/// that its next step takes, and is given up `within` after its first event.
pub struct Sequence<K, T: StateValue, F> {
    time_of: F,
    steps: Vec<Step<T>>,
    within_ms: i64,
    waiting: MapState<K, EventTime, Vec<T>>,
    partial: ValueState<K, Vec<Partial<T>>>,
}

impl<K: StateKey, T: StateValue, F: Fn(&T) -> EventTime> Sequence<K, T, F> {
    /// Begins with an event that `first` is true of, and ends less than `within` (in event time) after it.
    #[must_use]
    pub fn new(within: Duration, time_of: F, first: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        let within_ms = i64::try_from(within.as_millis()).unwrap_or(i64::MAX);
        Self { time_of, steps: vec![Arc::new(first)], within_ms, waiting: MapState::default(), partial: ValueState::default() }
    }

    /// Goes on with a later event that `step` is true of.
    #[must_use]
    pub fn followed_by(mut self, step: impl Fn(&T) -> bool + Send + Sync + 'static) -> Self {
        self.steps.push(Arc::new(step));
        self
    }

    /// When a match that begins with this event is given up.
    fn end_ms(&self, first: &T) -> EventTime {
        (self.time_of)(first).saturating_add(self.within_ms)
    }

    /// One event in its turn.
    fn advance(&self, partials: &mut Vec<Partial<T>>, event: &T, found: &mut Vec<Vec<T>>) {
        for partial in partials.iter_mut().filter(|partial| (self.steps[partial.len()])(event)) {
            partial.push(event.clone());
        }
        if (self.steps[0])(event) {
            partials.push(vec![event.clone()]);
        }
        let whole = self.steps.len();
        found.extend(partials.extract_if(.., |partial| partial.len() == whole));
    }
}

impl<K, T, F> KeyedProcess for Sequence<K, T, F>
where
    K: StateKey,
    T: StateValue,
    F: Fn(&T) -> EventTime + Send + 'static,
{
    type Key = K;
    type In = T;
    /// The events of a match, in order.
    type Out = Timely<Vec<T>, T>;

    fn process(&mut self, key: &Key<'_, K>, record: T, context: &mut Context<'_, K>, out: &mut impl Collect<Self::Out>) {
        let time = (self.time_of)(&record);
        if time <= context.watermark() {
            out.collect(Timely::Late(record));
            return;
        }
        self.waiting.update(key, time, |waiting| waiting.push(record));
        context.timers().register_event(key, time);
    }

    fn on_timer(&mut self, key: &Key<'_, K>, firing: Firing, context: &mut Context<'_, K>, out: &mut impl Collect<Self::Out>) {
        let mut partials = self.partial.get(key).cloned().unwrap_or_default();
        partials.retain(|partial| self.end_ms(&partial[0]) > firing.time_ms);
        let mut found = Vec::new();
        for event in self.waiting.remove(key, &firing.time_ms).unwrap_or_default() {
            self.advance(&mut partials, &event, &mut found);
        }
        for begun in partials.iter().filter(|partial| partial.len() == 1) {
            context.timers().register_event(key, self.end_ms(&begun[0]));
        }
        if partials.is_empty() {
            self.partial.clear(key);
        } else {
            self.partial.set(key, partials);
        }
        found.into_iter().for_each(|events| out.collect(Timely::Ready(events)));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<K>) {
        visit.visit("waiting", &mut self.waiting);
        visit.visit("partial", &mut self.partial);
    }
}
