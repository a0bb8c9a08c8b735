//! A path through a small world as a scenario for the full engine: what goes wrong on it becomes faults, pinned to the protocol moment
//! that comes before each. What comes when is for the seeds to find.

use cofferdam_engine::observe::Moment;
use cofferdam_explore::bounds::Bound;
use cofferdam_explore::explore::Found;
use cofferdam_explore::moves::{Action, Outcome};
use cofferdam_explore::story::{self, Line};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::world::{Overtaking, World};
use cofferdam_explore::worlds;
use cofferdam_protocol::Timer;
use cofferdam_scenarios::Scenario;
use cofferdam_sim::scenario::{BackendKind, CheckpointSpec, ClusterSpec, FaultSpec, JobKind, JobSpec, NetworkSpec, What, When};

/// Longer than it takes until a worker is missed, or as long as a checkpoint may take.
const FOR_MS: u64 = 2500;
/// How long a process is down.
const DOWN_MS: u64 = 500;
/// Where nothing has happened yet.
const SOON_MS: u64 = 300;
/// How long a disk fails every other time.
const FAILING_MS: u64 = 300;

/// The scenario, if all that goes wrong can be made to go wrong there.
///
/// # Errors
/// What cannot.
pub fn scenario(found: &Found) -> Result<Scenario, String> {
    let mut world = worlds::find(&found.world).ok_or_else(|| format!("no world is called {:?}", found.world))?;
    if world.rescaled.is_some() {
        return Err("the world begins from a checkpoint of another parallelism".into());
    }
    world.bounds = found.bounds.clone();
    let setup = Setup::new(world.clone());
    let actions = story::find_actions(&setup, &found.actions).map_err(|error| error.to_string())?;
    let (mut state, mut seen, mut faults) = (setup.first(), Seen::default(), Vec::new());
    for action in &actions {
        if let Some(what) = fault(action)? {
            faults.push(FaultSpec { when: seen.last(), what });
        }
        let (next, lines) = setup.told(&state, action);
        lines.iter().for_each(|line| seen.see(line));
        state = next;
    }
    let scenario = built(&world, &found.violated, faults);
    scenario.check().map_err(|error| error.to_string())?;
    Ok(scenario)
}

/// The protocol moments of the path so far, with their checkpoints.
#[derive(Default)]
struct Seen(Vec<(&'static str, Option<u64>)>);

impl Seen {
    fn see(&mut self, line: &Line) {
        // Some of what a world tells is no moment of the engine.
        if line.what.parse::<Moment>().is_ok() {
            self.0.push((line.what, line.checkpoint.map(|checkpoint| checkpoint.0)));
        }
    }

    /// When the last one happens: as the how-manieth of its kind, of that checkpoint or a later one.
    fn last(&self) -> When {
        let Some((moment, checkpoint)) = self.0.last() else { return When::AtMs(SOON_MS) };
        let counts = |(other, number): &&(&str, Option<u64>)| other == moment && (checkpoint.is_none() || number >= checkpoint);
        let nth = self.0.iter().filter(counts).count();
        When::Moment { moment: (*moment).to_owned(), checkpoint: *checkpoint, nth: u32::try_from(nth).unwrap_or(u32::MAX) }
    }
}

/// What has to go wrong for this to happen; nothing if it is only a matter of order.
fn fault(action: &Action) -> Result<Option<What>, String> {
    let worker = |worker: &usize| format!("worker-{}", worker + 1);
    let storage = || "storage".to_owned();
    let failing = || Some(What::DiskErrors { node: storage(), per_mille: 500, for_ms: FAILING_MS });
    let never = |why: &str| Err(format!("{action}: {why}"));
    match action {
        Action::Crash(crashed, _) => Ok(Some(What::Crash { node: worker(crashed), down_ms: DOWN_MS })),
        Action::TakeOver(false) => Ok(Some(What::Crash { node: "coordinator".into(), down_ms: DOWN_MS })),
        Action::TakeOver(true) => never("there is one node for coordinators, so no old one lives on"),
        Action::Stray(true) => never("an entry of a dead coordinator arrives late only in an object store"),
        Action::HearTwice(..) | Action::ReportTwice(_) => never("connections repeat nothing"),
        Action::Miss(deaf, _) => Ok(Some(What::Reset { from: "coordinator".into(), to: worker(deaf) })),
        Action::WriteFails(..) | Action::PublishFails(..) => Ok(failing()),
        Action::Journal(_, Outcome::Happened | Outcome::Lost) | Action::Answer(_, _, Outcome::Happened | Outcome::Lost) => Ok(failing()),
        Action::Fire(_, timer) => match timer {
            Timer::WorkerSilent(silent, _) => Ok(Some(What::Isolate { node: silent.to_string().replace('w', "worker-"), for_ms: FOR_MS })),
            Timer::CheckpointDeadline(_) => Ok(Some(What::SlowDisk { node: storage(), latency_ms: FOR_MS, for_ms: FOR_MS })),
            Timer::DeployDeadline(_) | Timer::StopDeadline(_) => never("no fault makes only that late"),
            Timer::Trigger(_)
            | Timer::MinPause(_)
            | Timer::Restart(_)
            | Timer::BackoffReset(_)
            | Timer::FailureForgotten(_)
            | Timer::JournalRetry => Ok(None),
        },
        Action::Read(..)
        | Action::Take(..)
        | Action::Announce(..)
        | Action::Recover(..)
        | Action::TimeOut(..)
        | Action::Hear(..)
        | Action::Written(..)
        | Action::Compact(..)
        | Action::Drain(..)
        | Action::Publish(..)
        | Action::Report(_)
        | Action::ReportBefore(_)
        | Action::Stop(_)
        | Action::Join(_)
        | Action::Journal(_, Outcome::Answered)
        | Action::Answer(_, _, Outcome::Answered)
        | Action::Stray(false)
        | Action::Stuck
        | Action::Quiet => Ok(None),
    }
}

/// A cluster like the world, with a job like it.
fn built(world: &World, violated: &str, faults: Vec<FaultSpec>) -> Scenario {
    let parallelism = world.topology.parallelism.iter().copied().max().unwrap_or(1);
    let (unaligned, aligned_timeout_ms) = match world.overtaking {
        Overtaking::Never => (false, 0),
        Overtaking::AtOnce => (true, 0),
        Overtaking::AfterTimeout => (true, 30),
    };
    Scenario {
        name: format!("explored-{}", world.name),
        story: format!("What goes wrong on a path through the world {} on which {violated} does not hold.", world.name),
        job: JobSpec { kind: if world.transactional { JobKind::Delivery } else { JobKind::WordCount }, parallelism, ..JobSpec::default() },
        cluster: ClusterSpec {
            workers: world.workers,
            slots: world.slots.max(parallelism.div_ceil(world.workers)),
            backend: if world.stores { BackendKind::SortedRuns } else { BackendKind::HashMap },
            ..ClusterSpec::default()
        },
        checkpoints: CheckpointSpec {
            mode: world.mode,
            unaligned,
            aligned_timeout_ms,
            max_concurrent: world.bounds.get(Bound::Concurrent),
            retained: world.bounds.get(Bound::Retained),
            tolerable_failures: world.bounds.get(Bound::Tolerable),
            ..CheckpointSpec::default()
        },
        // Wide enough for messages to overtake each other on different ways.
        network: NetworkSpec { latency_max_ms: 20, ..NetworkSpec::default() },
        faults,
        calm_after_ms: 8_000,
        liveness_bound_ms: 60_000,
        ..steady()
    }
}

/// What every story begins with.
fn steady() -> Scenario {
    let story = cofferdam_scenarios::find("steady-run").expect("it is a built-in story");
    (story.expand)(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cofferdam_sim::run::simulate;
    use cofferdam_sim::verdict::Keep;

    fn found(world: &str, actions: &[&str]) -> Found {
        let bounds = worlds::find(world).expect("it is listed").bounds;
        let actions = actions.iter().map(|action| (*action).to_owned()).collect();
        Found { world: world.into(), violated: "exactly-once".into(), witness: String::new(), bounds, actions }
    }

    #[test]
    fn a_crash_is_pinned_to_the_moment_before_it() {
        let path = ["w0 t0 read", "coord0 fire trigger a1.1", "w0 t0 hear", "w0 t1 take ch0", "w0 t1 take ch0", "w0 crash"];
        let scenario = scenario(&found("two-phase", &path)).expect("crashes are faults");
        let when = When::Moment { moment: "snapshot-taken".into(), checkpoint: Some(1), nth: 2 };
        assert_eq!(scenario.faults, [FaultSpec { when, what: What::Crash { node: "worker-1".into(), down_ms: DOWN_MS } }]);
        let report = simulate(&scenario, 1, Keep::default());
        assert_eq!(report.violation, None);
        assert!(report.restores > 0 || report.faults.contains_key("process-crash"), "{:?}", report.faults);
    }

    #[test]
    fn what_no_fault_can_do_is_named() {
        let why = scenario(&found("failover", &["take-over old-lives-on"])).expect_err("there is one node for coordinators");
        assert!(why.starts_with("take-over old-lives-on: "), "{why}");
    }
}
