//! All waiting in the world, served by one task.
//!
//! Why not madsim's own sleeps: a dropped one stays in its heap until it is due, and each poll of a pending one adds another.
//! Here a dropped sleep is gone. madsim never waits less than a millisecond, so neither does anyone here.

use crate::world::{lock, Who, World};
use madsim::time::TimeHandle;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::{pin, Pin};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// What madsim waits at least.
const GRAIN: Duration = Duration::from_millis(1);

/// When the pump wakes up next.
pub(crate) struct Alarm {
    time: TimeHandle,
    /// In nanoseconds; `u64::MAX` if the pump sleeps until it is woken.
    next: AtomicU64,
    pump: Mutex<Option<Waker>>,
}

impl Alarm {
    pub(crate) fn new(time: TimeHandle) -> Self {
        Self { time, next: AtomicU64::new(u64::MAX), pump: Mutex::new(None) }
    }

    pub(crate) fn now(&self) -> Duration {
        self.time.elapsed()
    }

    /// Something is due then.
    pub(crate) fn due(&self, at: Duration) {
        let at = nanos(at.max(self.now() + GRAIN));
        if at < self.next.load(Ordering::Relaxed) {
            // Only once per change: the pump finds out by itself what is due first.
            self.next.store(at, Ordering::Relaxed);
            self.wake();
        }
    }

    fn wake(&self) {
        if let Some(pump) = &*lock(&self.pump) {
            pump.wake_by_ref();
        }
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// Who waits until when.
pub(crate) struct Timers {
    alarm: Arc<Alarm>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    by_deadline: BTreeMap<(Duration, u64), (Waker, Option<Who>)>,
    issued: u64,
}

impl Timers {
    pub(crate) fn new(alarm: Arc<Alarm>) -> Self {
        Self { alarm, waiting: Mutex::default() }
    }

    pub(crate) fn sleep(self: &Arc<Self>, duration: Duration) -> Sleep {
        // Saturating: engines say "for ever" with Duration::MAX.
        Sleep { deadline: self.alarm.now().saturating_add(duration), timers: self.clone(), ticket: None }
    }

    /// Who waits, and until when, the first one first.
    pub(crate) fn now_waiting(&self) -> Vec<(Duration, Option<Who>)> {
        lock(&self.waiting).by_deadline.iter().map(|((due, _), (_, who))| (*due, *who)).collect()
    }

    /// Wakes whoever is due, and says when the next one is.
    fn expire(&self, now: Duration) -> Option<Duration> {
        let mut waiting = lock(&self.waiting);
        while let Some(entry) = waiting.by_deadline.first_entry() {
            if entry.key().0 > now {
                return Some(entry.key().0);
            }
            entry.remove().0.wake();
        }
        None
    }
}

/// Waits for a point in simulated time. Costs nothing after it is dropped.
#[must_use = "futures do nothing unless you `.await` or poll them"]
pub struct Sleep {
    timers: Arc<Timers>,
    deadline: Duration,
    ticket: Option<u64>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let me = self.get_mut();
        if me.timers.alarm.now() >= me.deadline {
            return Poll::Ready(());
        }
        let mut waiting = lock(&me.timers.waiting);
        match me.ticket {
            Some(ticket) => {
                let entry = waiting.by_deadline.entry((me.deadline, ticket)).or_insert_with(|| (cx.waker().clone(), Who::current()));
                entry.0.clone_from(cx.waker());
            }
            None => {
                waiting.issued += 1;
                let ticket = waiting.issued;
                waiting.by_deadline.insert((me.deadline, ticket), (cx.waker().clone(), Who::current()));
                me.ticket = Some(ticket);
                drop(waiting);
                me.timers.alarm.due(me.deadline);
            }
        }
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            lock(&self.timers.waiting).by_deadline.remove(&(self.deadline, ticket));
        }
    }
}

/// The one task that moves the network and the timers.
pub(crate) struct Pump {
    pub(crate) world: World,
}

impl Future for Pump {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let inner = &self.world.inner;
        let alarm = &inner.alarm;
        {
            let mut pump = lock(&alarm.pump);
            if pump.is_none() {
                *pump = Some(cx.waker().clone());
            }
        }
        let now = alarm.now();
        let network = inner.network.pump(now);
        let timers = inner.timers.expire(now);
        let next = match (network, timers) {
            (Some(a), Some(b)) => a.min(b),
            (Some(at), None) | (None, Some(at)) => at,
            (None, None) => {
                alarm.next.store(u64::MAX, Ordering::Relaxed);
                return Poll::Pending;
            }
        };
        let next = next.max(now + GRAIN);
        alarm.next.store(nanos(next), Ordering::Relaxed);
        // Polled once, madsim's heap holds our waker; the sleep itself is not needed any more. A stale one wakes us for nothing.
        let pending = pin!(alarm.time.sleep(next - now)).poll(cx).is_pending();
        debug_assert!(pending, "a sleep of a millisecond is over at once");
        Poll::Pending
    }
}
