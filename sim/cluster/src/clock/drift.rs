//! How a clock goes wrong over time: the shapes of TigerBeetle's `time.zig`, and what an NTP daemon makes of them.
//!
//! Lives here: what the rate is when, and when the wall clock is set. All of it is piecewise constant, so that one more
//! [`set_drift_ppm`](super::Clock::set_drift_ppm) per piece is all that it takes, and in integers, so that it is the same everywhere.

use serde::{Deserialize, Serialize};

/// The shape of a clock's error over time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DriftShape {
    /// Always as fast: the error grows without end.
    Constant,
    /// Right for a period, then wrong by the whole of it at once, and right in rate from there on.
    Step,
    /// Too fast for a period, then set right, and again.
    Sawtooth,
    /// Too fast and too slow by turns, smoothly.
    Sinusoidal,
}

impl DriftShape {
    /// All of them.
    pub const ALL: &'static [Self] = &[Self::Constant, Self::Step, Self::Sawtooth, Self::Sinusoidal];
}

/// A thousand times the cosine, at each sixteenth of a turn.
const COSINE: [i32; 16] = [1000, 924, 707, 383, 0, -383, -707, -924, -1000, -924, -707, -383, 0, 383, 707, 924];

/// From one change to the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The wall clock is set by so much at the beginning.
    pub set_by_ms: i64,
    /// The rate from then on.
    pub ppm: i32,
    /// For so long; for ever if there is no end.
    pub for_ms: Option<u64>,
}

/// The how-manieth piece of a clock's error, from 0. `ppm` is the largest error of the rate, `period_ms` how long the shape takes.
#[must_use]
pub fn piece(shape: DriftShape, ppm: i32, period_ms: u64, number: u64) -> Piece {
    let period_ms = period_ms.max(16);
    // What the rate amounts to over a period.
    let gained_ms = i64::from(ppm) * i64::try_from(period_ms).unwrap_or(i64::MAX / 1_000_000) / 1_000_000;
    match shape {
        DriftShape::Constant => Piece { set_by_ms: 0, ppm, for_ms: None },
        DriftShape::Step if number == 0 => Piece { set_by_ms: 0, ppm: 0, for_ms: Some(period_ms) },
        DriftShape::Step => Piece { set_by_ms: gained_ms, ppm: 0, for_ms: None },
        DriftShape::Sawtooth => Piece { set_by_ms: if number == 0 { 0 } else { -gained_ms }, ppm, for_ms: Some(period_ms) },
        DriftShape::Sinusoidal => {
            let cosine = COSINE[usize::try_from(number % 16).unwrap_or(0)];
            let rate = i64::from(ppm) * i64::from(cosine) / 1000;
            Piece { set_by_ms: 0, ppm: i32::try_from(rate).unwrap_or(ppm), for_ms: Some(period_ms / 16) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Clock, EPOCH_MS};
    use super::*;
    use std::time::Duration;

    /// The error of the wall clock every second, over twelve seconds, with a period of four.
    fn errors(shape: DriftShape) -> Vec<i64> {
        let mut clock = Clock::new(Duration::ZERO);
        let (mut number, mut changes_at, mut errors) = (0, Some(0), Vec::new());
        for ms in 0..=12_000_u64 {
            let now = Duration::from_millis(ms);
            while changes_at.is_some_and(|at| at <= ms) {
                let piece = piece(shape, 100_000, 4000, number);
                clock.set_drift_ppm(now, piece.ppm);
                clock.jump_ms(piece.set_by_ms);
                (number, changes_at) = (number + 1, piece.for_ms.map(|long| ms + long));
            }
            if ms % 1000 == 0 {
                errors.push(clock.wall_ms(now) - EPOCH_MS - i64::try_from(ms).expect("few"));
            }
        }
        errors
    }

    #[test]
    fn a_constant_drift_grows_without_end() {
        assert_eq!(errors(DriftShape::Constant), (0..=12).map(|second| second * 100).collect::<Vec<_>>());
    }

    #[test]
    fn a_step_is_one_and_stays() {
        assert_eq!(errors(DriftShape::Step), [vec![0; 4], vec![400; 9]].concat());
    }

    #[test]
    fn a_sawtooth_is_set_right_again_and_again() {
        assert_eq!(errors(DriftShape::Sawtooth), [0, 100, 200, 300, 0, 100, 200, 300, 0, 100, 200, 300, 0]);
    }

    #[test]
    fn a_sine_goes_out_and_comes_back() {
        let errors = errors(DriftShape::Sinusoidal);
        // A quarter of a turn out, half of one back, and so on; steps are coarser than a sine.
        assert!(errors[1] > 60 && errors[3] < 0, "{errors:?}");
        assert!([4, 8, 12].iter().all(|at| errors[*at].abs() <= 1), "{errors:?}");
        assert!(errors.iter().all(|error| error.abs() < 100), "{errors:?}");
    }
}
