//! Scenario files: TOML, as a failing sweep leaves them, to be edited and run again.

use cofferdam_sim::scenario::Scenario;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// A scenario with, usually, the seed that made it fail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScenarioFile {
    /// What to run it with; a sweep over the file takes its own range.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// The invariant that did not hold, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub violated: Option<String>,
    /// What to run.
    pub scenario: Scenario,
}

/// A file that is not a scenario. Correct what it names.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read or written.
    #[error("{path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not a scenario.
    #[error("{path}: {source}")]
    Syntax {
        /// Which.
        path: PathBuf,
        /// Where and why.
        source: Box<toml::de::Error>,
    },
    /// It is a scenario that cannot be run.
    #[error("{path}: {what}")]
    Invalid {
        /// Which.
        path: PathBuf,
        /// Why.
        what: String,
    },
}

/// Reads a scenario file.
///
/// # Errors
/// Unreadable, or not a scenario that can be run.
pub fn read(path: &Path) -> Result<ScenarioFile, FileError> {
    let text = std::fs::read_to_string(path).map_err(|source| FileError::Io { path: path.to_owned(), source })?;
    let file: ScenarioFile =
        toml::from_str(&text).map_err(|source| FileError::Syntax { path: path.to_owned(), source: Box::new(source) })?;
    file.scenario.check().map_err(|what| FileError::Invalid { path: path.to_owned(), what: what.to_string() })?;
    Ok(file)
}

/// As text.
///
/// # Panics
/// Never: every scenario can be written.
#[must_use]
pub fn to_text(file: &ScenarioFile) -> String {
    toml::to_string_pretty(file).expect("a scenario has only keys and values that TOML knows")
}

/// Writes a scenario file.
///
/// # Errors
/// The file cannot be written.
pub fn write(path: &Path, file: &ScenarioFile) -> Result<(), FileError> {
    std::fs::write(path, to_text(file)).map_err(|source| FileError::Io { path: path.to_owned(), source })
}
