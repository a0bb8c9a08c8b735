//! A thread that no simulation runs on, for what must not see virtual time.
//!
//! On a simulation's thread the C library's clocks tell virtual time, to C++ code too. A database that is opened registers timers
//! for a thread of RocksDB's own, which goes by the machine's clock, and which refuses whoever is behind the timer that is just
//! due: "Failed to register periodic task", one run in some thousands, and never again with the same seed.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{self, Sender};
use std::sync::LazyLock;
use std::thread;

type Work = Box<dyn FnOnce() + Send>;

// Why one for all and for ever: none can be started from within a simulation.
static OUTSIDE: LazyLock<Sender<Work>> = LazyLock::new(|| {
    let (sender, receiver) = mpsc::channel::<Work>();
    let work = move || receiver.into_iter().for_each(|work| work());
    thread::Builder::new().name("outside".into()).spawn(work).expect("the machine has room for one more thread");
    sender
});

/// Before a simulation begins.
pub(crate) fn prepare() {
    LazyLock::force(&OUTSIDE);
}

/// Does something on that thread, and waits for it: nothing of the simulation goes on meanwhile.
///
/// # Panics
/// If the work does.
pub(super) fn outside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (sender, receiver) = mpsc::channel::<Result<T, Box<dyn Any + Send>>>();
    let work = Box::new(move || {
        // Nobody is gone: the caller waits.
        let _ = sender.send(panic::catch_unwind(AssertUnwindSafe(work)));
    });
    OUTSIDE.send(work).expect("the thread catches what its work throws");
    match receiver.recv().expect("the thread does whatever it is given") {
        Ok(done) => done,
        Err(payload) => panic::resume_unwind(payload),
    }
}

#[cfg(test)]
mod tests {
    use super::{outside, prepare};
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    fn since_epoch() -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).expect("it is after 1970")
    }

    /// As a database would see it that is opened in a simulation.
    #[test]
    fn the_clock_outside_is_that_of_the_machine() {
        prepare();
        let before = since_epoch();
        let story = |_| async { (since_epoch(), outside(since_epoch)) };
        let (inside, seen) = crate::world::run(1, Duration::from_secs(1), story).expect("nothing happens");
        let after = since_epoch();
        assert!((before..=after).contains(&seen), "{before:?} {seen:?} {after:?}");
        assert!(!(before..=after).contains(&inside), "{inside:?}: there is nothing to be shielded from");
    }

    #[test]
    fn a_panic_is_the_callers() {
        prepare();
        let caught = std::panic::catch_unwind(|| outside(|| panic!("on purpose")));
        assert_eq!(caught.err().and_then(|payload| payload.downcast_ref::<&str>().copied()), Some("on purpose"));
        assert_eq!(outside(|| 7), 7);
    }
}
