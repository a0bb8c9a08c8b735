//! What a world consists of.

use crate::bounds::{Bound, Bounds};
use crate::properties::{Promise, Situation};
use crate::rescaled::Rescaled;
use crate::topology::{Layout, Topology};
use cofferdam_protocol::coordinator::Plan;
use cofferdam_protocol::{CheckpointSettings, Mode, Regions, RestartStrategy, Retention};
use std::time::Duration;

/// No world has more workers.
pub const MOST_WORKERS: usize = 2;

/// What takes time, so that other things may happen in between. All else is answered at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Slow {
    /// The asynchronous part of a snapshot.
    pub snapshot: bool,
    /// Making the place for a checkpoint's files.
    pub location: bool,
    /// Writing metadata.
    pub metadata: bool,
    /// Writing a journal entry.
    pub journal: bool,
    /// Reading which shared files the retained checkpoints need.
    pub listing: bool,
}

/// Whether barriers overtake what is in flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overtaking {
    /// They do not.
    #[default]
    Never,
    /// All do, from the beginning.
    AtOnce,
    /// Those of a checkpoint that has become too old: each task's timer may fire at any time.
    AfterTimeout,
}

/// A world by its description.
#[derive(Clone, Debug)]
pub struct World {
    /// Its stable name.
    pub name: &'static str,
    /// One line for people.
    pub summary: &'static str,
    /// The job.
    pub topology: Topology,
    /// Exactly-once or at-least-once: what subtasks do with barriers.
    pub mode: Mode,
    /// What is promised: the same, unless a test is to see a promise broken.
    pub promised: Mode,
    /// Whether barriers overtake.
    pub overtaking: Overtaking,
    /// The checkpoint that it begins from, if it is one of another parallelism.
    pub rescaled: Option<Rescaled>,
    /// How many workers there are.
    pub workers: u32,
    /// How many subtasks of each vertex one of them can run.
    pub slots: u32,
    /// Whether tasks keep a store of files that checkpoints share.
    pub stores: bool,
    /// Whether sinks hold their rows back until a checkpoint is complete. Then logs come to an end, and so does the job.
    pub transactional: bool,
    /// Whether tasks leave at their end while others go on; only where logs come to an end.
    pub finishing: bool,
    /// What takes time.
    pub slow: Slow,
    /// How large it is.
    pub bounds: Bounds,
    /// What has to happen somewhere, if bounds are not made smaller.
    pub expected: &'static [Situation],
}

impl World {
    /// The promises that are made here.
    pub fn promises(&self) -> impl Iterator<Item = Promise> + '_ {
        Promise::ALL.into_iter().filter(|promise| match promise {
            Promise::ExactlyOnce => self.promised == Mode::ExactlyOnce,
            Promise::NothingLost => self.promised == Mode::AtLeastOnce,
            Promise::CommittedOnly => self.transactional,
            _ => true,
        })
    }

    /// Tasks and channels.
    #[must_use]
    pub fn layout(&self) -> Layout {
        Layout::of(&self.topology)
    }

    /// The coordinator's part of the description.
    #[must_use]
    pub fn plan(&self, layout: &Layout) -> Plan {
        let second = Duration::from_secs(1);
        Plan {
            tasks: layout.tasks.iter().map(|task| task.id).collect(),
            sources: layout.tasks.iter().filter(|task| task.source.is_some()).map(|task| task.id).collect(),
            predecessors: layout.predecessors(),
            committers: layout.tasks.iter().filter(|task| self.transactional && task.sink.is_some()).map(|task| task.id).collect(),
            regions: Regions::whole(),
            checkpoints: CheckpointSettings {
                interval: Some(second),
                mode: self.mode,
                max_concurrent: self.bounds.get(Bound::Concurrent),
                tolerable_failures: self.bounds.get(Bound::Tolerable),
                retained: self.bounds.get(Bound::Retained),
                retention: Retention::RetainOnCancellation,
                unaligned: self.overtaking != Overtaking::Never,
                aligned_timeout: if self.overtaking == Overtaking::AfterTimeout { second } else { Duration::ZERO },
                ..CheckpointSettings::default()
            },
            restart: RestartStrategy::FixedDelay { attempts: 1000, delay: second },
            hooks: false,
            enumerators: false,
            origin: None,
            local_recovery: false,
            heartbeat_timeout: second,
            deploy_timeout: second,
            stop_timeout: second,
        }
    }
}
