//! The copy: every line of a text file, or of a folder's files, becomes one line of the output, exactly once.

use bytes::Bytes;
use cofferdam_engine::connector::transactional_sink::TransactionalSink;
use cofferdam_engine::env::Env;
use cofferdam_engine::job::{HeadSpec, Stream};
use cofferdam_engine::operator::Identity;
use cofferdam_engine::state::text::Text;

/// The name of the sink, and the beginning of the names of its files.
pub const LINES: &str = "lines";

/// What becomes of the lines. Bytes that are not UTF-8 become U+FFFD.
pub fn copy<E: Env, H: HeadSpec<E, Out = Bytes>>(lines: Stream<E, H, Identity<Bytes>>, output: String) {
    lines
        .map(|line: Bytes| Text::from(String::from_utf8_lossy(&line).as_ref()))
        .rebalance()
        .sink(LINES, move || TransactionalSink::<Text>::new(&output, LINES));
}
