//! The worlds that there are.

use crate::bounds::Bound::{self, *};
use crate::bounds::Bounds;
use crate::properties::Situation as S;
use crate::rescaled::Rescaled;
use crate::topology::{Pattern, Topology};
use crate::world::{Overtaking, Slow, World};
use cofferdam_protocol::Mode;

const JOIN: Topology = Topology { parallelism: &[2, 1], edges: &[(0, 1, Pattern::Shuffle)], second_path: None };
const DIAMOND: Topology = Topology {
    parallelism: &[1, 1, 1, 1],
    edges: &[(0, 1, Pattern::Forward), (0, 2, Pattern::Forward), (1, 3, Pattern::Forward), (2, 3, Pattern::Forward)],
    second_path: Some(2),
};
const SHUFFLE: Topology = Topology { parallelism: &[2, 2], edges: &[(0, 1, Pattern::Shuffle)], second_path: None };
const MIXED: Topology = Topology {
    parallelism: &[1, 1, 1, 1],
    edges: &[(0, 2, Pattern::Shuffle), (1, 2, Pattern::Forward), (2, 3, Pattern::Shuffle)],
    second_path: None,
};
const PIPE: Topology = Topology { parallelism: &[1, 1], edges: &[(0, 1, Pattern::Forward)], second_path: None };

const ALL_FAST: Slow = Slow { snapshot: false, location: false, metadata: false, journal: false, listing: false };

fn bounds(values: &[(Bound, u32)]) -> Bounds {
    values.iter().fold(Bounds::default(), |bounds, &(bound, value)| bounds.with(bound, value))
}

/// All, in the order in which they are listed.
#[must_use]
pub fn all() -> Vec<World> {
    vec![
        World {
            name: "aligned",
            summary: "Two sources, one operator: barriers are aligned, checkpoints expire, a worker crashes.",
            topology: JOIN,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 2,
            stores: false,
            slow: Slow { snapshot: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 1), (Crashes, 1), (Expiries, 1)]),
            expected: &[
                S::Completed,
                S::CompletedMidway,
                S::Restored,
                S::ChannelHeld,
                S::AbortBeforeBarrier,
                S::AbortWhileAligning,
                S::AbortWhileWriting,
                S::Expired,
                S::LateAcknowledgement,
            ],
        },
        World {
            name: "at-least-once",
            summary: "The same without alignment: records may count twice after a restore, and none is lost.",
            topology: JOIN,
            mode: Mode::AtLeastOnce,
            promised: Mode::AtLeastOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 2,
            stores: false,
            slow: Slow { snapshot: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 1), (Crashes, 1), (Expiries, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::Restored, S::AbortBeforeBarrier, S::AbortWhileAligning, S::Expired],
        },
        World {
            name: "diamond",
            summary: "One source, two branches of different speed, and a join: each record comes there on both ways.",
            topology: DIAMOND,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 1,
            stores: false,
            slow: ALL_FAST,
            bounds: bounds(&[(Records, 2), (Checkpoints, 1), (Crashes, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::Restored, S::ChannelHeld],
        },
        World {
            name: "shuffle-crash",
            summary: "Two sources, two operators, all with all, on two workers of which one crashes.",
            topology: SHUFFLE,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 2,
            slots: 1,
            stores: false,
            slow: ALL_FAST,
            bounds: bounds(&[(Records, 1), (Checkpoints, 1), (Crashes, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::Restored, S::ChannelHeld, S::ReplacedWorker],
        },
        World {
            name: "zombie",
            summary: "A worker is given up as silent and lives on while its tasks run elsewhere.",
            topology: PIPE,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 2,
            slots: 1,
            stores: false,
            slow: Slow { snapshot: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 2), (Checkpoints, 2), (Silences, 1)]),
            expected: &[S::Completed, S::Restored, S::ZombieWrites],
        },
        World {
            name: "failover",
            summary: "Another coordinator takes over, the old one may live on, and answers of the journal get lost.",
            topology: PIPE,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 1,
            stores: false,
            slow: Slow { journal: true, metadata: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 2), (Takeovers, 1), (Ambiguous, 1)]),
            expected: &[
                S::Completed,
                S::Restored,
                S::TookOver,
                S::Fenced,
                S::UnknownHappened,
                S::UnknownLost,
                S::DoubtSettled,
                S::InheritedUnknown,
                S::StrayEntry,
            ],
        },
        World {
            name: "two-in-flight",
            summary: "Two checkpoints at once: they become complete in either order, and one may expire.",
            topology: JOIN,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 2,
            stores: false,
            slow: Slow { metadata: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 2), (Concurrent, 2), (Expiries, 1)]),
            expected: &[S::Completed, S::TwoPending, S::Subsumed, S::Expired, S::ChannelHeld],
        },
        World {
            name: "shared-files",
            summary: "Incremental snapshots with two checkpoints in flight: files are shared, released, and swept after a takeover.",
            topology: PIPE,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::Never,
            rescaled: None,
            workers: 1,
            slots: 1,
            stores: true,
            slow: Slow { snapshot: true, metadata: true, listing: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 0), (Checkpoints, 3), (Concurrent, 2), (Takeovers, 1), (Losses, 1), (Compactions, 1)]),
            expected: &[S::Completed, S::Restored, S::Subsumed, S::NoticeLost, S::SharedReleased, S::SharedReused, S::SharedSwept],
        },
        World {
            name: "unaligned",
            summary: "Two sources, one operator: barriers overtake at once, and what is in flight becomes part of the checkpoint.",
            topology: JOIN,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::AtOnce,
            rescaled: None,
            workers: 1,
            slots: 2,
            stores: false,
            slow: Slow { snapshot: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 1), (Crashes, 1), (Expiries, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::CompletedInFlight, S::Restored, S::RecoveredInFlight, S::Overtaken, S::AbortBeforeBarrier, S::AbortWhileLogging, S::AbortWhileWriting, S::Expired],
        },
        World {
            name: "aligned-with-timeout",
            summary: "Two sources, one operator: barriers are aligned, and overtake once a timer has fired.",
            topology: JOIN,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::AfterTimeout,
            rescaled: None,
            workers: 1,
            slots: 2,
            stores: false,
            slow: Slow { snapshot: true, ..ALL_FAST },
            bounds: bounds(&[(Records, 1), (Checkpoints, 1), (Expiries, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::CompletedInFlight, S::ChannelHeld, S::Overtaken, S::AlignedInTime, S::Hastened, S::AbortBeforeBarrier, S::AbortWhileAligning, S::AbortWhileLogging, S::Expired],
        },
        World {
            name: "forced",
            summary: "A shuffle and a forward edge into one operator, whose barrier has to be come to before any overtakes, and a sink behind it.",
            topology: MIXED,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::AtOnce,
            rescaled: None,
            workers: 1,
            slots: 1,
            stores: false,
            slow: ALL_FAST,
            bounds: bounds(&[(Records, 1), (Capacity, 1), (Checkpoints, 1), (Crashes, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::CompletedInFlight, S::Restored, S::RecoveredInFlight, S::ChannelHeld, S::Overtaken, S::Hastened],
        },
        World {
            name: "rescale",
            summary: "A checkpoint with records in flight to one operator, on two of them now.",
            topology: SHUFFLE,
            mode: Mode::ExactlyOnce,
            promised: Mode::ExactlyOnce,
            overtaking: Overtaking::AtOnce,
            rescaled: Some(Rescaled { parallelism: 1, read: &[2, 1], taken: &[0] }),
            workers: 1,
            slots: 2,
            stores: false,
            slow: ALL_FAST,
            bounds: bounds(&[(Records, 2), (Checkpoints, 1), (Crashes, 1)]),
            expected: &[S::Completed, S::CompletedMidway, S::CompletedInFlight, S::Restored, S::RecoveredInFlight, S::LoggedAgain, S::CrashWhileRecovering, S::Overtaken],
        },
    ]
}

/// The one of this name.
#[must_use]
pub fn find(name: &str) -> Option<World> {
    all().into_iter().find(|world| world.name == name)
}
