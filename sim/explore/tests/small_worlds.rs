//! Small worlds, exhausted. How many states each has is pinned: another number means that what the machines do, or what the world around
//! them does, has changed.

use cofferdam_explore::explore::{explore, replay, End, Found, Manner, Report};
use cofferdam_explore::properties::Situation;
use cofferdam_explore::rescaled::Rescaled;
use cofferdam_explore::story::{find_actions, tell};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;
use std::collections::BTreeSet;
use std::time::Duration;

/// The world as it is listed, or with other bounds.
fn exhaust(name: &str, bounds: &[(&str, u32)]) -> Report {
    let mut world = worlds::find(name).expect("it is listed");
    for (bound, value) in bounds {
        world.bounds.set(bound, *value).expect("it can be that large");
    }
    explore(Setup::new(world), Manner::default(), |_, _, _| {})
}

fn assert_pinned(name: &str, bounds: &[(&str, u32)], unique: usize) {
    let report = exhaust(name, bounds);
    let story = report.found.as_ref().map(|found| replay(found).expect("it was just found").0.join("\n"));
    assert!(report.found.is_none(), "{name}: {:?}\n{}", report.found, story.unwrap_or_default());
    assert_eq!(report.not_met(), [], "{name} never meets these");
    assert_eq!((report.end, report.seen.unique), (End::Exhausted, unique), "{name} with {bounds:?}");
}

#[test]
fn aligned() {
    assert_pinned("aligned", &[], 61_938);
}

#[test]
fn aligned_with_one_checkpoint_after_another() {
    assert_pinned("aligned", &[("checkpoints", 2), ("crashes", 0)], 127_921);
}

#[test]
fn aligned_with_failing_and_repeated_things() {
    assert_pinned("aligned", &[("failures", 1), ("repeats", 1), ("crashes", 0)], 53_988);
}

#[test]
fn at_least_once() {
    assert_pinned("at-least-once", &[], 73_142);
}

#[test]
fn diamond() {
    assert_pinned("diamond", &[], 37_072);
}

#[test]
fn shuffle_crash() {
    assert_pinned("shuffle-crash", &[], 51_126);
}

#[test]
fn zombie() {
    assert_pinned("zombie", &[], 36_840);
}

#[test]
fn failover() {
    assert_pinned("failover", &[], 18_502);
}

#[test]
fn failover_twice() {
    assert_pinned("failover", &[("takeovers", 2), ("records", 0)], 43_370);
}

#[test]
fn two_in_flight() {
    assert_pinned("two-in-flight", &[], 201_585);
}

#[test]
fn two_in_flight_with_lost_notices() {
    assert_pinned("two-in-flight", &[("losses", 1), ("expiries", 0)], 26_620);
}

#[test]
fn shared_files() {
    assert_pinned("shared-files", &[], 155_873);
}

#[test]
fn unaligned() {
    assert_pinned("unaligned", &[], 239_122);
}

#[test]
fn unaligned_where_records_wait_for_room() {
    assert_pinned("unaligned", &[("records", 2), ("capacity", 1), ("crashes", 0)], 299_480);
}

#[test]
fn unaligned_with_one_checkpoint_after_another() {
    let bounds = [("checkpoints", 2), ("crashes", 0), ("records", 0)];
    assert_pinned("unaligned", &bounds, 47_186);
    assert!(exhaust("unaligned", &bounds).met.has(Situation::AbandonedForNewer), "a newer one comes while an older is logged");
}

#[test]
fn aligned_with_timeout() {
    assert_pinned("aligned-with-timeout", &[], 318_972);
}

#[test]
fn aligned_with_timeout_and_a_crash() {
    assert_pinned("aligned-with-timeout", &[("crashes", 1), ("expiries", 0)], 382_809);
}

#[test]
fn forced() {
    assert_pinned("forced", &[], 75_951);
}

#[test]
fn rescale() {
    assert_pinned("rescale", &[], 94_466);
}

#[test]
fn two_phase() {
    assert_pinned("two-phase", &[], 0);
}

#[test]
fn two_phase_where_publishing_fails() {
    assert_pinned("two-phase", &[("failures", 1), ("takeovers", 0)], 0);
}

#[test]
fn two_phase_zombie() {
    assert_pinned("two-phase-zombie", &[], 0);
}

#[test]
fn failover_with_failing_metadata() {
    assert_pinned("failover", &[("failures", 1)], 0);
}

/// The other way round: two had it, and one takes it all.
#[test]
fn rescale_to_fewer() {
    let mut world = worlds::find("rescale").expect("it is listed");
    world.topology = worlds::find("unaligned").expect("it is listed").topology;
    world.rescaled = Some(Rescaled { parallelism: 2, read: &[2, 1], taken: &[0] });
    let report = explore(Setup::new(world), Manner::default(), |_, _, _| {});
    assert!(report.found.is_none(), "{:?}", report.found);
    assert!(report.met.has(Situation::LoggedAgain) && report.met.has(Situation::CrashWhileRecovering));
    assert_eq!((report.end, report.seen.unique), (End::Exhausted, 7_062));
}

/// A promise that cannot be kept: what was found is the shortest way there, and its story ends with what broke it.
#[test]
fn barriers_that_hold_nothing_back_are_no_consistent_cut() {
    let mut world = worlds::find("at-least-once").expect("it is listed");
    world.promised = cofferdam_protocol::Mode::ExactlyOnce;
    let setup = Setup::new(world.clone());
    let found = explore(Setup::new(world), Manner::default(), |_, _, _| {}).found.expect("records behind the cut get into it");
    assert_eq!((found.violated.as_str(), found.actions.len()), ("consistent-cut", 13), "{found:#?}");
    let actions = find_actions(&setup, &found.actions).expect("it was just found");
    let story = tell(&setup, &actions);
    let last = story.last().expect("there is a story");
    assert!(last.contains("coord e1") && last.contains("checkpoint-completed"), "{last}");
}

#[test]
fn a_saved_path_is_followed_until_the_world_has_changed() {
    let actions = ["coord0 fire trigger a1.1", "w0 t0 hear", "w0 t0 read"].map(str::to_owned).to_vec();
    let bounds = worlds::find("aligned").expect("it is listed").bounds;
    let mut found = Found { world: "aligned".into(), violated: String::new(), witness: String::new(), bounds, actions };
    let (story, broken) = replay(&found).expect("all that can happen");
    assert!(broken.is_none() && story.iter().any(|line| line.contains("barrier-forwarded")), "{story:#?}");
    found.actions.push("w0 t0 read".into());
    let diverged = replay(&found).expect_err("its log has one record").to_string();
    assert!(diverged.starts_with("step 4 is \"w0 t0 read\", which cannot happen there"), "{diverged}");
}

#[test]
fn every_situation_is_met_somewhere() {
    let expected: BTreeSet<Situation> = worlds::all().iter().flat_map(|world| world.expected).copied().collect();
    let elsewhere = [
        // With two checkpoints where barriers overtake.
        Situation::AbandonedForNewer,
        // With `failures`, `repeats` and `losses`, and with `crashes` where a coordinator fails over.
        Situation::WriteFailed,
        Situation::PublishFailed,
        Situation::MetadataFailed,
        Situation::Repeated,
        Situation::CaughtUp,
        Situation::CompletedAfterFailure,
        Situation::ZombieAcknowledgement,
    ];
    let unknown: Vec<_> = Situation::ALL.iter().filter(|known| !expected.contains(known) && !elsewhere.contains(known)).collect();
    assert!(unknown.is_empty(), "no world has to meet {unknown:?}");
}

#[test]
fn one_thread_and_two_see_the_same() {
    let world = worlds::find("failover").expect("it is listed");
    let alone = explore(Setup::new(world.clone()), Manner { threads: 1, ..Manner::default() }, |_, _, _| {});
    let both = explore(Setup::new(world), Manner::default(), |_, _, _| {});
    assert_eq!((alone.seen.unique, alone.met), (both.seen.unique, both.met));
}

#[test]
fn what_cuts_off_is_said() {
    assert_eq!(exhaust("aligned", &[("depth", 6)]).end, End::Depth);
    let mut world = worlds::find("shuffle-crash").expect("it is listed");
    world.bounds.set("records", 4).expect("it can be that large");
    let manner = Manner { time: Some(Duration::from_millis(200)), ..Manner::default() };
    assert_eq!(explore(Setup::new(world.clone()), manner, |_, _, _| {}).end, End::Time);
    let manner = Manner { memory_bytes: Some(1), ..Manner::default() };
    let report = explore(Setup::new(world.clone()), manner, |_, _, _| {});
    assert!(report.end == End::Memory && report.seen.unique > 0 && report.is_green(), "{report:?}");
    let manner = Manner { random: Some(7), time: Some(Duration::from_millis(200)), ..Manner::default() };
    let report = explore(Setup::new(world), manner, |_, _, _| {});
    assert!(report.end == End::Time && report.met.has(Situation::Completed), "{report:?}");
}

#[test]
fn a_bound_is_known_and_within_its_range() {
    let mut world = worlds::find("aligned").expect("it is listed");
    let unknown = world.bounds.set("checkpoint", 1).expect_err("it is called otherwise").to_string();
    assert!(unknown.contains("\"checkpoint\"") && unknown.contains("checkpoints"), "{unknown}");
    let too_many = world.bounds.set("crashes", 5).expect_err("there is a range").to_string();
    assert_eq!(too_many, "the bound crashes is 5, but it can be from 0 to 4");
}
