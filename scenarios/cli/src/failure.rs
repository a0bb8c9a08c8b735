//! How a command ends, other than well.

use crate::pin::PinError;
use cofferdam_engine::cluster::coordinator::{CoordinatorError, DRAINED};
use cofferdam_engine::job::JobError;
use cofferdam_protocol::settings::SettingsError;
use cofferdam_scenarios::file::FileError;
use cofferdam_sim::scenario::BUILD_WITH_ROCKSDB;
use cofferdam_sim::shrink::ShrinkError;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// A command did what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// And all is well: exit code 0.
    Green,
    /// And found something wrong, which it has told: exit code 1.
    Red,
    /// A child process answers its launcher.
    Code(u8),
}

/// A command cannot go on. One line for people, and an exit code.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line makes no sense. Its first paragraph, as clap words it.
    #[error("{0}")]
    Usage(String),
    /// No built-in scenario has this name, or matches this glob.
    #[error("no scenario is called {name:?}{}; `cofferdam scenarios` lists them", hint(.nearest.as_deref()))]
    UnknownScenario {
        /// What was asked for.
        name: String,
        /// What may have been meant.
        nearest: Option<String>,
    },
    /// No world has this name.
    #[error("no world is called {name:?}; there are {known}")]
    UnknownWorld {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// No assumption has this name.
    #[error("no assumption is called {name:?}; there are {known}")]
    UnknownAssumption {
        /// What was asked for.
        name: String,
        /// What there is.
        known: String,
    },
    /// Its stories are not in this build.
    #[error("{name:?} needs a build with RocksDB: {BUILD_WITH_ROCKSDB}")]
    NoRocksDb {
        /// What was asked for.
        name: String,
    },
    /// Not a glob.
    #[error("{glob:?} is not a glob: {source}")]
    BadGlob {
        /// What was given.
        glob: String,
        /// Why.
        source: globset::Error,
    },
    /// A scenario file that cannot be used.
    #[error("{}", one_line(.0))]
    ScenarioFile(#[from] FileError),
    /// What is to be made small cannot be.
    #[error(transparent)]
    Shrink(#[from] ShrinkError),
    /// The file of a sweep's progress is not one, or of another sweep.
    #[error("{} cannot be gone on from: {what}", path.display())]
    Resume {
        /// Which.
        path: PathBuf,
        /// Why not.
        what: String,
    },
    /// What is to be pinned cannot be.
    #[error(transparent)]
    Pin(#[from] PinError),
    /// A side of a comparison stands for nothing.
    #[error("{text:?} is no side of a comparison: {what}")]
    Side {
        /// What was given.
        text: String,
        /// Why not.
        what: String,
    },
    /// A seed is needed and none is there.
    #[error("{target} needs a seed: --seed S")]
    SeedMissing {
        /// What was to be replayed.
        target: String,
    },
    /// A file or folder that the user named cannot be used.
    #[error("cannot {purpose} {}: {source}", path.display())]
    Path {
        /// What for.
        purpose: &'static str,
        /// Which.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// Paths become part of other paths and of messages.
    #[error("the path {} is not UTF-8", .0.display())]
    PathNotText(PathBuf),
    /// Output is merged over what is there, so old parts would mix with new ones.
    #[error("the output folder {} is not empty; empty it or name another one", .0.display())]
    OutputNotEmpty(PathBuf),
    /// The object store that the user named cannot be used.
    #[error("cannot keep checkpoints in {url}: {what}")]
    Checkpoints {
        /// As it was named.
        url: String,
        /// Why not, in one line and without credentials.
        what: String,
    },
    /// A URL that no place of a job or a snapshot can have.
    #[error("cannot use {url}: {what}")]
    Url {
        /// What of it is certainly no secret.
        url: String,
        /// Why not.
        what: String,
    },
    /// Somebody else listens there.
    #[error("port {} is taken; choose another one with --port, or leave it out", .0.port())]
    PortTaken(SocketAddr),
    /// The port cannot be opened for another reason.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
    /// A number out of its range.
    #[error("--{option} is {value}, but {range}")]
    OutOfRange {
        /// Which option.
        option: &'static str,
        /// What was given.
        value: u64,
        /// What it can be, in words.
        range: &'static str,
    },
    /// A checkpoint setting that cannot be.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The manifest of planted bugs is not there, or not one.
    #[error("{}: {what}", path.display())]
    Manifest {
        /// Where it was looked for.
        path: PathBuf,
        /// What is wrong, in one line.
        what: String,
    },
    /// No planted bug has this id.
    #[error("no planted bug has the id {id:?}; there are {known}")]
    UnknownPlanted {
        /// What was asked for.
        id: String,
        /// What there is.
        known: String,
    },
    /// The built-in job cannot be built from valid settings: a bug of ours.
    #[error("the job cannot be built: {0}")]
    Job(#[from] JobError),
    /// This process cannot lead the job.
    #[error(transparent)]
    Coordinator(#[from] CoordinatorError),
    /// This process cannot work for the job.
    #[error("the worker cannot open a port for its channels: {0}")]
    Worker(io::Error),
    /// The job has failed for good.
    #[error("the job failed: {cause}")]
    JobFailed {
        /// As the coordinator says.
        cause: String,
    },
    /// The user has ended the job.
    #[error("the job was cancelled; the output is not complete")]
    JobCancelled,
    /// Not an address.
    #[error("{text:?} is not the address of a coordinator, which looks like 127.0.0.1:6123: {why}")]
    BadAddress {
        /// What was given.
        text: String,
        /// Why not.
        why: String,
    },
    /// A command for a job found nobody who takes it.
    #[error("no coordinator took the command at {address}: {why}")]
    NoCoordinator {
        /// Where.
        address: String,
        /// Why not.
        why: String,
    },
    /// The coordinator was asked, and there is no savepoint.
    #[error("there is no savepoint of the job at {address}: {why}")]
    NoSavepoint {
        /// Of the coordinator.
        address: std::net::SocketAddr,
        /// Why not.
        why: String,
    },
    /// The coordinator was asked to stop the job, which goes on.
    #[error("the job at {address} was not stopped: {why}")]
    NotStopped {
        /// Of the coordinator.
        address: std::net::SocketAddr,
        /// Why not.
        why: String,
    },
    /// The coordinator was asked to stop the job, and what came of it is not known.
    #[error("no answer came from {address}: {why}; the job may have stopped with a savepoint or be running on, which its `run` says")]
    AnswerLost {
        /// Where.
        address: String,
        /// What happened instead.
        why: String,
    },
    /// The job has stopped, and some of its output is still in the savepoint.
    #[error(
        "the job has stopped with {folder}, but not all is published that waited for it: {why}; a job that begins from there does that"
    )]
    Unpublished {
        /// The savepoint.
        folder: String,
        /// Why.
        why: String,
    },
    /// The user has stopped the job with a savepoint.
    #[error("the job was {}stopped with the savepoint {folder}{}; the output is that of the input so far", if *.drained { "drained and " } else { "" }, rest(.published))]
    JobStopped {
        /// The savepoint.
        folder: String,
        /// Whether it gave out all that it held.
        drained: bool,
        /// Whether all is published that waited for it.
        published: bool,
    },
    /// What was to be begun from is no place to go on from.
    #[error("cannot begin from {path}: {DRAINED}; --allow-drained does it all the same")]
    Drained {
        /// The savepoint.
        path: String,
    },
    /// A snapshot cannot be read, or is not whole.
    #[error("{0}")]
    Snapshot(String),
    /// A process of the cluster dies again and again, faster than it can be of use.
    #[error("the {process} process does not stay up: {last}")]
    DoesNotStayUp {
        /// Which.
        process: String,
        /// How it ended last.
        last: String,
    },
    /// The user has stopped it.
    #[error("interrupted; the output is not complete")]
    Interrupted,
    /// The operating system refused something that it usually grants.
    #[error("cannot {purpose}: {source}")]
    System {
        /// What for.
        purpose: &'static str,
        /// Why not.
        source: io::Error,
    },
    /// A child process failed at what it was started for.
    #[error("{command} failed: {what}")]
    Child {
        /// Its command line.
        command: String,
        /// What it said last.
        what: String,
    },
}

impl Failure {
    /// 2 where the user can correct the request, 1 where something went wrong while it was carried out, 3 and 4 where the user ended it.
    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_)
            | Self::UnknownScenario { .. }
            | Self::UnknownWorld { .. }
            | Self::UnknownAssumption { .. }
            | Self::NoRocksDb { .. }
            | Self::BadGlob { .. }
            | Self::ScenarioFile(_)
            | Self::SeedMissing { .. }
            | Self::Shrink(_)
            | Self::Resume { .. }
            | Self::Pin(_)
            | Self::Side { .. }
            | Self::Path { .. }
            | Self::PathNotText(_)
            | Self::OutputNotEmpty(_)
            | Self::Checkpoints { .. }
            | Self::Url { .. }
            | Self::PortTaken(_)
            | Self::Bind { .. }
            | Self::OutOfRange { .. }
            | Self::Settings(_)
            | Self::Manifest { .. }
            | Self::BadAddress { .. }
            | Self::NoCoordinator { .. }
            | Self::NoSavepoint { .. }
            | Self::NotStopped { .. }
            | Self::Drained { .. }
            | Self::Snapshot(_)
            | Self::UnknownPlanted { .. } => 2,
            Self::Job(_)
            | Self::Coordinator(_)
            | Self::Worker(_)
            | Self::JobFailed { .. }
            | Self::AnswerLost { .. }
            | Self::Unpublished { .. }
            | Self::DoesNotStayUp { .. }
            | Self::System { .. }
            | Self::Child { .. } => 1,
            Self::JobCancelled => 3,
            Self::JobStopped { .. } => 4,
            // As a shell says of a process that SIGINT ended.
            Self::Interrupted => 130,
        }
    }
}

fn rest(published: &bool) -> &'static str {
    if *published {
        ""
    } else {
        ", and some of its output may still be in there until a job begins from it"
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (did you mean {name}?)")).unwrap_or_default()
}

/// A message over several lines as one.
pub fn one_line(error: &impl ToString) -> String {
    error.to_string().split_whitespace().collect::<Vec<_>>().join(" ")
}
