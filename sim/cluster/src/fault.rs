//! Everything that can go wrong, and how it is repaired.
//!
//! * here: crashes, links, errors that are told, the user's wishes; what is drawn of them.
//! * `drawing`: what is drawn of the rest.
//! * `messages`, `disks`, `clocks`, `racks`: the rest.

mod clocks;
mod disks;
mod drawing;
mod messages;
mod racks;

pub use clocks::drift;
pub use drawing::{WORLD_KINDS, WORLD_LOCAL_KINDS, WORLD_OBJECT_KINDS};

use crate::atlas;
use crate::disk::{DiskFault, DiskSettings, Silent};
use crate::env::SimTask;
use crate::local_copies;
use crate::network::Meddling;
use crate::object_store::ObjectSettings;
use crate::run::{ROOT, SAVEPOINTS};
use crate::scenario::{What, WorldSpec};
use crate::streams::Concern;
use crate::world::{Crash, NodeIndex, World};
use cofferdam_engine::cluster::message::Command;
use cofferdam_engine::record::{SavepointFormat, Stop};
use cofferdam_protocol::CheckpointId;
use rand::seq::SliceRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::sync::mpsc;

/// The kinds that chaos can draw, by their names in scenario files.
pub const KINDS: &[&str] = &[
    "crash",
    "power-loss",
    "wipe",
    "pause",
    "partition",
    "isolate",
    "reset",
    "slow-link",
    "disk-errors",
    "sync-errors",
    "disk-full",
    "slow-disk",
    "clock-jump",
];

/// Those of the object store, where there is one. Apart, so that what is drawn from the others stays what it is.
pub const OBJECT_KINDS: &[&str] =
    &["object-errors", "object-throttling", "lost-answers", "stale-listings", "partial-reads", "slow-objects", "objects-unavailable"];

/// Those of local copies and of the disks that they are on, where there are any. Apart, as those of the object store.
pub const LOCAL_KINDS: &[&str] = &["corrupt-local", "stale-local", "local-disk-errors", "local-disk-full", "slow-local-disk"];

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn share(per_mille: u32) -> f64 {
    f64::from(per_mille) / 1000.0
}

/// What the user wants.
#[derive(Clone, Debug)]
pub struct Wish {
    /// What is asked for, until it is answered.
    pub command: Command,
    /// Whether it is asked for again when the answer is no.
    pub insist: bool,
}

/// Injects faults, and repairs what they did.
pub struct Injector {
    world: World,
    rng: ChaCha8Rng,
    workers: Vec<NodeIndex>,
    coordinator: NodeIndex,
    storage: NodeIndex,
    disk: DiskSettings,
    objects: ObjectSettings,
    repairs: Vec<SimTask>,
    user: mpsc::UnboundedSender<Wish>,
    savepoints: &'static str,
    /// Where checkpoints are.
    root: &'static str,
    /// Which are retained, as far as is known.
    retained: BTreeSet<CheckpointId>,
    /// How much likelier each kind is to be drawn.
    weights: BTreeMap<String, u32>,
    /// Nodes that stay down once they are.
    stay_down: Vec<String>,
}

impl Injector {
    /// For a world whose nodes are all there, and whose object store is healthy.
    #[must_use]
    pub fn new(
        world: World,
        coordinator: NodeIndex,
        storage: NodeIndex,
        workers: Vec<NodeIndex>,
        disk: DiskSettings,
        user: mpsc::UnboundedSender<Wish>,
    ) -> Self {
        let rng = world.streams().stream(Concern::Faults);
        let objects = world.objects().settings();
        let repairs = Vec::new();
        let (retained, weights, stay_down) = (BTreeSet::new(), BTreeMap::new(), Vec::new());
        let (savepoints, root) = (SAVEPOINTS, ROOT);
        Self { world, rng, workers, coordinator, storage, disk, objects, repairs, user, savepoints, root, retained, weights, stay_down }
    }

    /// In a world that has these ways of its own.
    #[must_use]
    pub fn in_world(self, spec: &WorldSpec, root: &'static str) -> Self {
        Self { weights: spec.weights.clone(), stay_down: spec.stay_down.clone(), root, ..self }
    }

    /// Which checkpoints are retained, before something goes wrong.
    pub fn know_retained(&mut self, retained: &BTreeSet<CheckpointId>) {
        self.retained.clone_from(retained);
    }

    /// Users want their savepoints there.
    #[must_use]
    pub fn saving_to(self, savepoints: &'static str) -> Self {
        Self { savepoints, ..self }
    }

    /// A node by its name in a scenario.
    ///
    /// # Panics
    /// If there is none, which a check of the scenario has ruled out.
    fn node(&mut self, name: &str, acting: NodeIndex) -> NodeIndex {
        match name {
            "acting" => acting,
            "any-worker" => *self.workers.choose(&mut self.rng).expect("a cluster has workers"),
            name => self.world.node(name).expect("a checked scenario names nodes that there are"),
        }
    }

    fn later(&mut self, after_ms: u64, repair: impl FnOnce(&World) + Send + 'static) {
        let world = self.world.clone();
        let task = self.world.spawn("repair", async move {
            world.sleep(ms(after_ms)).await;
            repair(&world);
        });
        self.repairs.push(task);
    }

    fn down(&mut self, node: NodeIndex, crash: Crash, wipe: bool, down_ms: u64) {
        self.world.kill(node, crash);
        if wipe && node != self.storage {
            self.world.wipe(node);
        }
        self.later(down_ms, move |world| {
            if !world.is_up(node) {
                world.restart(node);
            }
        });
    }

    fn disk(&mut self, node: NodeIndex, for_ms: u64, change: impl FnOnce(&mut DiskSettings)) {
        self.world.storage(node).adjust(change);
        let healthy = self.disk;
        self.later(for_ms, move |world| world.storage(node).set(healthy));
    }

    fn objects(&mut self, for_ms: u64, change: impl FnOnce(&mut ObjectSettings)) {
        self.world.objects().adjust(change);
        let healthy = self.objects;
        self.later(for_ms, move |world| world.objects().set(healthy));
    }

    /// Does it now. `acting` is the node that `acting` stands for.
    pub fn inject(&mut self, what: &What, acting: NodeIndex) {
        match what {
            What::Crash { node, down_ms } => {
                let node = self.node(node, acting);
                self.down(node, Crash::Process, false, *down_ms);
            }
            What::PowerLoss { node, down_ms } => {
                let node = self.node(node, acting);
                self.down(node, Crash::Power, false, *down_ms);
            }
            What::Wipe { node, down_ms } => {
                let node = self.node(node, acting);
                self.down(node, Crash::Power, true, *down_ms);
            }
            What::Pause { node, for_ms } => {
                let node = self.node(node, acting);
                self.world.pause(node);
                self.later(*for_ms, move |world| world.resume(node));
            }
            What::Partition { from, to, one_way, for_ms } => {
                let (from, to) = (self.node(from, acting), self.node(to, acting));
                self.cut(&[from], &[to], *one_way, *for_ms);
            }
            What::Isolate { node, for_ms } => {
                let node = self.node(node, acting);
                let storage = self.storage;
                let others: Vec<NodeIndex> = self.world.nodes().into_iter().filter(|other| *other != node && *other != storage).collect();
                self.cut(&[node], &others, false, *for_ms);
            }
            What::Reset { from, to } => {
                let (from, to) = (self.node(from, acting), self.node(to, acting));
                self.world.network().reset_connections(from, to);
            }
            What::SlowLink { from, to, latency_ms, bandwidth_bytes_per_s, for_ms } => {
                let (from, to) = (self.node(from, acting), self.node(to, acting));
                self.world.count_fault("slow-link");
                let link = self.world.network().link(from, to);
                let slow = link.latency(ms(*latency_ms), ms(*latency_ms)).bandwidth(*bandwidth_bytes_per_s);
                self.world.network().set_link(from, to, Some(slow));
                self.later(*for_ms, move |world| world.network().set_link(from, to, None));
            }
            What::DiskErrors { node, per_mille, for_ms } => {
                let node = self.node(node, acting);
                let share = f64::from(*per_mille) / 1000.0;
                self.disk(node, *for_ms, |disk| {
                    disk.error_before = share / 2.0;
                    disk.error_after = share / 2.0;
                });
            }
            What::SyncErrors { node, per_mille, for_ms } => {
                let node = self.node(node, acting);
                self.disk(node, *for_ms, |disk| disk.sync_failure = f64::from(*per_mille) / 1000.0);
            }
            What::DiskFull { node, for_ms } => {
                let node = self.node(node, acting);
                self.world.count_fault("disk-full");
                let used = self.world.storage(node).used_bytes();
                self.disk(node, *for_ms, |disk| disk.capacity_bytes = used);
            }
            What::SlowDisk { node, latency_ms, for_ms } => {
                let node = self.node(node, acting);
                self.world.count_fault("slow-disk");
                let slow = (ms(*latency_ms), ms(*latency_ms));
                self.disk(node, *for_ms, |disk| (disk.op_latency, disk.sync_latency) = (slow, slow));
            }
            What::CorruptLocal { node } => {
                let node = self.node(node, acting);
                local_copies::corrupt(&self.world, node, &mut self.rng);
            }
            What::StaleLocal { node } => {
                let node = self.node(node, acting);
                local_copies::put_back(&self.world, node);
            }
            What::ObjectErrors { per_mille, for_ms } => self.objects(*for_ms, |store| store.errors = f64::from(*per_mille) / 1000.0),
            What::ObjectThrottling { per_mille, for_ms } => {
                self.objects(*for_ms, |store| store.throttled = f64::from(*per_mille) / 1000.0);
            }
            What::LostAnswers { per_mille, for_ms } => self.objects(*for_ms, |store| store.lost_answers = f64::from(*per_mille) / 1000.0),
            What::PartialReads { per_mille, for_ms } => self.objects(*for_ms, |store| store.partial_reads = f64::from(*per_mille) / 1000.0),
            What::StaleListings { lag_ms, for_ms } => self.objects(*for_ms, |store| store.listing_lag = ms(*lag_ms)),
            What::SlowObjects { latency_ms, for_ms } => {
                self.world.count_fault("slow-objects");
                self.objects(*for_ms, |store| store.latency = (Duration::ZERO, ms(*latency_ms)));
            }
            What::ObjectsUnavailable { for_ms } => self.objects(*for_ms, |store| store.unavailable = true),
            // Not faults: the user's wishes go through the user's node.
            What::Cancel {} => self.ask(Command::Cancel, false),
            What::Checkpoint {} => self.ask(Command::Checkpoint, false),
            What::Savepoint { native } => {
                let format = if *native { SavepointFormat::Native } else { SavepointFormat::Canonical };
                self.ask(Command::Savepoint { target: self.savepoints.into(), format }, false);
            }
            What::Stop { drain, native, insist } => {
                let format = if *native { SavepointFormat::Native } else { SavepointFormat::Canonical };
                let how = if *drain { Stop::Drain } else { Stop::Suspend };
                self.ask(Command::Stop { target: self.savepoints.into(), format, how }, *insist);
            }
            What::ClockJump { node, by_ms } => {
                let node = self.node(node, acting);
                self.world.jump(node, *by_ms);
            }
            What::SwizzleClog { for_ms } => self.swizzle(*for_ms),
            What::FalseFailure { from, to } => {
                let (from, to) = (self.node(from, acting), self.node(to, acting));
                self.world.network().report_failed(from, to);
            }
            What::DuplicateNotices { per_mille, for_ms } => {
                self.meddle(*for_ms, share(*per_mille), |meddling| &mut meddling.duplicated_notices)
            }
            What::ReorderNotices { per_mille, for_ms } => {
                self.meddle(*for_ms, share(*per_mille), |meddling| &mut meddling.reordered_notices)
            }
            What::ReorderElements { per_mille, for_ms } => {
                self.meddle(*for_ms, share(*per_mille), |meddling| &mut meddling.reordered_elements)
            }
            What::ClockDrift { node, shape, ppm, period_ms, for_ms } => {
                let node = self.node(node, acting);
                let drifting = drift(&self.world, node, (*shape, *ppm, *period_ms), Some(ms(*for_ms)));
                self.repairs.push(drifting);
            }
            What::Rack { nodes, event, for_ms } => {
                let nodes: Vec<NodeIndex> = nodes.iter().map(|node| self.node(node, acting)).collect();
                self.rack(&nodes, *event, *for_ms);
            }
            What::OtherVersion { node, down_ms, for_ms } => {
                let node = self.node(node, acting);
                self.replace_by_another_release(node, *down_ms, *for_ms);
            }
            What::RotOnRead { node, per_mille, for_ms } => {
                let node = self.node(node, acting);
                let paths = atlas::CHECKED.iter().map(ToString::to_string).collect();
                self.silent(node, Silent { fault: DiskFault::RotOnRead, chance: share(*per_mille), paths }, *for_ms);
            }
            What::ShortReads { node, per_mille, for_ms } => {
                let node = self.node(node, acting);
                self.silent(node, Silent { fault: DiskFault::ShortRead, chance: share(*per_mille), paths: Vec::new() }, *for_ms);
            }
            What::LostWrites { node, per_mille, paths, for_ms } => {
                let node = self.node(node, acting);
                self.silent(node, Silent { fault: DiskFault::LostWrite, chance: share(*per_mille), paths: paths.clone() }, *for_ms);
            }
            What::MisdirectedWrites { node, per_mille, paths, for_ms } => {
                let node = self.node(node, acting);
                self.silent(node, Silent { fault: DiskFault::Misdirected, chance: share(*per_mille), paths: paths.clone() }, *for_ms);
            }
            What::LyingSyncs { node, per_mille, for_ms } => {
                let node = self.node(node, acting);
                self.silent(node, Silent { fault: DiskFault::LyingSync, chance: share(*per_mille), paths: Vec::new() }, *for_ms);
            }
            What::BitRot { node, path } => {
                let node = self.node(node, acting);
                self.rot(node, path);
            }
            What::SpareRot {} => self.rot_spare(),
            What::StallDisk { node, for_ms } => {
                let node = self.node(node, acting);
                self.world.count_fault("stalled-disk");
                let until = self.world.now() + ms(*for_ms);
                self.disk(node, *for_ms, |disk| disk.stalled_until = until);
            }
            What::SlowReads { latency_ms, for_ms } => {
                self.world.count_fault("slow-object-reads");
                self.objects(*for_ms, |store| store.read_latency = (Duration::ZERO, ms(*latency_ms)));
            }
            What::RewriteInput {} => self.rewrite_input(),
        }
    }

    fn ask(&mut self, command: Command, insist: bool) {
        // The user's node asks until it is answered; it lives as long as the world.
        let _ = self.user.send(Wish { command, insist });
    }

    fn cut(&mut self, a: &[NodeIndex], b: &[NodeIndex], one_way: bool, for_ms: u64) {
        self.world.count_fault("partition");
        if one_way {
            self.world.network().partition_one_way(a, b);
        } else {
            self.world.network().partition(a, b);
        }
        let (a, b) = (a.to_vec(), b.to_vec());
        self.later(for_ms, move |world| world.network().heal(&a, &b));
    }

    /// Draws a fault of one of the kinds.
    pub fn draw(&mut self, kinds: &[String]) -> What {
        let engine: Vec<String> = self.workers.iter().chain([&self.coordinator]).map(|node| self.world.name(*node)).collect();
        let mut any = engine.clone();
        any.push(self.world.name(self.storage));
        let rng = &mut self.rng;
        let kind = if self.weights.is_empty() {
            kinds.choose(rng).expect("chaos has at least one kind")
        } else {
            let weight = |kind: &String| self.weights.get(kind).copied().unwrap_or(1).max(1);
            kinds.choose_weighted(rng, weight).expect("chaos has at least one kind, and no weight is 0")
        };
        let engine_node = engine.choose(rng).expect("there are nodes").clone();
        let node = any.choose(rng).expect("there are nodes").clone();
        let other = any.iter().filter(|other| **other != node).collect::<Vec<_>>().choose(rng).expect("there are two nodes").to_string();
        let span = rng.gen_range(50..2500);
        let is_local = LOCAL_KINDS.contains(&kind.as_str()) || WORLD_LOCAL_KINDS.contains(&kind.as_str());
        let local = is_local.then(|| self.workers.choose(rng).expect("a cluster has workers"));
        let of_local = local.map(|worker| self.world.name(*worker)).unwrap_or_default();
        match kind.as_str() {
            "power-loss" => What::PowerLoss { node, down_ms: span },
            "wipe" => What::Wipe { node: engine_node, down_ms: span },
            "pause" => What::Pause { node: engine_node, for_ms: span },
            "partition" => What::Partition { from: node, to: other, one_way: rng.gen_bool(0.4), for_ms: span },
            "isolate" => What::Isolate { node: engine_node, for_ms: span },
            "reset" => What::Reset { from: node, to: other },
            "slow-link" => {
                let bandwidth_bytes_per_s = if rng.gen_bool(0.5) { rng.gen_range(500..20_000) } else { 0 };
                What::SlowLink { from: node, to: other, latency_ms: rng.gen_range(10..400), bandwidth_bytes_per_s, for_ms: span }
            }
            "disk-errors" => What::DiskErrors { node: self.world.name(self.storage), per_mille: rng.gen_range(10..300), for_ms: span },
            "sync-errors" => What::SyncErrors { node: self.world.name(self.storage), per_mille: rng.gen_range(50..600), for_ms: span },
            "disk-full" => What::DiskFull { node: self.world.name(self.storage), for_ms: span },
            "slow-disk" => What::SlowDisk { node: self.world.name(self.storage), latency_ms: rng.gen_range(5..200), for_ms: span },
            "clock-jump" => What::ClockJump { node: engine_node, by_ms: rng.gen_range(-60_000..60_000) },
            "object-errors" => What::ObjectErrors { per_mille: rng.gen_range(10..500), for_ms: span },
            "object-throttling" => What::ObjectThrottling { per_mille: rng.gen_range(100..900), for_ms: span },
            "lost-answers" => What::LostAnswers { per_mille: rng.gen_range(50..700), for_ms: span },
            "stale-listings" => What::StaleListings { lag_ms: rng.gen_range(50..3000), for_ms: span },
            "partial-reads" => What::PartialReads { per_mille: rng.gen_range(100..900), for_ms: span },
            "slow-objects" => What::SlowObjects { latency_ms: rng.gen_range(20..700), for_ms: span },
            "objects-unavailable" => What::ObjectsUnavailable { for_ms: span },
            "corrupt-local" => What::CorruptLocal { node: of_local },
            "stale-local" => What::StaleLocal { node: of_local },
            "local-disk-errors" => What::DiskErrors { node: of_local, per_mille: rng.gen_range(10..400), for_ms: span },
            "local-disk-full" => What::DiskFull { node: of_local, for_ms: span },
            "slow-local-disk" => What::SlowDisk { node: of_local, latency_ms: rng.gen_range(5..100), for_ms: span },
            "crash" => What::Crash { node: engine_node, down_ms: span },
            wider => drawing::draw(wider, rng, &drawing::Drawn { any: &any, engine_node, node, other, worker: of_local, span }),
        }
    }

    /// Ends all faults: everything runs, is connected, and has a healthy disk. What was lost stays lost.
    pub fn calm(&mut self) {
        self.repairs.clear();
        self.world.network().heal_all();
        self.world.network().meddle(|meddling| *meddling = Meddling::default());
        self.world.buggify().end();
        self.world.objects().set(self.objects);
        // The processes of a job before this one are over, and stay so.
        let over = |node: NodeIndex| node != self.storage && node < self.coordinator;
        for from in self.world.nodes().into_iter().filter(|node| !over(*node)) {
            for to in self.world.nodes() {
                self.world.network().set_link(from, to, None);
            }
            self.world.storage(from).set(self.disk);
            self.world.storage(from).end_all_silent();
            self.world.resume(from);
            if self.stay_down.contains(&self.world.name(from)) {
                continue;
            }
            if self.world.release(from) != 0 {
                self.world.install(from, 0);
                self.world.restart(from);
            }
            if !self.world.is_up(from) {
                self.world.restart(from);
            }
        }
    }
}
