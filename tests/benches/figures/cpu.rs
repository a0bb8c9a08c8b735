//! CPU time, from /proc: no unsafe, no dependency.

use std::fs;
use std::path::Path;
use std::time::Duration;

/// What all threads of this process have used, in user and kernel, those that have ended included.
pub fn process() -> Duration {
    used(Path::new("/proc/self/stat"))
}

/// Fields 14 and 15, in hundredths of a second (`USER_HZ`, which is part of Linux's ABI on all machines that we run on).
fn used(stat: &Path) -> Duration {
    let text = fs::read_to_string(stat).expect("Linux has /proc");
    // The name of the command, in parentheses, may have blanks.
    let (_, rest) = text.rsplit_once(')').expect("the second field is in parentheses");
    let ticks: u64 = rest.split_whitespace().skip(11).take(2).map(|field| field.parse::<u64>().expect("a number")).sum();
    Duration::from_millis(ticks * 10)
}

/// How long this thread has waited for a processor although it could have run, since it began.
pub fn thread_waited() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").expect("Linux has /proc");
    let waited = text.split_whitespace().nth(1).expect("three fields");
    Duration::from_nanos(waited.parse().expect("a number"))
}
