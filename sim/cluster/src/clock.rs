//! The clock of each node: where it started, how fast it runs, how wrong it is.
//!
//! Lives here: the arithmetic. Global simulated time comes in as an argument; only the world knows it.

pub mod drift;

use std::time::Duration;

/// 2024-01-01T00:00:00Z, when every simulation begins.
pub const EPOCH_MS: i64 = 1_704_067_200_000;

/// One node's clocks. Monotonic time drifts and never jumps; the wall clock drifts and jumps.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    /// The node's monotonic time at `since`.
    monotonic: Duration,
    /// The drifting part of the node's wall clock at `since`.
    wall: Duration,
    since: Duration,
    drift_ppm: i32,
    offset_ms: i64,
}

impl Clock {
    /// A perfect clock of a machine that was up for `uptime` when the simulation began.
    #[must_use]
    pub fn new(uptime: Duration) -> Self {
        Self { monotonic: uptime, wall: Duration::ZERO, since: Duration::ZERO, drift_ppm: 0, offset_ms: 0 }
    }

    /// The node's monotonic time.
    #[must_use]
    pub fn monotonic(&self, now: Duration) -> Duration {
        self.monotonic + self.passed(now)
    }

    /// The node's wall clock in milliseconds since 1970.
    #[must_use]
    pub fn wall_ms(&self, now: Duration) -> i64 {
        let wall = self.wall + self.passed(now);
        EPOCH_MS + self.offset_ms + i64::try_from(wall.as_millis()).unwrap_or(i64::MAX)
    }

    /// How long the world waits while this node waits for `local`.
    #[must_use]
    pub fn to_global(&self, local: Duration) -> Duration {
        if self.drift_ppm == 0 {
            return local;
        }
        nanos(i128::try_from(local.as_nanos()).unwrap_or(i128::MAX / 2_000_000) * 1_000_000 / (1_000_000 + i128::from(self.drift_ppm)))
    }

    /// From now on the clock runs fast by so many millionths (slow, if negative).
    pub fn set_drift_ppm(&mut self, now: Duration, drift_ppm: i32) {
        // Why: a clock that stands still or runs backwards would turn every sleep into a hang.
        assert!(drift_ppm > -1_000_000, "a drift of {drift_ppm} ppm is not a clock");
        self.wall += self.passed(now);
        self.monotonic += self.passed(now);
        self.since = now;
        self.drift_ppm = drift_ppm;
    }

    /// The wall clock jumps by so much.
    pub fn jump_ms(&mut self, delta_ms: i64) {
        self.offset_ms += delta_ms;
    }

    /// How wrong the wall clock is, apart from drift.
    #[must_use]
    pub fn offset_ms(&self) -> i64 {
        self.offset_ms
    }

    /// The machine is switched on again: monotonic time starts anew, the wall clock goes on.
    pub fn reboot(&mut self, now: Duration) {
        self.set_drift_ppm(now, self.drift_ppm);
        self.monotonic = Duration::ZERO;
    }

    fn passed(&self, now: Duration) -> Duration {
        let passed = now.saturating_sub(self.since);
        if self.drift_ppm == 0 {
            return passed;
        }
        nanos(i128::try_from(passed.as_nanos()).unwrap_or(i128::MAX / 2_000_000) * (1_000_000 + i128::from(self.drift_ppm)) / 1_000_000)
    }
}

fn nanos(nanos: i128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos.max(0)).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn a_jump_moves_the_wall_clock_and_not_monotonic_time() {
        let mut clock = Clock::new(SECOND * 5);
        clock.jump_ms(-3_000);
        assert_eq!(clock.monotonic(SECOND), SECOND * 6);
        assert_eq!(clock.wall_ms(SECOND), EPOCH_MS - 2_000);
    }

    #[test]
    fn drift_moves_both_clocks_from_now_on() {
        let mut clock = Clock::new(Duration::ZERO);
        clock.set_drift_ppm(SECOND * 10, 100_000);
        assert_eq!(clock.monotonic(SECOND * 20), SECOND * 21);
        assert_eq!(clock.wall_ms(SECOND * 20), EPOCH_MS + 21_000);
        clock.set_drift_ppm(SECOND * 20, -500_000);
        assert_eq!(clock.monotonic(SECOND * 22), SECOND * 22);
    }

    #[test]
    fn a_fast_clock_sleeps_shorter() {
        let mut clock = Clock::new(Duration::ZERO);
        clock.set_drift_ppm(Duration::ZERO, 1_000_000);
        assert_eq!(clock.to_global(SECOND * 2), SECOND);
    }

    #[test]
    fn monotonic_time_never_goes_back_when_the_drift_changes() {
        let mut clock = Clock::new(Duration::ZERO);
        let mut last = Duration::ZERO;
        for (step, drift) in [200_000, -900_000, 0, 17, -17].into_iter().enumerate() {
            let now = SECOND * u32::try_from(step + 1).expect("few steps");
            clock.set_drift_ppm(now, drift);
            assert!(clock.monotonic(now) >= last);
            last = clock.monotonic(now);
        }
    }

    #[test]
    fn a_reboot_restarts_monotonic_time_only() {
        let mut clock = Clock::new(SECOND * 100);
        clock.reboot(SECOND * 3);
        assert_eq!(clock.monotonic(SECOND * 4), SECOND);
        assert_eq!(clock.wall_ms(SECOND * 4), EPOCH_MS + 4_000);
    }
}
