//! Deletes copies that nobody will ask for, one after the other.

use crate::env::{Env, Files};
use crate::observe::{Actor, Detail, Event, MachineStep, Moment, Step};
use crate::sight::Sight;
use crate::storage::filesystem::discard_folder;
use cofferdam_protocol::local::{Input, LocalCopies, LocalCopy, Output, Taken};
use cofferdam_protocol::{AttemptId, Machine, TaskId, WorkerId};
use std::collections::{BTreeMap, BTreeSet};
use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot};

/// How long to wait before a deletion is tried again. What is left after that is found with the next deployment.
const RETRIES: [Duration; 3] = [Duration::from_millis(50), Duration::from_millis(200), Duration::from_millis(1000)];

/// What the keeper is told.
pub(super) enum Command {
    /// By a subtask.
    Step(Input),
    /// By the worker.
    Deployed { attempt: AttemptId, tasks: BTreeMap<TaskId, Option<Taken>>, going_on: BTreeSet<TaskId> },
    /// The job is over; answered when everything is deleted.
    End(oneshot::Sender<()>),
}

struct Keeper<E: Env> {
    env: E,
    worker: WorkerId,
    folder: Arc<str>,
}

/// Until nobody is left to tell it anything.
pub(super) async fn keep<E: Env>(env: E, worker: WorkerId, folder: Arc<str>, mut commands: mpsc::UnboundedReceiver<Command>) {
    let keeper = Keeper { env, worker, folder };
    keeper.env.machine(|| MachineStep::LocalCopies(worker, Step::Recovered(())));
    let mut machine = LocalCopies::recover((), &mut Vec::new());
    while let Some(command) = commands.recv().await {
        match command {
            Command::Step(input) => keeper.step(&mut machine, input).await,
            Command::Deployed { attempt, tasks, going_on } => {
                let found = keeper.found().await;
                keeper.step(&mut machine, Input::Deployed { attempt, tasks, going_on, found }).await;
            }
            Command::End(done) => {
                let found = keeper.found().await;
                keeper.step(&mut machine, Input::Ended { found }).await;
                // Somebody else's file may be in it.
                let _ = keeper.env.files().remove_folder(&keeper.folder).await;
                // Whoever asked may be gone.
                let _ = done.send(());
            }
        }
    }
}

impl<E: Env> Keeper<E> {
    async fn step(&self, machine: &mut LocalCopies, input: Input) {
        let mut outputs = Vec::new();
        self.env.machine(|| MachineStep::LocalCopies(self.worker, Step::Input(input.clone())));
        machine.step(input, &mut outputs);
        self.env.look(Sight::Copies { worker: self.worker, machine, outputs: &outputs });
        for output in outputs {
            self.env.machine(|| MachineStep::LocalCopies(self.worker, Step::Output(output.clone())));
            match output {
                Output::Delete(copy) => self.delete(copy).await,
                Output::Ignored(_) => {}
            }
        }
    }

    /// What is on the disk. A folder that cannot be listed has nothing in it that could be deleted.
    async fn found(&self) -> BTreeSet<LocalCopy> {
        let names = self.env.files().list(&self.folder).await.unwrap_or_default();
        names.iter().filter_map(|name| LocalCopy::of_folder(name)).collect()
    }

    async fn delete(&self, copy: LocalCopy) {
        let folder = format!("{}/{}", self.folder, copy.folder());
        for wait in RETRIES {
            match self.env.files().list(&folder).await {
                Err(error) if error.kind() == ErrorKind::NotFound => return,
                Ok(_) if discard_folder(&self.env, &folder).await.is_ok() => {
                    self.env.observe(Event {
                        actor: Actor::Worker(self.worker),
                        attempt: Some(copy.taken.attempt),
                        checkpoint: Some(copy.taken.checkpoint),
                        moment: Moment::LocalCopyDeleted,
                        detail: Detail::Task(copy.task),
                    });
                    return;
                }
                Ok(_) | Err(_) => self.env.sleep(wait).await,
            }
        }
    }
}
