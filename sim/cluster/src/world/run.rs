//! One simulation from beginning to end, with its panics caught.

use crate::streams::{Concern, Streams};
use crate::world::{lock, World};
use madsim::runtime::{Handle, Runtime};
use rand::RngCore;
use std::any::Any;
use std::cell::{Cell, RefCell};
use std::future::Future;
use std::panic::{self, AssertUnwindSafe};
use std::pin::pin;
use std::sync::Once;
use std::task::{Context, Poll};
use std::time::Duration;

/// The simulation did not come to its end.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Panicked {
    /// What was said, where, and on which node.
    pub message: String,
}

thread_local! {
    static CAPTURING: Cell<bool> = const { Cell::new(false) };
    static PLACE: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs one simulation on a thread of its own, and waits for it.
///
/// The same seed and the same `story` give the same run, however many others ran before or run at the same time. After
/// `limit` of simulated time the run has failed. The default print of a panic is suppressed, unless
/// `COFFERDAM_BACKTRACE` is set: thousands of failing runs are ordinary here, and a backtrace each is slow.
///
/// # Errors
/// [`Panicked`], if anything in the simulation panics, when nothing can ever happen again, and at the limit.
pub fn run<T, Fut>(seed: u64, limit: Duration, story: impl FnOnce(World) -> Fut + Send + 'static) -> Result<T, Panicked>
where
    T: Send + 'static,
    Fut: Future<Output = T> + 'static,
{
    quiet_panics();
    #[cfg(feature = "rocksdb")]
    crate::run::outside::prepare();
    // Why a fresh thread: the seeds of std's hash maps are per thread, and set once.
    let thread = std::thread::Builder::new().name(format!("sim-{seed:#x}")).stack_size(8 << 20).spawn(move || {
        CAPTURING.set(true);
        simulate(seed, limit, story)
    });
    match thread.expect("the machine has room for one more thread").join() {
        Ok(result) => result,
        Err(payload) => Err(Panicked { message: said(&*payload) }),
    }
}

fn simulate<T, Fut>(seed: u64, limit: Duration, story: impl FnOnce(World) -> Fut + 'static) -> Result<T, Panicked>
where
    Fut: Future<Output = T> + 'static,
{
    let streams = Streams::new(seed);
    let mut runtime = Runtime::with_seed_and_config(streams.stream(Concern::Schedule).next_u64(), madsim::Config::default());
    runtime.set_time_limit(limit);
    let mut world = None;
    let result = panic::catch_unwind(AssertUnwindSafe(|| {
        runtime.block_on(async {
            let made = World::new(streams);
            world = Some(made.clone());
            let mut story = pin!(story(made.clone()));
            let ended = std::future::poll_fn(move |cx| {
                if let Some(failure) = made.failure(cx) {
                    return Poll::Ready(Err(failure));
                }
                story.as_mut().poll(cx).map(Ok)
            })
            .await;
            ended
        })
    }));
    let result = match result {
        Ok(result) => result,
        Err(payload) => Err(Panicked { message: described(&*payload) }),
    };
    if let Some(world) = world {
        // Why: futures that are still pending when a runtime goes are never freed, nor is anything that they own.
        runtime.set_time_limit(Duration::MAX);
        let cleaned = panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                world.shut_down(&Handle::current());
                drop(world);
                madsim::time::sleep(Duration::from_secs(1)).await;
            });
        }));
        if result.is_ok() {
            if let Err(payload) = cleaned {
                return Err(Panicked { message: format!("while shutting down: {}", described(&*payload)) });
            }
        }
    }
    result
}

fn quiet_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if CAPTURING.get() {
                PLACE.set(info.location().map(ToString::to_string));
                if std::env::var_os("COFFERDAM_BACKTRACE").is_none() {
                    return;
                }
            }
            before(info);
        }));
    });
}

fn described(payload: &(dyn Any + Send)) -> String {
    match PLACE.take() {
        Some(place) => format!("{} (at {place})", said(payload)),
        None => said(payload),
    }
}

fn said(payload: &(dyn Any + Send)) -> String {
    match (payload.downcast_ref::<&str>(), payload.downcast_ref::<String>()) {
        (Some(text), _) => (*text).to_owned(),
        (None, Some(text)) => text.clone(),
        (None, None) => "a panic without words".to_owned(),
    }
}

/// Whose task it is.
#[derive(Clone, Copy)]
pub(crate) struct Who {
    pub(crate) node: Option<super::NodeIndex>,
    pub(crate) task: &'static str,
}

thread_local! {
    static CURRENT: Cell<Option<Who>> = const { Cell::new(None) };
}

impl Who {
    /// Whose task is being polled, if it is a guarded one.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.get()
    }
}

/// A task whose panic ends the simulation, with the name of the culprit.
pub(crate) async fn guarded(world: World, who: Who, future: impl Future<Output = ()>) {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match panic::catch_unwind(AssertUnwindSafe(|| polled(who, || future.as_mut().poll(cx)))) {
        Ok(poll) => poll,
        Err(payload) => {
            let node = who.node.map_or_else(|| "the harness".to_owned(), |node| world.name(node));
            world.fail(format!("{} in task {} of {node}", described(&*payload), who.task));
            Poll::Ready(())
        }
    })
    .await;
}

/// Is somebody's while it is polled.
fn polled<T>(who: Who, poll: impl FnOnce() -> T) -> T {
    CURRENT.set(Some(who));
    let polled = poll();
    CURRENT.set(None);
    polled
}

impl World {
    /// Ends the simulation with a failure.
    pub fn fail(&self, message: String) {
        let mut failure = lock(&self.inner.failure);
        if failure.message.is_none() {
            failure.message = Some(message);
        }
        if let Some(story) = failure.story.take() {
            story.wake();
        }
    }

    fn failure(&self, cx: &mut Context<'_>) -> Option<Panicked> {
        let mut failure = lock(&self.inner.failure);
        failure.story = Some(cx.waker().clone());
        failure.message.take().map(|message| Panicked { message })
    }
}
