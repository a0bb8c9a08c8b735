//! Scenarios that must fail. They prove that the way from a run to a red exit code can say no; no sweep takes them unless it is asked to.

use crate::stories::{crash, nth, tale, Tale};
use crate::{Scenario, Story};
use cofferdam_protocol::settings::RestartStrategy;
use std::sync::atomic::{AtomicU64, Ordering};

/// An invariant does not hold.
pub(crate) const RED: Story = Story { name: "canary", story: RED_TEXT, expand: red };

const RED_TEXT: &str = "A canary, which must fail: a worker dies, nothing restarts the job, and yet it is said to finish.";

/// The same seed is another run each time.
pub(crate) const RESTLESS: Story = Story { name: "canary-restless", story: RESTLESS_TEXT, expand: restless };

const RESTLESS_TEXT: &str = "A canary, which must fail where runs are done twice: each time the input comes at another pace.";

fn red(_: u64) -> Scenario {
    let healthy = tale(RED.name, RED_TEXT).with(|scenario| scenario.restart = RestartStrategy::None);
    healthy.when(nth("checkpoint-completed", 2), crash("worker-1", 300))
}

/// How often it was asked for, by whatever thread: what no simulation can know, and so what none may depend on.
static ASKED: AtomicU64 = AtomicU64::new(0);

fn restless(_: u64) -> Scenario {
    let healthy = tale(RESTLESS.name, RESTLESS_TEXT);
    healthy.with(|scenario| scenario.job.pace_ms += 7 * (ASKED.fetch_add(1, Ordering::Relaxed) % 16))
}
