//! The command line of `cofferdam planted`.

use super::values::time;
use clap::Args;
use std::path::PathBuf;
use std::time::Duration;

/// `cofferdam planted`.
#[derive(Debug, Args)]
pub struct PlantedArguments {
    /// Which bugs; all if none is given.
    #[arg(value_name = "ID")]
    pub ids: Vec<String>,
    /// Make each failing run small as well, and say what is left of it.
    #[arg(long)]
    pub shrink: bool,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// How many simulations at once, or with --survival bugs; as many as there are cores if not given.
    #[arg(long, value_name = "N")]
    pub jobs: Option<usize>,
    /// Show which of them exploration alone finds, in which world, and in how many states and steps.
    #[arg(long)]
    pub explore: bool,
    /// With --explore: no world is explored for longer; 20s if not given.
    #[arg(long = "for", value_name = "TIME", value_parser = time, requires = "explore")]
    pub time: Option<Duration>,
    /// Show how many are caught in how much time: by plain random faults, by swarms, and by random faults with pinned moments.
    #[arg(long, conflicts_with_all = ["explore", "shrink"])]
    pub survival: bool,
    /// With --survival: processor seconds that each bug is searched for by each of them.
    #[arg(long, value_name = "SECONDS", default_value_t = 20.0, value_parser = seconds, requires = "survival")]
    pub limit: f64,
    /// With --survival: draw the curves into this file.
    #[arg(long, value_name = "FILE", requires = "survival")]
    pub svg: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.1..=86_400.0).contains(&seconds) => Ok(seconds),
        Ok(_) | Err(_) => Err("a number of seconds from 0.1 to 86400".into()),
    }
}
