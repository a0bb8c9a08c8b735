//! How a folder of input is read, as the command line says it.

use super::values::time;
use clap::Args;
use std::time::Duration;

/// The same for whoever runs a job, and for its processes.
#[derive(Clone, Copy, Debug, Args)]
pub struct WatchArguments {
    /// With a folder as the input: look for new files this often, until there is one called _SUCCESS. Without, what is there is all.
    #[arg(long, value_name = "TIME", value_parser = time)]
    pub watch: Option<Duration>,
}

impl WatchArguments {
    /// As a launcher passes it on.
    pub fn passed_on(self) -> Vec<String> {
        self.watch.map_or_else(Vec::new, |watch| vec!["--watch".into(), format!("{}ms", watch.as_millis())])
    }
}
