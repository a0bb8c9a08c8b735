//! What becomes of state that is small, as the command line says it.

use clap::Args;
use cofferdam_engine::storage::SmallState;
use cofferdam_protocol::segments::Merging;

/// The same for whoever runs a job, and for its processes.
#[derive(Clone, Copy, Debug, Args)]
pub struct SmallStateArguments {
    /// State of fewer bytes is put into the metadata of its checkpoint; 0: none is.
    #[arg(long, value_name = "BYTES", default_value_t = SmallState::INLINE_BELOW_BYTES)]
    pub inline_below: u32,
    /// Merge small files of checkpoints into files of up to so many bytes; 0: each has its own. Not for object stores.
    #[arg(long, value_name = "BYTES", default_value_t = 0)]
    pub merge_files: u64,
}

impl SmallStateArguments {
    /// As the engine knows it.
    pub fn small(self) -> SmallState {
        let merge = (self.merge_files > 0).then(|| Merging { max_file_bytes: self.merge_files, ..Merging::default() });
        SmallState { inline_below_bytes: self.inline_below, merge }
    }

    /// As a launcher passes it on.
    pub fn passed_on(self) -> Vec<String> {
        vec!["--inline-below".into(), self.inline_below.to_string(), "--merge-files".into(), self.merge_files.to_string()]
    }
}
