//! Waking up at a time that changes. Each alarm sleeps in a task of its own, so that nobody's `select!` polls a timer.

use crate::env::Env;
use std::time::Duration;
use tokio::sync::mpsc;

/// Sends a message at a deadline; arming again replaces the deadline.
pub struct Alarm<E: Env, M> {
    env: E,
    to: mpsc::UnboundedSender<M>,
    armed: Option<(Duration, E::Task)>,
}

impl<E: Env, M: Clone + Send + 'static> Alarm<E, M> {
    /// Messages go to `to`.
    pub fn new(env: E, to: mpsc::UnboundedSender<M>) -> Self {
        Self { env, to, armed: None }
    }

    /// Sends `message` once [`Env::now`] is `deadline`, unless armed anew or disarmed before.
    pub fn arm(&mut self, deadline: Duration, message: M) {
        if self.armed.as_ref().is_some_and(|(armed, _)| *armed == deadline) {
            return;
        }
        let (env, to) = (self.env.clone(), self.to.clone());
        let task = self.env.spawn("alarm", async move {
            let wait = deadline.saturating_sub(env.now());
            if !wait.is_zero() {
                env.sleep(wait).await;
            }
            // Nobody listens any more: then nobody needs waking.
            let _ = to.send(message);
        });
        self.armed = Some((deadline, task));
    }

    /// Nothing will be sent.
    pub fn disarm(&mut self) {
        self.armed = None;
    }
}
