//! A copy of the workspace that bugs can be planted in.
//!
//! There is one copy for all bugs, `target/planted/workspace`, so that cargo finds it where it was the last time. It is brought
//! up to date by writing only those files whose content differs: what was not touched is not compiled again.

use super::manifest::Feature;
use super::switches;
use crate::failure::Failure;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// Faster to build than the real release profile, and no slower to sweep: most of the time is spent in building.
const PROFILE: [(&str, &str); 5] = [
    ("CARGO_PROFILE_RELEASE_OPT_LEVEL", "1"),
    ("CARGO_PROFILE_RELEASE_LTO", "off"),
    ("CARGO_PROFILE_RELEASE_CODEGEN_UNITS", "16"),
    ("CARGO_PROFILE_RELEASE_DEBUG", "none"),
    ("CARGO_INCREMENTAL", "1"),
];

/// Why there is no patched binary.
pub enum Broken {
    /// The patch does not fit the workspace.
    Patch(String),
    /// The compiler does not like it.
    Build(String),
}

/// The workspace and its copy.
pub struct Workspace {
    root: PathBuf,
    planted: PathBuf,
}

/// What is built of the copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Product {
    /// The whole binary.
    Binary,
    /// The machines and the worlds around them, and nothing else of the engine: seconds instead of minutes.
    Worlds,
}

/// Which bug a process of the copy has.
#[derive(Clone, Copy, Debug)]
pub enum Bug {
    /// The one that it was built with.
    BuiltIn,
    /// The one behind this switch.
    Switched(usize),
}

impl Bug {
    /// Tells the process.
    pub fn tell(self, command: &mut Command) {
        match self {
            Self::BuiltIn => command.env_remove(switches::VARIABLE),
            Self::Switched(number) => command.env(switches::VARIABLE, number.to_string()),
        };
    }
}

impl Workspace {
    /// Looks from the current folder upwards.
    ///
    /// # Errors
    /// There is no workspace with planted bugs.
    pub fn find() -> Result<Self, Failure> {
        let current = std::env::current_dir().map_err(|source| Failure::System { purpose: "find the current folder", source })?;
        let root = current.ancestors().find(|folder| manifest_in(folder).is_file());
        let what = "not found; run this inside the workspace";
        let root = root.ok_or_else(|| Failure::Manifest { path: manifest_in(&current), what: what.into() })?.to_owned();
        let planted = root.join("target/planted");
        Ok(Self { root, planted })
    }

    /// The path of a file of the workspace itself.
    pub fn of(&self, path: &Path) -> PathBuf {
        self.root.join(path)
    }

    /// Where the manifest is.
    pub fn manifest(&self) -> PathBuf {
        manifest_in(&self.root)
    }

    /// The binary that [`build`](Self::build) made.
    pub fn binary(&self) -> PathBuf {
        self.planted.join("build/release/cofferdam")
    }

    /// What explores worlds without the engine.
    pub fn explorer(&self) -> PathBuf {
        self.planted.join("build/release/examples/worlds")
    }

    /// A file for the search for one bug.
    pub fn scratch(&self, id: &str, extension: &str) -> PathBuf {
        self.planted.join(format!("{id}.{extension}"))
    }

    /// Brings the copy up to date, and applies the patch to it.
    ///
    /// # Errors
    /// Files cannot be copied, or a tool cannot be started.
    pub fn apply(&self, patch: &Path) -> Result<Result<(), Broken>, Failure> {
        let copy = self.copy_with(&BTreeMap::new())?;
        let mut apply = Command::new("git");
        // git must not find the workspace that the copy is in: it would take the paths to be relative to that.
        apply.args(["apply", "-p1"]).arg(patch).current_dir(&copy).env("GIT_CEILING_DIRECTORIES", &self.planted);
        let applied = output_of(&mut apply)?;
        if !applied.status.success() {
            return Ok(Err(Broken::Patch(first_line(&applied.stderr, "error:"))));
        }
        Ok(Ok(()))
    }

    /// Runs tests of the copy, or of the workspace if there is no bug: a package, and a part of the tests' names. The names of those
    /// that fail.
    ///
    /// # Errors
    /// cargo cannot be started.
    pub fn test(&self, bug: Option<Bug>, test: &str) -> Result<Result<Vec<String>, Broken>, Failure> {
        let (package, name) = test.split_once(' ').unwrap_or((test, ""));
        let mut run = self.cargo(bug.is_some());
        bug.unwrap_or(Bug::BuiltIn).tell(&mut run);
        run.args(["test", "--package", package, "--lib", "--", name]);
        let ran = output_of(&mut run)?;
        let text = String::from_utf8_lossy(&ran.stdout);
        if !text.contains("test result: ") {
            return Ok(Err(Broken::Build(first_line(&ran.stderr, "error"))));
        }
        let failed = text.lines().filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"));
        Ok(Ok(failed.map(ToOwned::to_owned).collect()))
    }

    fn cargo(&self, of_the_copy: bool) -> Command {
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        if of_the_copy {
            cargo.current_dir(self.planted.join("workspace")).env("CARGO_TARGET_DIR", self.planted.join("build")).envs(PROFILE);
        } else {
            cargo.current_dir(&self.root);
        }
        cargo
    }

    /// Builds the binary of the copy.
    ///
    /// # Errors
    /// cargo cannot be started.
    pub fn build(&self, product: Product, features: &[Feature]) -> Result<Result<(), Broken>, Failure> {
        let built = output_of(&mut self.building(product, features))?;
        if !built.status.success() {
            return Ok(Err(Broken::Build(first_line(&built.stderr, "error"))));
        }
        Ok(Ok(()))
    }

    fn building(&self, product: Product, features: &[Feature]) -> Command {
        let mut build = self.cargo(true);
        build.args(["build", "--release"]);
        match product {
            Product::Binary => {
                // Sweeps lack nothing without the default features, and a third less has to be compiled.
                build.args(["--package", "cofferdam", "--no-default-features"]);
                build.args(features.iter().flat_map(|feature| ["--features", feature.name()]));
            }
            Product::Worlds => _ = build.args(["--package", "cofferdam-explore", "--example", "worlds"]),
        }
        build
    }

    /// Brings the copy up to date, with some files that are not as they are here. Where it is.
    ///
    /// # Errors
    /// Files cannot be copied.
    pub fn copy_with(&self, others: &BTreeMap<PathBuf, String>) -> Result<PathBuf, Failure> {
        let copy = self.planted.join("workspace");
        self.synchronise(&copy, others)?;
        Ok(copy)
    }

    /// What a patch makes of the files that it changes, none of which is touched: their paths in the workspace, and content.
    ///
    /// # Errors
    /// Files cannot be copied, or git cannot be started.
    pub fn patched(&self, patch: &Path) -> Result<Result<Vec<(PathBuf, String)>, Broken>, Failure> {
        let text = std::fs::read_to_string(patch).map_err(failure("read", patch))?;
        let changed: Vec<PathBuf> =
            text.lines().filter_map(|line| line.strip_prefix("+++ b/")).map(|path| path.trim_end().into()).collect();
        let scratch = self.planted.join("patched");
        if scratch.exists() {
            std::fs::remove_dir_all(&scratch).map_err(failure("remove", &scratch))?;
        }
        for file in &changed {
            let to = scratch.join(file);
            let folder = to.parent().unwrap_or(&scratch);
            std::fs::create_dir_all(folder).map_err(failure("make", folder))?;
            // A file that is not there is the patch's own, or git says that it does not apply.
            if let Ok(content) = std::fs::read(self.root.join(file)) {
                std::fs::write(&to, content).map_err(failure("write", &to))?;
            }
        }
        let mut apply = Command::new("git");
        apply.args(["apply", "-p1"]).arg(patch).current_dir(&scratch).env("GIT_CEILING_DIRECTORIES", &self.planted);
        let applied = output_of(&mut apply)?;
        if !applied.status.success() {
            return Ok(Err(Broken::Patch(first_line(&applied.stderr, "error:"))));
        }
        let read = |file: PathBuf| {
            let path = scratch.join(&file);
            Ok((file, std::fs::read_to_string(&path).map_err(failure("read", &path))?))
        };
        Ok(Ok(changed.into_iter().map(read).collect::<Result<_, Failure>>()?))
    }

    /// Builds the binary of the copy. `Err` has what the compiler does not like: files of the copy, lines, and why.
    ///
    /// # Errors
    /// cargo cannot be started.
    pub fn build_switched(&self, product: Product, features: &[Feature]) -> Result<Result<(), Vec<Complaint>>, Failure> {
        let built = output_of(self.building(product, features).args(["--message-format", "json"]))?;
        if built.status.success() {
            return Ok(Ok(()));
        }
        let mut complaints: Vec<Complaint> = String::from_utf8_lossy(&built.stdout).lines().filter_map(Complaint::of).collect();
        if complaints.is_empty() {
            complaints.push(Complaint { places: Vec::new(), why: first_line(&built.stderr, "error") });
        }
        Ok(Err(complaints))
    }

    fn synchronise(&self, copy: &Path, others: &BTreeMap<PathBuf, String>) -> Result<(), Failure> {
        let mut wanted = self.files()?;
        wanted.extend(others.keys().cloned());
        let present = if copy.is_dir() { files_below(copy)? } else { BTreeSet::new() };
        for stale in present.difference(&wanted) {
            let path = copy.join(stale);
            std::fs::remove_file(&path).map_err(failure("remove", &path))?;
        }
        for file in &wanted {
            let (from, to) = (self.root.join(file), copy.join(file));
            let content = match others.get(file) {
                Some(other) => other.clone().into_bytes(),
                None => std::fs::read(&from).map_err(failure("read", &from))?,
            };
            if std::fs::read(&to).is_ok_and(|before| before == content) {
                continue;
            }
            if let Some(folder) = to.parent() {
                std::fs::create_dir_all(folder).map_err(failure("make", folder))?;
            }
            std::fs::write(&to, content).map_err(failure("write", &to))?;
        }
        Ok(())
    }

    /// What git tracks, or would.
    fn files(&self) -> Result<BTreeSet<PathBuf>, Failure> {
        let mut list = Command::new("git");
        list.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]).current_dir(&self.root);
        let listed = output_of(&mut list)?;
        if !listed.status.success() {
            return Err(Failure::Child { command: "git ls-files".into(), what: first_line(&listed.stderr, "fatal") });
        }
        let names = listed.stdout.split(|byte| *byte == 0).filter(|name| !name.is_empty());
        let paths = names.map(|name| PathBuf::from(String::from_utf8_lossy(name).into_owned()));
        // A tracked file that was deleted is still listed.
        Ok(paths.filter(|path| self.root.join(path).is_file()).collect())
    }
}

/// What the compiler says is wrong.
pub struct Complaint {
    /// File, relative to the copy, and line.
    pub places: Vec<(PathBuf, usize)>,
    /// In its words.
    pub why: String,
}

impl Complaint {
    /// From a line of `--message-format json`, if it is an error.
    fn of(line: &str) -> Option<Self> {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let message = message.get("message")?;
        if message.get("level")?.as_str()? != "error" {
            return None;
        }
        let spans = message.get("spans")?.as_array()?.iter();
        let place = |span: &serde_json::Value| {
            Some((PathBuf::from(span.get("file_name")?.as_str()?), usize::try_from(span.get("line_start")?.as_u64()?).ok()?))
        };
        let places: Vec<_> = spans.filter_map(place).collect();
        // The last one only counts the others.
        (!places.is_empty())
            .then(|| Self { places, why: message.get("message").and_then(|text| text.as_str()).unwrap_or_default().to_owned() })
    }
}

fn manifest_in(folder: &Path) -> PathBuf {
    folder.join("tests/planted/planted.toml")
}

fn failure(purpose: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Path { purpose, path, source }
}

/// All files, relative to the folder.
fn files_below(folder: &Path) -> Result<BTreeSet<PathBuf>, Failure> {
    let mut found = BTreeSet::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).map_err(failure("read", &next))? {
            let path = entry.map_err(failure("read", &next))?.path();
            if path.is_dir() {
                folders.push(path);
            } else if let Ok(relative) = path.strip_prefix(folder) {
                found.insert(relative.to_owned());
            }
        }
    }
    Ok(found)
}

fn output_of(command: &mut Command) -> Result<Output, Failure> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.output().map_err(|error| Failure::Child { command: name, what: error.to_string() })
}

/// The first line that says what is wrong, or else the last one.
fn first_line(text: &[u8], marker: &str) -> String {
    let text = String::from_utf8_lossy(text);
    let marked = text.lines().find(|line| line.starts_with(marker));
    marked.or(text.lines().last()).unwrap_or_default().trim().to_owned()
}
