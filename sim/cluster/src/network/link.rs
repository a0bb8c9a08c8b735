//! The way from one node to another: how slow, how wide, whether open.

use crate::world::NodeIndex;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::time::Duration;

/// How a link behaves. Each direction has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkSettings {
    /// A segment takes at least so long.
    pub latency_min: Duration,
    /// And at most so long, if it need not wait for an earlier one.
    pub latency_max: Duration,
    /// Shared by all connections of the link; 0 is unlimited.
    pub bandwidth_bytes_per_second: u64,
    /// What one connection may have in flight and unread, per direction.
    pub window_bytes: usize,
}

impl Default for LinkSettings {
    fn default() -> Self {
        Self {
            latency_min: Duration::from_millis(1),
            latency_max: Duration::from_millis(5),
            bandwidth_bytes_per_second: 0,
            window_bytes: 64 << 10,
        }
    }
}

impl LinkSettings {
    /// The same, with other latencies.
    #[must_use]
    pub fn latency(self, min: Duration, max: Duration) -> Self {
        Self { latency_min: min, latency_max: max.max(min), ..self }
    }

    /// The same, with another bandwidth.
    #[must_use]
    pub fn bandwidth(self, bytes_per_second: u64) -> Self {
        Self { bandwidth_bytes_per_second: bytes_per_second, ..self }
    }

    /// The same, with another window.
    #[must_use]
    pub fn window(self, bytes: usize) -> Self {
        Self { window_bytes: bytes.max(1), ..self }
    }
}

/// One direction between two nodes.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) settings: LinkSettings,
    /// Does not follow the default any more.
    pub(super) own: bool,
    pub(super) blocked: bool,
    /// When what is already sent is through, at the bandwidth.
    busy_until: Duration,
}

impl Link {
    fn new(settings: LinkSettings) -> Self {
        Self { settings, own: false, blocked: false, busy_until: Duration::ZERO }
    }

    pub(super) fn latency(&self, rng: &mut ChaCha8Rng) -> Duration {
        let LinkSettings { latency_min, latency_max, .. } = self.settings;
        if latency_min >= latency_max {
            return latency_min;
        }
        let (min, max) = (latency_min.as_nanos() as u64, latency_max.as_nanos() as u64);
        Duration::from_nanos(rng.gen_range(min..=max))
    }

    /// When so many bytes, sent now, are there.
    pub(super) fn arrival(&mut self, now: Duration, bytes: usize, rng: &mut ChaCha8Rng) -> Duration {
        let mut sent = now;
        let bandwidth = self.settings.bandwidth_bytes_per_second;
        if bandwidth > 0 {
            let nanos = bytes as u128 * 1_000_000_000 / u128::from(bandwidth);
            sent = self.busy_until.max(now) + Duration::from_nanos(nanos as u64);
            self.busy_until = sent;
        }
        sent + self.latency(rng)
    }
}

/// All links of all nodes.
#[derive(Debug, Default)]
pub(super) struct Links {
    pub(super) standard: LinkSettings,
    /// By from, then to.
    rows: Vec<Vec<Link>>,
}

impl Links {
    pub(super) fn add_node(&mut self) {
        let count = self.rows.len() + 1;
        self.rows.push(Vec::new());
        for row in &mut self.rows {
            row.resize(count, Link::new(self.standard));
        }
    }

    pub(super) fn node_count(&self) -> usize {
        self.rows.len()
    }

    pub(super) fn get(&self, from: NodeIndex, to: NodeIndex) -> &Link {
        &self.rows[from.at()][to.at()]
    }

    pub(super) fn get_mut(&mut self, from: NodeIndex, to: NodeIndex) -> &mut Link {
        &mut self.rows[from.at()][to.at()]
    }

    pub(super) fn set_standard(&mut self, settings: LinkSettings) {
        self.standard = settings;
        for link in self.rows.iter_mut().flatten().filter(|link| !link.own) {
            link.settings = settings;
        }
    }
}
