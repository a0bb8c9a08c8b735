//! How the world behaves beyond its settings and its list of faults.

use crate::clock::drift::DriftShape;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How the world behaves beyond its settings and its list of faults.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct WorldSpec {
    /// Rare things happen at the ports: some of them, drawn from the seed, each as often as is drawn for it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub buggify: bool,
    /// Something goes wrong on purpose that the engine does not promise to survive: see `docs/faults.md`.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub outside_atlas: bool,
    /// Nodes that are not started again when faults end, once they are down.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub stay_down: Vec<String>,
    /// Faults are not repaired after the calm either: what an assumption is that never holds.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub never_calm: bool,
    /// Clocks that go wrong over time.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub drifts: Vec<DriftSpec>,
    /// How much likelier than others each kind of chaos is; 1 if it is not named.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub weights: BTreeMap<String, u32>,
    /// What the input is like.
    #[serde(skip_serializing_if = "LoadSpec::is_even")]
    pub load: LoadSpec,
}

impl WorldSpec {
    /// Whether there is nothing of it.
    #[must_use]
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// A clock that goes wrong over time, from the beginning on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DriftSpec {
    /// Whose.
    pub node: String,
    /// How.
    pub shape: DriftShape,
    /// The largest error of the rate, in parts per million.
    pub ppm: i32,
    /// How long the shape takes.
    pub period_ms: u64,
}

/// What the input is like: skew, hot keys, bursts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoadSpec {
    /// How much more low keys there are than high ones: of so many draws more the lowest counts.
    pub skew: u32,
    /// So many of a hundred records are of one key.
    pub hot_percent: u32,
    /// Records of one key come so many in a row.
    pub burst: u32,
}

impl LoadSpec {
    fn is_even(&self) -> bool {
        *self == Self::default()
    }
}
