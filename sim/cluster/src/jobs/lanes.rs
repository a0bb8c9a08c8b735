//! Records that stay at the index of the subtask that reads them, up to the output; and, if asked for, a pipeline that shares nothing with
//! that: its records go to the subtask of their key, and are counted there. Of each region that goes back, others do not notice.

use super::delivery::Deliver;
use super::{fields, log_settings, throttled, Log};
use crate::scenario::JobSpec;
use cofferdam_engine::connector::log_source::LogSource;
use cofferdam_engine::connector::transactional_sink::TransactionalSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::Text;
use cofferdam_protocol::MaxParallelism;

fn text(line: bytes::Bytes) -> Text {
    Text::from(std::str::from_utf8(&line).unwrap_or(""))
}

pub(super) fn build<E: Env>(spec: &JobSpec, max: MaxParallelism, logs: &[Log], output: &str) -> Result<JobGraph<E>, JobError> {
    let output = output.to_owned();
    let sink = |uid: &'static str| {
        let output = output.clone();
        throttled(spec, move || TransactionalSink::<Text>::new(&output, uid))
    };
    let job = Job::new("lanes", spec.parallelism, max);
    let parcels = log_settings(spec, &logs[0], None);
    let parcels = job.source("parcels", move || LogSource::new(parcels.clone())).map(text).seal();
    parcels.onward().sink("parcels-out", sink("parcels-out"));
    if let Some(letters) = logs.get(1) {
        let letters = log_settings(spec, letters, None);
        job.source("letters", move || LogSource::new(letters.clone()))
            .map(text)
            .key_by(|letter: &Text| Text::from(fields(letter.as_bytes()).next().unwrap_or("")))
            .process("deliver", Deliver::default)
            .sink("letters-out", sink("letters-out"));
    }
    job.build()
}
