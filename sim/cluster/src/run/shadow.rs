//! Shadows: what was complete is begun from again, in a world of its own where nothing goes wrong.
//!
//! A completed checkpoint is copied as the disk has it at that moment. After the run, another job begins from the copy, on as many
//! subtasks or on more or fewer, with the same backend or another one. Before it reads anything it is asked for a savepoint, and that
//! must be the reference's state over exactly the lines that the checkpoint had consumed: what was restored is what was there.

use super::{JobPlace, Run, OBJECT_ROOT};
use crate::clock::EPOCH_MS;
use crate::disk::View;
use crate::jobs::{Watch, OUTPUT};
use crate::oracle::{decode, finished};
use crate::scenario::{
    BackendKind, ClockSpec, DiskSpec, Expect, FaultSpec, JobKind, NetworkSpec, Scenario, StorageKind, What, When, WorldSpec,
};
use crate::trace::{lock, nothing_seen, StableHasher};
use crate::verdict::{Keep, Violation};
use crate::world::{self, World};
use cofferdam_engine::observe::Moment;
use cofferdam_protocol::coordinator::{ClaimMode, Origin};
use cofferdam_protocol::settings::{RestartStrategy, Retention};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::time::Duration;

/// The copy's folder. Not that of the job: a job that has claimed a snapshot of another one names its files by where they are, and
/// may have files of the same names.
const COPIED: &str = "/shared/checkpoints/copied";
/// The invariant.
const NAME: &str = "restorability";
/// Nothing goes wrong, so it takes a few seconds at most.
const BOUND: Duration = Duration::from_secs(60);
/// No shadow lasts longer.
pub(super) const LIMIT: Duration = Duration::from_secs(180);
/// Sources wait so long before they read anything: for ever.
const NEVER: Duration = Duration::from_secs(600);

/// A completed checkpoint, as it was when it was completed.
pub(super) struct Image {
    checkpoint: CheckpointId,
    at: Duration,
    /// How far the wall clock that is ahead of all others was from where a shadow's begins.
    ahead_ms: i64,
    /// Of which job.
    scenario: Scenario,
    /// What had been read of the input, and what of that was under way.
    read: decode::Checkpoint,
    /// By their paths on the shadow's disk.
    files: BTreeMap<String, Vec<u8>>,
}

/// No world has given out so many numbers.
pub(super) const ABOVE: u64 = 1 << 40;

/// What a shadow is built with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) parallelism: u32,
    pub(super) backend: BackendKind,
}

impl Run {
    /// Keeps a copy of every so-manieth checkpoint.
    pub(super) fn take_image(&mut self, checkpoint: CheckpointId, read: &decode::Checkpoint) {
        let every = self.scenario.checkpoints.shadow_every;
        // Which ones depends on the seed, so that a sweep gets to all of them.
        if every == 0 || !(checkpoint.0 + self.world.streams().seed()).is_multiple_of(every) {
            return;
        }
        if finished::all_sources(self.scenario.job.kind, read) {
            // Nobody would wait: it is over before anybody has asked for something.
            return;
        }
        if read.files.iter().any(|path| path.contains("://")) {
            // What another job has given it stands in an object store by name: a disk has no place for that.
            return;
        }
        let content = read.files.iter().filter_map(|path| {
            let full = if path.starts_with('/') { path.clone() } else { format!("{COPIED}/{path}") };
            // What does not read back was reported when it was judged.
            Some((full, self.durable(path).ok()?))
        });
        let mut files: BTreeMap<String, Vec<u8>> = content.collect();
        if self.delivers() {
            files.extend(self.output_now());
        }
        self.images.push(Image {
            checkpoint,
            at: self.world.now(),
            ahead_ms: self.world.latest_wall_clock_ms() - EPOCH_MS,
            scenario: self.scenario.clone(),
            read: decode::Checkpoint {
                positions: read.positions.clone(),
                read_out: read.read_out.clone(),
                splits: read.splits.clone(),
                enumerators: read.enumerators.clone(),
                in_flight: read.in_flight.clone(),
                ..decode::Checkpoint::default()
            },
            files,
        });
    }
}

/// Drawn from the seed: as many subtasks or others; another backend where the format is nobody's own.
fn draw(scenario: &Scenario, seed: u64, checkpoint: CheckpointId) -> Shape {
    let mut hasher = StableHasher::default();
    (seed, checkpoint.0).hash(&mut hasher);
    let dice = hasher.finish();
    let (job, cluster) = (&scenario.job, &scenario.cluster);
    let most = job.max_parallelism.min(job.parallelism + 2);
    let parallelism = if dice.is_multiple_of(3) { job.parallelism } else { 1 + u32::try_from(dice / 3 % u64::from(most)).unwrap_or(0) };
    let neutral = cluster.backend == BackendKind::HashMap;
    let backend = if neutral && dice / 1000 % 2 == 1 { BackendKind::SortedRuns } else { cluster.backend };
    Shape { parallelism, backend }
}

/// The same job where nothing goes wrong; it takes no checkpoint but the savepoint that it is asked for.
pub(super) fn shadow_of(scenario: &Scenario, shape: Shape, ahead_ms: i64) -> Scenario {
    let mut shadow = scenario.clone();
    shadow.job.parallelism = shape.parallelism;
    shadow.job.pace_ms = u64::try_from(NEVER.as_millis()).expect("minutes fit");
    if shadow.job.hook_fails_every > 0 {
        shadow.job.hook_fails_every = u64::MAX;
    }
    let cluster = &mut shadow.cluster;
    (cluster.backend, cluster.storage) = (shape.backend, StorageKind::FileSystem);
    (cluster.workers, cluster.slots) = (1, shape.parallelism);
    // Whose copies would these be?
    cluster.local_recovery = false;
    // Nothing is written but one savepoint: what was merged and inlined is only read.
    (cluster.inline_below_bytes, cluster.merge) = (0, None);
    let checkpoints = &mut shadow.checkpoints;
    (checkpoints.interval_ms, checkpoints.timeout_ms) = (3_600_000, 3_600_000);
    (checkpoints.interval_during_backlog_ms, checkpoints.shadow_every) = (None, 0);
    (checkpoints.retention, checkpoints.min_pause_ms) = (Retention::Never, 0);
    shadow.restart = RestartStrategy::None;
    (shadow.network, shadow.disk) = (NetworkSpec::default(), DiskSpec::default());
    let when = When::Moment { moment: Moment::JobRunning.name().into(), checkpoint: None, nth: 1 };
    shadow.faults = vec![FaultSpec { when, what: What::Savepoint { native: false } }];
    shadow.world = WorldSpec { load: scenario.world.load, ..WorldSpec::default() };
    (shadow.chaos, shadow.resume, shadow.expect) = (None, None, Expect::Finished);
    // What had expired did so by the clocks of the run.
    let ahead = |node: &str| ClockSpec { node: node.into(), offset_ms: ahead_ms, drift_ppm: 0 };
    shadow.clocks = ["storage", "coordinator", "worker-1"].map(ahead).into();
    let bound = u64::try_from(BOUND.as_millis()).expect("minutes fit");
    (shadow.calm_after_ms, shadow.liveness_bound_ms) = (bound, bound);
    shadow
}

/// Begins from a copy. What is violated in the shadow is a violation of the run, with the shadow's trace if one is kept.
pub(super) fn restore(seed: u64, image: Image, keep: Keep) -> Result<(), (Violation, Vec<String>)> {
    let shape = draw(&image.scenario, seed, image.checkpoint);
    let Shape { parallelism, backend } = shape;
    let (checkpoint, at) = (image.checkpoint, image.at);
    let (seen, story) = (nothing_seen(), shadow_of(&image.scenario, shape, image.ahead_ms));
    let inner = seen.clone();
    let play = move |world: World| async move {
        let mut run = Run::new(world, story, inner, keep);
        run.shadow = true;
        run.watch = Watch::nobody().beginning_at(ABOVE);
        run.play_shadow(image).await;
    };
    let result = world::run(seed, LIMIT, play);
    let mut seen = lock(&seen);
    if let Err(panicked) = result {
        let last = seen.last;
        seen.violated("no-panic", panicked.message, last);
    }
    let Some(Violation { invariant, witness, .. }) = seen.violation.clone() else { return Ok(()) };
    let how = format!("a shadow of {checkpoint} on {parallelism} subtasks, {backend:?}");
    let lines = std::mem::take(&mut seen.trace).into_iter().map(|line| format!("shadow of {checkpoint}: {line}"));
    Err((Violation { invariant: NAME, witness: format!("{how}: {invariant}: {witness}"), at }, lines.collect()))
}

impl Run {
    async fn play_shadow(mut self, image: Image) {
        self.build_storage();
        self.never_end();
        let disk = self.world.storage(self.storage);
        for (path, bytes) in &image.files {
            disk.write_now(path, bytes).expect("a fresh disk takes the copy");
        }
        let path = format!("{COPIED}/chk-{}", image.checkpoint.0);
        let origin = Some(Origin { path, checkpoint: image.checkpoint, claim: ClaimMode::NoClaim });
        let output = if self.delivers() { OUTPUT } else { "/shared/output-shadow" };
        self.job = JobPlace { name: "shadow", root: "/shared/checkpoints/shadow", objects: OBJECT_ROOT, output, network: 0, origin };
        self.read_out.clone_from(&image.read.read_out);
        self.may_be_seen(&image.read);
        self.play_job().await;
        self.judge_shadow();
    }

    /// More in each part of the input, that is never read: sources do not come to their end.
    pub(super) fn never_end(&self) {
        if self.scenario.job.kind == JobKind::Arrivals {
            // Nobody has said that the folder is done.
            return;
        }
        let disk = self.world.storage(self.storage);
        for (path, _) in self.logs.iter().flat_map(|log| &log.partitions) {
            let mut text = disk.read_now(View::Durable, path).expect("the input is there");
            text.extend_from_slice(b"0\n");
            disk.write_now(path, &text).expect("a fresh disk takes the input");
        }
    }

    /// Whoever was restored has been asked for a savepoint.
    pub(super) fn judge_shadow(&mut self) {
        if self.savepoints.is_empty() && lock(&self.seen).violation.is_none() {
            let ended = self.ended.as_ref().map_or("it is not running".into(), |ended| format!("it ended as {ended:?}"));
            self.violated(NAME, format!("no savepoint of what was restored, {ended}"));
        }
        if self.delivers() && lock(&self.seen).violation.is_none() {
            self.judge_recovered();
        }
    }
}
