//! State with time-to-live beside a record of the same without, in which the job writes down what it did and when. At each use
//! the two are compared by the clock of the moment: what is returned must be alive, and what is alive must be returned.

use super::{fields, log_settings, number, throttled, Log};
use crate::scenario::JobSpec;
use crate::workload::TTL_MS;
use cofferdam_engine::connector::log_source;
use cofferdam_engine::connector::upsert_sink::UpsertSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::operator::{Context, KeyedProcess};
use cofferdam_engine::record::Collect;
use cofferdam_engine::state::{Expiring, Key, ListState, MapState, StateVisitor, Text, Ttl, ValueState};
use cofferdam_protocol::MaxParallelism;
use std::time::Duration;

/// Something, and when it was last accessed in a way that counts.
type Noted = (i64, u64);

struct Uses {
    count: ValueState<Text, u64>,
    /// Lives on by writes.
    value: ValueState<Text, u64, Expiring>,
    /// So do its elements, which are numbered.
    list: ListState<Text, u64, Expiring>,
    /// Its entries live on by reads too.
    map: MapState<Text, i64, u64, Expiring>,
    noted_value: ValueState<Text, Noted>,
    noted_list: ListState<Text, Noted>,
    noted_map: MapState<Text, i64, Noted>,
    /// What was returned though it should not have been, or was another thing.
    wrong: ListState<Text, u64>,
    /// What was not returned though it was noted as alive. A clock that went back may be to blame.
    lost: ListState<Text, Noted>,
}

impl Uses {
    fn new() -> Self {
        let after = Duration::from_millis(TTL_MS.unsigned_abs());
        Self {
            count: ValueState::default(),
            value: ValueState::new().with_ttl(Ttl::since_write(after)),
            list: ListState::new().with_ttl(Ttl::since_write(after)),
            map: MapState::new().with_ttl(Ttl::since_use(after)),
            noted_value: ValueState::default(),
            noted_list: ListState::default(),
            noted_map: MapState::default(),
            wrong: ListState::default(),
            lost: ListState::default(),
        }
    }

    /// Whether what was found is what was noted; if it was found, that is what is noted on.
    fn compare(&mut self, key: &Key<'_, Text>, found: Option<u64>, noted: Option<Noted>, now_ms: i64) -> Option<u64> {
        let alive = noted.filter(|(at_ms, _)| at_ms + TTL_MS > now_ms);
        match (found, alive) {
            (Some(found), Some((_, value))) if found == value => {}
            (Some(found), _) => self.wrong.push(key, found),
            (None, Some(lost)) => self.lost.push(key, lost),
            (None, None) => {}
        }
        found
    }

    fn use_value(&mut self, key: &Key<'_, Text>, number: u64, now_ms: i64) {
        let (found, noted) = (self.value.get(key).copied(), self.noted_value.get(key).copied());
        let found = self.compare(key, found, noted, now_ms);
        if found.is_none() {
            self.noted_value.clear(key);
        }
        if number.is_multiple_of(7) {
            self.value.clear(key);
            self.noted_value.clear(key);
        } else if number.is_multiple_of(2) {
            let value = self.value.update(key, |value| {
                *value += number;
                *value
            });
            self.noted_value.set(key, (now_ms, value));
        }
    }

    fn use_map(&mut self, key: &Key<'_, Text>, number: u64, now_ms: i64) {
        let inner = (number % 4).cast_signed();
        let (found, noted) = (self.map.get(key, &inner).copied(), self.noted_map.get(key, &inner).copied());
        match self.compare(key, found, noted, now_ms) {
            Some(found) => self.noted_map.insert(key, inner, (now_ms, found)),
            None => self.noted_map.remove(key, &inner),
        };
        if number.is_multiple_of(3) {
            self.map.insert(key, inner, number);
            self.noted_map.insert(key, inner, (now_ms, number));
        }
    }

    fn use_list(&mut self, key: &Key<'_, Text>, count: u64, now_ms: i64) {
        let found = self.list.get(key).to_vec();
        let noted = self.noted_list.get(key).to_vec();
        let mut left = found.iter().copied().peekable();
        let mut alive = Vec::new();
        for (at_ms, element) in noted {
            let there = left.next_if_eq(&element);
            if self.compare(key, there, Some((at_ms, element)), now_ms).is_some() {
                alive.push((at_ms, element));
            }
        }
        for element in left {
            self.wrong.push(key, element);
        }
        alive.push((now_ms, count));
        self.list.push(key, count);
        self.noted_list.replace(key, alive);
    }
}

impl KeyedProcess for Uses {
    type Key = Text;
    type In = (Text, u64);
    type Out = (Text, Text);

    fn process(
        &mut self,
        key: &Key<'_, Text>,
        (name, number): (Text, u64),
        context: &mut Context<'_, Text>,
        out: &mut impl Collect<(Text, Text)>,
    ) {
        let now_ms = context.processing_time_ms();
        let count = self.count.update(key, |count| {
            *count += 1;
            *count
        });
        self.use_value(key, number, now_ms);
        self.use_map(key, number, now_ms);
        self.use_list(key, count, now_ms);
        let row = if self.wrong.get(key).is_empty() { count.to_string() } else { format!("{count} wrong") };
        out.collect((name, Text::from(row.as_str())));
    }

    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("count", &mut self.count);
        visit.visit("value", &mut self.value);
        visit.visit("list", &mut self.list);
        visit.visit("map", &mut self.map);
        visit.visit("noted-value", &mut self.noted_value);
        visit.visit("noted-list", &mut self.noted_list);
        visit.visit("noted-map", &mut self.noted_map);
        visit.visit("wrong", &mut self.wrong);
        visit.visit("lost", &mut self.lost);
    }
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let job = Job::new("expiring", spec.parallelism, max);
    let settings = log_settings(spec, &logs[0], None);
    job.source("uses", move || log_source::LogSource::new(settings.clone()))
        .map(|line: bytes::Bytes| {
            let mut fields = fields(&line);
            (Text::from(fields.next().unwrap_or("")), number::<u64>(fields.next()))
        })
        .key_by(|using: &(Text, u64)| using.0.clone())
        .process("expiring", Uses::new)
        .sink("table", throttled(spec, move || UpsertSink::<Text, Text>::new(&output, "table")));
    job.build()
}
