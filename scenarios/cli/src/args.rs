//! The command line.

mod ablate;
mod explore;
mod failing;
mod overtaking;
mod planted;
mod small_state;
mod stop;
mod sweep;
mod values;
mod watch;

pub use ablate::AblateArguments;
pub use explore::ExploreArguments;
pub use failing::{DiffArguments, PinArguments, ReplayArguments, ShrinkArguments};
pub use overtaking::OvertakingArguments;
pub use planted::PlantedArguments;
pub use small_state::SmallStateArguments;
pub use stop::StopArguments;
pub use sweep::SweepArguments;
pub use values::SeedRange;
pub use watch::WatchArguments;

use values::{seed, time};

use crate::failure::Failure;
use clap::error::ErrorKind;
use clap::{Args, Parser, Subcommand, ValueEnum};
use cofferdam_protocol::settings::Retention;
use cofferdam_protocol::Mode;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// What a script can tell an end by.
const EXIT_CODES: &str = "Exit codes: 0 all is well; 1 an invariant does not hold, or a job failed; 2 the request makes no sense, and \
one line on stderr says why; 3 the job was cancelled; 4 the job was stopped with a savepoint; 130 interrupted.";

/// Checkpointing for streams, and the deterministic testbed that proves it.
#[derive(Debug, Parser)]
#[command(name = "cofferdam", version, after_help = EXIT_CODES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// List the built-in scenarios.
    Scenarios(ScenariosArguments),
    /// Run scenarios over many seeds, with faults, and judge every run.
    Sweep(SweepArguments),
    /// Run one scenario with one seed again, the same way.
    Replay(ReplayArguments),
    /// Make a failing run small: fewer faults, nodes and records, the same invariant violated.
    Shrink(ShrinkArguments),
    /// Keep a failure that is understood, so that it is run with the tests from now on.
    Pin(PinArguments),
    /// Lay the traces of two runs side by side, and show where they part.
    Diff(DiffArguments),
    /// Reproduce a figure: a table, a plot, and every invariant checked in the same runs.
    Figure(FigureArguments),
    /// Visit every state of a small world around the protocol's machines.
    Explore(ExploreArguments),
    /// Break the assumptions of the protocol's proof one by one, and see what comes of it.
    Ablate(AblateArguments),
    /// Run a job for real, as processes on this machine.
    Run(RunArguments),
    /// Cancel a job that runs: its `run` ends with exit code 3.
    Cancel(AddressArguments),
    /// Ask a job that runs for a checkpoint now, whatever its interval.
    Checkpoint(AddressArguments),
    /// Take a savepoint of a job that runs, and say where it is once it is complete.
    Savepoint(SavepointArguments),
    /// Take a savepoint of a job that runs and end it there, to go on from it later: its `run` ends with exit code 4.
    Stop(StopArguments),
    /// Show what a checkpoint or savepoint consists of, or find files that no snapshot needs.
    Inspect(InspectArguments),
    /// Delete a savepoint or a retained checkpoint, with the files that are its own.
    Dispose(DisposeArguments),
    /// Apply planted bugs to a copy of the workspace and see them caught.
    Planted(PlantedArguments),
    #[command(hide = true)]
    Coordinator(CoordinatorArguments),
    #[command(hide = true)]
    Worker(WorkerArguments),
}

/// `cofferdam scenarios`.
#[derive(Debug, Args)]
pub struct ScenariosArguments {
    /// As JSON.
    #[arg(long)]
    pub json: bool,
}

/// `cofferdam figure`.
#[derive(Debug, Args)]
pub struct FigureArguments {
    /// Which.
    #[arg(value_enum)]
    pub figure: FigureName,
    /// The seeds of each point.
    #[arg(long, value_name = "A..B", default_value = "0..5")]
    pub seeds: SeedRange,
    /// Draw it into this file, as SVG.
    #[arg(long, value_name = "FILE")]
    pub plot: Option<PathBuf>,
    /// Print JSON instead of a table.
    #[arg(long)]
    pub json: bool,
}

/// Which figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FigureName {
    /// How long checkpoints take, the slower the last operator is: aligned, unaligned, and aligned until a timeout.
    Alignment,
}

/// `cofferdam cancel` and `cofferdam checkpoint`.
#[derive(Debug, Args)]
pub struct AddressArguments {
    /// Where the coordinator of the job listens: `run` says so when it starts.
    #[arg(value_name = "HOST:PORT")]
    pub address: String,
}

/// `cofferdam savepoint`.
#[derive(Debug, Args)]
pub struct SavepointArguments {
    /// Where the coordinator of the job listens: `run` says so when it starts.
    #[arg(value_name = "HOST:PORT")]
    pub address: String,
    /// The folder to make the savepoint's folder in, or a URL such as s3://bucket/path, which the job must have credentials for.
    #[arg(value_name = "DIR|URL")]
    pub target: PathBuf,
    /// As what.
    #[arg(long, value_enum, default_value_t = SavepointAs::Canonical)]
    pub format: SavepointAs,
}

/// How a savepoint is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SavepointAs {
    /// Any backend reads it.
    Canonical,
    /// As the backend has it: faster, for the same backend only.
    Native,
}

/// `cofferdam inspect`.
#[derive(Debug, Args)]
pub struct InspectArguments {
    /// The folder or URL of a savepoint or checkpoint (`_metadata` is in it); with --orphans that of a job, or where savepoints are.
    #[arg(value_name = "DIR|URL")]
    pub path: PathBuf,
    /// As JSON.
    #[arg(long)]
    pub json: bool,
    /// Read every byte and check every checksum.
    #[arg(long, conflicts_with = "orphans")]
    pub verify: bool,
    /// List the files or objects below a job that no snapshot there needs, or those of savepoints that were never completed. The job must
    /// not run.
    #[arg(long)]
    pub orphans: bool,
    /// Delete them.
    #[arg(long, requires = "orphans")]
    pub delete: bool,
}

/// `cofferdam dispose`.
#[derive(Debug, Args)]
pub struct DisposeArguments {
    /// The folder or URL of a savepoint or checkpoint.
    #[arg(value_name = "DIR|URL")]
    pub path: PathBuf,
}

/// `cofferdam run`.
#[derive(Debug, Args)]
pub struct RunArguments {
    /// Which job.
    #[command(subcommand)]
    pub job: RunJob,
}

/// The jobs that can be run for real.
#[derive(Debug, Subcommand)]
pub enum RunJob {
    /// Count the words of a text file.
    Wordcount(WordcountArguments),
    /// Copy the lines of a text file, each exactly once: what is in the output folder belongs to a completed checkpoint.
    Copy(WordcountArguments),
}

/// `cofferdam run wordcount`, and any other job.
#[derive(Debug, Args)]
pub struct WordcountArguments {
    /// The text, or a folder of text files.
    #[arg(long, value_name = "FILE|DIR")]
    pub input: PathBuf,
    /// Whether the folder grows.
    #[command(flatten)]
    pub watch: WatchArguments,
    /// Where the files of `word<TAB>count` lines, or of lines, go; must be empty or not there yet, or hold what a copy that goes on from
    /// a snapshot has published so far.
    #[arg(long, value_name = "DIR")]
    pub output: PathBuf,
    /// Where checkpoints go: a folder, or the URL of an object store with a path, as s3://bucket/path (also gs, az, file). Who may
    /// write there, the environment says as for the store's own tools: AWS_ACCESS_KEY_ID and so on.
    #[arg(long, value_name = "DIR|URL")]
    pub checkpoints: PathBuf,
    /// How many worker processes.
    #[arg(long, value_name = "N", default_value_t = 2)]
    pub workers: u32,
    /// How many subtasks per operator.
    #[arg(long, value_name = "N", default_value_t = 4)]
    pub parallelism: u32,
    /// Between two checkpoints.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = time)]
    pub interval: Duration,
    /// Begin from a savepoint or retained checkpoint: its folder or URL.
    #[arg(long, value_name = "DIR|URL")]
    pub from: Option<PathBuf>,
    /// What --from names belongs to the job from now on: built upon, and deleted when it is not needed any more.
    #[arg(long, requires = "from")]
    pub claim: bool,
    /// Drop state of operators that the job does not have any more.
    #[arg(long, requires = "from")]
    pub allow_non_restored: bool,
    /// Begin also from a savepoint of a job that was drained, to have published what it had not.
    #[arg(long, requires = "from")]
    pub allow_drained: bool,
    /// What state is kept in.
    #[arg(long, value_enum, default_value_t = BackendName::HashMap)]
    pub backend: BackendName,
    /// Write all state at each checkpoint, also where the backend could add to the last one.
    #[arg(long)]
    pub full_checkpoints: bool,
    /// Keep a second copy of state below this folder on the local disk, and restore from there where a worker still has it.
    #[arg(long, value_name = "DIR")]
    pub local_recovery: Option<PathBuf>,
    /// What becomes of state that is small.
    #[command(flatten)]
    pub small: SmallStateArguments,
    /// Where the coordinator listens for workers; any free port if not given.
    #[arg(long, value_name = "P")]
    pub port: Option<u16>,
    /// What checkpoints promise.
    #[arg(long, value_enum, default_value_t = Promise::ExactlyOnce)]
    pub mode: Promise,
    /// Whether barriers overtake.
    #[command(flatten)]
    pub overtaking: OvertakingArguments,
    /// Whether the last checkpoint stays when the job does not finish.
    #[arg(long, value_enum, default_value_t = Keep::Never)]
    pub retention: Keep,
    /// Keep the statistics of the newest 100 checkpoints, by subtask, in this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub statistics: Option<PathBuf>,
    /// Wait so many milliseconds before each chunk of input; for tests that need time to break things.
    #[arg(long, value_name = "MS", hide = true, default_value_t = 0)]
    pub throttle: u64,
}

/// What state is kept in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BackendName {
    /// Hash tables in memory.
    HashMap,
    /// Sorted runs in memory: checkpoints add to the last one.
    SortedRuns,
    /// On the local disk: larger than memory; checkpoints add to the last one.
    #[cfg(feature = "rocksdb")]
    Rocksdb,
}

impl BackendName {
    /// As the command line knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::HashMap => "hash-map",
            Self::SortedRuns => "sorted-runs",
            #[cfg(feature = "rocksdb")]
            Self::Rocksdb => "rocksdb",
        }
    }
}

/// What checkpoints promise.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Promise {
    /// Every word is counted once.
    ExactlyOnce,
    /// No word is lost; after a crash some may count twice.
    AtLeastOnce,
}

impl Promise {
    /// As the engine knows it.
    pub fn mode(self) -> Mode {
        match self {
            Self::ExactlyOnce => Mode::ExactlyOnce,
            Self::AtLeastOnce => Mode::AtLeastOnce,
        }
    }

    /// As the command line knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }
}

/// Whether checkpoints outlive their job. If it finishes they never do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Keep {
    /// Deleted however the job ends.
    Never,
    /// Kept if the job fails, deleted if it is cancelled.
    DeleteOnCancellation,
    /// Kept if the job fails, and if it is cancelled.
    RetainOnCancellation,
}

impl Keep {
    /// As the engine knows it.
    pub fn retention(self) -> Retention {
        match self {
            Self::Never => Retention::Never,
            Self::DeleteOnCancellation => Retention::DeleteOnCancellation,
            Self::RetainOnCancellation => Retention::RetainOnCancellation,
        }
    }

    /// As the command line knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Never => "never",
            Self::DeleteOnCancellation => "delete-on-cancellation",
            Self::RetainOnCancellation => "retain-on-cancellation",
        }
    }
}

/// Which of the built-in jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum JobName {
    /// Words and how often they come.
    Wordcount,
    /// The lines as they are.
    Copy,
}

impl JobName {
    /// As the command line knows it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wordcount => "wordcount",
            Self::Copy => "copy",
        }
    }
}

/// What all processes of a job agree on. A launcher passes it on unchanged to every child.
#[derive(Clone, Debug, Args)]
pub struct JobArguments {
    /// Which job.
    #[arg(long, value_enum)]
    pub job: JobName,
    /// The text.
    #[arg(long)]
    pub input: String,
    /// Its size when the job began: all processes must cut it alike, even if it grows.
    #[arg(long)]
    pub input_size_bytes: u64,
    /// It is a folder.
    #[arg(long)]
    pub folder: bool,
    /// Whether that grows.
    #[command(flatten)]
    pub watch: WatchArguments,
    /// The output folder.
    #[arg(long)]
    pub output: String,
    /// The job's own folder below the checkpoint folder, or URL below the checkpoint URL.
    #[arg(long)]
    pub root: String,
    /// The coordinator's address.
    #[arg(long)]
    pub address: SocketAddr,
    /// How many subtasks per operator.
    #[arg(long)]
    pub parallelism: u32,
    /// What checkpoints promise.
    #[arg(long, value_enum)]
    pub mode: Promise,
    /// Whether barriers overtake.
    #[command(flatten)]
    pub overtaking: OvertakingArguments,
    /// Milliseconds before each chunk.
    #[arg(long)]
    pub throttle: u64,
    /// What state is kept in.
    #[arg(long, value_enum)]
    pub backend: BackendName,
    /// Write all state at each checkpoint.
    #[arg(long)]
    pub full_checkpoints: bool,
    /// What becomes of state that is small.
    #[command(flatten)]
    pub small: SmallStateArguments,
    /// A folder for what only lives as long as the processes.
    #[arg(long)]
    pub local: String,
    /// A folder for second copies of state.
    #[arg(long)]
    pub local_recovery: Option<String>,
}

/// A coordinator child.
#[derive(Debug, Args)]
pub struct CoordinatorArguments {
    /// Shared with the workers.
    #[command(flatten)]
    pub job: JobArguments,
    /// The job's id.
    #[arg(long)]
    pub job_id: String,
    /// What to begin from.
    #[arg(long, requires = "from_checkpoint")]
    pub from: Option<String>,
    /// Its number.
    #[arg(long)]
    pub from_checkpoint: Option<u64>,
    /// Whether that belongs to the job from now on.
    #[arg(long)]
    pub claim: bool,
    /// Drop state that no operator claims.
    #[arg(long)]
    pub allow_non_restored: bool,
    /// Begin from a drained job's savepoint.
    #[arg(long)]
    pub allow_drained: bool,
    /// Milliseconds between two checkpoints.
    #[arg(long)]
    pub interval: u64,
    /// What becomes of them.
    #[arg(long, value_enum)]
    pub retention: Keep,
}

/// A worker child.
#[derive(Debug, Args)]
pub struct WorkerArguments {
    /// Shared with the coordinator.
    #[command(flatten)]
    pub job: JobArguments,
    /// Which worker.
    #[arg(long)]
    pub id: u32,
    /// How many subtasks of each operator it can run.
    #[arg(long)]
    pub slots: u32,
}

impl Arguments {
    /// Reads the command line. `None` after `--help` or `--version`, which it has answered.
    ///
    /// # Errors
    /// The command line makes no sense.
    pub fn from_command_line() -> Result<Option<Self>, Failure> {
        match Self::try_parse() {
            Ok(arguments) => Ok(Some(arguments)),
            Err(error) => match error.kind() {
                ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
                    // Whoever asked may not wait for the end.
                    let _ = error.print();
                    Ok(None)
                }
                ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand | ErrorKind::MissingSubcommand => Err(Failure::Usage(
                    "a command is missing: scenarios, sweep, replay, shrink, pin, diff, figure, explore, run, cancel, checkpoint, savepoint, stop, inspect, dispose or planted; see --help".into(),
                )),
                _ => Err(Failure::Usage(first_paragraph(&error.to_string()))),
            },
        }
    }
}

/// clap says what is wrong in a first paragraph, and more below.
fn first_paragraph(text: &str) -> String {
    let lines = text.lines().take_while(|line| !line.trim().is_empty());
    let joined = lines.map(str::trim).collect::<Vec<_>>().join(" ");
    joined.strip_prefix("error: ").unwrap_or(&joined).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_usage_error_is_one_line() {
        let error = Arguments::try_parse_from(["cofferdam", "run", "wordcount"]).expect_err("arguments are missing");
        let line = first_paragraph(&error.to_string());
        assert!(line.starts_with("the following required arguments were not provided: --input <FILE|DIR>"), "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn options_are_passed_on_by_the_names_that_are_understood() {
        for retain in Keep::value_variants() {
            assert_eq!(Keep::from_str(retain.name(), false), Ok(*retain));
        }
        for promise in Promise::value_variants() {
            assert_eq!(Promise::from_str(promise.name(), false), Ok(*promise));
        }
    }

    #[test]
    fn stopping_at_a_violation_can_name_the_invariants() {
        let until = |extra: &str| match Arguments::try_parse_from(["cofferdam", "sweep", extra]).expect("well formed").command {
            Command::Sweep(arguments) => arguments.until_violation,
            _ => None,
        };
        assert_eq!(until("swarm"), None);
        assert_eq!(until("--until-violation"), Some(vec![]));
        assert_eq!(until("--until-violation=a,b"), Some(vec!["a".into(), "b".into()]));
    }
}
