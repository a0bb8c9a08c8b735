//! `cofferdam stop`.

use super::SavepointAs;
use clap::Args;
use std::path::PathBuf;

/// `cofferdam stop`.
#[derive(Debug, Args)]
pub struct StopArguments {
    /// Where the coordinator of the job listens: `run` says so when it starts.
    #[arg(value_name = "HOST:PORT")]
    pub address: String,
    /// The folder to make the savepoint's folder in, or a URL such as s3://bucket/path, which the job must have credentials for.
    #[arg(value_name = "DIR|URL")]
    pub target: PathBuf,
    /// As if the input ended here: what is held back, such as open windows, is given out first. No job goes on from there.
    #[arg(long)]
    pub drain: bool,
    /// As what.
    #[arg(long, value_enum, default_value_t = SavepointAs::Canonical)]
    pub format: SavepointAs,
}
