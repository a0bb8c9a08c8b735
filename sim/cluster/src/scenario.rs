//! A whole run as data: what is built, what happens to it, what must hold. A seed and a scenario give one run, always the
//! same; every scenario can be written to a file, edited, and run again.

use cofferdam_protocol::segments::Merging;
use cofferdam_protocol::settings::{CheckpointSettings, FailoverStrategy, Mode, RestartStrategy, Retention};
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod check;
mod fault;
mod kind;
mod world;

pub use check::{ScenarioError, BUILD_WITH_ROCKSDB};
pub use fault::{ChaosSpec, FaultSpec, RackEvent, What, When};
pub use kind::{Shape, UnknownJob};
pub use world::{DriftSpec, LoadSpec, WorldSpec};

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
    /// Beyond all that.
    #[serde(default, skip_serializing_if = "WorldSpec::is_plain")]
    pub world: WorldSpec,
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
    /// By its user, with a savepoint.
    Stopped,
    /// As stopped, unless all input is processed before.
    StoppedOrFinished,
    /// With its types not being able to read what it is to begin from, before any task starts.
    Refused,
    /// With what it is to begin from being damaged, and the damaged file named.
    Damaged,
}

/// Which of the built-in jobs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum JobKind {
    /// Lines, words, a count per word, a table: value state.
    #[default]
    WordCount,
    /// Sums per key and event-time window: map state, event-time timers, watermarks.
    Windows,
    /// Two unions of logs, connected by key: all five kinds of state, processing-time timers.
    Ledger,
    /// State with time-to-live beside notes of what was done to it.
    Expiring,
    /// Records that are counted by rules that every subtask gets: broadcast state.
    Rules,
    /// Visits of pages, in two versions with different types of state.
    Visits,
    /// Sums per key and session, which grow into each other: the engine's own windows, with allowed lateness.
    Sessions,
    /// Sums per key and sliding window.
    Hops,
    /// Every record is one line of the output, published when a checkpoint is complete.
    Delivery,
    /// Words, as the first one, of files that appear in a folder while the job runs.
    Arrivals,
    /// Sequences of moves of a key that follow each other within a time.
    Patterns,
    /// Windows over two logs that are still being written, of which a partition falls silent and comes back.
    IdleSplit,
    /// Records that stay at their index, from source to sink: each index is a region.
    Lanes,
    /// The same, and beside it a second pipeline that counts by key: another region.
    Post,
    /// Records with where they come from, through chains that are connected in one of several ways.
    Shaped(Shape),
}

impl JobKind {
    /// Whether what it gives out depends on which records came before the watermark: a record that counts twice may come late.
    #[must_use]
    pub fn has_windows(self) -> bool {
        matches!(self, Self::Windows | Self::Sessions | Self::Hops | Self::Patterns | Self::IdleSplit)
    }

    /// Whether every record is one line of the output, published when a checkpoint is complete.
    #[must_use]
    pub fn delivers(self) -> bool {
        matches!(self, Self::Delivery | Self::Lanes | Self::Post)
    }
}

/// What runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobSpec {
    /// Which job; a shape may also be called that.
    #[serde(alias = "shape")]
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
    /// The version of the program, where there are several: of visits.
    pub schema: u32,
    /// The first log, or the first partition of the only one, has so much of its lines, in percent: it ends while others go on. 0: all.
    #[serde(skip_serializing_if = "is_zero")]
    pub short_log_percent: u32,
    /// How long the sink takes for each record, in microseconds.
    #[serde(skip_serializing_if = "is_none")]
    pub sink_us: u64,
    /// Files of a folder appear over so long; for arrivals.
    #[serde(skip_serializing_if = "is_none")]
    pub arrive_ms: u64,
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
            schema: 1,
            short_log_percent: 0,
            sink_us: 0,
            arrive_ms: 0,
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
    /// Whether workers keep second copies of state on their own disks.
    pub local_recovery: bool,
    /// State of fewer bytes is put into the metadata; 0: none is.
    #[serde(skip_serializing_if = "is_zero")]
    pub inline_below_bytes: u32,
    /// How small files are merged; not set: they are not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub merge: Option<MergeSpec>,
    /// What restarts when a task fails.
    #[serde(skip_serializing_if = "is_by_region")]
    pub failover: FailoverStrategy,
}

/// How small files are merged into few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MergeSpec {
    /// No physical file becomes larger.
    pub max_file_bytes: u64,
    /// Whether one may hold segments of several checkpoints.
    pub across_checkpoints: bool,
    /// How many times as large as what is used of it a physical file may be.
    pub max_space_amplification: u32,
}

impl Default for MergeSpec {
    fn default() -> Self {
        Self { max_file_bytes: 1 << 16, across_checkpoints: true, max_space_amplification: 2 }
    }
}

impl MergeSpec {
    /// As the engine knows it.
    #[must_use]
    pub fn merging(self) -> Merging {
        let Self { max_file_bytes, across_checkpoints, max_space_amplification } = self;
        Merging { max_file_bytes, across_checkpoints, max_space_amplification }
    }
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_none(number: &u64) -> bool {
    *number == 0
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_by_region(strategy: &FailoverStrategy) -> bool {
    *strategy == FailoverStrategy::Region
}

#[allow(clippy::trivially_copy_pass_by_ref)] // serde asks so
fn is_zero(number: &u32) -> bool {
    *number == 0
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
            local_recovery: false,
            inline_below_bytes: 0,
            merge: None,
            failover: FailoverStrategy::default(),
        }
    }
}

/// A job that begins from what another one left, once that has been cancelled or stopped. Nothing goes wrong but what is said here.
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
    /// The version of its program.
    #[serde(default = "first_schema")]
    pub schema: u32,
    /// How it must end.
    #[serde(default)]
    pub expect: Expect,
    /// What goes wrong, and when. Its nodes are others than those of the first job: `acting` and `storage` name some.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<FaultSpec>,
}

fn first_schema() -> u32 {
    JobSpec::default().schema
}

/// Which snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ResumeFrom {
    /// That which it was stopped with, or the last one.
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
    /// Hot entries in memory, the rest in RocksDB: for builds with the feature `rocksdb`.
    #[serde(rename = "rocksdb")]
    RocksDb,
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
    /// Between periodic triggers; 0: there are none, and the job keeps no promise but that of its user's savepoints.
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
    /// Whether barriers may overtake records.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub unaligned: bool,
    /// Once the checkpoint is so old; 0: at once.
    #[serde(skip_serializing_if = "is_none")]
    pub aligned_timeout_ms: u64,
    /// Whether tasks leave at their end while others go on.
    #[serde(skip_serializing_if = "Clone::clone")]
    pub after_tasks_finish: bool,
    /// Pending at once.
    pub max_concurrent: u32,
    /// Consecutive counted failures that the job survives.
    pub tolerable_failures: u32,
    /// Completed ones that are kept.
    pub retained: u32,
    /// What stays when the job ends.
    pub retention: Retention,
    /// One in so many completed checkpoints is begun from again after the run, in a world of its own; 0: none.
    pub shadow_every: u64,
}

impl Default for CheckpointSpec {
    fn default() -> Self {
        Self {
            interval_ms: 200,
            interval_during_backlog_ms: None,
            mode: Mode::ExactlyOnce,
            timeout_ms: 2000,
            min_pause_ms: 0,
            unaligned: false,
            aligned_timeout_ms: 0,
            after_tasks_finish: true,
            max_concurrent: 1,
            tolerable_failures: 3,
            retained: 1,
            retention: Retention::Never,
            shadow_every: 8,
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

impl CheckpointSpec {
    /// As the engine wants them.
    #[must_use]
    pub fn settings(&self) -> CheckpointSettings {
        CheckpointSettings {
            interval: (self.interval_ms > 0).then(|| Duration::from_millis(self.interval_ms)),
            interval_during_backlog: self.interval_during_backlog_ms.map(Duration::from_millis),
            mode: self.mode,
            timeout: Duration::from_millis(self.timeout_ms),
            min_pause: Duration::from_millis(self.min_pause_ms),
            max_concurrent: self.max_concurrent,
            tolerable_failures: self.tolerable_failures,
            retained: self.retained,
            retention: self.retention,
            unaligned: self.unaligned,
            aligned_timeout: Duration::from_millis(self.aligned_timeout_ms),
        }
    }

    /// Whether checkpoints stay after this end.
    #[must_use]
    pub fn keeps_after(&self, end: Expect) -> bool {
        match end {
            Expect::Finished | Expect::Refused | Expect::Stopped | Expect::StoppedOrFinished => false,
            Expect::Failed | Expect::Damaged => self.retention != Retention::Never,
            Expect::Cancelled => self.retention == Retention::RetainOnCancellation,
        }
    }
}
