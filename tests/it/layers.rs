//! Who may know whom, and what may be written where.

use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The levels of ARCHITECTURE.md. Arrows point to a lower one only.
const LEVELS: &[(&str, u32)] = &[
    ("cofferdam-protocol", 0),
    ("cofferdam-engine", 1),
    ("cofferdam-explore", 1),
    ("cofferdam-rocksdb", 2),
    ("cofferdam-sim", 3),
    ("cofferdam-scenarios", 4),
    ("cofferdam", 5),
    // Knows everybody, and nobody knows it.
    ("cofferdam-tests", 6),
];

/// The packages of the workspace, as cargo sees them.
fn packages() -> &'static BTreeMap<String, Value> {
    static PACKAGES: OnceLock<BTreeMap<String, Value>> = OnceLock::new();
    PACKAGES.get_or_init(|| {
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let arguments = ["metadata", "--format-version", "1", "--no-deps", "--offline"];
        let output = Command::new(cargo).args(arguments).current_dir(ROOT).output().expect("cargo can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo writes JSON");
        let packages = metadata["packages"].as_array().expect("there are packages");
        packages.iter().map(|package| (text(&package["name"]).to_owned(), package.clone())).collect()
    })
}

fn text(value: &Value) -> &str {
    value.as_str().expect("cargo writes a text here")
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("cargo writes a list here")
}

fn level(package: &str) -> u32 {
    let known = LEVELS.iter().find(|(name, _)| *name == package);
    known.unwrap_or_else(|| panic!("{package} has no level yet: decide on one in tests/it/layers.rs and ARCHITECTURE.md")).1
}

/// What a package depends on: for itself, its tests and its build.
fn dependencies(package: &str) -> impl Iterator<Item = &'static str> {
    list(&packages()[package]["dependencies"]).iter().map(|dependency| text(&dependency["name"]))
}

#[test]
fn arrows_point_to_lower_levels_only() {
    for package in packages().keys() {
        for dependency in dependencies(package).filter(|dependency| packages().contains_key(*dependency)) {
            assert!(level(dependency) < level(package), "{package} must not depend on {dependency}");
        }
    }
}

#[test]
fn there_is_one_binary() {
    for (name, package) in packages() {
        let kinds = list(&package["targets"]).iter().flat_map(|target| list(&target["kind"]));
        let bins = kinds.filter(|kind| *kind == "bin").count();
        assert_eq!(bins, usize::from(name == "cofferdam"), "binaries of {name}: `cargo run` must find exactly one in the workspace");
    }
}

#[test]
fn what_users_ship_knows_no_simulator() {
    for package in ["cofferdam-protocol", "cofferdam-engine", "cofferdam-rocksdb"] {
        if packages().contains_key(package) {
            assert!(dependencies(package).all(|dependency| !dependency.starts_with("madsim")), "{package} depends on madsim");
        }
    }
}

#[test]
fn only_the_engine_and_its_codec_know_bincode() {
    for package in packages().keys().filter(|package| *package != "cofferdam-engine") {
        assert!(dependencies(package).all(|dependency| dependency != "bincode"), "{package} depends on bincode");
    }
    assert_absent("bincode", |file| file.within("tests") || file.path == "engine/runtime/src/codec.rs");
}

/// A file of the workspace, by its path from the root.
struct File {
    path: String,
    text: String,
}

impl File {
    fn within(&self, folder: &str) -> bool {
        self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/'))
    }

    /// Its lines without comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let uncommented = self.text.lines().map(|line| line.split("//").next().unwrap_or_default());
        uncommented.enumerate().map(|(index, line)| (index + 1, line))
    }
}

/// Everything that is written by hand.
fn files() -> &'static [File] {
    static FILES: OnceLock<Vec<File>> = OnceLock::new();
    FILES.get_or_init(|| {
        let mut files = Vec::new();
        walk(Path::new(ROOT), &PathBuf::new(), &mut files);
        assert!(files.iter().any(|file| file.path == "engine/runtime/src/lib.rs"), "the sources are not where they were");
        files
    })
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<File>) {
    for entry in std::fs::read_dir(root.join(folder)).expect("a folder of the workspace can be read") {
        let entry = entry.expect("readable");
        let path = folder.join(entry.file_name());
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type().expect("known").is_dir() {
            if !["target", ".git"].contains(&name.as_str()) {
                walk(root, &path, files);
            }
        } else if let Ok(text) = std::fs::read_to_string(root.join(&path)) {
            files.push(File { path: path.to_string_lossy().into_owned(), text });
        }
    }
}

fn sources() -> impl Iterator<Item = &'static File> {
    files().iter().filter(|file| file.path.ends_with(".rs"))
}

fn assert_absent(word: &str, allowed: impl Fn(&File) -> bool) {
    for file in sources().filter(|file| !allowed(file)) {
        if let Some((number, line)) = file.code().find(|(_, line)| line.contains(word)) {
            panic!("{}:{number} must not have {word}: {}", file.path, line.trim());
        }
    }
}

#[test]
fn every_select_is_biased() {
    // Spelt so that this file is not one of those found.
    let (opening, mut found) = (concat!("select", "! {"), 0);
    for file in sources() {
        let code: String = file.code().flat_map(|(_, line)| [line, "\n"]).collect();
        for (at, _) in code.match_indices(opening) {
            found += 1;
            let line = code[..at].lines().count();
            let inside = code[at + opening.len()..].trim_start();
            assert!(
                inside.starts_with("biased;"),
                "{}:{line}: without `biased;` first, a seed does not decide which branch runs",
                file.path
            );
        }
        // Written in another way, it would not be seen above.
        let all = code.matches(concat!("select", "!")).count();
        assert_eq!(all, code.matches(opening).count(), "{}: write it with a space and a brace", file.path);
    }
    assert!(found >= 3, "the engine's are not found");
}

#[test]
fn the_engine_takes_order_time_and_chance_from_outside() {
    let words = [
        ("HashMap", "its order is hidden state"),
        ("HashSet", "its order is hidden state"),
        ("Instant::now", "ask the Env"),
        ("SystemTime", "ask the Env"),
        ("thread::sleep", "ask the Env"),
        ("thread_rng", "ask the Env"),
        ("RandomState", "it draws from outside the Env"),
    ];
    for file in sources().filter(|file| file.within("engine") && file.path != "engine/runtime/src/env/real.rs") {
        for (word, reason) in words {
            // `crate::state::backend::HashMap...` is a name of ours for what Flink calls so; the standard one is what is meant.
            if let Some((number, line)) = file.code().find(|(_, line)| line.contains(word)) {
                panic!("{}:{number} must not have {word}, {reason}: {}", file.path, line.trim());
            }
        }
    }
}

#[test]
fn the_engine_does_not_ask_whether_it_is_simulated() {
    for file in sources().filter(|file| file.within("engine")) {
        if let Some((number, line)) = file.code().find(|(_, line)| line.contains("madsim") || line.to_lowercase().contains("simulated")) {
            panic!("{}:{number}: {}", file.path, line.trim());
        }
    }
}

#[test]
fn files_are_named_after_what_is_in_them() {
    for file in files() {
        for part in Path::new(&file.path).iter() {
            let stem = Path::new(part).file_stem().unwrap_or(part).to_string_lossy().into_owned();
            let vague = ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];
            assert!(!vague.contains(&stem.as_str()), "{}: name the noun", file.path);
        }
    }
}

#[test]
fn no_text_names_the_host_of_a_package_registry() {
    let hosts = [
        concat!("crates", ".io"),
        concat!("pypi", ".org"),
        concat!("pythonhosted", ".org"),
        concat!("npmjs", ".org"),
        concat!("npmjs", ".com"),
        concat!("proxy.golang", ".org"),
        concat!("rubygems", ".org"),
        concat!("maven", ".org"),
        concat!("docker", ".io"),
    ];
    // Cargo writes the lock file.
    for file in files().iter().filter(|file| !file.path.ends_with("Cargo.lock")) {
        for host in hosts {
            assert!(!file.text.contains(host), "{} names {host}", file.path);
        }
    }
}
