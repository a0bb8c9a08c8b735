//! How watermarks of several inputs become one (Flink: `StatusWatermarkValve`, `WatermarkStatus`).
//!
//! ```text
//! active    its watermark counts: the combined one is the least of these, and never goes back
//! idle      nothing comes, so it holds nobody up; what it said before is kept, for when it comes back
//! ```
//!
//! An input that comes back may be behind by then. It does not count before it has caught up: it would hold up what went on without it,
//! and what it gives until then may be late.
//!
//! Lives here: the combining. Never here: when a split is idle (its source says so), and snapshots: watermarks begin anew after a restore,
//! and every input is active.

use crate::record::EventTime;
use serde::{Deserialize, Serialize};

/// Whether the watermark of an input counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum WatermarkStatus {
    /// It does.
    #[default]
    Active,
    /// Nothing comes, and nobody is to wait for it.
    Idle,
}

/// What has changed for those behind, in order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// All inputs were idle, and one is not any more.
    pub active: bool,
    /// The combined watermark has advanced to this.
    pub watermark: Option<EventTime>,
    /// All inputs are idle now.
    pub idle: bool,
}

impl Change {
    /// Whether there is one.
    #[must_use]
    pub fn is_any(&self) -> bool {
        *self != Self::default()
    }
}

#[derive(Clone, Copy, Debug)]
struct Input {
    watermark: EventTime,
    status: WatermarkStatus,
    /// Came back, and is not where the others are.
    behind: bool,
}

/// The watermark of several inputs.
#[derive(Clone, Debug)]
pub struct Combined {
    inputs: Vec<Input>,
    watermark: EventTime,
    status: WatermarkStatus,
}

impl Combined {
    /// Nothing is known of so many inputs, all of them active.
    #[must_use]
    pub fn new(inputs: usize) -> Self {
        let input = Input { watermark: EventTime::MIN, status: WatermarkStatus::Active, behind: false };
        Self { inputs: vec![input; inputs], watermark: EventTime::MIN, status: WatermarkStatus::Active }
    }

    /// An input says that no record before this time will follow. An idle one has nothing to say: it becomes active first.
    pub fn advance(&mut self, index: usize, watermark: EventTime) -> Change {
        let input = &mut self.inputs[index];
        if input.status == WatermarkStatus::Idle {
            return Change::default();
        }
        input.watermark = watermark.max(input.watermark);
        input.behind &= input.watermark < self.watermark;
        Change { watermark: self.least(), ..Change::default() }
    }

    /// An input becomes idle, or active again.
    pub fn turn(&mut self, index: usize, status: WatermarkStatus) -> Change {
        let input = &mut self.inputs[index];
        if input.status == status {
            return Change::default();
        }
        input.status = status;
        match status {
            WatermarkStatus::Active => {
                input.behind = input.watermark < self.watermark;
                let active = self.status == WatermarkStatus::Idle;
                self.status = WatermarkStatus::Active;
                Change { active, ..Change::default() }
            }
            WatermarkStatus::Idle if self.inputs.iter().all(|input| input.status == WatermarkStatus::Idle) => {
                // Nobody is waited for any more: what the one that was furthest has said is as good as any.
                self.status = WatermarkStatus::Idle;
                let furthest = self.inputs.iter().map(|input| input.watermark).max();
                Change { watermark: furthest.and_then(|furthest| self.reach(furthest)), idle: true, ..Change::default() }
            }
            WatermarkStatus::Idle => Change { watermark: self.least(), ..Change::default() },
        }
    }

    fn least(&mut self) -> Option<EventTime> {
        let counting = self.inputs.iter().filter(|input| input.status == WatermarkStatus::Active && !input.behind);
        let least = counting.map(|input| input.watermark).min()?;
        self.reach(least)
    }

    fn reach(&mut self, watermark: EventTime) -> Option<EventTime> {
        (watermark > self.watermark).then(|| {
            self.watermark = watermark;
            watermark
        })
    }
}

#[cfg(test)]
mod tests {
    use super::WatermarkStatus::{Active, Idle};
    use super::*;
    use proptest::prelude::*;

    fn only(watermark: EventTime) -> Change {
        Change { watermark: Some(watermark), ..Change::default() }
    }

    #[test]
    fn the_least_of_all_inputs_counts() {
        let mut combined = Combined::new(2);
        assert!(!combined.advance(0, 50).is_any());
        assert_eq!(combined.advance(1, 20), only(20));
        assert_eq!(combined.advance(1, 60), only(50));
    }

    #[test]
    fn an_idle_input_holds_nobody_up() {
        let mut combined = Combined::new(2);
        combined.advance(0, 50);
        assert_eq!(combined.turn(1, Idle), only(50));
        assert_eq!(combined.advance(0, 70), only(70));
    }

    #[test]
    fn an_input_that_comes_back_behind_the_others_counts_when_it_has_caught_up() {
        let mut combined = Combined::new(2);
        combined.turn(1, Idle);
        combined.advance(0, 70);
        assert!(!combined.turn(1, Active).is_any());
        assert!(!combined.advance(1, 30).is_any());
        assert_eq!(combined.advance(0, 80), only(80));
        assert!(!combined.advance(1, 85).is_any());
        assert_eq!(combined.advance(0, 90), only(85));
    }

    #[test]
    fn an_input_that_comes_back_where_the_others_are_counts_at_once() {
        let mut combined = Combined::new(2);
        combined.advance(1, 90);
        combined.turn(1, Idle);
        combined.advance(0, 70);
        combined.turn(1, Active);
        assert_eq!(combined.advance(0, 100), only(90));
    }

    #[test]
    fn where_all_are_idle_the_furthest_counts_and_the_first_to_come_back_is_told() {
        let mut combined = Combined::new(2);
        combined.advance(0, 50);
        combined.advance(1, 90);
        assert!(!combined.turn(1, Idle).is_any());
        assert_eq!(combined.turn(0, Idle), Change { watermark: Some(90), idle: true, active: false });
        assert!(!combined.turn(0, Idle).is_any());
        assert!(!combined.advance(0, 99).is_any());
        assert_eq!(combined.turn(0, Active), Change { active: true, ..Change::default() });
        assert!(!combined.turn(1, Active).is_any());
    }

    proptest! {
        /// Against the rule itself: whatever happens, the watermark never goes back, and never waits for an idle input.
        #[test]
        fn it_never_goes_back_and_never_waits_for_an_idle_input(
            steps in proptest::collection::vec((0..3_usize, 0..100_i64, 0..4_u8), 0..200),
        ) {
            let mut combined = Combined::new(3);
            let (mut said, mut idle, mut shown) = ([EventTime::MIN; 3], [false; 3], EventTime::MIN);
            for (input, time, kind) in steps {
                let change = match kind {
                    0 => { idle[input] = true; combined.turn(input, Idle) }
                    1 => { idle[input] = false; combined.turn(input, Active) }
                    _ => {
                        if !idle[input] { said[input] = said[input].max(time); }
                        combined.advance(input, time)
                    }
                };
                if let Some(watermark) = change.watermark {
                    prop_assert!(watermark > shown);
                    shown = watermark;
                }
                prop_assert!(!change.idle || idle.iter().all(|idle| *idle));
                let active: Vec<_> = (0..3).filter(|input| !idle[*input]).map(|input| said[input]).collect();
                if let Some(least) = active.iter().min() {
                    prop_assert!(shown >= *least, "{shown} waits for somebody who is idle: {said:?} {idle:?}");
                }
            }
        }
    }
}
