//! `tests/planted/planted.toml`: which bugs there are to plant, and what must catch each.

use crate::args::SeedRange;
use crate::failure::{one_line, Failure};
use serde::Deserialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// The whole file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// As `[[planted]]` tables.
    planted: Vec<Planted>,
}

/// One bug.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Planted {
    /// Short, with hyphens.
    pub id: String,
    /// A unified diff against the workspace, for `-p1`; relative to the manifest.
    pub patch: PathBuf,
    /// The bug's number where it was first met, or `own`.
    pub bug: String,
    /// What is wrong, in a sentence.
    pub title: String,
    /// What must catch it.
    pub invariant: String,
    /// What may catch it just as well.
    #[serde(default)]
    pub also: Vec<String>,
    /// What is swept: names and globs.
    #[serde(default)]
    pub scenarios: Vec<String>,
    /// Over which seeds.
    #[serde(default)]
    pub seeds: String,
    /// What is explored where nothing is swept, and by `--explore`: the name of a world, and bounds as `NAME=N` behind it.
    #[serde(default)]
    pub worlds: Vec<String>,
    /// What is tested where neither finds it: a package, and a part of the tests' names. The invariant is the test that must fail.
    #[serde(default)]
    pub tests: Vec<String>,
    /// It does not compile beside the original, and so gets a build of its own without a try. Otherwise each build would begin with one
    /// that fails, and nothing of the one before be of use.
    #[serde(default)]
    pub alone: bool,
    /// What the binary must be built with, beside its defaults.
    #[serde(default)]
    pub features: Vec<Feature>,
}

/// A cargo feature that scenarios need.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Feature {
    /// For scenarios with RocksDB.
    Rocksdb,
}

impl Feature {
    /// As cargo knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Rocksdb => "rocksdb",
        }
    }

    /// Whether this binary has it too: runs are compared with its own.
    fn is_here(self) -> bool {
        match self {
            Self::Rocksdb => cfg!(feature = "rocksdb"),
        }
    }
}

/// Who looks for a bug.
#[derive(Clone, Copy, Debug)]
pub enum Search<'a> {
    /// A sweep over the scenarios.
    Sweep,
    /// The worlds are explored.
    Explore(&'a [String]),
    /// The tests are run.
    Test(&'a [String]),
}

impl Planted {
    /// Who looks for it.
    pub fn search(&self) -> Search<'_> {
        match (&self.scenarios[..], &self.worlds[..]) {
            ([_, ..], _) => Search::Sweep,
            ([], worlds @ [_, ..]) => Search::Explore(worlds),
            ([], []) => Search::Test(&self.tests),
        }
    }

    /// Whether it takes a replay of the machines.
    pub fn is_validated(&self) -> bool {
        self.accepted().iter().any(|invariant| invariant == "trace-validation")
    }

    /// Every invariant that counts.
    pub fn accepted(&self) -> Vec<String> {
        std::iter::once(&self.invariant).chain(&self.also).cloned().collect()
    }
}

impl Manifest {
    /// Reads the manifest; patches get their full paths.
    ///
    /// # Errors
    /// It is not there, or not one.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let bad = |what| Failure::Manifest { path: path.to_owned(), what };
        let text = std::fs::read_to_string(path).map_err(|error| bad(error.to_string()))?;
        let mut manifest: Self = toml::from_str(&text).map_err(|error| bad(one_line(&error)))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        let mut seen = BTreeSet::new();
        for planted in &mut manifest.planted {
            if !seen.insert(planted.id.clone()) {
                return Err(bad(format!("two bugs have the id {}", planted.id)));
            }
            match planted.search() {
                Search::Sweep => _ = planted.seeds.parse::<SeedRange>().map_err(|error| bad(format!("{}: {error}", planted.id)))?,
                Search::Explore(_) | Search::Test([_, ..]) => {}
                Search::Test([]) => return Err(bad(format!("{}: there are neither scenarios nor worlds nor tests", planted.id))),
            }
            planted.patch = folder.join(&planted.patch);
        }
        Ok(manifest)
    }

    /// Those with these ids, or all that can be planted with this build.
    ///
    /// # Errors
    /// There is no such id, or it needs another build.
    pub fn select(&self, ids: &[String]) -> Result<Vec<&Planted>, Failure> {
        let possible = |planted: &&Planted| planted.features.iter().all(|feature| feature.is_here());
        if ids.is_empty() {
            return Ok(self.planted.iter().filter(possible).collect());
        }
        let known = || self.planted.iter().map(|planted| planted.id.as_str()).collect::<Vec<_>>().join(", ");
        let find = |id: &String| {
            let found = self.planted.iter().find(|planted| planted.id == *id);
            let found = found.ok_or_else(|| Failure::UnknownPlanted { id: id.clone(), known: known() })?;
            Some(found).filter(possible).ok_or_else(|| Failure::NoRocksDb { name: id.clone() })
        };
        ids.iter().map(find).collect()
    }
}
