//! Events and steps explain each other: what is observed follows from an output, or comes before an input, and the other way round.
//!
//! So an output that a driver tells of and does not perform is noticed, and an input that nothing has led to.

use cofferdam_engine::connector::split::ReaderEvent;
use cofferdam_engine::connector::transactional_sink::Transaction;
use cofferdam_engine::observe::{Detail, Event, Moment};
use cofferdam_protocol::coordinator::{self, Status};
use cofferdam_protocol::subtask;
use cofferdam_protocol::{committer, gateway, local, transactions};
use cofferdam_protocol::{CheckpointId, Timer};

/// An event, as far as a step tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sign {
    moment: Moment,
    checkpoint: Option<CheckpointId>,
    /// `None`: not told by the step.
    detail: Option<Detail>,
}

impl Sign {
    fn of(moment: Moment, checkpoint: CheckpointId) -> Option<Self> {
        Some(Self { moment, checkpoint: Some(checkpoint), detail: None })
    }

    fn about(moment: Moment, checkpoint: Option<CheckpointId>, detail: Detail) -> Option<Self> {
        Some(Self { moment, checkpoint, detail: Some(detail) })
    }

    fn bare(moment: Moment) -> Option<Self> {
        Some(Self { moment, checkpoint: None, detail: None })
    }

    fn is(&self, event: &Event) -> bool {
        self.moment == event.moment
            && self.checkpoint == event.checkpoint
            && self.detail.as_ref().is_none_or(|detail| *detail == event.detail)
    }
}

/// An input or an output that is observed.
pub trait Signs {
    /// Every moment that one of them has.
    const MOMENTS: &'static [Moment];
    /// What is observed of this one: of an input before it, of an output right after it.
    fn sign(&self) -> Option<Sign>;
}

impl Signs for subtask::Input {
    const MOMENTS: &'static [Moment] =
        &[Moment::BarrierArrived, Moment::BarrierAnnounced, Moment::ChannelEnded, Moment::SnapshotDurable, Moment::SnapshotFailed];

    fn sign(&self) -> Option<Sign> {
        match self {
            Self::Barrier { channel, checkpoint } => Sign::about(Moment::BarrierArrived, Some(*checkpoint), Detail::Channel(*channel)),
            Self::Announced { channel, checkpoint, .. } => {
                Sign::about(Moment::BarrierAnnounced, Some(*checkpoint), Detail::Channel(*channel))
            }
            Self::Ended { channel } => Sign::about(Moment::ChannelEnded, None, Detail::Channel(*channel)),
            Self::Durable(checkpoint) => Sign::of(Moment::SnapshotDurable, *checkpoint),
            Self::WriteFailed(checkpoint) => Sign::of(Moment::SnapshotFailed, *checkpoint),
            _ => None,
        }
    }
}

impl Signs for subtask::Output {
    const MOMENTS: &'static [Moment] = &[
        Moment::ChannelHeld,
        Moment::ChannelsReleased,
        Moment::BarrierForwarded,
        Moment::SnapshotTaken,
        Moment::Acknowledged,
        Moment::Declined,
        Moment::Committed,
        Moment::SnapshotForgotten,
        Moment::BarrierOvertook,
        Moment::ChannelsLogged,
        Moment::TaskFinished,
    ];

    fn sign(&self) -> Option<Sign> {
        match self {
            Self::Hold(channel) => Sign::about(Moment::ChannelHeld, None, Detail::Channel(*channel)),
            Self::ReleaseAll => Sign::bare(Moment::ChannelsReleased),
            Self::Forward(checkpoint) => Sign::of(Moment::BarrierForwarded, *checkpoint),
            Self::Snapshot(checkpoint) => Sign::of(Moment::SnapshotTaken, *checkpoint),
            Self::Acknowledge(checkpoint) => Sign::of(Moment::Acknowledged, *checkpoint),
            Self::Decline(checkpoint, reason) => Sign::about(Moment::Declined, Some(*checkpoint), Detail::Reason(*reason)),
            Self::Commit(checkpoint) => Sign::of(Moment::Committed, *checkpoint),
            Self::Forget(checkpoint) => Sign::of(Moment::SnapshotForgotten, *checkpoint),
            Self::Overtake(checkpoint) => Sign::of(Moment::BarrierOvertook, *checkpoint),
            Self::LogsComplete(checkpoint) => Sign::of(Moment::ChannelsLogged, *checkpoint),
            Self::Finish => Sign::bare(Moment::TaskFinished),
            _ => None,
        }
    }
}

impl<S> Signs for coordinator::Input<S> {
    const MOMENTS: &'static [Moment] =
        &[Moment::WorkerJoined, Moment::WorkerLost, Moment::AckReceived, Moment::LocationReady, Moment::Discarded, Moment::HookFailed];

    fn sign(&self) -> Option<Sign> {
        match self {
            Self::WorkerJoined { worker, .. } => Sign::about(Moment::WorkerJoined, None, Detail::Worker(*worker)),
            Self::WorkerLost { worker, .. } | Self::Fired(Timer::WorkerSilent(worker, _)) => {
                Sign::about(Moment::WorkerLost, None, Detail::Worker(*worker))
            }
            Self::Acknowledged { checkpoint, task, .. } => Sign::about(Moment::AckReceived, Some(*checkpoint), Detail::Task(*task)),
            Self::LocationReady(checkpoint) => Sign::of(Moment::LocationReady, *checkpoint),
            Self::Discarded(checkpoint) => Sign::of(Moment::Discarded, *checkpoint),
            Self::HooksFailed(checkpoint) => Sign::of(Moment::HookFailed, *checkpoint),
            _ => None,
        }
    }
}

impl<S> Signs for coordinator::Output<S> {
    const MOMENTS: &'static [Moment] = &[
        Moment::CheckpointTriggered,
        Moment::SavepointTriggered,
        Moment::CompletionNotified,
        Moment::CheckpointCompleted,
        Moment::SavepointCompleted,
        Moment::CheckpointAborted,
        Moment::RequestRefused,
        Moment::Discarding,
        Moment::Deploying,
        Moment::AllAcked,
        Moment::JobWaiting,
        Moment::JobRunning,
        Moment::JobCommitting,
        Moment::JobFailing,
        Moment::JobRestarting,
        Moment::JobEnded,
        Moment::SteppedDown,
    ];

    fn sign(&self) -> Option<Sign> {
        match self {
            Self::Triggered { checkpoint, kind } => {
                Sign::of(if kind.is_savepoint() { Moment::SavepointTriggered } else { Moment::CheckpointTriggered }, *checkpoint)
            }
            Self::NotifyComplete { checkpoint, .. } => Sign::of(Moment::CompletionNotified, *checkpoint),
            Self::Completed { checkpoint, kind } => {
                Sign::of(if kind.is_savepoint() { Moment::SavepointCompleted } else { Moment::CheckpointCompleted }, *checkpoint)
            }
            Self::Aborted { checkpoint, reason, .. } => {
                let moment = if checkpoint.is_some() { Moment::CheckpointAborted } else { Moment::RequestRefused };
                Sign::about(moment, *checkpoint, Detail::Reason(*reason))
            }
            Self::Discard(checkpoint) => Sign::of(Moment::Discarding, *checkpoint),
            Self::Deploy { restore, .. } => {
                let checkpoint = restore.as_ref().map(coordinator::RestorePoint::checkpoint);
                Some(Sign { moment: Moment::Deploying, checkpoint, detail: None })
            }
            Self::WriteMetadata { checkpoint, .. } => Sign::of(Moment::AllAcked, *checkpoint),
            Self::Status(status) => match status {
                Status::WaitingForWorkers { .. } => Sign::bare(Moment::JobWaiting),
                Status::Running(_) => Sign::bare(Moment::JobRunning),
                Status::Committing(_) => Sign::bare(Moment::JobCommitting),
                Status::Failing { .. } => Sign::bare(Moment::JobFailing),
                Status::Restarting { .. } => Sign::bare(Moment::JobRestarting),
                Status::Ended(_) => Sign::bare(Moment::JobEnded),
                _ => None,
            },
            Self::SteppedDown => Sign::bare(Moment::SteppedDown),
            _ => None,
        }
    }
}

macro_rules! unseen {
    ($($type:ty)*) => {
        $(
            /// Nothing of it is observed where it is driven.
            impl Signs for $type {
                const MOMENTS: &'static [Moment] = &[];

                fn sign(&self) -> Option<Sign> {
                    None
                }
            }
        )*
    };
}

unseen! {
    local::Input
    local::Output
    gateway::Input<ReaderEvent>
    gateway::Output<ReaderEvent>
    committer::Input
    committer::Output
    transactions::Input<Transaction>
    transactions::Output<Transaction>
}

/// What has to be observed next of one machine, and what has been that an input must follow.
#[derive(Default)]
pub struct Observed {
    owed: Option<Sign>,
    heralded: Option<Event>,
}

impl Observed {
    /// What follows from the last output was observed.
    pub fn settled(&self) -> Result<(), String> {
        match &self.owed {
            None => Ok(()),
            Some(owed) => Err(format!("expected that {} is observed, found that it is not", owed.moment)),
        }
    }

    /// An input must have been observed, if one of its kind is.
    pub fn input(&mut self, input: &impl Signs) -> Result<(), String> {
        match (input.sign(), self.heralded.take()) {
            (None, None) => Ok(()),
            (Some(sign), Some(event)) if sign.is(&event) => Ok(()),
            (Some(sign), None) => Err(format!("expected that {} was observed before it, found nothing", sign.moment)),
            (Some(sign), Some(event)) => Err(format!("expected that {} was observed before it, found {}", sign.moment, event.moment)),
            (None, Some(event)) => Err(format!("expected the input that {} is about, found this one", event.moment)),
        }
    }

    /// An output is to be observed, if one of its kind is.
    pub fn output(&mut self, output: &impl Signs) {
        self.owed = output.sign();
    }

    /// Something was observed.
    pub fn event<I: Signs, O: Signs>(&mut self, event: &Event) -> Result<(), String> {
        if O::MOMENTS.contains(&event.moment) {
            return match self.owed.take() {
                Some(owed) if owed.is(event) => Ok(()),
                Some(owed) => Err(format!("expected that {} is observed, found {event}", owed.moment)),
                None => Err(format!("expected nothing, found that {} is observed: {event}", event.moment)),
            };
        }
        if I::MOMENTS.contains(&event.moment) {
            if let Some(before) = self.heralded.replace(event.clone()) {
                return Err(format!("expected the input that {} is about, found that {} is observed", before.moment, event.moment));
            }
        }
        Ok(())
    }
}
