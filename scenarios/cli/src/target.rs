//! What a name, a glob or a file on the command line stands for.

use crate::failure::Failure;
use cofferdam_scenarios::{file, Scenario, Story};
use cofferdam_sim::scenario::BUILD_WITH_ROCKSDB;
use globset::Glob;
use std::path::Path;

/// Something that gives a run for a seed.
#[derive(Clone)]
pub enum Target {
    /// A built-in scenario.
    Story(Story),
    /// A scenario file.
    File {
        /// As named on the command line.
        path: String,
        /// The seed that it brings.
        seed: Option<u64>,
        /// The scenario.
        scenario: Box<Scenario>,
    },
}

impl Target {
    /// As it is named on the command line.
    pub fn name(&self) -> &str {
        match self {
            Self::Story(story) => story.name,
            Self::File { path, .. } => path,
        }
    }

    /// The seed that it brings.
    pub fn seed(&self) -> Option<u64> {
        match self {
            Self::Story(_) => None,
            Self::File { seed, .. } => *seed,
        }
    }

    /// The whole of it, for a seed.
    pub fn expand(&self, seed: u64) -> Scenario {
        match self {
            Self::Story(story) => (story.expand)(seed),
            Self::File { scenario, .. } => scenario.as_ref().clone(),
        }
    }

    /// The command that does a run again.
    pub fn replay_command(&self, seed: u64) -> String {
        let name = self.name();
        let plain = name.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c));
        let quoted = if plain { name.to_owned() } else { format!("'{}'", name.replace('\'', r"'\''")) };
        let build = if self.expand(seed).uses_rocksdb() { BUILD_WITH_ROCKSDB } else { "cargo run --release" };
        format!("{build} -- replay {quoted} --seed {seed}")
    }
}

/// One target: a scenario's name, or a file.
///
/// # Errors
/// No such scenario, or a file that cannot be used.
pub fn one(text: &str) -> Result<Target, Failure> {
    if is_file(text) {
        let file::ScenarioFile { seed, scenario, .. } = file::read(Path::new(text))?;
        return Ok(Target::File { path: text.to_owned(), seed, scenario: Box::new(scenario) });
    }
    cofferdam_scenarios::find(text).map(Target::Story).ok_or_else(|| unknown(text))
}

/// All targets that the arguments stand for, each once, in their order; all built-in scenarios if there are no arguments.
///
/// # Errors
/// An argument that stands for nothing.
pub fn all(arguments: &[String]) -> Result<Vec<Target>, Failure> {
    let stories = cofferdam_scenarios::all();
    if arguments.is_empty() {
        return Ok(stories.into_iter().map(Target::Story).collect());
    }
    let mut targets: Vec<Target> = Vec::new();
    for text in arguments {
        let found = if is_file(text) || !text.contains(['*', '?', '[', '{']) {
            vec![one(text)?]
        } else {
            let glob = Glob::new(text).map_err(|source| Failure::BadGlob { glob: text.clone(), source })?.compile_matcher();
            let matching: Vec<Target> = stories.iter().filter(|story| glob.is_match(story.name)).copied().map(Target::Story).collect();
            if matching.is_empty() {
                return Err(Failure::UnknownScenario { name: text.clone(), nearest: None });
            }
            matching
        };
        for target in found {
            if !targets.iter().any(|known| known.name() == target.name()) {
                targets.push(target);
            }
        }
    }
    Ok(targets)
}

fn is_file(text: &str) -> bool {
    Path::new(text).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

fn unknown(name: &str) -> Failure {
    if name.starts_with("rocksdb-") && !cfg!(feature = "rocksdb") {
        return Failure::NoRocksDb { name: name.to_owned() };
    }
    let stories = cofferdam_scenarios::all();
    let nearest = stories.iter().map(|story| (distance(name, story.name), story.name)).min();
    let nearest = nearest.filter(|(distance, known)| distance * 3 <= known.len()).map(|(_, known)| known.to_owned());
    Failure::UnknownScenario { name: name.to_owned(), nearest }
}

/// How many bytes must be put in, taken out or changed to make one of the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (done, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = done + 1;
        for (at, b) in to.bytes().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[at + 1];
            row[at + 1] = changed.min(diagonal + 1).min(row[at] + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_name_is_close_to_what_was_meant() {
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("swrm", "swarm"), 1);
        assert_eq!(distance("worker", "wroker"), 2);
        assert_eq!(distance("same", "same"), 0);
    }

    #[test]
    fn no_argument_stands_for_every_scenario() {
        let targets = all(&[]).expect("nothing to get wrong");
        assert_eq!(targets.len(), cofferdam_scenarios::all().len());
    }

    #[test]
    fn a_scenario_named_twice_is_taken_once() {
        let targets = all(&["*".into(), "*".into()]).expect("a glob");
        assert_eq!(targets.len(), cofferdam_scenarios::all().len());
    }
}
