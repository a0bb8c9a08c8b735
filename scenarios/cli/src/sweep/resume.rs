//! How far a sweep is, in a file, so that another process can go on where this one was stopped.
//!
//! The file is replaced as a whole: at every moment it says what some moment's sweep would have said. It names what is swept and by which
//! build, since runs of others could not be added to these.

use super::schedule::Limits;
use super::tally::Tally;
use crate::failure::{one_line, Failure};
use crate::target::Target;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::hash::{Hash, Hasher};
use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

/// What a sweep is, apart from how far it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Of the executable that runs it.
    pub build: u64,
    /// The scenarios by name, in order, with a hash of what each file of them says.
    pub targets: Vec<(String, u64)>,
    /// The first seed.
    pub first: u64,
    /// The one behind the last.
    pub end: Option<u64>,
    /// One run in so many is done twice.
    pub police: u64,
}

/// Which runs are done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// All with a smaller index than this.
    pub below: u64,
    /// And these.
    pub beyond: BTreeSet<u64>,
}

impl Ledger {
    /// One more is done. `is_skipped`: nobody will do this one.
    pub fn done(&mut self, index: u64, is_skipped: impl Fn(u64) -> bool) {
        self.beyond.insert(index);
        let Some(last) = self.beyond.last().copied() else { return };
        while self.below <= last && (self.beyond.remove(&self.below) || is_skipped(self.below)) {
            self.below += 1;
        }
    }

    /// Whether it is.
    pub fn has(&self, index: u64) -> bool {
        index < self.below || self.beyond.contains(&index)
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// Which sweep.
    pub sweep: Sweep,
    /// Its runs.
    pub ledger: Ledger,
    /// What came of them.
    pub tally: Tally,
    /// How long it took so far, in all processes.
    pub elapsed: Duration,
}

impl Sweep {
    /// The sweep of these.
    ///
    /// # Errors
    /// The executable cannot be read.
    pub fn new(targets: &[Target], limits: Limits, police: u64) -> Result<Self, Failure> {
        let system = |source| Failure::System { purpose: "read the own executable", source };
        let executable = std::env::current_exe().and_then(std::fs::read).map_err(system)?;
        let name = |target: &Target| match target {
            Target::Story(story) => (story.name.to_owned(), 0),
            Target::File { path, scenario, .. } => (path.clone(), hash(format!("{scenario:?}").as_bytes())),
        };
        let targets = targets.iter().map(name).collect();
        Ok(Self { build: hash(&executable), targets, first: limits.first, end: limits.end, police })
    }
}

fn hash(bytes: &[u8]) -> u64 {
    let mut hasher = cofferdam_sim::trace::StableHasher::default();
    bytes.hash(&mut hasher);
    hasher.finish()
}

/// What the file says; `None` if there is none.
///
/// # Errors
/// It cannot be read, or is no such file.
pub fn read(path: &Path) -> Result<Option<Saved>, Failure> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Failure::Path { purpose: "read", path: path.to_owned(), source }),
    };
    let parsed = serde_json::from_str(&text);
    parsed.map(Some).map_err(|error| Failure::Resume { path: path.to_owned(), what: one_line(&error) })
}

/// Whether the file is of this sweep.
///
/// # Errors
/// It is not; which part differs.
pub fn check(path: &Path, saved: &Sweep, asked: &Sweep) -> Result<(), Failure> {
    let what = match (saved, asked) {
        (saved, asked) if saved.targets != asked.targets => "it is of other scenarios",
        (saved, asked) if (saved.first, saved.end) != (asked.first, asked.end) => "it is of other seeds",
        (saved, asked) if saved.police != asked.police => "another share of its runs is done twice",
        (saved, asked) if saved.build != asked.build => "it is of another build, whose runs are others",
        _ => return Ok(()),
    };
    Err(Failure::Resume { path: path.to_owned(), what: format!("{what}; remove it to begin anew") })
}

/// Replaces the file as a whole, durably.
///
/// # Errors
/// It cannot be written.
pub fn write(path: &Path, saved: &Saved) -> Result<(), Failure> {
    let text = serde_json::to_string(saved).expect("sums have text keys and whole numbers");
    let temporary = path.with_extension("tmp");
    let written = (|| {
        let mut file = std::fs::File::create(&temporary)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&temporary, path)
    })();
    written.map_err(|source| Failure::Path { purpose: "write", path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_that_are_done_out_of_order_are_known_one_by_one() {
        let mut ledger = Ledger::default();
        for index in [1, 4, 0] {
            ledger.done(index, |_| false);
        }
        assert_eq!(ledger, Ledger { below: 2, beyond: BTreeSet::from([4]) });
        assert!(ledger.has(0) && ledger.has(4) && !ledger.has(2));
    }

    #[test]
    fn runs_that_nobody_does_are_passed_over() {
        let mut ledger = Ledger::default();
        for index in [0, 2, 4] {
            ledger.done(index, |index| index % 2 == 1);
        }
        assert_eq!(ledger, Ledger { below: 5, beyond: BTreeSet::new() });
    }
}
