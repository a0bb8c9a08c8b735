//! The command lines of what helps from a failing seed to an understood bug: `replay`, `shrink`, `pin`, `diff`.

use super::values::{seed, time, until};
use clap::Args;
use cofferdam_sim::picture::Until;
use std::path::PathBuf;
use std::time::Duration;

/// `cofferdam replay`.
#[derive(Debug, Args)]
pub struct ReplayArguments {
    /// A scenario by name, or a file such as failure.toml that a sweep or an exploration has left.
    #[arg(value_name = "NAME|FILE.toml")]
    pub target: String,
    /// The seed; a file may have its own.
    #[arg(long, value_name = "S", value_parser = seed)]
    pub seed: Option<u64>,
    /// Print one line per transition.
    #[arg(long)]
    pub trace: bool,
    /// In the trace, print what each machine holds, where that has changed.
    #[arg(long, requires = "trace")]
    pub states: bool,
    /// Stop at a time, such as 12.5s, or with an event, such as 'c7 completed', and print machines, wires, disks and timers. An event is
    /// named by words of its line in the trace, the last of them the moment, of whose name the beginning may be left out; 'barrier-arrived
    /// x3' is the third one.
    #[arg(long, value_name = "TIME|EVENT", value_parser = until)]
    pub until: Option<Until>,
    /// Replay each machine of the protocol beside it, as `sweep --validate` does.
    #[arg(long)]
    pub validate: bool,
}

/// `cofferdam shrink`.
#[derive(Debug, Args)]
pub struct ShrinkArguments {
    /// A scenario by name, or a file such as failure.toml that a sweep has left.
    #[arg(value_name = "NAME|FILE.toml")]
    pub target: String,
    /// The seed with which it fails; a file may have its own.
    #[arg(long, value_name = "S", value_parser = seed)]
    pub seed: Option<u64>,
    /// Where to leave what it becomes.
    #[arg(long, value_name = "FILE", default_value = "shrunk.toml")]
    pub output: PathBuf,
    /// Stop after so long, with what has been reached.
    #[arg(long = "for", value_name = "TIME", value_parser = time, default_value = "30s")]
    pub time: Duration,
}

/// `cofferdam pin`.
#[derive(Debug, Args)]
pub struct PinArguments {
    /// What a sweep or `shrink` has left, and does not fail any more; or a scenario by name, with the seed that failed once.
    #[arg(value_name = "FILE.toml|NAME")]
    pub target: String,
    /// What went wrong, in one line.
    #[arg(long, value_name = "SENTENCE")]
    pub story: String,
    /// The name of the file, without its ending; made of the story if not given.
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    /// The seed; a file may have its own.
    #[arg(long, value_name = "S", value_parser = seed)]
    pub seed: Option<u64>,
    /// The folder of pinned failures.
    #[arg(long, value_name = "DIR", default_value = "scenarios/seeds")]
    pub folder: PathBuf,
}

/// `cofferdam diff`.
#[derive(Debug, Args)]
pub struct DiffArguments {
    /// NAME:SEED, a file such as failure.toml, or a file with what `replay --trace` has printed.
    #[arg(value_name = "A")]
    pub one: String,
    /// The same.
    #[arg(value_name = "B")]
    pub other: String,
    /// How many lines to show around where they part.
    #[arg(long, value_name = "N", default_value_t = 5)]
    pub context: usize,
}
