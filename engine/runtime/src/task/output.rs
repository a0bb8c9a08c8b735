//! Where a chain's records go: channels, or a sink.

use super::{OutputEnds, TaskContext, TaskError};
use crate::channel::{Control, Route};
use crate::connector::{Flush, Place, Sink};
use crate::env::Env;
use crate::record::Record;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::ListState;
use cofferdam_protocol::CheckpointId;
use std::future::{poll_fn, Future};

/// Where a chain's records go.
pub trait Tail<E: Env, T>: Send + 'static {
    /// Whether something waits here for checkpoints to be complete.
    const COMMITS: bool = false;
    /// Gets ready.
    fn open(&mut self, env: &E, place: Place, restored: Option<&TaskRestore>) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// Ready when there is room for what another batch makes. Loses nothing when dropped before.
    fn room(&mut self, env: &E) -> impl Future<Output = Result<(), TaskError>> + Send;
    /// Takes all records of a batch.
    ///
    /// # Errors
    /// A neighbour is gone.
    fn emit(&mut self, records: &mut Vec<T>) -> Result<(), TaskError>;
    /// Sends behind all records.
    ///
    /// # Errors
    /// A neighbour is gone.
    fn control(&mut self, control: Control) -> Result<(), TaskError>;
    /// Where the barrier of this checkpoint still waits here, it overtakes from now on.
    fn hasten(&mut self, checkpoint: CheckpointId) {
        let _ = checkpoint;
    }
    /// What is to be durable before the checkpoint is acknowledged.
    fn flush(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush>;
    /// State of its own, right after the flush: under which name, and what.
    fn state(&self) -> Option<(&str, Vec<ListState>)> {
        None
    }
    /// How many items of restored state have become this subtask's.
    fn entry_count(&self) -> u64 {
        0
    }
    /// What publishes all that has waited for this checkpoint, or an earlier one.
    fn commit(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        let _ = (env, checkpoint);
        None
    }
    /// All records have been taken: what completes the output.
    fn finish(&mut self, env: &E) -> Option<Flush>;
}

/// The output edges of a chain.
pub struct Outputs<T> {
    routes: Vec<Box<dyn Route<T>>>,
}

impl<T: Record> Outputs<T> {
    /// Takes the sending ends out of the context.
    pub fn new<E: Env>(context: &mut TaskContext<E>) -> Self {
        let ends = std::mem::take(&mut context.outputs);
        let route = |output: OutputEnds| context.graph.edge(output.edge).make_route(output.senders, output.to_parallelism);
        Self { routes: ends.into_iter().map(route).collect() }
    }
}

impl<E: Env, T: Record> Tail<E, T> for Outputs<T> {
    async fn open(&mut self, _: &E, _: Place, _: Option<&TaskRestore>) -> Result<(), TaskError> {
        Ok(())
    }

    async fn room(&mut self, _: &E) -> Result<(), TaskError> {
        for route in &mut self.routes {
            poll_fn(|cx| route.poll_room(cx)).await?;
        }
        Ok(())
    }

    fn emit(&mut self, records: &mut Vec<T>) -> Result<(), TaskError> {
        let last = self.routes.len().saturating_sub(1);
        for (index, route) in self.routes.iter_mut().enumerate() {
            route.send(records, index < last)?;
        }
        records.clear();
        Ok(())
    }

    fn control(&mut self, control: Control) -> Result<(), TaskError> {
        for route in &mut self.routes {
            route.control(control.clone())?;
        }
        Ok(())
    }

    fn hasten(&mut self, checkpoint: CheckpointId) {
        for route in &mut self.routes {
            route.hasten(checkpoint);
        }
    }

    fn flush(&mut self, _: &E, _: CheckpointId) -> Option<Flush> {
        None
    }

    fn finish(&mut self, _: &E) -> Option<Flush> {
        None
    }
}

/// A sink at the end of a chain.
pub struct SinkTail<S> {
    uid: String,
    sink: S,
}

impl<S> SinkTail<S> {
    /// Not open yet.
    pub fn new(uid: String, sink: S) -> Self {
        Self { uid, sink }
    }

    /// Its stable name.
    pub fn uid(&self) -> &str {
        &self.uid
    }
}

impl<E: Env, S: Sink> Tail<E, S::In> for SinkTail<S> {
    const COMMITS: bool = S::COMMITS;

    async fn open(&mut self, env: &E, place: Place, restored: Option<&TaskRestore>) -> Result<(), TaskError> {
        let own = restored.into_iter().flat_map(|restored| &restored.operators).filter(|operator| operator.uid == self.uid);
        for operator in own {
            self.sink.restore(&operator.lists)?;
        }
        Ok(self.sink.open(env, place).await?)
    }

    async fn room(&mut self, env: &E) -> Result<(), TaskError> {
        self.sink.room(env).await;
        Ok(())
    }

    fn emit(&mut self, records: &mut Vec<S::In>) -> Result<(), TaskError> {
        self.sink.accept(records);
        Ok(())
    }

    fn control(&mut self, _: Control) -> Result<(), TaskError> {
        Ok(())
    }

    fn flush(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        self.sink.flush(env, checkpoint)
    }

    fn state(&self) -> Option<(&str, Vec<ListState>)> {
        let lists = self.sink.lists();
        (!lists.is_empty()).then_some((self.uid.as_str(), lists))
    }

    fn entry_count(&self) -> u64 {
        self.sink.entry_count()
    }

    fn commit(&mut self, env: &E, checkpoint: CheckpointId) -> Option<Flush> {
        self.sink.commit(env, checkpoint)
    }

    fn finish(&mut self, env: &E) -> Option<Flush> {
        self.sink.finish(env)
    }
}
