//! The copy: every line of a text file becomes one line of the output, exactly once.

use bytes::Bytes;
use cofferdam_engine::connector::log_source::{LogSettings, LogSource};
use cofferdam_engine::connector::transactional_sink::TransactionalSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{Job, JobError, JobGraph};
use cofferdam_engine::state::text::Text;
use cofferdam_protocol::MaxParallelism;

/// The name of the sink, and the beginning of the names of its files.
pub const LINES: &str = "lines";

/// The job, for whatever environment. Bytes that are not UTF-8 become U+FFFD.
///
/// # Errors
/// The parallelism is over what `max` allows.
pub fn graph<E: Env>(settings: LogSettings, output: String, parallelism: u32, max: MaxParallelism) -> Result<JobGraph<E>, JobError> {
    let job = Job::<E>::new("copy", parallelism, max);
    job.source("input", move || LogSource::new(settings.clone()))
        .map(|line: Bytes| Text::from(String::from_utf8_lossy(&line).as_ref()))
        .rebalance()
        .sink(LINES, move || TransactionalSink::<Text>::new(&output, LINES));
    job.build()
}
