//! A record that says where it comes from, and the source that numbers it.

use crate::jobs::watch::{Sent, Watch};
use crate::jobs::{fields, Log};
use crate::workload::lane_of;
use cofferdam_engine::connector::log_source::LogSource;
use cofferdam_engine::connector::{ConnectorError, Place, Polled, Source};
use cofferdam_engine::env::Env;
use cofferdam_engine::state::Text;
use cofferdam_protocol::snapshot::ListState;
use serde::{Deserialize, Serialize};

/// Key, origin (`a3-17`: line 17 of partition 3 of source a), and how it was sent: sender, life, number.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Parcel(pub(super) Text, pub(super) Text, u64, u64, u64);

impl Parcel {
    pub(super) fn sent(&self) -> Sent {
        Sent { sender: self.2, life: self.3, number: self.4 }
    }

    /// Sent on by somebody else.
    pub(super) fn sent_by(self, Sent { sender, life, number }: Sent) -> Self {
        Self(self.0, self.1, sender, life, number)
    }

    /// The other key.
    pub(super) fn lane(&self) -> Text {
        Text::from(lane_of(self.1.as_str()).as_str())
    }

    /// Its origin as a number that the state keeps, never 0: side, source, partition, line.
    pub(super) fn code(&self, side: u64) -> u64 {
        let (source, rest) = self.1.as_str().split_at(1);
        let (partition, line) = rest.split_once('-').unwrap_or_default();
        let number = |text: &str| text.parse::<u64>().unwrap_or_default();
        side << 60 | u64::from(source == "b") << 56 | number(partition) << 32 | (number(line) + 1)
    }
}

/// Reads a log, and numbers what it gives out.
pub(super) struct Numbering {
    log: LogSource,
    watch: Watch,
    /// Senders of different sources are different ones.
    source: u64,
    sender: u64,
    life: u64,
    number: u64,
}

impl Numbering {
    pub(super) fn new(log: LogSource, of: &Log, watch: Watch) -> Self {
        Self { log, watch, source: u64::from(of.source == "b"), sender: 0, life: 0, number: 0 }
    }
}

impl Source for Numbering {
    type Out = Parcel;

    async fn open<E: Env>(&mut self, env: &E, place: Place, restored: Option<&[ListState]>) -> Result<(), ConnectorError> {
        self.sender = self.source * 1000 + u64::from(place.subtask.0);
        self.life = self.watch.life(place.attempt, place.parallelism);
        self.number = 0;
        self.log.open(env, place, restored).await
    }

    async fn next<E: Env>(&mut self, env: &E, out: &mut Vec<Parcel>) -> Result<Polled, ConnectorError> {
        let mut lines = Vec::new();
        let polled = self.log.next(env, &mut lines).await?;
        for line in lines {
            let mut fields = fields(&line);
            let mut field = || Text::from(fields.next().unwrap_or_default());
            out.push(Parcel(field(), field(), self.sender, self.life, self.number));
            self.number += 1;
        }
        Ok(polled)
    }

    fn is_behind(&self) -> bool {
        self.log.is_behind()
    }

    fn lists(&self) -> Vec<ListState> {
        self.log.lists()
    }
}
