//! Whether a scenario can be run.

use super::{BackendKind, FaultSpec, JobKind, Scenario, StorageKind, What, When};
use crate::atlas::{self, Outside};
use crate::fault::{KINDS, LOCAL_KINDS, OBJECT_KINDS, WORLD_KINDS, WORLD_LOCAL_KINDS, WORLD_OBJECT_KINDS};
use cofferdam_engine::observe::Moment;
use cofferdam_engine::storage::streams::INLINE_LIMIT_BYTES;
use cofferdam_protocol::segments::MergingError;
use cofferdam_protocol::settings::{Mode, SettingsError};
use cofferdam_protocol::MaxParallelism;

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
    #[error("there is no kind of fault {0:?}; there are {all}",
        all = [KINDS, WORLD_KINDS, OBJECT_KINDS, WORLD_OBJECT_KINDS, LOCAL_KINDS, WORLD_LOCAL_KINDS].concat().join(", "))]
    UnknownKind(String),
    /// It breaks what the engine takes for granted.
    #[error("{0}: the engine does not promise to survive that; set world.outside_atlas, and expect the verdict that it comes to")]
    OutsideAtlas(Outside),
    /// A fault of something that is not there.
    #[error("faults of the object store need cluster.storage object")]
    NoObjectStore,
    /// A backend that this build lacks. Build with the feature.
    #[error("backend rocksdb needs a build with it: {BUILD_WITH_ROCKSDB}")]
    NoRocksDb,
    /// Incremental checkpoints share files, and there are none.
    #[error("cluster.storage memory has no files for incremental checkpoints to share; set cluster.incremental to false")]
    IncrementalInMemory,
    /// The same.
    #[error("faults of local copies need cluster.local_recovery")]
    NoLocalCopies,
    /// What the next job's world has.
    #[error("resume.faults can be crash, power-loss, slow-disk and disk-errors, of acting or storage")]
    ResumedFault,
    /// What is appended to.
    #[error("cluster.merge needs cluster.storage file-system")]
    MergingNeedsFiles,
    /// How files are merged makes no sense.
    #[error("cluster.merge: {0}")]
    Merging(#[from] MergingError),
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
    /// Published rows cannot be taken back.
    #[error("job.kind delivery needs checkpoints.mode exactly-once")]
    DeliveryAtLeastOnce,
    /// The same: a coordinator that dies takes the checkpoints with it, and the job begins anew.
    #[error("job.kind delivery needs cluster.storage file-system or object")]
    DeliveryInMemory,
    /// The storage node's disk is what everything is recovered from.
    #[error("the storage node's disk cannot be wiped")]
    WipedStorage,
}

/// How to get a build that knows RocksDB.
pub const BUILD_WITH_ROCKSDB: &str = r#"eval "$(.ci/rocksdb)" && cargo run --release -p cofferdam --features rocksdb"#;

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
        What::Pause { for_ms, .. }
        | What::Partition { for_ms, .. }
        | What::Isolate { for_ms, .. }
        | What::DiskFull { for_ms, .. }
        | What::SwizzleClog { for_ms }
        | What::Rack { for_ms, .. }
        | What::StallDisk { for_ms, .. } => time("faults.what.for_ms", *for_ms),
        What::OtherVersion { down_ms, for_ms, .. } => {
            time("faults.what.down_ms", *down_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::ClockDrift { ppm, period_ms, for_ms, .. } => {
            within("faults.what.ppm, either way,", ppm.unsigned_abs().into(), 0, 500_000)?;
            time("faults.what.period_ms", *period_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::ObjectsUnavailable { for_ms } => time("faults.what.for_ms", *for_ms),
        What::StaleListings { lag_ms, for_ms } => {
            time("faults.what.lag_ms", *lag_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::SlowLink { latency_ms, for_ms, .. }
        | What::SlowDisk { latency_ms, for_ms, .. }
        | What::SlowObjects { latency_ms, for_ms }
        | What::SlowReads { latency_ms, for_ms } => {
            latency(*latency_ms)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::DiskErrors { per_mille, for_ms, .. }
        | What::SyncErrors { per_mille, for_ms, .. }
        | What::ObjectErrors { per_mille, for_ms }
        | What::ObjectThrottling { per_mille, for_ms }
        | What::LostAnswers { per_mille, for_ms }
        | What::PartialReads { per_mille, for_ms }
        | What::DuplicateNotices { per_mille, for_ms }
        | What::ReorderNotices { per_mille, for_ms }
        | What::ReorderElements { per_mille, for_ms }
        | What::RotOnRead { per_mille, for_ms, .. }
        | What::ShortReads { per_mille, for_ms, .. }
        | What::LostWrites { per_mille, for_ms, .. }
        | What::MisdirectedWrites { per_mille, for_ms, .. }
        | What::LyingSyncs { per_mille, for_ms, .. } => {
            within("faults.what.per_mille", u64::from(*per_mille), 0, 1000)?;
            time("faults.what.for_ms", *for_ms)
        }
        What::ClockJump { by_ms, .. } => within("faults.what.by_ms, either way,", by_ms.unsigned_abs(), 0, MOST_CLOCK_ERROR_MS),
        What::CorruptLocal { .. }
        | What::StaleLocal { .. }
        | What::Reset { .. }
        | What::Cancel {}
        | What::Checkpoint {}
        | What::Savepoint { .. }
        | What::Stop { .. }
        | What::FalseFailure { .. }
        | What::BitRot { .. }
        | What::SpareRot {}
        | What::RewriteInput {} => Ok(()),
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
        within("job.schema", job.schema.into(), 1, 2)?;
        within("job.short_log_percent", job.short_log_percent.into(), 0, 100)?;
        within("job.sink_us", job.sink_us, 0, 60_000_000)?;
        within("job.arrive_ms", job.arrive_ms, 0, MOST_TIME_MS)?;
        if job.kind == JobKind::Patterns {
            // No two of its moves may have the same time.
            within("job.partitions of patterns", job.partitions.into(), 1, 40)?;
        }
        if job.kind == JobKind::IdleSplit {
            // Enough that windows end behind what the silent partition says first.
            within("job.lines of idle-split", job.lines.into(), 200, 1_000_000)?;
        }
        let cluster = &self.cluster;
        if self.uses_rocksdb() && !cfg!(feature = "rocksdb") {
            return Err(ScenarioError::NoRocksDb);
        }
        if cluster.storage == StorageKind::Memory && cluster.backend != BackendKind::HashMap && cluster.incremental {
            return Err(ScenarioError::IncrementalInMemory);
        }
        within("cluster.workers", cluster.workers.into(), 1, 200)?;
        within("cluster.slots", cluster.slots.into(), 1, 64)?;
        within("cluster.workers times slots", u64::from(cluster.workers) * u64::from(cluster.slots), job.parallelism.into(), u64::MAX)?;
        within("cluster.heartbeat_ms", cluster.heartbeat_ms, 1, 60_000)?;
        within("cluster.heartbeat_timeout_ms", cluster.heartbeat_timeout_ms, cluster.heartbeat_ms, 600_000)?;
        within("cluster.inline_below_bytes", cluster.inline_below_bytes.into(), 0, INLINE_LIMIT_BYTES.into())?;
        if let Some(merge) = cluster.merge {
            merge.merging().validated()?;
            if cluster.storage != StorageKind::FileSystem {
                return Err(ScenarioError::MergingNeedsFiles);
            }
        }
        within("network.latency_max_ms", self.network.latency_max_ms, self.network.latency_min_ms, 60_000)?;
        within("network.window_bytes", self.network.window_bytes.into(), 64, 1 << 30)?;
        within("disk.latency_max_us", self.disk.latency_max_us, self.disk.latency_min_us, 60_000_000)?;
        within("objects.latency_max_ms", self.objects.latency_max_ms, self.objects.latency_min_ms, 60_000)?;
        within("objects.timeout_ms", self.objects.timeout_ms, 1, 600_000)?;
        within("objects.part_bytes", self.objects.part_bytes.into(), 1, 1 << 30)?;
        within("calm_after_ms", self.calm_after_ms, 0, MOST_TIME_MS)?;
        within("liveness_bound_ms", self.liveness_bound_ms, 1, MOST_TIME_MS)?;
        self.checkpoints.settings().validated()?;
        if job.kind.has_windows() && self.checkpoints.mode == Mode::AtLeastOnce {
            return Err(ScenarioError::WindowsAtLeastOnce);
        }
        if job.kind.delivers() && self.checkpoints.mode == Mode::AtLeastOnce {
            return Err(ScenarioError::DeliveryAtLeastOnce);
        }
        if job.kind.delivers() && cluster.storage == StorageKind::Memory {
            return Err(ScenarioError::DeliveryInMemory);
        }
        for clock in &self.clocks {
            self.check_node(&clock.node)?;
            within("clocks.offset_ms, either way,", clock.offset_ms.unsigned_abs(), 0, MOST_CLOCK_ERROR_MS)?;
            within("clocks.drift_ppm, either way,", clock.drift_ppm.unsigned_abs().into(), 0, 500_000)?;
        }
        for drift in &self.world.drifts {
            self.check_node(&drift.node)?;
            within("world.drifts.ppm, either way,", drift.ppm.unsigned_abs().into(), 0, 500_000)?;
            within("world.drifts.period_ms", drift.period_ms, 0, MOST_TIME_MS)?;
        }
        self.world.stay_down.iter().try_for_each(|node| self.check_node(node))?;
        within("world.load.hot_percent", self.world.load.hot_percent.into(), 0, 100)?;
        within("world.load.skew", self.world.load.skew.into(), 0, 1000)?;
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
        for fault in self.resume.iter().flat_map(|resume| &resume.faults) {
            self.check_resumed(fault)?;
        }
        for kind in self.chaos.iter().flat_map(|chaos| &chaos.kinds) {
            let kind_is_in = |lists: [&[&str]; 2]| lists.iter().any(|list| list.contains(&kind.as_str()));
            let of_objects = kind_is_in([OBJECT_KINDS, WORLD_OBJECT_KINDS]);
            let of_copies = kind_is_in([LOCAL_KINDS, WORLD_LOCAL_KINDS]);
            if of_copies && !self.cluster.local_recovery {
                return Err(ScenarioError::NoLocalCopies);
            }
            if !kind_is_in([KINDS, WORLD_KINDS]) && !of_objects && !of_copies {
                return Err(ScenarioError::UnknownKind(kind.clone()));
            }
            if of_objects && self.cluster.storage != StorageKind::Object {
                return Err(ScenarioError::NoObjectStore);
            }
        }
        within("chaos.every_ms", self.chaos.as_ref().map_or(1, |chaos| chaos.every_ms), 1, MOST_TIME_MS)?;
        within("chaos.kinds", self.chaos.as_ref().map_or(1, |chaos| chaos.kinds.len() as u64), 1, u64::MAX)
    }

    /// Whether any of its jobs keeps state in RocksDB.
    #[must_use]
    pub fn uses_rocksdb(&self) -> bool {
        let resumed = self.resume.as_ref().map(|resume| resume.backend);
        self.cluster.backend == BackendKind::RocksDb || resumed == Some(BackendKind::RocksDb)
    }

    /// Whether all nodes have the same wall clock, and it never jumps.
    #[must_use]
    pub fn clocks_agree(&self) -> bool {
        let jumps = self.faults.iter().any(|fault| matches!(fault.what, What::ClockJump { .. } | What::ClockDrift { .. }));
        let may_jump = self.chaos.as_ref().is_some_and(|chaos| chaos.kinds.iter().any(|kind| kind.starts_with("clock-")));
        self.clocks.is_empty() && self.world.drifts.is_empty() && !jumps && !may_jump
    }

    /// Whether the user does something.
    #[must_use]
    pub fn has_user(&self) -> bool {
        let wishes = |what: &What| matches!(what, What::Cancel {} | What::Checkpoint {} | What::Savepoint { .. } | What::Stop { .. });
        self.faults.iter().any(|fault| wishes(&fault.what))
    }

    /// Whether nothing goes wrong and nothing is in short supply: what should take no time takes nearly none.
    #[must_use]
    pub fn is_undisturbed(&self) -> bool {
        let world = &self.world;
        let plain = !world.buggify && world.drifts.is_empty();
        plain && self.faults.is_empty() && self.chaos.is_none() && self.clocks.is_empty() && self.network.bandwidth_bytes_per_s == 0
    }

    fn check_fault(&self, what: &What) -> Result<(), ScenarioError> {
        if let (Err(outside), false) = (atlas::covers(what), self.world.outside_atlas) {
            return Err(ScenarioError::OutsideAtlas(outside));
        }
        match what {
            What::ObjectErrors { .. }
            | What::ObjectThrottling { .. }
            | What::LostAnswers { .. }
            | What::StaleListings { .. }
            | What::PartialReads { .. }
            | What::SlowObjects { .. }
            | What::SlowReads { .. }
            | What::ObjectsUnavailable { .. } => match self.cluster.storage {
                StorageKind::Object => Ok(()),
                StorageKind::FileSystem | StorageKind::Memory => Err(ScenarioError::NoObjectStore),
            },
            What::Wipe { node, .. } if node == "storage" => Err(ScenarioError::WipedStorage),
            What::CorruptLocal { .. } | What::StaleLocal { .. } if !self.cluster.local_recovery => Err(ScenarioError::NoLocalCopies),
            _ => what.nodes().into_iter().try_for_each(|node| self.check_node(node)),
        }
    }

    /// The next job has nodes of its own, and no user.
    fn check_resumed(&self, fault: &FaultSpec) -> Result<(), ScenarioError> {
        if let When::Moment { moment, .. } = &fault.when {
            moment.parse::<Moment>().map_err(|unknown| ScenarioError::UnknownMoment(unknown.0))?;
        }
        self.check_fault(&fault.what)?;
        check_sizes(&fault.what)?;
        match &fault.what {
            What::Crash { node, .. } | What::PowerLoss { node, .. } | What::SlowDisk { node, .. } | What::DiskErrors { node, .. }
                if node == "acting" || node == "storage" =>
            {
                Ok(())
            }
            _ => Err(ScenarioError::ResumedFault),
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
