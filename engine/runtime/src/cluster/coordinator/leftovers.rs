//! What is cleaned up outside of the job's own folder: savepoints of coordinators that are no more, and a claimed snapshot.
//!
//! What cannot be done now is not answered. Then the journal goes on naming it, and a later coordinator tries again.

use super::savepoints::savepoint_folder;
use super::{retry, Driver, Inbox};
use crate::env::Env;
use crate::observe::{Actor, Detail, Event, Moment};
use cofferdam_protocol::coordinator::{ClaimMode, Input, Origin};
use cofferdam_protocol::{CheckpointId, Epoch};

fn observe<E: Env>(env: &E, epoch: Epoch, checkpoint: CheckpointId, moment: Moment, detail: Detail) {
    env.observe(Event { actor: Actor::Coordinator(epoch), attempt: None, checkpoint: Some(checkpoint), moment, detail });
}

impl<E: Env> Driver<E> {
    pub(super) fn settle_savepoint(&mut self, checkpoint: CheckpointId, target: &str) {
        let (env, store, epoch) = (self.env.clone(), self.store.clone(), self.epoch);
        let folder = savepoint_folder(target, checkpoint, &self.settings.job);
        self.sweeping += 1;
        self.ask("settle savepoint", async move {
            let Ok(stays) = retry(&env, || store.settle_savepoint(&env, &folder)).await else { return Inbox::SweepDone };
            let what = if stays { "complete" } else { "deleted" };
            observe(&env, epoch, checkpoint, Moment::SavepointSettled, Detail::Text(format!("{what}: {folder}")));
            Inbox::Answer(Input::SavepointSettled(checkpoint))
        });
    }

    pub(super) fn discard_origin(&mut self, origin: Origin) {
        let (env, store, epoch) = (self.env.clone(), self.store.clone(), self.epoch);
        self.observe(Moment::OriginDiscarding, None, Some(origin.checkpoint), Detail::None);
        self.sweeping += 1;
        self.ask("discard origin", async move {
            let unmade = || observe(&env, epoch, origin.checkpoint, Moment::OriginUnmade, Detail::None);
            match retry(&env, || store.discard_origin(&env, &origin.path, unmade)).await {
                Ok(()) => Inbox::Answer(Input::OriginDiscarded),
                Err(_) => Inbox::SweepDone,
            }
        });
    }

    pub(super) fn forget_origin(&mut self, origin: Origin) {
        let (env, store, epoch) = (self.env.clone(), self.store.clone(), self.epoch);
        self.sweeping += 1;
        self.ask("forget origin", async move {
            if retry(&env, || store.forget_origin(&env, &origin.path)).await.is_err() {
                return Inbox::SweepDone;
            }
            observe(&env, epoch, origin.checkpoint, Moment::OriginForgotten, Detail::None);
            Inbox::Answer(Input::OriginForgotten)
        });
    }

    /// What the claimed snapshot's files stand below.
    pub(super) fn claimed(&self) -> Option<String> {
        let journal = self.machine.journal();
        let origin = journal.discarding.as_ref().or(journal.origin.as_ref()).or(self.settings.plan.origin.as_ref());
        let origin = origin.filter(|origin| origin.claim == ClaimMode::Claim)?;
        origin.path.trim_end_matches('/').rsplit_once('/').map(|(base, _)| base.to_owned())
    }
}
