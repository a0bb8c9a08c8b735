//! The names of the built-in jobs, as scenario files have them.

use super::JobKind;
use serde::{Deserialize, Serialize};

/// How the chains of a job are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shape {
    /// A source, a chain beside it at the same parallelism, and one by key.
    Chain,
    /// In turn, by one key, then by another: three exchanges in a row.
    Shuffle,
    /// Two sources, side by side per key.
    Join,
    /// One source, two ways, side by side per key.
    Diamond,
    /// Two sources as one stream.
    Union,
    /// A source by key, and one that every subtask gets.
    Broadcast,
}

impl Shape {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Chain, Self::Shuffle, Self::Join, Self::Diamond, Self::Union, Self::Broadcast];
}

/// Every job by its name.
const NAMES: &[(&str, JobKind)] = &[
    ("word-count", JobKind::WordCount),
    ("windows", JobKind::Windows),
    ("ledger", JobKind::Ledger),
    ("expiring", JobKind::Expiring),
    ("rules", JobKind::Rules),
    ("visits", JobKind::Visits),
    ("sessions", JobKind::Sessions),
    ("hops", JobKind::Hops),
    ("delivery", JobKind::Delivery),
    ("lanes", JobKind::Lanes),
    ("post", JobKind::Post),
    ("arrivals", JobKind::Arrivals),
    ("patterns", JobKind::Patterns),
    ("idle-split", JobKind::IdleSplit),
    ("chain", JobKind::Shaped(Shape::Chain)),
    ("shuffle", JobKind::Shaped(Shape::Shuffle)),
    ("join", JobKind::Shaped(Shape::Join)),
    ("diamond", JobKind::Shaped(Shape::Diamond)),
    ("union", JobKind::Shaped(Shape::Union)),
    ("broadcast", JobKind::Shaped(Shape::Broadcast)),
];

/// A name that no job has.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there is no job {0:?}; there are {all}", all = NAMES.iter().map(|(name, _)| *name).collect::<Vec<_>>().join(", "))]
pub struct UnknownJob(String);

impl TryFrom<String> for JobKind {
    type Error = UnknownJob;

    fn try_from(name: String) -> Result<Self, UnknownJob> {
        NAMES.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind).ok_or(UnknownJob(name))
    }
}

impl From<JobKind> for String {
    fn from(kind: JobKind) -> Self {
        let named = NAMES.iter().find(|(_, known)| *known == kind);
        named.expect("every job has a name").0.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shape_has_the_name_that_a_file_gives_it() {
        for shape in Shape::ALL {
            let name = String::from(JobKind::Shaped(shape));
            assert_eq!(JobKind::try_from(name.clone()), Ok(JobKind::Shaped(shape)));
            assert_eq!(name, format!("{shape:?}").to_lowercase());
        }
    }

    #[test]
    fn another_name_is_refused_and_the_names_are_told() {
        let error = JobKind::try_from("circle".to_owned()).expect_err("no job is a circle").to_string();
        assert!(error.contains("\"circle\"") && error.contains("diamond"), "{error}");
    }
}
