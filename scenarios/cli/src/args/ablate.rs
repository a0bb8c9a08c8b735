//! The command line of `cofferdam ablate`.

use super::SeedRange;
use clap::Args;

/// `cofferdam ablate`.
#[derive(Debug, Args)]
pub struct AblateArguments {
    /// Which; all of them if none is given.
    #[arg(value_name = "ASSUMPTION")]
    pub assumptions: Vec<String>,
    /// The seeds that each is broken with.
    #[arg(long, value_name = "A..B", default_value = "0..10")]
    pub seeds: SeedRange,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}
