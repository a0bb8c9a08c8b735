//! What the records of a key and a window amount to.

use super::{Timely, Window, Windows};
use crate::operator::{Context, Firing, KeyedProcess};
use crate::record::{Collect, EventTime};
use crate::state::key::{Key, StateKey};
use crate::state::{Aggregate, MapState, StateVisitor};
use std::time::Duration;

/// An aggregate whose accumulators can be put together, as sessions need that grow into each other.
pub trait Merge: Aggregate {
    /// Takes in what another accumulator has.
    fn merge(&self, into: &mut Self::Accumulator, other: Self::Accumulator);
}

/// The value of one window of one key. The last one of each window counts: with allowed lateness there may be several.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fired<K, R> {
    /// Whose.
    pub key: K,
    /// When.
    pub window: Window,
    /// What its records so far amount to.
    pub value: R,
}

/// Aggregates per key and window of event time (Flink: `WindowOperator` with `EventTimeTrigger`).
pub struct WindowAggregate<K: StateKey, A: Merge, F> {
    windows: Windows,
    time_of: F,
    aggregate: A,
    lateness_ms: i64,
    contents: MapState<K, Window, A::Accumulator>,
}

impl<K: StateKey, A: Merge, F: Fn(&A::In) -> EventTime> WindowAggregate<K, A, F> {
    /// A record's time comes from the record.
    #[must_use]
    pub fn new(windows: Windows, time_of: F, aggregate: A) -> Self {
        Self { windows, time_of, aggregate, lateness_ms: 0, contents: MapState::default() }
    }

    /// How long after its end a window still takes records in, each of which makes it give out its value again. Without: not at all.
    #[must_use]
    pub fn allowed_lateness(mut self, lateness: Duration) -> Self {
        self.lateness_ms = i64::try_from(lateness.as_millis()).unwrap_or(i64::MAX);
        self
    }

    /// When a window is forgotten.
    fn over_ms(&self, window: Window) -> EventTime {
        window.last_ms().saturating_add(self.lateness_ms)
    }

    /// Takes what other windows of the key hold that this one overlaps, and grows by them. Their timers go.
    fn merged(&mut self, key: &Key<'_, K>, mut window: Window, context: &mut Context<'_, K>) -> (Window, Option<A::Accumulator>) {
        let overlapped: Vec<Window> = self.contents.iter(key).map(|(other, _)| *other).filter(|other| other.overlaps(window)).collect();
        let mut held: Option<A::Accumulator> = None;
        for other in overlapped {
            window = window.cover(other);
            if let Some(accumulator) = self.contents.remove(key, &other) {
                match &mut held {
                    Some(held) => self.aggregate.merge(held, accumulator),
                    None => held = Some(accumulator),
                }
            }
            self.disarm(key, other, context);
        }
        (window, held)
    }

    /// Takes the timers of a window back that is no more, but for those that another one needs.
    fn disarm(&mut self, key: &Key<'_, K>, gone: Window, context: &mut Context<'_, K>) {
        let others: Vec<Window> = self.contents.iter(key).map(|(other, _)| *other).collect();
        for time_ms in [gone.last_ms(), self.over_ms(gone)] {
            if !others.iter().any(|other| other.last_ms() == time_ms || self.over_ms(*other) == time_ms) {
                context.timers().delete_event(key, time_ms);
            }
        }
    }

    fn fire<R>(&mut self, key: &Key<'_, K>, window: Window, out: &mut impl Collect<Timely<Fired<K, A::Out>, R>>) {
        if let Some(accumulator) = self.contents.get(key, &window) {
            let value = self.aggregate.get(accumulator);
            out.collect(Timely::Ready(Fired { key: key.key.clone(), window, value }));
        }
    }
}

impl<K, A, F> KeyedProcess for WindowAggregate<K, A, F>
where
    K: StateKey,
    A: Merge + Send + 'static,
    A::In: Clone + Send,
    A::Out: Send,
    F: Fn(&A::In) -> EventTime + Send + 'static,
{
    type Key = K;
    type In = A::In;
    type Out = Timely<Fired<K, A::Out>, A::In>;

    fn process(&mut self, key: &Key<'_, K>, record: A::In, context: &mut Context<'_, K>, out: &mut impl Collect<Self::Out>) {
        let watermark = context.watermark();
        let mut taken = false;
        for assigned in self.windows.of((self.time_of)(&record)) {
            let (window, held) = if self.windows.merge() { self.merged(key, assigned, context) } else { (assigned, None) };
            if self.over_ms(window) <= watermark {
                // Nothing was held: what it overlaps is not over, nor is then what covers both.
                continue;
            }
            taken = true;
            let aggregate = &self.aggregate;
            self.contents.update(key, window, |accumulator| {
                if let Some(held) = held {
                    *accumulator = held;
                }
                aggregate.add(accumulator, record.clone());
            });
            if window.last_ms() <= watermark {
                self.fire(key, window, out);
            } else {
                context.timers().register_event(key, window.last_ms());
            }
            context.timers().register_event(key, self.over_ms(window));
        }
        if !taken {
            out.collect(Timely::Late(record));
        }
    }

    fn on_timer(&mut self, key: &Key<'_, K>, firing: Firing, _: &mut Context<'_, K>, out: &mut impl Collect<Self::Out>) {
        let windows: Vec<Window> = self.contents.iter(key).map(|(window, _)| *window).collect();
        for window in windows {
            if window.last_ms() == firing.time_ms {
                self.fire(key, window, out);
            }
            if self.over_ms(window) == firing.time_ms {
                self.contents.remove(key, &window);
            }
        }
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<K>) {
        visit.visit("windows", &mut self.contents);
    }
}
