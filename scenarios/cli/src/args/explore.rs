//! The command line of `cofferdam explore`.

use super::{seed, time};
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `cofferdam explore`.
#[derive(Debug, Args)]
pub struct ExploreArguments {
    /// The world; all of them, one after the other, if none is given.
    #[arg(value_name = "WORLD")]
    pub world: Option<String>,
    /// List the worlds.
    #[arg(long, conflicts_with = "world")]
    pub list: bool,
    /// Make the world larger or smaller, such as checkpoints=3 or crashes=2.
    #[arg(long = "bound", value_name = "NAME=N", value_parser = bound)]
    pub bounds: Vec<(String, u32)>,
    /// Walk at random instead of visiting everything, for worlds that are too large for that.
    #[arg(long, requires = "time")]
    pub random: bool,
    /// Begin the walks with this one.
    #[arg(long, value_name = "S", value_parser = seed, requires = "random")]
    pub seed: Option<u64>,
    /// End after so long with what was seen: 500ms, 60s, 5m, 2h.
    #[arg(long = "for", value_name = "TIME", value_parser = time)]
    pub time: Option<Duration>,
    /// End with what was seen once the process has more than so many megabytes in memory.
    #[arg(long = "memory-limit", value_name = "MB", default_value_t = 8192, value_parser = clap::value_parser!(u64).range(64..=1_048_576))]
    pub memory_limit_mb: u64,
    /// How many threads; as many as there are cores if not given.
    #[arg(long, value_name = "N", value_parser = threads)]
    pub jobs: Option<usize>,
    /// Write the verdicts and figures to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Where the path to a promise that does not hold goes, to be replayed.
    #[arg(long, value_name = "FILE", default_value = "failure.toml")]
    pub failure: PathBuf,
}

fn bound(text: &str) -> Result<(String, u32), String> {
    let form = || format!("{text:?} is not of the form NAME=N, such as checkpoints=3");
    let (name, value) = text.split_once('=').ok_or_else(form)?;
    Ok((name.to_owned(), value.parse().map_err(|_| form())?))
}

fn threads(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=64).contains(count));
    count.ok_or_else(|| format!("{text:?} is not a number of threads from 1 to 64"))
}
