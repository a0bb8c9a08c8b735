//! Power loss at every step: while a job runs, the storage node's disk is kept as it is after each change. Afterwards every image
//! that a power loss at one of these instants can leave is enumerated, and the whole job is started again on each of them, in a
//! world of its own. It must begin from a checkpoint that was complete, and from none older than the last one that was announced.

use super::shadow::{self, Shape, ABOVE};
use super::{Run, ROOT};
use crate::disk::Image;
use crate::jobs::{Watch, OUTPUT};
use crate::scenario::Scenario;
use crate::trace::{lock, nothing_seen};
use crate::verdict::{Keep, Violation};
use crate::world;
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

/// What came of it.
#[derive(Debug, Default)]
pub struct Outcome {
    /// Changes of the disk.
    pub instants: usize,
    /// Different images.
    pub images: usize,
    /// How many of them were begun from which checkpoint; from none, where none was complete.
    pub begun_from: BTreeMap<Option<CheckpointId>, usize>,
    /// The first image that was not recovered from as it must be.
    pub violation: Option<Violation>,
}

/// Runs a scenario, and loses power at each change of the disk between two completed checkpoints, counted from 0. Of more than `most`
/// unsynced operations some are only there or not there all together.
///
/// # Panics
/// If the scenario has no such checkpoints: it is too short.
#[must_use]
pub fn everywhere(scenario: &Scenario, seed: u64, between: Range<usize>, most: usize) -> Outcome {
    let (seen, mut story) = (nothing_seen(), scenario.clone());
    story.checkpoints.shadow_every = 0;
    let (inner, quiet) = (seen.clone(), Keep::default());
    let limit = Duration::from_millis(story.calm_after_ms + story.liveness_bound_ms) + Duration::from_secs(60);
    let play = move |world: world::World| async move {
        let mut run = Run::new(world, story, inner, quiet);
        run.build_storage();
        run.world.storage(run.storage).record();
        run.play_job().await;
        (run.world.storage(run.storage).recorded(), run.completed)
    };
    let (recorded, completed) = world::run(seed, limit, play).unwrap_or_default();
    let mut outcome = Outcome { violation: lock(&seen).violation.clone(), ..Outcome::default() };
    let (from, to) = (completed[between.start].0, completed[between.end].0);
    // Many instants leave the same images; each is begun from once, at the last instant that leaves it: most is known by then.
    let mut images: BTreeMap<Image, Duration> = BTreeMap::new();
    for instant in recorded.iter().filter(|instant| (from..=to).contains(&instant.at)) {
        outcome.instants += 1;
        images.extend(instant.images(most).into_iter().map(|image| (image, instant.at)));
    }
    outcome.images = images.len();
    for (image, at) in images {
        if outcome.violation.is_some() {
            break;
        }
        let announced = completed.iter().filter(|(when, _)| *when < at).map(|(_, checkpoint)| *checkpoint).next_back();
        match begin_again(scenario, seed, (image, at), announced) {
            Ok(checkpoint) => *outcome.begun_from.entry(checkpoint).or_default() += 1,
            Err(witness) => outcome.violation = Some(Violation { invariant: "restorability", witness, at }),
        }
    }
    outcome
}

/// Starts everything on an image. Gives the checkpoint that the job began from.
fn begin_again(
    scenario: &Scenario,
    seed: u64,
    (image, at): (Image, Duration),
    announced: Option<CheckpointId>,
) -> Result<Option<CheckpointId>, String> {
    let shape = Shape { parallelism: scenario.job.parallelism, backend: scenario.cluster.backend };
    let (seen, story) = (nothing_seen(), shadow::shadow_of(scenario, shape, i64::try_from(at.as_millis()).expect("hours fit")));
    let inner = seen.clone();
    let play = move |world: world::World| async move {
        let mut run = Run::new(world, story, inner, Keep::default());
        run.shadow = true;
        run.watch = Watch::nobody().beginning_at(ABOVE);
        run.build_storage();
        run.never_end();
        let disk = run.world.storage(run.storage);
        let of_the_job = |path: &str| path.starts_with(ROOT) || (run.delivers() && path.starts_with(OUTPUT));
        for folder in image.folders.iter().filter(|folder| of_the_job(folder)) {
            disk.create_folders_now(folder);
        }
        for (path, bytes) in image.files.iter().filter(|(path, _)| of_the_job(path)) {
            disk.write_now(path, bytes).expect("a fresh disk takes the image");
        }
        run.play_job().await;
        run.judge_shadow();
        run.restoring.values().map(|read| CheckpointId(read.number)).next_back()
    };
    let begun = world::run(seed, shadow::LIMIT, play).map_err(|panicked| panicked.message)?;
    if let Some(Violation { invariant, witness, .. }) = &lock(&seen).violation {
        return Err(format!("{invariant}: {witness}"));
    }
    match (begun, announced) {
        (None, Some(announced)) => Err(format!("{announced} was complete, and the job begins from nothing")),
        (Some(begun), Some(announced)) if begun < announced => Err(format!("{announced} was complete, and the job begins from {begun}")),
        _ => Ok(begun),
    }
}
