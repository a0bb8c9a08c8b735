//! A whole run as data: what is built, what happens to it, what must hold. A seed and a scenario give one run, always the
//! same; every scenario can be written to a file, edited, and run again.

use crate::fault::{KINDS, OBJECT_KINDS};
use cofferdam_engine::observe::Moment;
use cofferdam_protocol::settings::{CheckpointSettings, Mode, RestartStrategy, Retention, SettingsError};
use cofferdam_protocol::MaxParallelism;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// One run, but for its seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Short, with hyphens.
    pub name: String,
    /// What happens, in a sentence.
    pub story: String,
    /// What runs.
    #[serde(default)]
    pub job: JobSpec,
    /// On what.
    #[serde(default)]
    pub cluster: ClusterSpec,
    /// `execution.checkpointing.*`.
    #[serde(default)]
    pub checkpoints: CheckpointSpec,
    /// `restart-strategy.*`.
    #[serde(default = "default_restart")]
    pub restart: RestartStrategy,
    /// All links that no fault changes.
    #[serde(default)]
    pub network: NetworkSpec,
    /// All disks that no fault changes.
    #[serde(default)]
    pub disk: DiskSpec,
    /// The object store, where snapshots go there and no fault changes it.
    #[serde(default, skip_serializing_if = "ObjectSpec::is_default")]
    pub objects: ObjectSpec,
    /// Skewed clocks.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub clocks: Vec<ClockSpec>,
    /// What goes wrong, and when.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSpec>,
    /// What goes wrong at times drawn from the seed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chaos: Option<ChaosSpec>,
    /// When all faults end and everything is repaired: safety before, liveness after.
    pub calm_after_ms: u64,
    /// How long after that the job may take to finish.
    pub liveness_bound_ms: u64,
    /// How the job must end.
    #[serde(default)]
    pub expect: Expect,
    /// Another job, that begins from what this one leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resume: Option<ResumeSpec>,
}

fn default_restart() -> RestartStrategy {
    let ms = std::time::Duration::from_millis;
    RestartStrategy::ExponentialDelay { initial: ms(200), max: ms(2000), growth_percent: 150, jitter_percent: 10, reset_after: ms(10_000) }
}

/// How the job must end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Expect {
    /// With all input processed.
    #[default]
    Finished,
    /// With the restart strategy giving up.
    Failed,
    /// By its user.
    Cancelled,
}

/// Which of the built-in jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum JobKind {
    /// Lines, words, a count per word, a table: value state.
    #[default]
    WordCount,
    /// Sums per key and event-time window: map state, event-time timers, watermarks.
    Windows,
    /// Two unions of logs, connected by key: all five kinds of state, processing-time timers.
    Ledger,
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSpec {
    /// Which job.
    pub kind: JobKind,
    /// Subtasks per vertex.
    pub parallelism: u32,
    /// Key groups.
    pub max_parallelism: u32,
    /// Parts of the input log.
    pub partitions: u32,
    /// Lines per part.
    pub lines: u32,
    /// Different keys.
    pub keys: u32,
    /// How much a source reads at once.
    pub chunk_bytes: u32,
    /// How long a source waits before each chunk.
    pub pace_ms: u64,
    /// A source with more than this left in a partition says that it is behind; 0: it never does.
    pub backlog_bytes: u64,
    /// The coordinator has a hook that fails each time so many calls have been made; 0: it has none.
    pub hook_fails_every: u64,
}

impl Default for JobSpec {
    fn default() -> Self {
        Self {
            kind: JobKind::WordCount,
            parallelism: 2,
            max_parallelism: 16,
            partitions: 4,
            lines: 300,
            keys: 40,
            chunk_bytes: 64,
            pace_ms: 50,
            backlog_bytes: 0,
            hook_fails_every: 0,
        }
    }
}

/// On what it runs. Nodes are called `coordinator`, `storage` and `worker-1` onward.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ClusterSpec {
    /// Worker nodes.
    pub workers: u32,
    /// Slots of each.
    pub slots: u32,
    /// Between two signs of life.
    pub heartbeat_ms: u64,
    /// Silence for so long is loss.
    pub heartbeat_timeout_ms: u64,
    /// Where snapshots go.
    pub storage: StorageKind,
    /// What keyed state is kept in.
    pub backend: BackendKind,
    /// Whether checkpoints share files with earlier ones, where the backend has files.
    pub incremental: bool,
    /// Changes beyond so many bytes per operator go into its store before the next checkpoint.
    pub hot_bytes: u64,
}

impl Default for ClusterSpec {
    fn default() -> Self {
        Self {
            workers: 3,
            slots: 1,
            heartbeat_ms: 200,
            heartbeat_timeout_ms: 1000,
            storage: StorageKind::FileSystem,
            backend: BackendKind::HashMap,
            incremental: true,
            hot_bytes: 1 << 20,
        }
    }
}

/// A job that begins from what another one left, once that has been cancelled. Nothing goes wrong any more.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResumeSpec {
    /// From which of its snapshots.
    pub from: ResumeFrom,
    /// Whether it owns that from then on.
    pub claim: bool,
    /// Subtasks per vertex.
    pub parallelism: u32,
    /// What keyed state is kept in.
    pub backend: BackendKind,
}

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeFrom {
    /// The last savepoint.
    Savepoint,
    /// The newest retained checkpoint.
    Checkpoint,
}

/// What keyed state is kept in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendKind {
    /// Hash tables in memory.
    #[default]
    HashMap,
    /// Hot entries in memory, the rest in sorted runs.
    SortedRuns,
}

/// Where snapshots go.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StorageKind {
    /// Files on the storage node.
    #[default]
    FileSystem,
    /// The coordinator's memory; gone when it crashes.
    Memory,
    /// Objects in a store that the storage node serves.
    Object,
}

/// `execution.checkpointing.*`, in milliseconds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CheckpointSpec {
    /// Between periodic triggers.
    pub interval_ms: u64,
    /// The same while a source is behind; 0: none then. Not set: as always.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_during_backlog_ms: Option<u64>,
    /// Exactly-once or at-least-once.
    pub mode: Mode,
    /// A checkpoint that takes longer expires.
    pub timeout_ms: u64,
    /// From the last completed one to the next periodic trigger.
    pub min_pause_ms: u64,
    /// Pending at once.
    pub max_concurrent: u32,
    /// Consecutive counted failures that the job survives.
    pub tolerable_failures: u32,
    /// Completed ones that are kept.
    pub retained: u32,
    /// What stays when the job ends.
    pub retention: Retention,
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self {
            interval_ms: 200,
            interval_during_backlog_ms: None,
            mode: Mode::ExactlyOnce,
            timeout_ms: 2000,
            min_pause_ms: 0,
            max_concurrent: 1,
            tolerable_failures: 3,
            retained: 1,
            retention: Retention::Never,
        }
    }
}

/// Links between any two nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// Least latency.
    pub latency_min_ms: u64,
    /// Largest latency.
    pub latency_max_ms: u64,
    /// 0 is unlimited.
    pub bandwidth_bytes_per_s: u64,
    /// Bytes in flight per direction of a connection before the sender waits.
    pub window_bytes: u32,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self { latency_min_ms: 1, latency_max_ms: 5, bandwidth_bytes_per_s: 0, window_bytes: 4096 }
    }
}

/// Disks of all nodes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DiskSpec {
    /// Least time of an operation.
    pub latency_min_us: u64,
    /// Largest time of an operation.
    pub latency_max_us: u64,
}

impl Default for DiskSpec {
    fn default() -> Self {
        Self { latency_min_us: 0, latency_max_us: 2000 }
    }
}

/// The object store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ObjectSpec {
    /// Least time that a request takes, beside its way.
    pub latency_min_ms: u64,
    /// Largest time that a request takes, beside its way.
    pub latency_max_ms: u64,
    /// How long clients wait for an answer.
    pub timeout_ms: u64,
    /// State that is larger is uploaded in parts of this size.
    pub part_bytes: u32,
}

impl Default for ObjectSpec {
    fn default() -> Self {
        Self { latency_min_ms: 2, latency_max_ms: 15, timeout_ms: 1000, part_bytes: 512 }
    }
}

impl ObjectSpec {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A clock that is wrong from the beginning.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClockSpec {
    /// Whose.
    pub node: String,
    /// How much it is ahead.
    #[serde(default)]
    pub offset_ms: i64,
    /// How much faster it runs, in parts per million.
    #[serde(default)]
    pub drift_ppm: i32,
}

/// One thing that goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultSpec {
    /// When.
    pub when: When,
    /// What.
    pub what: What,
}

/// When a fault happens, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum When {
    /// At a time since the start.
    AtMs(u64),
    /// At a protocol moment; the names are those of traces.
    Moment {
        /// Such as `metadata-renamed`.
        moment: String,
        /// Only of this checkpoint, or a later one if it is skipped.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        checkpoint: Option<u64>,
        /// The how-manieth such moment, from 1.
        #[serde(default = "one")]
        nth: u32,
    },
}

fn one() -> u32 {
    1
}

/// What goes wrong. Nodes are named, or `acting`: where the moment that it is pinned to took place; or `any-worker`, drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum What {
    /// The process dies, and comes back.
    Crash {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// The machine loses power, and comes back: what was not synced is gone, peers hear nothing.
    PowerLoss {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// As a power loss, and the disk comes back empty. Not for the storage node.
    Wipe {
        /// Whose.
        node: String,
        /// For so long.
        down_ms: u64,
    },
    /// The process stands still, as in a long garbage collection.
    Pause {
        /// Whose.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// Nothing gets from one node to the other, or either way.
    Partition {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// Only in this direction.
        #[serde(default)]
        one_way: bool,
        /// For so long.
        for_ms: u64,
    },
    /// A node is cut off from all others but the storage node: it goes on as a zombie.
    Isolate {
        /// Which.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// All connections between two nodes break.
    Reset {
        /// One.
        from: String,
        /// The other.
        to: String,
    },
    /// A link becomes slow in one direction.
    SlowLink {
        /// From here.
        from: String,
        /// To there.
        to: String,
        /// New latency.
        latency_ms: u64,
        /// New bandwidth; 0 is unlimited.
        #[serde(default)]
        bandwidth_bytes_per_s: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Operations of a disk fail with EIO, before or after they took effect.
    DiskErrors {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Syncs of a disk fail.
    SyncErrors {
        /// Whose disk.
        node: String,
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// A disk is full.
    DiskFull {
        /// Whose disk.
        node: String,
        /// For so long.
        for_ms: u64,
    },
    /// A disk is slow.
    SlowDisk {
        /// Whose disk.
        node: String,
        /// Time of each operation.
        latency_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Requests to the object store fail with a server's error; nothing happened.
    ObjectErrors {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Requests to the object store are turned away because there are too many.
    ObjectThrottling {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Changes in the object store happen, and the answer is an error.
    LostAnswers {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// Listings of the object store miss what is new and show what is gone.
    StaleListings {
        /// By how much they lag behind at most.
        lag_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// Reads of the object store give less than was asked for.
    PartialReads {
        /// How many of a thousand.
        per_mille: u32,
        /// For so long.
        for_ms: u64,
    },
    /// The object store is slow.
    SlowObjects {
        /// Time of each request, from none to this.
        latency_ms: u64,
        /// For so long.
        for_ms: u64,
    },
    /// The object store serves nobody.
    ObjectsUnavailable {
        /// For so long.
        for_ms: u64,
    },
    /// The user cancels the job.
    Cancel {},
    /// The user asks for a checkpoint.
    Checkpoint {},
    /// The user asks for a savepoint.
    Savepoint {
        /// In the backend's own format.
        native: bool,
    },
    /// A wall clock jumps.
    ClockJump {
        /// Whose.
        node: String,
        /// Ahead, or back.
        by_ms: i64,
    },
}

/// Faults at times drawn from the seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChaosSpec {
    /// Mean time between two faults.
    pub every_ms: u64,
    /// The last one is before this.
    pub until_ms: u64,
    /// Which kinds, by the names of the table that a sweep prints; each as likely as the others.
    pub kinds: Vec<String>,
}

/// A scenario that cannot be run. Correct the field that it names.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// A node that is not there.
    #[error("there is no node {0:?}; there are storage, coordinator, worker-1 to worker-{1}, acting and any-worker")]
    UnknownNode(String, u32),
    /// A moment that is not there.
    #[error("there is no moment {0:?}; see the names in a trace")]
    UnknownMoment(String),
    /// A kind of fault that is not there.
    #[error("there is no kind of fault {0:?}; there are {all}, {objects}", all = KINDS.join(", "), objects = OBJECT_KINDS.join(", "))]
    UnknownKind(String),
    /// A fault of something that is not there.
    #[error("faults of the object store need cluster.storage object")]
    NoObjectStore,
    /// A number out of its range.
    #[error("{field} is {value}, it must be from {least} to {most}")]
    OutOfRange {
        /// Where.
        field: &'static str,
        /// What it is.
        value: u64,
        /// The least that it may be.
        least: u64,
        /// The most that it may be.
        most: u64,
    },
    /// Checkpoint options that contradict each other.
    #[error("checkpoints: {0}")]
    Settings(#[from] SettingsError),
    /// Windows that fire twice give a row that depends on timing.
    #[error("job.kind windows needs checkpoints.mode exactly-once")]
    WindowsAtLeastOnce,
    /// The storage node's disk is what everything is recovered from.
    #[error("the storage node's disk cannot be wiped")]
    WipedStorage,
}

/// No run is longer, so nothing in it needs to be: an hour.
const MOST_TIME_MS: u64 = 3_600_000;
/// Decades.
const MOST_CLOCK_ERROR_MS: u64 = 1 << 40;

fn within(field: &'static str, value: u64, least: u64, most: u64) -> Result<(), ScenarioError> {
    match (least..=most).contains(&value) {
        true => Ok(()),
        false => Err(ScenarioError::OutOfRange { field, value, least, most }),
    }
}

/// Whether a fault is of a size that clocks and dice can have.
fn check_sizes(what: &What) -> Result<(), ScenarioError> {
    let time = |field, ms: u64| within(field, ms, 0, MOST_TIME_MS);
    let latency = |ms: u64| within("faults.what.latency_ms", ms, 0, 60_000);
    match what {
        What::Crash { down_ms, .. } | What::PowerLoss { down_ms, .. } | What::Wipe { down_ms, .. } => time("faults.what.down_ms", *down_ms),
        What::Pause { for_ms, .. } | What::Partition { for_ms, .. } | What::Isolate { for_ms, .. } | What::DiskFull { for_ms, .. } => {
            time("faults.what.for_ms", *for_ms)
        }
        What::ObjectsUnavailable { for_ms } => time("faults.what.for_ms", *for_ms),
        What::StaleListings { lag_ms, for_ms } => {
            time("faults.what.lag_ms", *lag_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::SlowLink { latency_ms, for_ms, .. }
        | What::SlowDisk { latency_ms, for_ms, .. }
        | What::SlowObjects { latency_ms, for_ms } => {
            latency(*latency_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::DiskErrors { per_mille, for_ms, .. }
        | What::SyncErrors { per_mille, for_ms, .. }
        | What::ObjectErrors { per_mille, for_ms }
        | What::ObjectThrottling { per_mille, for_ms }
        | What::LostAnswers { per_mille, for_ms }
        | What::PartialReads { per_mille, for_ms } => {
            within("faults.what.per_mille", u64::from(*per_mille), 0, 1000)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::ClockJump { by_ms, .. } => within("faults.what.by_ms, either way,", by_ms.unsigned_abs(), 0, MOST_CLOCK_ERROR_MS),
        What::Reset { .. } | What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. } => Ok(()),
    }
}

impl CheckpointSpec {
    /// As the engine wants them.
    #[must_use]
    pub fn settings(&self) -> CheckpointSettings {
        CheckpointSettings {
            interval: Some(Duration::from_millis(self.interval_ms)),
            interval_during_backlog: self.interval_during_backlog_ms.map(Duration::from_millis),
            mode: self.mode,
            timeout: Duration::from_millis(self.timeout_ms),
            min_pause: Duration::from_millis(self.min_pause_ms),
            max_concurrent: self.max_concurrent,
            tolerable_failures: self.tolerable_failures,
            retained: self.retained,
            retention: self.retention,
        }
    }

    /// Whether checkpoints stay after this end.
    #[must_use]
    pub fn keeps_after(&self, end: Expect) -> bool {
        match end {
            Expect::Finished => false,
            Expect::Failed => self.retention != Retention::Never,
            Expect::Cancelled => self.retention == Retention::RetainOnCancellation,
        }
    }
}

impl Scenario {
    /// Checks everything that a file can get wrong.
    ///
    /// # Errors
    /// The first thing that cannot be.
    pub fn check(&self) -> Result<(), ScenarioError> {
        let job = &self.job;
        within("job.max_parallelism", job.max_parallelism.into(), 1, MaxParallelism::LIMIT.into())?;
        within("job.parallelism", job.parallelism.into(), 1, u64::from(job.max_parallelism).min(64))?;
        within("job.partitions", job.partitions.into(), 1, 1000)?;
        within("job.lines", job.lines.into(), 0, 1_000_000)?;
        within("job.keys", job.keys.into(), 1, 1_000_000)?;
        within("job.chunk_bytes", job.chunk_bytes.into(), 1, 1 << 20)?;
        within("job.pace_ms", job.pace_ms, 0, 60_000)?;
        let cluster = &self.cluster;
        within("cluster.workers", cluster.workers.into(), 1, 200)?;
        within("cluster.slots", cluster.slots.into(), 1, 64)?;
        within("cluster.workers times slots", u64::from(cluster.workers) * u64::from(cluster.slots), job.parallelism.into(), u64::MAX)?;
        within("cluster.heartbeat_ms", cluster.heartbeat_ms, 1, 60_000)?;
        within("cluster.heartbeat_timeout_ms", cluster.heartbeat_timeout_ms, cluster.heartbeat_ms, 600_000)?;
        within("network.latency_max_ms", self.network.latency_max_ms, self.network.latency_min_ms, 60_000)?;
        within("network.window_bytes", self.network.window_bytes.into(), 64, 1 << 30)?;
        within("disk.latency_max_us", self.disk.latency_max_us, self.disk.latency_min_us, 60_000_000)?;
        within("objects.latency_max_ms", self.objects.latency_max_ms, self.objects.latency_min_ms, 60_000)?;
        within("objects.timeout_ms", self.objects.timeout_ms, 1, 600_000)?;
        within("objects.part_bytes", self.objects.part_bytes.into(), 1, 1 << 30)?;
        within("calm_after_ms", self.calm_after_ms, 0, MOST_TIME_MS)?;
        within("liveness_bound_ms", self.liveness_bound_ms, 1, MOST_TIME_MS)?;
        self.checkpoints.settings().validated()?;
        if job.kind == JobKind::Windows && self.checkpoints.mode == Mode::AtLeastOnce {
            return Err(ScenarioError::WindowsAtLeastOnce);
        }
        for clock in &self.clocks {
            self.check_node(&clock.node)?;
            within("clocks.offset_ms, either way,", clock.offset_ms.unsigned_abs(), 0, MOST_CLOCK_ERROR_MS)?;
            within("clocks.drift_ppm, either way,", clock.drift_ppm.unsigned_abs().into(), 0, 500_000)?;
        }
        for fault in &self.faults {
            match &fault.when {
                When::AtMs(time) => within("faults.when.at-ms", *time, 0, MOST_TIME_MS)?,
                When::Moment { moment, .. } => {
                    moment.parse::<Moment>().map_err(|unknown| ScenarioError::UnknownMoment(unknown.0))?;
                }
            }
            self.check_fault(&fault.what)?;
            check_sizes(&fault.what)?;
        }
        for kind in self.chaos.iter().flat_map(|chaos| &chaos.kinds) {
            let of_objects = OBJECT_KINDS.contains(&kind.as_str());
            if !KINDS.contains(&kind.as_str()) && !of_objects {
                return Err(ScenarioError::UnknownKind(kind.clone()));
            }
            if of_objects && self.cluster.storage != StorageKind::Object {
                return Err(ScenarioError::NoObjectStore);
            }
        }
        within("chaos.every_ms", self.chaos.as_ref().map_or(1, |chaos| chaos.every_ms), 1, MOST_TIME_MS)?;
        within("chaos.kinds", self.chaos.as_ref().map_or(1, |chaos| chaos.kinds.len() as u64), 1, u64::MAX)
    }

    /// Whether the user does something.
    #[must_use]
    pub fn has_user(&self) -> bool {
        self.faults.iter().any(|fault| matches!(fault.what, What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. }))
    }

    /// Whether nothing goes wrong and nothing is in short supply: what should take no time takes nearly none.
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        self.faults.is_empty() && self.chaos.is_none() && self.clocks.is_empty() && self.network.bandwidth_bytes_per_s == 0
    }

    fn check_fault(&self, what: &What) -> Result<(), ScenarioError> {
        match what {
            What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. } => Ok(()),
            What::ObjectErrors { .. }
            | What::ObjectThrottling { .. }
            | What::LostAnswers { .. }
            | What::StaleListings { .. }
            | What::PartialReads { .. }
            | What::SlowObjects { .. }
            | What::ObjectsUnavailable { .. } => match self.cluster.storage {
                StorageKind::Object => Ok(()),
                StorageKind::FileSystem | StorageKind::Memory => Err(ScenarioError::NoObjectStore),
            },
            What::Wipe { node, .. } if node == "storage" => Err(ScenarioError::WipedStorage),
            What::Crash { node, .. }
            | What::PowerLoss { node, .. }
            | What::Wipe { node, .. }
            | What::Pause { node, .. }
            | What::Isolate { node, .. }
            | What::DiskErrors { node, .. }
            | What::SyncErrors { node, .. }
            | What::DiskFull { node, .. }
            | What::SlowDisk { node, .. }
            | What::ClockJump { node, .. } => self.check_node(node),
            What::Partition { from, to, .. } | What::Reset { from, to } | What::SlowLink { from, to, .. } => {
                self.check_node(from)?;
                self.check_node(to)
            }
        }
    }

    fn check_node(&self, name: &str) -> Result<(), ScenarioError> {
        let workers = self.cluster.workers;
        let number = name.strip_prefix("worker-").and_then(|number| number.parse::<u32>().ok());
        match (name, number) {
            ("storage" | "coordinator" | "acting" | "any-worker", _) => Ok(()),
            (_, Some(number)) if (1..=workers).contains(&number) => Ok(()),
            _ => Err(ScenarioError::UnknownNode(name.to_owned(), workers)),
        }
    }
}
