//! One scenario and one seed are one run: twice in a process, in other processes, and in builds of either profile.

use crate::{binary, parallel};
use cofferdam_scenarios::Scenario;
use cofferdam_sim::parting::{self, Parting};
use cofferdam_sim::run::simulate;
use cofferdam_sim::scenario::{FaultSpec, What, When};
use cofferdam_sim::verdict::{Keep, Report};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const EVERYTHING: Keep = Keep { trace: true, hashes: true, outcome: true, states: false, validate: false };
const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");
const PINNED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/hashes.txt");
#[cfg(feature = "rocksdb")]
const PINNED_ROCKSDB: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/golden/hashes-rocksdb.txt");

/// Runs that differ in job, faults and storage.
const SAMPLE: &[(&str, u64)] = &[
    ("steady-run", 1),
    ("steady-windows", 2),
    ("skewed-clocks", 3),
    ("zombie-worker", 4),
    ("everything-loses-power", 5),
    ("failing-disk", 6),
    ("in-memory", 7),
    ("swarm", 8),
    #[cfg(feature = "rocksdb")]
    ("rocksdb-steady", 1),
    #[cfg(feature = "rocksdb")]
    ("rocksdb-spills", 2),
    #[cfg(feature = "rocksdb")]
    ("rocksdb-rescale-in", 3),
    #[cfg(feature = "rocksdb")]
    ("rocksdb-under-fire", 4),
    #[cfg(feature = "rocksdb")]
    ("rocksdb-swarm", 5),
];

fn scenario(name: &str, seed: u64) -> Scenario {
    (cofferdam_scenarios::find(name).unwrap_or_else(|| panic!("there is no scenario {name}")).expand)(seed)
}

fn run(name: &str, seed: u64, keep: Keep) -> Report {
    simulate(&scenario(name, seed), seed, keep)
}

/// The first event in which two runs differ. Both have kept everything.
fn parting(one: &Report, other: &Report) -> Option<Parting> {
    for run in [one, other] {
        assert_eq!(run.hashes.len(), run.trace.len(), "a line per hash, so that they can be told from each other");
    }
    parting::parting(one, other)
}

fn assert_same(name: &str, seed: u64, one: &Report, other: &Report) {
    if let Some(parting) = parting(one, other) {
        panic!("two runs of {name} with seed {seed} differ: {parting}");
    }
    // Also what is no event: counts, faults, the verdict.
    assert_eq!(one, other, "two runs of {name} with seed {seed} differ");
}

#[test]
fn the_same_seed_is_the_same_run() {
    parallel::map(SAMPLE, |(name, seed)| {
        assert_same(name, *seed, &run(name, *seed, EVERYTHING), &run(name, *seed, EVERYTHING));
    });
}

#[test]
fn what_is_kept_does_not_change_the_run() {
    let (kept, plain) = (run("swarm", 8, EVERYTHING), run("swarm", 8, Keep::default()));
    assert_eq!((kept.hash, kept.events), (plain.hash, plain.events));
    assert_eq!(kept.hashes.last(), Some(&plain.hash));
}

#[test]
fn another_seed_is_another_run() {
    let parting = parting(&run("steady-run", 1, EVERYTHING), &run("steady-run", 2, EVERYTHING));
    assert!(parting.is_some(), "seeds 1 and 2 give the same run");
}

#[test]
fn the_hundredth_simulation_is_as_the_first() {
    let (name, seed) = ("worker-crashes", 9);
    let first = run(name, seed, EVERYTHING);
    for other in 0..98 {
        let _ = run("swarm", other, Keep::default());
    }
    assert_same(name, seed, &first, &run(name, seed, EVERYTHING));
}

#[test]
fn simulations_at_the_same_time_do_not_meet() {
    let (name, seed) = ("windows-under-fire", 10);
    let alone = run(name, seed, EVERYTHING);
    let runs = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..6).map(|_| scope.spawn(|| run(name, seed, EVERYTHING))).collect();
        threads.into_iter().map(|thread| thread.join().expect("a simulation does not panic")).collect::<Vec<_>>()
    });
    for run in &runs {
        assert_same(name, seed, &alone, run);
    }
}

#[test]
fn the_first_differing_event_is_named() {
    let (one, mut changed) = (scenario("steady-run", 1), scenario("steady-run", 1));
    let when = When::Moment { moment: "checkpoint-completed".into(), checkpoint: Some(2), nth: 1 };
    changed.faults.push(FaultSpec { when, what: What::Crash { node: "worker-1".into(), down_ms: 500 } });
    let (one, other) = (simulate(&one, 1, EVERYTHING), simulate(&changed, 1, EVERYTHING));
    let parting = parting(&one, &other).expect("a crash makes a difference");
    let pinned = one.trace.iter().position(|line| line.contains("c2 ") && line.contains("checkpoint-completed"));
    assert!(pinned.is_some_and(|pinned| pinned < parting.event), "{parting}");
    assert_eq!(one.trace[..parting.event], other.trace[..parting.event]);
    let crash = other.trace.iter().position(|line| line.contains("process-crash")).expect("it crashes");
    assert!(crash >= parting.event && crash - parting.event < 10, "{parting}\nand the crash is line {crash}");
    assert_ne!(parting.one, parting.other, "{parting}");
}

#[test]
fn a_run_that_ends_early_parts_at_its_end() {
    let one = run("steady-run", 1, EVERYTHING);
    let mut other = one.clone();
    other.hashes.truncate(100);
    other.trace.truncate(100);
    let parting = parting(&one, &other).expect("one is longer");
    assert_eq!((parting.event, &parting.before), (100, &one.trace.get(99).cloned()));
    assert_eq!((&parting.one, &parting.other), (&one.trace.get(100).cloned(), &None));
    assert_eq!(parting.to_string().lines().last(), Some("  another  nothing"));
}

/// What another process says that the hash is.
fn hash_in_another_process(binary: &Path, name: &str, seed: u64) -> u64 {
    let output = Command::new(binary).args(["replay", name, "--seed", &seed.to_string()]).output().expect("the binary can be started");
    let text = binary::stdout(&output);
    let hash = text.lines().find_map(|line| u64::from_str_radix(line.trim().strip_prefix("hash ")?.trim(), 16).ok());
    hash.unwrap_or_else(|| panic!("replay {name} --seed {seed} shows no hash:\n{text}{}", binary::stderr(&output)))
}

/// Compares with another process, and shows where the runs part if they do.
fn assert_same_in_another_process(binary: &Path, name: &str, seed: u64) {
    let here = run(name, seed, Keep { trace: true, ..Keep::default() });
    if hash_in_another_process(binary, name, seed) == here.hash {
        return;
    }
    let arguments = ["replay", name, "--trace", "--seed", &seed.to_string()];
    let there = binary::stdout(&Command::new(binary).args(arguments).output().expect("the binary can be started"));
    let differing = here.trace.iter().map(String::as_str).zip(there.lines()).enumerate().find(|(_, (here, there))| here != there);
    match differing {
        Some((number, (here, there))) => {
            panic!("{name} with seed {seed} differs in {} from line {number} on:\n  here   {here}\n  there  {there}", binary.display())
        }
        None => panic!("{name} with seed {seed} differs in {}, but in no line of the trace", binary.display()),
    }
}

#[test]
fn other_processes_give_the_same_run() {
    let binary = binary::path();
    parallel::map(SAMPLE, |(name, seed)| assert_same_in_another_process(binary, name, *seed));
}

/// The pairs whose hashes are pinned, and the hashes.
fn pinned(file: &str) -> Vec<(String, u64, u64)> {
    let text = std::fs::read_to_string(file).expect("the file of tests/golden is there");
    let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
    let parse = |line: &str| {
        let mut words = line.split_whitespace();
        let (name, seed, hash) = (words.next()?, words.next()?, words.next()?);
        Some((name.to_owned(), seed.parse().ok()?, u64::from_str_radix(hash, 16).ok()?))
    };
    lines.map(|line| parse(line).unwrap_or_else(|| panic!("{file}: {line:?} is not `scenario seed hash`"))).collect()
}

/// Debug or release, this machine or another: the same hashes. `REWRITE=1` pins those of this build.
#[test]
fn every_build_gives_the_pinned_hashes() {
    gives_the_hashes_pinned_in(PINNED);
}

#[cfg(feature = "rocksdb")]
#[test]
fn every_build_with_rocksdb_gives_its_pinned_hashes() {
    gives_the_hashes_pinned_in(PINNED_ROCKSDB);
}

fn gives_the_hashes_pinned_in(file: &str) {
    let pinned = pinned(file);
    assert!(pinned.len() >= 6, "{file} is nearly empty");
    let found = parallel::map(&pinned, |(name, seed, _)| run(name, *seed, Keep::default()).hash);
    if std::env::var_os("REWRITE").is_some() {
        let text = std::fs::read_to_string(file).expect("it was read before");
        let mut lines: Vec<String> = text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect();
        lines.extend(pinned.iter().zip(&found).map(|((name, seed, _), hash)| format!("{name} {seed} {hash:016x}")));
        std::fs::write(file, lines.join("\n") + "\n").expect("tests/golden can be written");
        return;
    }
    let moved: Vec<String> = pinned
        .iter()
        .zip(&found)
        .filter(|((_, _, pinned), found)| pinned != *found)
        .map(|((name, seed, pinned), found)| format!("{name} with seed {seed} is {found:016x}, pinned is {pinned:016x}"))
        .collect();
    assert!(
        moved.is_empty(),
        "{}\nIf the change was meant to move runs: REWRITE=1 cargo test -p cofferdam-tests --test it pinned_hashes",
        moved.join("\n")
    );
}

/// When the newest file that a binary is built from was written.
fn sources_written() -> SystemTime {
    fn newest(path: &Path) -> SystemTime {
        if path.is_dir() {
            let entries = std::fs::read_dir(path).expect("a source folder can be read");
            return entries.map(|entry| newest(&entry.expect("readable").path())).max().unwrap_or(SystemTime::UNIX_EPOCH);
        }
        let modified = path.metadata().and_then(|metadata| metadata.modified());
        modified.unwrap_or(SystemTime::UNIX_EPOCH)
    }
    let parts = ["engine", "sim", "scenarios", "Cargo.toml", "Cargo.lock", ".cargo/config.toml"];
    parts.iter().map(|part| newest(&Path::new(ROOT).join(part))).max().expect("there are sources")
}

fn known_to(binary: &Path) -> BTreeSet<String> {
    let listed = Command::new(binary).arg("scenarios").output().expect("the binary can be started");
    binary::stdout(&listed).lines().filter_map(|line| line.split(' ').next().map(str::to_owned)).collect()
}

/// The release binary, if there is a current one: building it takes minutes.
fn release_binary() -> Result<PathBuf, String> {
    let built_for = binary::path().parent().expect("a binary is in a folder");
    if built_for.file_name().is_some_and(|name| name == "release") {
        return Ok(binary::path().to_owned());
    }
    let release = built_for.parent().expect("a profile is in a target folder").join("release/cofferdam");
    match release.metadata().and_then(|metadata| metadata.modified()) {
        Err(_) => Err(format!("{} is not there", release.display())),
        Ok(built) if built < sources_written() => Err(format!("{} is older than the sources", release.display())),
        Ok(_) => Ok(release),
    }
}

/// Where `CI` is set, the release build has been made before.
#[test]
fn a_release_build_gives_the_same_run() {
    match release_binary() {
        Ok(release) => {
            // It may have been built without RocksDB, whose pinned hashes are those of every build too.
            let known = known_to(&release);
            let (sample, missing): (Vec<_>, Vec<_>) = SAMPLE.iter().copied().partition(|(name, _)| known.contains(*name));
            assert!(missing.iter().all(|(name, _)| name.starts_with("rocksdb-")), "{} lacks {missing:?}", release.display());
            parallel::map(&sample, |(name, seed)| assert_same_in_another_process(&release, name, *seed));
        }
        Err(why) if std::env::var_os("CI").is_some() => panic!("{why}: cargo build --release, before the tests"),
        Err(why) => eprintln!("not compared with a release build: {why}; the pinned hashes stand in for it"),
    }
}
