//! Barriers that overtake, at one subtask: records under way are logged, written beside the state, and processed first after a restore.

use super::running::Running;
use super::{Input, Tail, TaskContext, TaskError};
use crate::alarm::Alarm;
use crate::channel::queue::Logged;
use crate::env::Env;
use crate::job::Partitioning;
use crate::observe::{Detail, Moment};
use crate::operator::Operator;
use crate::record::{Alignment, SnapshotRequest};
use crate::sometimes;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::subtask::Participant;
use cofferdam_protocol::{ChannelIndex, CheckpointId};
use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// What was under way on each edge; an error if a record cannot be written.
pub(super) type Logs = Result<Vec<(String, Logged)>, String>;

/// What a snapshot waits for beside the state.
pub(super) struct PendingLogs {
    /// The operator that they are kept with.
    pub(super) head: String,
    pub(super) logs: oneshot::Receiver<Logs>,
}

/// One edge into the chain.
struct InputEdge {
    name: String,
    channels: Range<usize>,
    /// Records under way on it could not be given to other subtasks, so they are never logged.
    forced: bool,
}

/// What overtaking needs to remember.
pub(super) struct Overtaking<E: Env> {
    head: String,
    edges: Vec<InputEdge>,
    timeout: Alarm<E, CheckpointId>,
    logging: Option<(CheckpointId, oneshot::Sender<Logs>)>,
    pending: Option<(CheckpointId, PendingLogs)>,
}

impl<E: Env> Overtaking<E> {
    /// Nothing is logged. Timeouts are told through `timeouts`.
    pub(super) fn new(context: &TaskContext<E>, timeouts: mpsc::UnboundedSender<CheckpointId>) -> Self {
        let graph = &context.graph;
        let vertex = graph.vertex(context.task.vertex);
        let mut edges = Vec::new();
        let mut begin = 0;
        for edge in vertex.inputs.iter().map(|edge| graph.edge(*edge)) {
            let end = begin + edge.origins(context.task.subtask, graph.vertex(edge.from).parallelism).len();
            let forced = matches!(edge.partitioning, Partitioning::Forward | Partitioning::Broadcast);
            edges.push(InputEdge { name: edge.name.clone(), channels: begin..end, forced });
            begin = end;
        }
        Self { head: vertex.head(), edges, timeout: Alarm::new(context.env.clone(), timeouts), logging: None, pending: None }
    }

    /// What this subtask is to the protocol.
    pub(super) fn participant(&self, context: &TaskContext<E>, channels: u32) -> Participant {
        let forced = self.edges.iter().filter(|edge| edge.forced).flat_map(|edge| edge.channels.clone());
        let forced: BTreeSet<_> = forced.map(|index| ChannelIndex(u32::try_from(index).expect("fewer channels than 2^32"))).collect();
        Participant { mode: context.mode, channels, overtaking: context.overtaking.then_some(forced) }
    }

    /// What the snapshot of this checkpoint has to wait for.
    pub(super) fn pending(&mut self, checkpoint: CheckpointId) -> Option<PendingLogs> {
        self.pending.take_if(|(pending, _)| *pending == checkpoint).map(|(_, logs)| logs)
    }
}

impl<E: Env, I: Input, O: Operator<In = I::Out>, T: Tail<E, O::Out>> Running<E, I, O, T> {
    /// Starts the timer of a checkpoint whose barriers do not overtake yet.
    pub(super) fn arm(&mut self, checkpoint: CheckpointId) {
        let Some(SnapshotRequest::Checkpoint { triggered_ms, alignment: Alignment::Within { timeout_ms }, .. }) =
            self.requests.get(&checkpoint)
        else {
            return;
        };
        let env = &self.context.env;
        sometimes!(env, *triggered_ms > env.wall_clock_ms(), "task/triggered-in-the-future");
        // Clocks of two machines: what is in the future has just begun.
        let age_ms = u64::try_from(env.wall_clock_ms().saturating_sub(*triggered_ms)).unwrap_or(0);
        let deadline = env.now() + Duration::from_millis(timeout_ms.saturating_sub(age_ms));
        self.overtaking.timeout.arm(deadline, checkpoint);
    }

    /// Everything that is on its way belongs to the checkpoint.
    pub(super) fn overtake(&mut self, checkpoint: CheckpointId) {
        if let Some(request) = self.requests.get_mut(&checkpoint) {
            request.overtake();
        }
        self.input.log(checkpoint);
        let (sender, logs) = oneshot::channel();
        self.overtaking.logging = Some((checkpoint, sender));
        self.overtaking.pending = Some((checkpoint, PendingLogs { head: self.overtaking.head.clone(), logs }));
        self.context.observe(Moment::BarrierOvertook, Some(checkpoint), Detail::None);
    }

    pub(super) fn logs_complete(&mut self, checkpoint: CheckpointId) {
        let logging = self.overtaking.logging.take();
        let Some((_, sender)) = logging.filter(|(logging, _)| *logging == checkpoint) else {
            unreachable!("the machine completes the logs of {checkpoint} only where it has begun them")
        };
        let mut logs = Ok(Vec::new());
        for edge in self.overtaking.edges.iter().filter(|edge| !edge.forced) {
            let logged = self.input.take_logs(edge.channels.clone(), checkpoint);
            match (&mut logs, logged) {
                (Ok(logs), Ok(logged)) => logs.push((edge.name.clone(), logged)),
                (Ok(_), Err(cause)) => logs = Err(format!("{}: {cause}", edge.name)),
                (Err(_), _) => {}
            }
        }
        let records = logs.as_ref().map_or(0, |logs| logs.iter().map(|(_, logged)| logged.records).sum());
        sometimes!(self.context.env, records == 0, "task/nothing-was-under-way");
        self.context.observe(Moment::ChannelsLogged, Some(checkpoint), Detail::Count(records));
        // Whoever wrote this snapshot may have been given up.
        let _ = sender.send(logs);
    }

    pub(super) fn drop_logs(&mut self) {
        self.input.drop_logs();
        self.overtaking.logging = None;
        self.overtaking.pending = None;
    }

    /// Puts what was under way in front of everything that comes.
    pub(super) async fn recover_in_flight(&mut self, restore: Option<&TaskRestore>) -> Result<(), TaskError> {
        let mut records = 0;
        for (handle, keep) in restore.into_iter().flat_map(|restore| &restore.operators).flat_map(|operator| &operator.in_flight) {
            let edge = self.overtaking.edges.iter().find(|edge| edge.name == handle.edge);
            // Why: planning refuses edges that are not in the job.
            let first = edge.unwrap_or_else(|| unreachable!("{} is not an edge into this chain", handle.edge)).channels.start;
            let mut reader = self.context.storage.open_state(&self.context.env, &handle.location).await?;
            let mut bytes = Vec::new();
            while let Some((_, piece)) = reader.next().await? {
                bytes.extend_from_slice(&piece);
            }
            let recovered = self.input.recover(first, &bytes, *keep);
            records += recovered.map_err(|source| TaskError::InFlight { edge: handle.edge.clone(), source })?;
        }
        if records > 0 {
            self.context.observe(Moment::InFlightRecovered, None, Detail::Count(records));
        }
        Ok(())
    }
}
