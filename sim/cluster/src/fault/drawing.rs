//! What is drawn of the kinds that came later. Apart, so that what is drawn from the others stays what it is. All of it is inside the atlas.

use crate::clock::drift::DriftShape;
use crate::scenario::{RackEvent, What};
use rand::seq::SliceRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

/// Kinds that chaos can draw in any world.
pub const WORLD_KINDS: &[&str] = &[
    "swizzle-clog",
    "false-failure",
    "duplicate-notices",
    "reorder-notices",
    "clock-drift",
    "rack-crash",
    "rack-power-loss",
    "rack-partition",
    "other-version",
    "rot-on-read",
    "short-reads",
    "stall-disk",
    "spare-rot",
];

/// Those of the object store.
pub const WORLD_OBJECT_KINDS: &[&str] = &["slow-object-reads"];

/// Those of the disks with local copies.
pub const WORLD_LOCAL_KINDS: &[&str] =
    &["local-rot", "local-rot-on-read", "lost-local-writes", "misdirected-local-writes", "lying-local-syncs"];

/// What has been drawn for any kind.
pub(super) struct Drawn<'a> {
    /// All nodes.
    pub(super) any: &'a [String],
    /// The coordinator or a worker.
    pub(super) engine_node: String,
    /// Any node.
    pub(super) node: String,
    /// Another one.
    pub(super) other: String,
    /// A worker, for kinds of its disk.
    pub(super) worker: String,
    /// How long it lasts.
    pub(super) span: u64,
}

/// Draws a fault of a kind.
///
/// # Panics
/// If there is no such kind, which a check of the scenario has ruled out.
pub(super) fn draw(kind: &str, rng: &mut ChaCha8Rng, drawn: &Drawn<'_>) -> What {
    let Drawn { any, engine_node, node, other, worker, span } = drawn;
    let (node, span) = (node.clone(), *span);
    let storage = || "storage".to_owned();
    let mut rack = |event| {
        let mut nodes: Vec<String> = any.iter().filter(|_| rng.gen_bool(0.5)).cloned().collect();
        if nodes.is_empty() || nodes.len() == any.len() {
            nodes = vec![engine_node.clone()];
        }
        What::Rack { nodes, event, for_ms: span }
    };
    match kind {
        "rack-crash" => rack(RackEvent::Crash),
        "rack-power-loss" => rack(RackEvent::PowerLoss),
        "rack-partition" => rack(RackEvent::Partition),
        "swizzle-clog" => What::SwizzleClog { for_ms: 2 * span },
        "false-failure" => What::FalseFailure { from: node, to: other.clone() },
        "duplicate-notices" => What::DuplicateNotices { per_mille: rng.gen_range(100..=1000), for_ms: 2 * span },
        "reorder-notices" => What::ReorderNotices { per_mille: rng.gen_range(100..=1000), for_ms: 2 * span },
        "clock-drift" => {
            let shape = *DriftShape::ALL.choose(rng).expect("there are shapes");
            let (ppm, period_ms) = (rng.gen_range(-300_000..=300_000), rng.gen_range(300..3000));
            What::ClockDrift { node: engine_node.clone(), shape, ppm, period_ms, for_ms: 2 * span }
        }
        "other-version" => {
            let workers: Vec<&String> = any.iter().filter(|name| name.starts_with("worker-")).collect();
            let node = workers.choose(rng).map_or_else(|| engine_node.clone(), |name| (*name).clone());
            What::OtherVersion { node, down_ms: rng.gen_range(50..800), for_ms: span }
        }
        // Of what is read wrongly three times in a row, one in ten thousand blocks at most.
        "rot-on-read" => What::RotOnRead { node: storage(), per_mille: rng.gen_range(5..=40), for_ms: span },
        "short-reads" => What::ShortReads { node: storage(), per_mille: rng.gen_range(50..=900), for_ms: span },
        "stall-disk" => What::StallDisk { node: storage(), for_ms: rng.gen_range(200..4000) },
        "spare-rot" => What::SpareRot {},
        "slow-object-reads" => What::SlowReads { latency_ms: rng.gen_range(20..900), for_ms: span },
        "local-rot" => What::BitRot { node: worker.clone(), path: "/local/".into() },
        "local-rot-on-read" => What::RotOnRead { node: worker.clone(), per_mille: rng.gen_range(50..=900), for_ms: span },
        "lost-local-writes" => {
            What::LostWrites { node: worker.clone(), per_mille: rng.gen_range(50..=900), paths: Vec::new(), for_ms: span }
        }
        "misdirected-local-writes" => {
            What::MisdirectedWrites { node: worker.clone(), per_mille: rng.gen_range(50..=900), paths: Vec::new(), for_ms: span }
        }
        "lying-local-syncs" => What::LyingSyncs { node: worker.clone(), per_mille: rng.gen_range(200..=1000), for_ms: span },
        other => unreachable!("a checked scenario draws kinds that there are, not {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::atlas;
    use rand::SeedableRng;

    #[test]
    fn whatever_is_drawn_is_inside_the_atlas() {
        let any: Vec<String> = ["worker-1", "worker-2", "coordinator", "storage"].map(String::from).into();
        for seed in 0..200 {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            for kind in [WORLD_KINDS, WORLD_OBJECT_KINDS, WORLD_LOCAL_KINDS].concat() {
                let drawn = Drawn {
                    any: &any,
                    engine_node: "worker-1".into(),
                    node: "storage".into(),
                    other: "worker-2".into(),
                    worker: "worker-2".into(),
                    span: 100,
                };
                let what = draw(kind, rng, &drawn);
                assert!(matches!(atlas::covers(&what), Ok(Some(_))), "{kind}: {what:?}");
            }
        }
    }
}
