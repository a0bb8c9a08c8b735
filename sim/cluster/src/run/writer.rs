//! Who writes logs while they are read: of the first partition of the second log nothing more comes until windows have been given out
//! without it, and the first log has no end before what came then has been read.
//!
//! So a job that waits for the silent partition waits for ever.

use super::Run;
use crate::jobs::Log;
use crate::scenario::JobKind;
use crate::workload::{before_silence, WINDOW_MS};
use std::time::Duration;

/// How often whoever writes looks how far the job has come.
const LOOKS: Duration = Duration::from_millis(50);

/// Path, and how much of it is there from the beginning.
type Begun = (String, usize);

fn time_of(line: &str) -> i64 {
    line.split(' ').next().and_then(|time| time.parse().ok()).expect("our own input begins with a time")
}

/// The latest time of these lines.
fn latest(lines: &[String]) -> i64 {
    lines.iter().map(|line| time_of(line)).max().unwrap_or(0)
}

/// What is there from the beginning of each partition that is cut off: the silent one first.
fn begun(logs: &[Log]) -> (Begun, Vec<Begun>) {
    let [events, feed] = logs else { unreachable!("the job has two logs") };
    let (silent, lines) = &feed.partitions[0];
    let others = events.partitions.iter().map(|(path, lines)| (path.clone(), lines.len() * 4 / 5));
    ((silent.clone(), before_silence(lines.len())), others.collect())
}

fn text(lines: &[String]) -> String {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect()
}

impl Run {
    /// Whether logs are written while they are read.
    fn is_followed(&self) -> bool {
        self.scenario.job.kind == JobKind::IdleSplit && !self.shadow
    }

    fn lines(&self, path: &str) -> &[String] {
        let found = self.logs.iter().flat_map(|log| &log.partitions).find(|(of, _)| of == path);
        &found.expect("it is one of the logs").1
    }

    fn write(&self, path: &str, count: usize) {
        let lines = &self.lines(path)[..count];
        self.world.storage(self.storage).write_now(path, text(lines).as_bytes()).expect("the disk takes the input");
    }

    /// Takes away what is not written yet, and has somebody write it in time.
    pub(super) fn begin_writing(&self) {
        if !self.is_followed() {
            return;
        }
        let (silent, others) = begun(&self.logs);
        for (path, count) in others.iter().chain([&silent]) {
            self.write(path, *count);
        }
        let silent_lines = self.lines(&silent.0);
        // A window that ends behind all that the silent partition has said can only be given out without it.
        let without_it = latest(&silent_lines[..silent.1]) + WINDOW_MS;
        let came_back = latest(silent_lines);
        let rest = |(path, count): &Begun| (path.clone(), text(&self.lines(path)[*count..]));
        let of_others: Vec<(String, String)> = others.iter().map(rest).collect();
        let (world, watch, storage) = (self.world.clone(), self.watch.clone(), self.storage);
        let of_silent = rest(&silent);
        let write = move |(path, text): &(String, String)| {
            world.storage(storage).extend_now(path, text.as_bytes()).expect("the disk takes the input");
        };
        let world = self.world.clone();
        let writing = async move {
            while watch.reached().fired_ms <= without_it {
                world.sleep(LOOKS).await;
            }
            write(&of_silent);
            while watch.reached().record_ms < came_back {
                world.sleep(LOOKS).await;
            }
            of_others.iter().for_each(write);
        };
        self.world.spawn("writer", writing).detach();
    }
}
