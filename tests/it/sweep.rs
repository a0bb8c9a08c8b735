//! Every built-in scenario over pinned seeds: nothing may be violated, and what the stories tell must really have happened.

use crate::parallel;
use cofferdam_engine::observe::Moment;
use cofferdam_protocol::settings::Mode;
use cofferdam_scenarios::Scenario;
use cofferdam_sim::atlas::Guarantee;
use cofferdam_sim::buggify::Point;
use cofferdam_sim::fault::{KINDS, LOCAL_KINDS, OBJECT_KINDS, WORLD_KINDS, WORLD_LOCAL_KINDS, WORLD_OBJECT_KINDS};
use cofferdam_sim::run::simulate;
use cofferdam_sim::scenario::{Expect, RackEvent, What};
use cofferdam_sim::verdict::{Keep, Report};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::sync::OnceLock;

/// Of each story.
const SEEDS: u64 = 3;
/// One seed in so many has every machine replayed.
const VALIDATED: u64 = 3;
/// Of the swarms, whose seeds are worlds of their own.
const SWARM_SEEDS: u64 = 100;
/// Few of its worlds keep local copies.
const ROCKSDB_SWARM_SEEDS: u64 = 200;
/// Seeds that have found something before: `name seed`, one per line.
const REGRESSIONS: &str = include_str!("../../scenarios/seeds/regressions.txt");

/// One run, and what its trace tells.
struct Run {
    scenario: Scenario,
    report: Report,
    moments: BTreeSet<Moment>,
    /// Why checkpoints failed.
    reasons: BTreeSet<String>,
    /// How many checkpoints were pending at once, at most.
    pending_at_once: usize,
}

impl Run {
    fn new(name: &str, seed: u64) -> Self {
        let story = cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}"));
        let scenario = (story.expand)(seed);
        let mut report = simulate(&scenario, seed, Keep { trace: true, validate: seed.is_multiple_of(VALIDATED), ..Keep::default() });
        let (mut moments, mut reasons) = (BTreeSet::new(), BTreeSet::new());
        let (mut pending, mut pending_at_once) = (BTreeSet::new(), 0);
        // The lines are long, and there are hundreds of thousands of them.
        for line in std::mem::take(&mut report.trace) {
            let words: Vec<&str> = line.split_whitespace().collect();
            let Some((at, moment)) = words.iter().enumerate().find_map(|(at, word)| Some((at, word.parse::<Moment>().ok()?))) else {
                continue;
            };
            moments.insert(moment);
            let checkpoint = words[at - 1].to_owned();
            match moment {
                Moment::TookOver => pending.clear(),
                Moment::CheckpointTriggered => {
                    pending.insert(checkpoint);
                    pending_at_once = pending_at_once.max(pending.len());
                }
                Moment::CheckpointCompleted => {
                    pending.remove(&checkpoint);
                }
                Moment::CheckpointAborted => {
                    pending.remove(&checkpoint);
                    reasons.insert(words[at + 1..].join(" "));
                }
                _ => {}
            }
        }
        // Batches are no lines.
        moments.extend((report.records > 0).then_some(Moment::Batch));
        Self { scenario, report, moments, reasons, pending_at_once }
    }

    fn replay(&self) -> String {
        format!("cargo run --release -- replay {} --seed {}", self.scenario.name, self.report.seed)
    }

    fn counted(&self, kinds: &[&str]) -> u64 {
        kinds.iter().filter_map(|kind| self.report.faults.get(kind)).sum()
    }
}

/// What is there to harm only now and then.
const HARMS: &[&str] = &["local-rot", "local-rot-on-read", "lying-local-syncs", "rot-on-read", "spare-rot", "slow-object-reads"];
/// Enough for each of its faults to be drawn.
const PATTERNS_SEEDS: u64 = 10;

fn pinned() -> Vec<(&'static str, u64)> {
    let seeds = |name: &str| match name {
        "rocksdb-swarm" => ROCKSDB_SWARM_SEEDS,
        "patterns-under-fire" => PATTERNS_SEEDS,
        swarm if swarm.ends_with("swarm") => SWARM_SEEDS,
        _ => SEEDS,
    };
    let stories = cofferdam_scenarios::all().into_iter().flat_map(|story| (0..seeds(story.name)).map(move |seed| (story.name, seed)));
    stories.chain(regressions()).collect()
}

fn regressions() -> impl Iterator<Item = (&'static str, u64)> {
    let lines = REGRESSIONS.lines().map(|line| line.split('#').next().unwrap_or_default().trim()).filter(|line| !line.is_empty());
    lines.map(|line| {
        let (name, seed) = line.split_once(' ').unwrap_or_else(|| panic!("{line:?} is not `name seed`"));
        (name, seed.trim().parse().unwrap_or_else(|_| panic!("{seed:?} is not a seed")))
    })
}

/// All of them, simulated once for all tests of this file.
fn runs() -> &'static [Run] {
    static RUNS: OnceLock<Vec<Run>> = OnceLock::new();
    RUNS.get_or_init(|| parallel::map(&pinned(), |(name, seed)| Run::new(name, *seed)))
}

fn of(name: &str) -> Vec<&'static Run> {
    let runs: Vec<&Run> = runs().iter().filter(|run| run.scenario.name == name).collect();
    assert!(!runs.is_empty(), "there is no scenario {name}");
    runs
}

/// Fails with a line, and a command that shows what is meant, for each run or name that is not as it should be.
fn assert_none(what: &str, wrong: &[String]) {
    assert!(wrong.is_empty(), "{what}:\n  {}\n", wrong.join("\n  "));
}

#[test]
fn every_invariant_holds_in_every_pinned_run() {
    let mut text = String::new();
    for run in runs() {
        let Some(violation) = &run.report.violation else { continue };
        let (name, seed, at) = (&run.scenario.name, run.report.seed, violation.at.as_secs_f64());
        let _ = writeln!(text, "{} is violated in {name} with seed {seed} at {at:.3} s", violation.invariant);
        let _ = writeln!(text, "  witness  {}", violation.witness);
        let _ = writeln!(text, "  replay   {}", run.replay());
    }
    assert!(text.is_empty(), "\n{text}");
}

/// How a kind that chaos can draw is counted once it has really happened. Two that look alike count alike.
fn counted_as(kind: &str) -> &'static [&'static str] {
    match kind {
        "crash" => &["process-crash"],
        "power-loss" => &["power-loss"],
        "wipe" => &["disk-wiped"],
        "pause" => &["pause"],
        "partition" | "isolate" => &["partition"],
        "reset" => &["connection-reset"],
        "slow-link" => &["slow-link"],
        "disk-errors" => &["disk-error-before", "disk-error-after"],
        "sync-errors" => &["sync-failure"],
        "disk-full" => &["disk-full"],
        "slow-disk" => &["slow-disk"],
        "clock-jump" => &["clock-jump"],
        "object-errors" => &["object-error"],
        "object-throttling" => &["object-throttled"],
        "lost-answers" => &["lost-answer"],
        "stale-listings" => &["stale-listing"],
        "partial-reads" => &["partial-read"],
        "slow-objects" => &["slow-objects"],
        "objects-unavailable" => &["object-unavailable"],
        "corrupt-local" => &["local-copy-corrupted"],
        "stale-local" => &["local-copy-put-back"],
        "local-disk-errors" => &["disk-error-before", "disk-error-after"],
        "local-disk-full" => &["disk-full"],
        "slow-local-disk" => &["slow-disk"],
        "swizzle-clog" => &["swizzle-clog"],
        "false-failure" => &["delivered-reported-failed"],
        "duplicate-notices" => &["duplicated-notice"],
        "reorder-notices" => &["reordered-notice"],
        "clock-drift" => &["clock-drift"],
        "rack-crash" => &["rack-crash"],
        "rack-power-loss" => &["rack-power-loss"],
        "rack-partition" => &["rack-partition"],
        "other-version" => &["other-version"],
        "rot-on-read" | "local-rot-on-read" => &["rot-on-read"],
        "short-reads" => &["short-read"],
        "stall-disk" => &["stalled-disk"],
        "spare-rot" | "local-rot" => &["bit-rot"],
        "lost-local-writes" => &["lost-write"],
        "misdirected-local-writes" => &["misdirected-write"],
        "lying-local-syncs" => &["lying-sync"],
        "slow-object-reads" => &["slow-object-reads"],
        other => panic!("how is {other} counted?"),
    }
}

fn kind(what: &What) -> &'static str {
    match what {
        // No faults, and told by the moments of these stories.
        What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. } | What::Stop { .. } => "user",
        What::Crash { .. } => "crash",
        What::PowerLoss { .. } => "power-loss",
        What::Wipe { .. } => "wipe",
        What::Pause { .. } => "pause",
        What::Partition { .. } => "partition",
        What::Isolate { .. } => "isolate",
        What::Reset { .. } => "reset",
        What::SlowLink { .. } => "slow-link",
        What::DiskErrors { .. } => "disk-errors",
        What::SyncErrors { .. } => "sync-errors",
        What::DiskFull { .. } => "disk-full",
        What::SlowDisk { .. } => "slow-disk",
        What::ClockJump { .. } => "clock-jump",
        What::ObjectErrors { .. } => "object-errors",
        What::ObjectThrottling { .. } => "object-throttling",
        What::LostAnswers { .. } => "lost-answers",
        What::StaleListings { .. } => "stale-listings",
        What::PartialReads { .. } => "partial-reads",
        What::SlowObjects { .. } => "slow-objects",
        What::ObjectsUnavailable { .. } => "objects-unavailable",
        What::CorruptLocal { .. } => "corrupt-local",
        What::StaleLocal { .. } => "stale-local",
        What::SwizzleClog { .. } => "swizzle-clog",
        What::FalseFailure { .. } => "false-failure",
        What::DuplicateNotices { .. } => "duplicate-notices",
        What::ReorderNotices { .. } => "reorder-notices",
        What::ClockDrift { .. } => "clock-drift",
        What::Rack { event: RackEvent::Crash, .. } => "rack-crash",
        What::Rack { event: RackEvent::PowerLoss, .. } => "rack-power-loss",
        What::Rack { event: RackEvent::Partition, .. } => "rack-partition",
        What::OtherVersion { .. } => "other-version",
        What::RotOnRead { .. } => "rot-on-read",
        What::ShortReads { .. } => "short-reads",
        What::StallDisk { .. } => "stall-disk",
        What::SpareRot {} => "spare-rot",
        What::BitRot { .. } => "local-rot",
        What::LostWrites { .. } => "lost-local-writes",
        What::MisdirectedWrites { .. } => "misdirected-local-writes",
        What::LyingSyncs { .. } => "lying-local-syncs",
        What::SlowReads { .. } => "slow-object-reads",
        // Nothing that an engine can be asked to survive: `tests/it/ablation.rs`.
        What::ReorderElements { .. } | What::RewriteInput {} => "outside",
    }
}

/// All that chaos can draw.
fn all_kinds() -> impl Iterator<Item = &'static str> {
    [KINDS, WORLD_KINDS, OBJECT_KINDS, WORLD_OBJECT_KINDS, LOCAL_KINDS, WORLD_LOCAL_KINDS].into_iter().flatten().copied()
}

/// Every guarantee and every kind is in the documentation.
#[test]
fn what_may_go_wrong_is_documented() {
    let text = include_str!("../../docs/faults.md");
    let guarantees = Guarantee::ALL.iter().map(|guarantee| format!("- **{guarantee}** {}", guarantee.text()));
    let kinds = all_kinds().flat_map(counted_as).map(ToString::to_string);
    let missing: Vec<String> = guarantees.chain(kinds).filter(|wanted| !text.contains(wanted)).collect();
    assert_none("docs/faults.md does not have", &missing);
}

#[test]
fn rare_things_at_every_port_happen_in_some_run() {
    let happened = |point: &&Point| runs().iter().any(|run| run.report.faults.contains_key(point.name()));
    let missing: Vec<String> = Point::ALL.iter().filter(|point| !happened(point)).map(|point| point.name().to_owned()).collect();
    assert_none("no run has", &missing);
}

#[test]
fn every_kind_of_fault_is_injected_somewhere() {
    // Of what the disks and the network do by themselves once they may: all of it as well.
    let consequences: &'static [&'static str] =
        &["disk-error-before", "disk-error-after", "blocked-link", "torn-append", "unsynced-data-lost", "clock-drift", "object-timeout"];
    let kinds = all_kinds().map(counted_as).chain(consequences.iter().map(std::slice::from_ref));
    let missing: Vec<String> =
        kinds.filter(|kinds| runs().iter().all(|run| run.counted(kinds) == 0)).map(|kinds| kinds.join(" or ")).collect();
    assert_none("no run has", &missing);
}

/// Of a story's pinned faults, how many more than needed there are.
fn spare_faults(story: &str) -> u64 {
    match story {
        // Two of three workers have tasks, and any two may: all three are to die, whichever of them lives by then.
        "gives-up" => 1,
        _ => 0,
    }
}

#[test]
fn in_some_run_of_each_story_all_of_its_pinned_faults_happen() {
    let mut wrong = Vec::new();
    for story in cofferdam_scenarios::all() {
        let happened = |run: &&Run| {
            all_kinds().all(|name| {
                let pinned = run.scenario.faults.iter().filter(|fault| kind(&fault.what) == name).count() as u64;
                run.counted(counted_as(name)) + spare_faults(story.name) >= pinned
            })
        };
        let runs = of(story.name);
        if !runs.iter().any(happened) {
            wrong.push(format!("{:<45} {:?}, {}", story.name, runs[0].report.faults, runs[0].replay()));
        }
    }
    assert_none("faults that never happen make these stories idle", &wrong);
}

#[test]
fn every_kind_that_a_storys_chaos_may_draw_happens_in_some_run_of_it() {
    let mut wrong = Vec::new();
    let everywhere: Vec<&Run> = runs().iter().collect();
    for story in cofferdam_scenarios::all() {
        let runs = of(story.name);
        let drawn: BTreeSet<&str> =
            runs.iter().filter_map(|run| run.scenario.chaos.as_ref()).flat_map(|chaos| &chaos.kinds).map(String::as_str).collect();
        for name in drawn {
            // Damage needs something to harm, which a run may not have at that moment, and swarms weight kinds wildly: of all runs some
            // must have met it.
            let runs = if HARMS.contains(&name) || story.name.ends_with("swarm") { &everywhere } else { &runs };
            if runs.iter().all(|run| run.counted(counted_as(name)) == 0) {
                wrong.push(format!("{} has no {name}", story.name));
            }
        }
    }
    assert_none("chaos draws too seldom", &wrong);
}

/// Whether a process of the job dies in every run of the scenario, or may die in some; it then begins again from a checkpoint.
fn deaths(scenario: &Scenario) -> (bool, bool) {
    let fatal = |name: &str| matches!(name, "crash" | "power-loss" | "wipe");
    let (mut certain, mut drawn) = (false, scenario.chaos.as_ref().is_some_and(|chaos| chaos.kinds.iter().any(|name| fatal(name))));
    for fault in &scenario.faults {
        if let What::Crash { node, .. } | What::PowerLoss { node, .. } | What::Wipe { node, .. } = &fault.what {
            // It may be a spare one.
            drawn |= node == "any-worker";
            certain |= node != "any-worker" && node != "storage";
        }
    }
    // A job that is cancelled because a process has died does not come back; one without checkpoints begins anew.
    let comes_back = scenario.expect != Expect::Cancelled && scenario.checkpoints.interval_ms > 0;
    (certain && comes_back, drawn && comes_back)
}

#[test]
fn where_processes_die_the_job_is_restored_from_a_checkpoint() {
    let mut wrong = Vec::new();
    for story in cofferdam_scenarios::all() {
        let runs = of(story.name);
        let restored = |run: &&Run| run.report.restores > 0;
        wrong.extend(runs.iter().filter(|run| deaths(&run.scenario).0 && !restored(run)).map(|run| run.replay()));
        if runs.iter().any(|run| deaths(&run.scenario).1) && !runs.iter().any(restored) {
            wrong.push(format!("all runs of {}", story.name));
        }
    }
    assert_none("no checkpoint is restored in", &wrong);
}

#[test]
fn second_crashes_are_second_restores() {
    for name in ["both-crash", "second-crash-during-restore", "everything-loses-power", "worker-crashes-after-durable"] {
        assert!(of(name).iter().any(|run| run.report.restores >= 2), "{name} is never restored twice: {}", of(name)[0].replay());
    }
}

#[test]
fn every_story_completes_checkpoints() {
    let stories = cofferdam_scenarios::all();
    // Some are not to have any.
    let wanted = |story: &&cofferdam_scenarios::Story| of(story.name)[0].scenario.checkpoints.interval_ms > 0;
    let idle = stories.iter().filter(wanted).filter(|story| of(story.name).iter().all(|run| run.report.completed == 0));
    assert_none("no checkpoint completes in", &idle.map(|story| story.name.to_owned()).collect::<Vec<_>>());
}

#[test]
fn disks_that_are_full_slow_or_failing_fail_checkpoints_by_name() {
    let stories: [(&str, &[&str]); 4] = [
        ("full-disk", &["IoException", "AsyncException", "FinalizeFailure"]),
        ("slow-disk", &["Expired"]),
        ("failing-disk", &["IoException", "AsyncException", "FinalizeFailure", "TaskFailure"]),
        ("failing-sync", &["IoException", "AsyncException", "FinalizeFailure", "TaskFailure"]),
    ];
    for (name, reasons) in stories {
        for run in of(name) {
            assert!(run.report.aborted > 0, "no checkpoint fails: {}", run.replay());
        }
        let seen: BTreeSet<&String> = of(name).into_iter().flat_map(|run| &run.reasons).collect();
        assert!(reasons.iter().any(|reason| seen.iter().any(|seen| seen == reason)), "{name}: {reasons:?} expected, {seen:?} seen");
    }
}

#[test]
fn stories_have_the_moments_that_they_are_about() {
    let stories: &[(&str, &[Moment])] = &[
        ("steady-run", &[Moment::ChannelHeld, Moment::ChannelsReleased, Moment::Committed, Moment::Discarded]),
        ("steady-ledger", &[Moment::ChannelHeld, Moment::ChannelsReleased]),
        ("slow-channel", &[Moment::ChannelHeld]),
        ("back-pressure", &[Moment::ChannelHeld]),
        ("worker-crashes", &[Moment::WorkerLost, Moment::JobFailing, Moment::RestoreDone]),
        ("second-crash-during-restore", &[Moment::WorkerLost, Moment::RestoreDone]),
        ("zombie-worker", &[Moment::WorkerLost, Moment::CoordinatorLost]),
        ("paused-worker", &[Moment::WorkerLost]),
        ("paused-coordinator", &[Moment::CoordinatorLost]),
        ("one-way-partition", &[Moment::WorkerLost]),
        ("connections-break", &[Moment::TaskFailed]),
        ("coordinator-crashes-on-ack", &[Moment::TookOver, Moment::CoordinatorLost]),
        ("cancelled-and-kept", &[Moment::CheckpointCompleted, Moment::JobEnded]),
        ("cancelled-and-deleted", &[Moment::JobFailing, Moment::Discarded, Moment::JobEnded]),
        ("gives-up", &[Moment::JobFailing, Moment::JobRestarting, Moment::JobEnded]),
        ("local-copy-after-task-failure", &[Moment::LocalCopyWritten, Moment::LocalCopyDeleted, Moment::RestoredLocally]),
        ("local-copy-after-worker-restart", &[Moment::RestoredLocally]),
        ("local-copy-of-whole-snapshots", &[Moment::RestoredLocally]),
        ("local-copy-corrupt", &[Moment::LocalCopyUnusable, Moment::RestoredRemotely]),
        ("local-copy-of-runs-corrupt", &[Moment::LocalCopyUnusable, Moment::RestoredRemotely]),
        ("local-copy-of-another-snapshot", &[Moment::LocalCopyUnusable, Moment::RestoredRemotely]),
        ("local-disk-wiped", &[Moment::RestoredLocally, Moment::RestoredRemotely]),
        ("local-disk-full", &[Moment::LocalCopyFailed, Moment::RestoredRemotely]),
        ("local-disk-fails", &[Moment::LocalCopyFailed]),
        ("second-crash-during-local-restore", &[Moment::RestoredLocally]),
        ("transactions-steady", &[Moment::OutputCommitted, Moment::JobCommitting]),
        ("transactions-lost-answers", &[Moment::OutputCommitFailed]),
        ("transactions-crash-in-commit", &[Moment::WorkerLost, Moment::RestoreDone]),
        ("transactions-end-while-the-disk-fails", &[Moment::OutputCommitFailed]),
        ("local-copies-of-large-state", &[Moment::RestoredLocally]),
        ("native-savepoint-on-another-backend", &[Moment::TaskFailed, Moment::JobFailing, Moment::JobEnded]),
        ("slow-storage-before-a-restore", &[Moment::JobRestarting, Moment::RestoreDone]),
        ("savepoint-begun-and-coordinator-gone", &[Moment::SavepointSettled]),
        ("savepoint-in-objects-written-and-coordinator-gone", &[Moment::SavepointSettled]),
        ("savepoint-begun-and-job-cancelled", &[Moment::JobEnded, Moment::TookOver]),
        ("origin-half-deleted", &[Moment::OriginDiscarding, Moment::OriginUnmade, Moment::OriginForgotten]),
        ("kept-origin-half-deleted-in-objects", &[Moment::OriginUnmade, Moment::OriginForgotten]),
        ("worker-of-another-release", &[Moment::WorkerRefused, Moment::RestoreDone]),
        ("only-workers-of-another-release", &[Moment::WorkerRefused, Moment::JobWaiting, Moment::RestoreDone]),
        ("delivered-but-reported-failed", &[Moment::CoordinatorLost, Moment::RestoreDone]),
        ("local-disk-loses-writes", &[Moment::LocalCopyWritten, Moment::LocalCopyUnusable, Moment::RestoredRemotely]),
        ("bit-rot-in-the-only-checkpoint", &[Moment::JobFailing, Moment::JobEnded]),
    ];
    let mut wrong = Vec::new();
    for (name, moments) in stories {
        for moment in *moments {
            if !of(name).iter().any(|run| run.moments.contains(moment)) {
                wrong.push(format!("{name}: {moment}"));
            }
        }
    }
    assert_none("never happens", &wrong);
}

#[test]
fn concurrent_checkpoints_are_pending_at_once() {
    assert!(of("concurrent-checkpoints").iter().any(|run| run.pending_at_once == 3), "never three at once");
    assert!(of("steady-run").iter().all(|run| run.pending_at_once == 1), "one at a time is all that it asks for");
}

#[test]
fn at_least_once_counts_something_twice() {
    let modes = |mode| runs().iter().filter(move |run| run.scenario.checkpoints.mode == mode);
    assert!(modes(Mode::AtLeastOnce).any(|run| run.report.recounted > 0), "at-least-once is as exact as exactly-once: is it tested?");
    assert!(modes(Mode::ExactlyOnce).all(|run| run.report.recounted == 0));
}

/// Moments that these runs cannot have, and why.
const ABSENT: &[(Moment, &str)] = &[];

#[test]
fn copies_that_are_in_order_are_what_tasks_are_restored_from() {
    for name in ["local-copy-after-task-failure", "local-copy-after-worker-restart", "local-copy-of-whole-snapshots"] {
        for run in of(name) {
            let remotely = run.moments.contains(&Moment::RestoredRemotely);
            assert!(run.report.restores > 0 && !remotely, "a checkpoint is read though a copy is there: {}", run.replay());
        }
    }
    for run in of("local-copies-and-another-parallelism") {
        assert!(!run.moments.contains(&Moment::RestoredLocally), "another job's copy is used: {}", run.replay());
    }
}

#[test]
fn where_only_a_workers_own_disk_fails_no_checkpoint_does() {
    for name in ["local-disk-full", "local-disk-fails", "local-disk-hangs"] {
        for run in of(name) {
            let other: Vec<&String> = run.reasons.iter().filter(|reason| *reason != "TaskFailure").collect();
            assert!(other.is_empty(), "{other:?}: {}", run.replay());
        }
    }
}

#[test]
fn every_moment_occurs() {
    let seen: BTreeSet<Moment> = runs().iter().flat_map(|run| run.moments.iter().copied()).collect();
    let excused = |moment: &Moment| ABSENT.iter().any(|(absent, _)| absent == moment);
    let missing: Vec<String> =
        Moment::ALL.iter().filter(|moment| !seen.contains(moment) && !excused(moment)).map(ToString::to_string).collect();
    assert_none("no run has", &missing);
    let known: Vec<String> =
        ABSENT.iter().filter(|(moment, _)| seen.contains(moment)).map(|(moment, reason)| format!("{moment}: {reason}")).collect();
    assert_none("these do occur, so the reason why not is wrong", &known);
}

/// What a source waits for is given up whenever its subtask has something more urgent to do: it must not begin anew each time.
#[test]
fn checkpoints_more_frequent_than_reads_do_not_starve_a_source() {
    let mut run = (cofferdam_scenarios::find("steady-run").expect("there is one").expand)(0);
    (run.job.lines, run.job.pace_ms, run.checkpoints.interval_ms, run.calm_after_ms) = (20, 300, 100, 0);
    let report = simulate(&run, 1, Keep::default());
    assert_eq!(report.violation, None, "{} checkpoints, {} records", report.completed, report.records);
}

/// The processes of the first job are over when faults end: its coordinator must not come back, and say how that one ended.
#[test]
fn a_job_that_begins_from_a_savepoint_and_does_not_finish_is_not_live() {
    let mut run = (cofferdam_scenarios::find("savepoint-to-more-subtasks").expect("there is one").expand)(0);
    (run.job.lines, run.calm_after_ms, run.liveness_bound_ms) = (900, 3000, 1);
    let report = simulate(&run, 1, Keep::default());
    assert_eq!(report.violation.map(|violation| violation.invariant), Some("liveness"));
}
