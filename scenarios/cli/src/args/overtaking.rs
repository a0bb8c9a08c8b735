//! Whether barriers overtake records, as the command line says it.

use super::values::time;
use clap::Args;
use cofferdam_protocol::settings::CheckpointSettings;
use std::time::Duration;

/// The same for whoever runs a job, and for its processes.
#[derive(Clone, Copy, Debug, Args)]
pub struct OvertakingArguments {
    /// Let barriers overtake records where these wait: what is under way then becomes part of the checkpoint.
    #[arg(long)]
    pub unaligned: bool,
    /// With --unaligned: only once a checkpoint has waited for so long since it was triggered, such as 200ms.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "unaligned")]
    pub aligned_timeout: Option<Duration>,
}

impl OvertakingArguments {
    /// As the engine knows it.
    pub fn settings(self, settings: CheckpointSettings) -> CheckpointSettings {
        CheckpointSettings { unaligned: self.unaligned, aligned_timeout: self.aligned_timeout.unwrap_or_default(), ..settings }
    }

    /// As a launcher passes it on.
    pub fn passed_on(self) -> Vec<String> {
        let mut arguments = Vec::new();
        if self.unaligned {
            arguments.push("--unaligned".into());
        }
        if let Some(timeout) = self.aligned_timeout {
            arguments.extend(["--aligned-timeout".into(), format!("{}ms", timeout.as_millis())]);
        }
        arguments
    }
}
