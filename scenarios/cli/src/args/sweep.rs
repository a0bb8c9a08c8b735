//! The command line of `cofferdam sweep`.

use super::values::{time, SeedRange};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `cofferdam sweep`.
#[derive(Debug, Args)]
pub struct SweepArguments {
    /// Scenarios by name or glob, or scenario files; all built-in ones if none is given.
    #[arg(value_name = "NAME|GLOB|FILE.toml")]
    pub targets: Vec<String>,
    /// From A up to, not including, B; a fresh range is drawn if there is none.
    #[arg(long, value_name = "A..B", allow_hyphen_values = true)]
    pub seeds: Option<SeedRange>,
    /// How many simulations at once; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Go on for so long, from a fresh seed on if no range is given: 500ms, 60s, 5m, 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// Write the figures of the table, and all violations, to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write what came of it to this file, as JUnit's XML, for a continuous integration to show.
    #[arg(long, value_name = "FILE")]
    pub junit: Option<PathBuf>,
    /// Where the first failing scenario goes, expanded, to be edited and replayed.
    #[arg(long, value_name = "FILE", default_value = "failure.toml")]
    pub failure: PathBuf,
    /// Keep how far it is in this file; if it is there already, go on from where that sweep was stopped.
    #[arg(long, value_name = "FILE")]
    pub resume: Option<PathBuf>,
    /// Stop at the first violation, or at the first of these invariants (--until-violation=A,B).
    #[arg(long, value_name = "INVARIANTS", num_args = 0..=1, require_equals = true, value_delimiter = ',')]
    pub until_violation: Option<Vec<String>>,
    /// Replay each machine of the protocol from what it was told, and see that the engine does what the machine wants, step by step.
    #[arg(long)]
    pub validate: bool,
    /// Leave failing runs as they are, instead of making the first of each kind small.
    #[arg(long)]
    pub no_shrink: bool,
    /// Do one run in N twice, and compare them event for event; 0: none.
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub police: u64,
    /// Fail if no run has reached some point that there is.
    #[arg(long)]
    pub require_coverage: bool,
}
