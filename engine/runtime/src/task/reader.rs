//! A reader of splits at the head of a chain: what it has to read comes from the enumerator, event by event.
//!
//! Events are taken in as soon as they come, also while there is no room for what would be read: a checkpoint waits for them.

use super::{Input, TaskContext, TaskError, TaskReport};
use crate::channel::Arrival;
use crate::connector::split::{ReaderEvent, Reading, SplitReader};
use crate::connector::{ConnectorError, Place};
use crate::env::Env;
use crate::observe::{Actor, Detail, Event, Moment};
use crate::operator::{KeyedStates, Stateful};
use crate::record::EventTime;
use crate::watermark::Change;
use cofferdam_protocol::gateway::EventNumber;
use cofferdam_protocol::restore::TaskRestore;
use cofferdam_protocol::snapshot::{ListState, Redistribution};
use cofferdam_protocol::stored::{Reader, Stored, StoredError};
use cofferdam_protocol::{AttemptId, ChannelIndex, CheckpointId, TaskId};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

/// The name of the operator state: one item per split that is not read to its end.
pub const SPLITS: &str = "splits";

/// What a reader, or its worker, tells the coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ReaderReport {
    /// It has nothing to read.
    Request,
    /// The event is part of its state.
    TakenIn(EventNumber),
    /// The event has not got there, and will not.
    Lost(EventNumber),
    /// It has taken its part of the checkpoint: what is told from now on is not in it.
    Cut(CheckpointId),
}

/// Events for one reader.
pub(crate) type Events = mpsc::UnboundedReceiver<(EventNumber, ReaderEvent)>;

/// See the [module](self).
pub struct ReaderHead<E, R> {
    env: E,
    task: TaskId,
    attempt: AttemptId,
    uid: String,
    reader: R,
    events: Events,
    reports: mpsc::UnboundedSender<(TaskId, AttemptId, TaskReport)>,
    watermark: EventTime,
    /// Nothing to read, as far as it knows.
    idle: bool,
    /// The enumerator has been asked since it last gave something.
    asked: bool,
    no_more: bool,
    drained: bool,
    /// An event that could not be read.
    broken: Option<StoredError>,
}

impl<E: Env, R: SplitReader> ReaderHead<E, R> {
    /// Not open yet. Takes the events out of the context.
    pub fn new(context: &mut TaskContext<E>, uid: String, reader: R) -> Self {
        // Nobody else of this chain is told anything: a chain has one head.
        let events = std::mem::replace(&mut context.events, mpsc::unbounded_channel().1);
        Self {
            env: context.env.clone(),
            task: context.task,
            attempt: context.attempt,
            uid,
            reader,
            events,
            reports: context.reports.clone(),
            watermark: EventTime::MIN,
            idle: false,
            asked: false,
            no_more: false,
            drained: false,
            broken: None,
        }
    }

    fn report(&self, report: ReaderReport) {
        // Nobody listens any more: the worker is stopping this task.
        let _ = self.reports.send((self.task, self.attempt, TaskReport::Reader(report)));
    }

    /// Without an await: the event is part of the state when the coordinator is told so.
    fn take_in(&mut self, number: EventNumber, event: &ReaderEvent) {
        match event {
            ReaderEvent::Split(bytes) => match read_split(bytes) {
                Ok(split) => {
                    self.reader.add(split);
                    (self.idle, self.asked) = (false, false);
                }
                Err(error) => self.broken = Some(error),
            },
            ReaderEvent::NoMore => self.no_more = true,
        }
        let (actor, attempt) = (Actor::Task(self.task), Some(self.attempt));
        self.env.observe(Event { actor, attempt, checkpoint: None, moment: Moment::EventTakenIn, detail: Detail::Count(number.0) });
        self.report(ReaderReport::TakenIn(number));
    }
}

fn read_split<S: Stored>(bytes: &[u8]) -> Result<S, StoredError> {
    let mut reader = Reader::new(bytes, 0);
    let split = S::read(&mut reader)?;
    reader.finish("a split")?;
    Ok(split)
}

fn not_a_split(source: StoredError) -> ConnectorError {
    ConnectorError::State { name: SPLITS.into(), source }
}

/// The next event. Once the worker lets go of the task there is none.
async fn next_event(events: &mut Events) -> (EventNumber, ReaderEvent) {
    match events.recv().await {
        Some(event) => event,
        None => std::future::pending().await,
    }
}

impl<E: Env, R: SplitReader> Input for ReaderHead<E, R> {
    type Out = R::Out;

    fn channels(&self) -> u32 {
        0
    }

    async fn open(&mut self, place: Place, restored: Option<&TaskRestore>) -> Result<(), TaskError> {
        self.reader.open(&self.env, place).await?;
        let own = restored.into_iter().flat_map(|restored| &restored.operators).filter(|operator| operator.uid == self.uid);
        for item in own.flat_map(|operator| &operator.lists).filter(|list| list.name == SPLITS).flat_map(|list| &list.items) {
            self.reader.add(read_split(item).map_err(not_a_split)?);
        }
        Ok(())
    }

    async fn next(&mut self) -> Result<Arrival<R::Out>, TaskError> {
        loop {
            if let Some(error) = self.broken.take() {
                return Err(not_a_split(error).into());
            }
            let watermark = self.reader.watermark();
            if watermark > self.watermark {
                self.watermark = watermark;
                return Ok(Arrival::Watermark(Change { watermark: Some(watermark), ..Change::default() }));
            }
            if self.idle && self.no_more && !self.drained {
                self.drained = true;
                return Ok(Arrival::Drained);
            }
            if self.idle {
                if !self.asked && !self.no_more {
                    self.asked = true;
                    self.report(ReaderReport::Request);
                }
                let (number, event) = next_event(&mut self.events).await;
                self.take_in(number, &event);
                continue;
            }
            let mut records = Vec::new();
            tokio::select! {
                biased;
                (number, event) = next_event(&mut self.events) => self.take_in(number, &event),
                reading = self.reader.next(&self.env, &mut records) => {
                    self.idle = reading? == Reading::Idle;
                    if !records.is_empty() {
                        return Ok(Arrival::Batch(records));
                    }
                }
            }
        }
    }

    /// No barrier is ever announced to a source; this is where events are taken in while there is no room.
    async fn announced(&mut self) -> Arrival<R::Out> {
        loop {
            let (number, event) = next_event(&mut self.events).await;
            self.take_in(number, &event);
        }
    }

    fn cut(&mut self, checkpoint: CheckpointId) {
        self.report(ReaderReport::Cut(checkpoint));
    }

    fn end(&mut self) {
        (self.idle, self.no_more, self.drained) = (true, true, true);
    }

    fn hold(&mut self, _: ChannelIndex) {}

    fn release_all(&mut self) {}

    fn is_behind(&self) -> bool {
        self.reader.is_behind()
    }

    fn stateful(&mut self, visit: &mut dyn FnMut(&mut dyn Stateful)) {
        visit(self);
    }
}

impl<E: Env, R: SplitReader> Stateful for ReaderHead<E, R> {
    fn uid(&self) -> &str {
        &self.uid
    }

    fn keyed(&mut self) -> Option<&mut dyn KeyedStates> {
        None
    }

    fn lists(&mut self) -> Vec<ListState> {
        let stored = |split: R::Split| {
            let mut bytes = Vec::new();
            split.write(&mut bytes);
            bytes
        };
        let items = self.reader.splits().into_iter().map(stored).collect();
        vec![ListState { name: SPLITS.into(), redistribution: Redistribution::Split, items }]
    }
}
