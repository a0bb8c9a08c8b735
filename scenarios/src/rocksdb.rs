//! Stories whose state is in RocksDB: the real one, on scratch folders that a crash wipes.

use crate::stories::{crash, nth, power_loss, stories, tale, Tale};
use crate::Story;
use cofferdam_protocol::settings::Retention;
use cofferdam_sim::scenario::{BackendKind, JobKind, ResumeFrom, Scenario, What, When};

/// Every kind of state, in RocksDB.
trait InRocksDb: Tale {
    fn rocksdb(self) -> Scenario {
        self.with(|scenario| {
            scenario.job.kind = JobKind::Ledger;
            scenario.cluster.backend = BackendKind::RocksDb;
        })
    }
}

impl InRocksDb for Scenario {}

stories! {
    "rocksdb-steady", "State in RocksDB: each checkpoint uploads the tables that are new, merges them now and then, and nothing goes wrong." => |tale| {
        tale.rocksdb()
    };
    "rocksdb-worker-crashes", "Workers die with state in RocksDB: what was on their disks is gone, and comes back from shared tables." => |tale| {
        tale.rocksdb()
            .when(nth("snapshot-taken", 37), crash("acting", 500))
            .when(nth("snapshot-durable", 75), crash("acting", 500))
            .when(nth("restore-done", 23), crash("acting", 500))
    };
    "rocksdb-spills", "RocksDB takes changes in at every batch, between checkpoints that overlap, and workers die." => |tale| {
        tale.rocksdb()
            .with(|scenario| {
                scenario.cluster.hot_bytes = 0;
                scenario.checkpoints.max_concurrent = 3;
                scenario.checkpoints.retained = 2;
            })
            .when(nth("snapshot-taken", 44), crash("acting", 500))
            .when(nth("snapshot-taken", 90), crash("acting", 500))
    };
    "rocksdb-full-snapshots", "State in RocksDB, written whole each time, while workers die." => |tale| {
        tale.rocksdb()
            .with(|scenario| scenario.cluster.incremental = false)
            .when(nth("snapshot-durable", 35), crash("acting", 500))
    };
    "rocksdb-incremental-lost-notices", "Notices of completion get lost: which tables workers share does not depend on them." => |tale| {
        tale.rocksdb()
            .with(|scenario| scenario.checkpoints.max_concurrent = 3)
            .when(nth("metadata-durable", 2), What::Reset { from: "coordinator".into(), to: "worker-1".into() })
            .when(nth("metadata-durable", 6), What::Reset { from: "coordinator".into(), to: "worker-2".into() })
    };
    "rocksdb-power-loss", "Machines lose power, the storage and the coordinator in the middle of publishing: every table that a checkpoint names is durable." => |tale| {
        tale.rocksdb()
            .when(nth("metadata-written", 3), power_loss("storage", 400))
            .when(nth("snapshot-taken", 46), power_loss("worker-1", 600))
            .when(nth("metadata-durable", 8), power_loss("coordinator", 400))
    };
    "rocksdb-rescale-out", "A job is cancelled and its last checkpoint kept; the next one clips its tables to more subtasks." => |tale| {
        tale.rocksdb()
            .with(|scenario| scenario.checkpoints.retention = Retention::RetainOnCancellation)
            .when(nth("checkpoint-completed", 6), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, true, 3, BackendKind::RocksDb)
    };
    "rocksdb-rescale-in", "A job is cancelled and its last checkpoint kept; the next one merges the tables of three subtasks into those of two, and owns nothing." => |tale| {
        tale.rocksdb()
            .with(|scenario| {
                scenario.job.parallelism = 3;
                scenario.checkpoints.retention = Retention::RetainOnCancellation;
            })
            .when(nth("checkpoint-completed", 6), What::Cancel {})
            .resume(ResumeFrom::Checkpoint, false, 2, BackendKind::RocksDb)
    };
    "rocksdb-savepoint-to-hash-map", "A canonical savepoint of RocksDB becomes tables in memory on more subtasks." => |tale| {
        tale.rocksdb()
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 3, BackendKind::HashMap)
    };
    "rocksdb-from-hash-map", "A canonical savepoint of tables in memory becomes RocksDB on one subtask." => |tale| {
        tale.rocksdb()
            .with(|scenario| scenario.cluster.backend = BackendKind::HashMap)
            .when(nth("checkpoint-completed", 3), What::Savepoint { native: false })
            .when(nth("savepoint-completed", 1), What::Cancel {})
            .resume(ResumeFrom::Savepoint, false, 1, BackendKind::RocksDb)
    };
    "rocksdb-native-savepoint", "A savepoint in RocksDB's own format, between incremental checkpoints, is given to the next job." => |tale| {
        tale.rocksdb()
            .when(nth("checkpoint-completed", 2), What::Savepoint { native: true })
            .when(nth("savepoint-completed", 1), crash("worker-1", 400))
            .when(nth("checkpoint-completed", 5), What::Savepoint { native: true })
            .when(nth("savepoint-completed", 2), What::Cancel {})
            .resume(ResumeFrom::Savepoint, true, 2, BackendKind::RocksDb)
    };
    "rocksdb-in-objects", "Tables go to the object store, which loses answers, and workers die." => |tale| {
        tale.rocksdb()
            .in_objects()
            .when(When::AtMs(500), What::LostAnswers { per_mille: 100, for_ms: 2000 })
            .when(nth("snapshot-durable", 15), crash("acting", 500))
    };
    "rocksdb-under-fire", "RocksDB, and everything fails now and then." => |tale| {
        tale.rocksdb()
            .with(|scenario| {
                scenario.checkpoints.tolerable_failures = 20;
                scenario.checkpoints.timeout_ms = 6000;
            })
            .chaos(900, &["crash", "reset", "power-loss", "slow-disk", "disk-errors"])
    };
}
