//! What the user asked for, checked before anything is started.

use super::progress::Told;
use super::statistics::{self, History};
use super::wordcount::MAX_PARALLELISM;
use crate::args::{JobArguments, JobName, Keep, Promise, WordcountArguments};
use crate::failure::{one_line, Failure};
use crate::place::{absolute, Place};
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::env::ObjectError;
use cofferdam_engine::storage::CheckpointStorage;
use cofferdam_engine::storage::{object, StorageError};
use cofferdam_protocol::metadata::SnapshotKind;
use cofferdam_protocol::{CheckpointId, CheckpointSettings};
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The most worker processes. More than a machine has cores is of no use.
const MAX_WORKERS: u32 = 64;

/// How long an object store may take to show what it can do.
const STORE_PATIENCE: Duration = Duration::from_secs(30);

/// A snapshot to begin from, seen to be one.
pub struct Snapshot {
    /// Its folder or URL.
    pub path: String,
    /// Its number. Why it is kept: a claimed one may be gone when a coordinator has to be started again.
    pub checkpoint: CheckpointId,
}

impl Snapshot {
    fn of(named: &Path, may_be_drained: bool) -> Result<Self, Failure> {
        let place = Place::of(named)?;
        let metadata = crate::inspect::metadata_of(&place)?;
        if metadata.kind == SnapshotKind::Drained && !may_be_drained {
            return Err(Failure::Drained { path: place.path().to_owned() });
        }
        Ok(Self { path: place.path().to_owned(), checkpoint: metadata.checkpoint })
    }
}

/// A job that can be started.
pub struct Request {
    /// What all processes get.
    pub job: JobArguments,
    /// The snapshot to begin from.
    pub from: Option<Snapshot>,
    /// Whether the job owns it from now on.
    pub claim: bool,
    /// Whether state that no operator claims is dropped.
    pub allow_non_restored: bool,
    /// Whether the snapshot may be that of a drained job.
    pub allow_drained: bool,
    /// Names this job among all that share the checkpoint folder.
    pub job_id: String,
    /// How many workers.
    pub workers: u32,
    /// Subtasks of each operator per worker. No more than needed, so that a dead worker's tasks wait for its restart.
    pub slots: u32,
    /// Between two checkpoints.
    pub interval: Duration,
    /// What becomes of checkpoints when the job does not finish.
    pub retention: Keep,
    /// Where figures about checkpoints go.
    pub statistics: Option<PathBuf>,
    /// The output folder as the user named it.
    pub output: PathBuf,
}

impl Request {
    /// Checks all arguments and makes the folders.
    ///
    /// # Errors
    /// The first argument that cannot be.
    pub fn check(job: JobName, arguments: &WordcountArguments) -> Result<Self, Failure> {
        let out_of_range = |option, value: u32, range| Failure::OutOfRange { option, value: u64::from(value), range };
        if !(1..=MAX_WORKERS).contains(&arguments.workers) {
            return Err(out_of_range("workers", arguments.workers, "it must be between 1 and 64"));
        }
        if !(1..=MAX_PARALLELISM).contains(&arguments.parallelism) {
            return Err(out_of_range("parallelism", arguments.parallelism, "it must be between 1 and 128"));
        }
        CheckpointSettings { interval: Some(arguments.interval), ..CheckpointSettings::default() }.validated()?;
        let checkpoints = Place::of(&arguments.checkpoints)?;
        let storage = if checkpoints.is_url() {
            CheckpointStorage::Object { root: String::new() }
        } else {
            CheckpointStorage::FileSystem { root: String::new() }
        };
        arguments.small.small().validated(&storage).map_err(|error| Failure::Usage(error.to_string()))?;
        let folder = arguments.input.is_dir();
        let input_size_bytes = if folder { readable_folder(&arguments.input)? } else { readable_size(&arguments.input)? };
        if arguments.watch.watch.is_some() && !folder {
            return Err(Failure::Usage("--watch needs a folder as the input".into()));
        }
        let from = arguments.from.as_deref().map(|from| Snapshot::of(from, arguments.allow_drained)).transpose()?;
        let address = free_address(arguments.port)?;
        let input = absolute(&arguments.input)?;
        let output = absolute(&arguments.output)?;
        // What was published of a job stays where it is when another one goes on from its snapshot.
        if job == JobName::Wordcount || arguments.from.is_none() {
            must_be_empty(&arguments.output)?;
        }
        if job == JobName::Copy && arguments.mode == Promise::AtLeastOnce {
            return Err(Failure::Usage("run copy is exactly-once: what is published cannot be taken back".into()));
        }
        if arguments.overtaking.unaligned && arguments.mode == Promise::AtLeastOnce {
            return Err(Failure::Usage("--unaligned needs --mode exactly-once: at least once no barrier waits".into()));
        }
        let job_id = format!("{}-{:016x}", job.name(), std::collections::hash_map::RandomState::new().build_hasher().finish());
        let root = format!("{}/{job_id}", checkpoints.path());
        if checkpoints.is_url() {
            check_store(checkpoints.path())?;
            make_folder(&arguments.output)?;
        } else {
            make_folder(&arguments.output)?;
            make_folder(&arguments.checkpoints)?;
            make_folder(Path::new(&root))?;
        }
        if let Some(path) = &arguments.statistics {
            statistics::write(path, &Told::default(), &History::default()).map_err(path_failure("write to", path))?;
        }
        let parallelism = arguments.parallelism;
        let (mode, throttle) = (arguments.mode, arguments.throttle);
        let (backend, full_checkpoints, small) = (arguments.backend, arguments.full_checkpoints, arguments.small);
        // What is here dies with the processes: whatever matters of it is in checkpoints.
        let local = absolute(&std::env::temp_dir().join(format!("cofferdam-{job_id}")))?;
        let local_recovery = arguments.local_recovery.as_deref().map(|folder| {
            make_folder(folder)?;
            Ok::<_, Failure>(format!("{}/{job_id}", absolute(folder)?))
        });
        let local_recovery = local_recovery.transpose()?;
        Ok(Self {
            job: JobArguments {
                job,
                input,
                input_size_bytes,
                folder,
                watch: arguments.watch,
                output,
                root,
                address,
                parallelism,
                mode,
                overtaking: arguments.overtaking,
                throttle,
                backend,
                full_checkpoints,
                small,
                local,
                local_recovery,
            },
            from,
            claim: arguments.claim,
            allow_non_restored: arguments.allow_non_restored,
            allow_drained: arguments.allow_drained,
            job_id,
            workers: arguments.workers,
            slots: parallelism.div_ceil(arguments.workers),
            interval: arguments.interval,
            retention: arguments.retention,
            statistics: arguments.statistics.clone(),
            output: arguments.output.clone(),
        })
    }
}

fn path_failure(purpose: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Failure {
    let path = path.to_owned();
    move |source| Failure::Path { purpose, path, source }
}

fn readable_size(path: &Path) -> Result<u64, Failure> {
    let read = || {
        let metadata = std::fs::metadata(path)?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        std::fs::File::open(path)?;
        Ok(metadata.len())
    };
    read().map_err(path_failure("read", path))
}

/// A folder has no size: what is in it is found while the job runs.
fn readable_folder(path: &Path) -> Result<u64, Failure> {
    std::fs::read_dir(path).map_err(path_failure("read", path))?;
    Ok(0)
}

fn must_be_empty(path: &Path) -> Result<(), Failure> {
    match std::fs::read_dir(path) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(Failure::OutputNotEmpty(path.to_owned())),
        },
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(path_failure("write to", path)(error)),
    }
}

/// Makes the folder, and sees whether files can be made in it.
fn make_folder(path: &Path) -> Result<(), Failure> {
    let probe = path.join(format!(".probe-{}", std::process::id()));
    let attempt = || {
        std::fs::create_dir_all(path)?;
        std::fs::write(&probe, "")?;
        std::fs::remove_file(&probe)
    };
    attempt().map_err(path_failure("write to", path))
}

/// Sees whether the object store can be reached, may be written to, and does what checkpoints need.
fn check_store(url: &str) -> Result<(), Failure> {
    let unusable = |what: String| Failure::Checkpoints { url: url.to_owned(), what };
    let checked = super::runtime()?.block_on(async {
        let env = RealEnv::default();
        tokio::time::timeout(STORE_PATIENCE, object::check(&env, url)).await
    });
    match checked {
        Ok(Ok(())) => Ok(()),
        Ok(Err(StorageError::Object { source: ObjectError::NotFound, .. })) => Err(unusable("there is no such bucket".into())),
        Ok(Err(StorageError::Object { source, .. })) => Err(unusable(one_line(&source))),
        Ok(Err(error)) => Err(unusable(one_line(&error))),
        Err(_) => Err(unusable(format!("no answer within {} s", STORE_PATIENCE.as_secs()))),
    }
}

/// Opens the port and closes it again. Somebody may still take it before the coordinator does; it then says so.
fn free_address(port: Option<u16>) -> Result<SocketAddr, Failure> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.unwrap_or(0)));
    match TcpListener::bind(address).and_then(|listener| listener.local_addr()) {
        Ok(address) => Ok(address),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Err(Failure::PortTaken(address)),
        Err(source) => Err(Failure::Bind { address, source }),
    }
}
