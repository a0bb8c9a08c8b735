//! `cofferdam pin`: a failure that is understood becomes a file beside the others, which the tests run.
//!
//! A pinned run is green: what it was about is mended, and must stay so. So one that still fails is refused, and one that is not the same
//! run twice, since it would tell nothing.

use crate::args::PinArguments;
use crate::console;
use crate::explore;
use crate::failure::{Failure, Outcome};
use crate::target::{self, Target};
use cofferdam_scenarios::file::{self, ScenarioFile};
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use std::path::PathBuf;

/// A file's name, without its ending, is no longer than this.
const LONGEST_NAME: usize = 60;
/// A story is one line of a listing.
const LONGEST_STORY: usize = 200;

/// What cannot be pinned, and why.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// Mend the bug first.
    #[error("{} still fails: {invariant}: {witness}; it can be pinned once that is mended", path.display())]
    Red {
        /// Which file.
        path: PathBuf,
        /// What does not hold.
        invariant: String,
        /// What contradicts it.
        witness: String,
    },
    /// Two runs differ. A bug of ours; file it.
    #[error("{} with seed {seed} gave the hashes {first:016x} and {second:016x}; it does not replay", path.display())]
    DoesNotReplay {
        /// Which file.
        path: PathBuf,
        /// Which seed.
        seed: u64,
        /// Of the first run.
        first: u64,
        /// Of the second.
        second: u64,
    },
    /// It is a path through a small world, which is explored as a whole anyway.
    #[error("{} was left by an exploration, and every exploration goes through it; only runs of scenarios are pinned", .0.display())]
    Explored(PathBuf),
    /// Whoever meets it again must learn in one line what it was about.
    #[error("a story is one line of 1 to {LONGEST_STORY} characters")]
    Story,
    /// Not the name of a file.
    #[error("{0:?} is not a name: small letters, digits and hyphens, at most {LONGEST_NAME} of them")]
    Name(String),
    /// Another failure has this name.
    #[error("{} is there already; give another --name", .0.display())]
    Taken(PathBuf),
    /// Run it where the workspace is, or name the folder.
    #[error("there is no folder {}: name that of the pinned failures with --folder", .0.display())]
    NoFolder(PathBuf),
}

/// Pins a failure.
///
/// # Errors
/// It cannot be.
pub fn pin(arguments: &PinArguments) -> Result<Outcome, Failure> {
    let PinArguments { target, story, folder, .. } = arguments;
    let path = PathBuf::from(target);
    let story = story.trim();
    if story.is_empty() || story.chars().count() > LONGEST_STORY || story.contains(char::is_control) {
        return Err(PinError::Story.into());
    }
    let name = arguments.name.clone().unwrap_or_else(|| name_of(story));
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(plain) || name.starts_with('-') {
        return Err(PinError::Name(name).into());
    }
    if !folder.is_dir() {
        return Err(PinError::NoFolder(folder.clone()).into());
    }
    let pinned = folder.join(format!("{name}.toml"));
    if pinned.exists() {
        return Err(PinError::Taken(pinned).into());
    }
    if matches!(explore::saved(target), Ok(Some(_))) {
        return Err(PinError::Explored(path).into());
    }
    let found = target::one(target)?;
    let Some(seed) = arguments.seed.or(found.seed()) else {
        return Err(Failure::SeedMissing { target: target.clone() });
    };
    let violated = if let Target::File { .. } = found { file::read(&path)?.violated } else { None };
    let mut scenario = found.expand(seed);
    (scenario.name, scenario.story) = (name, story.to_owned());
    let run = || simulate(&scenario, seed, Keep::default());
    let (first, second) = (run(), run());
    if first.hash != second.hash {
        return Err(PinError::DoesNotReplay { path, seed, first: first.hash, second: second.hash }.into());
    }
    if let Some(violation) = first.violation {
        let (invariant, witness) = (violation.invariant.to_owned(), violation.witness);
        return Err(PinError::Red { path, invariant, witness }.into());
    }
    file::write(&pinned, &ScenarioFile { seed: Some(seed), violated, scenario })?;
    console::say(format_args!("{}\n  replay   cargo run --release -- replay {}", pinned.display(), pinned.display()));
    Ok(Outcome::Green)
}

/// The beginning of the story, as far as whole words fit.
fn name_of(story: &str) -> String {
    let lower = story.to_lowercase();
    let words = lower.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let mut name = String::new();
    for word in words {
        if name.len() + 1 + word.len() > LONGEST_NAME {
            break;
        }
        if !name.is_empty() {
            name.push('-');
        }
        name.push_str(word);
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_made_of_the_storys_first_words() {
        assert_eq!(name_of("A worker dies: late, and twice!"), "a-worker-dies-late-and-twice");
        let long = name_of(&"word ".repeat(40));
        assert!(long.len() <= LONGEST_NAME && long.ends_with("word"), "{long}");
        assert_eq!(name_of("€"), "");
    }
}
