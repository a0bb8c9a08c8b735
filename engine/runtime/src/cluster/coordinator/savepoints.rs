//! What users asked for, where it goes, and what they are told.

use super::super::message::{Command, CommandAnswer};
use super::{CoordinatorError, Driver};
use crate::env::Env;
use crate::record::{SavepointFormat, SnapshotRequest, Stop};
use cofferdam_protocol::coordinator::{FailureReason, Input, Kind, RequestNumber};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeMap;
use tokio::sync::oneshot;

/// A savepoint that is not complete yet.
struct Wanted {
    /// The folder that it is to be made in.
    target: String,
    format: SavepointFormat,
    stop: Option<Stop>,
    checkpoint: Option<CheckpointId>,
    answer: oneshot::Sender<CommandAnswer>,
}

/// By the number of the request.
#[derive(Default)]
pub(super) struct Savepoints {
    next: u64,
    wanted: BTreeMap<RequestNumber, Wanted>,
    /// Their own folders, once they have begun.
    folders: BTreeMap<CheckpointId, (String, SavepointFormat, Option<Stop>)>,
}

impl<E: Env> Driver<E> {
    pub(super) fn command(&mut self, command: Command, answer: oneshot::Sender<CommandAnswer>) -> Result<(), CoordinatorError> {
        match command {
            Command::Cancel => {
                // A user that has gone needs no answer.
                let _ = answer.send(CommandAnswer::Taken);
                self.step(Input::CancelRequested)
            }
            Command::Checkpoint => {
                // As above.
                let _ = answer.send(CommandAnswer::Taken);
                self.step(Input::Requested { kind: Kind::Requested, target: String::new() })
            }
            Command::Savepoint { target, format } => {
                let number = self.savepoints.want(target.clone(), format, None, answer);
                self.step(Input::Requested { kind: Kind::Savepoint(number), target })
            }
            Command::Stop { target, format, how } => {
                let request = self.savepoints.want(target.clone(), format, Some(how), answer);
                self.step(Input::Requested { kind: Kind::Stop { request, drain: how == Stop::Drain }, target })
            }
        }
    }
}

/// The folder of its own that a savepoint has. No other one of this job ever gets it, as numbers are used once.
#[must_use]
pub fn savepoint_folder(target: &str, checkpoint: CheckpointId, job: &str) -> String {
    format!("{}/savepoint-{}-{job}", target.trim_end_matches('/'), checkpoint.0)
}

impl Savepoints {
    fn want(
        &mut self,
        target: String,
        format: SavepointFormat,
        stop: Option<Stop>,
        answer: oneshot::Sender<CommandAnswer>,
    ) -> RequestNumber {
        self.next += 1;
        let number = RequestNumber(self.next);
        self.wanted.insert(number, Wanted { target, format, stop, checkpoint: None, answer });
        number
    }

    /// The request has got its number: this is where its files go.
    pub(super) fn begin(&mut self, kind: Kind, checkpoint: CheckpointId, job: &str) -> Option<String> {
        let wanted = self.wanted.get_mut(&kind.request()?)?;
        wanted.checkpoint = Some(checkpoint);
        let folder = savepoint_folder(&wanted.target, checkpoint, job);
        self.folders.insert(checkpoint, (folder.clone(), wanted.format, wanted.stop));
        Some(folder)
    }

    /// How the tasks are to take it; `None` if it is no savepoint.
    pub(super) fn request(&self, checkpoint: CheckpointId) -> Option<SnapshotRequest> {
        let (folder, format, stop) = self.folders.get(&checkpoint)?;
        Some(SnapshotRequest::Savepoint { folder: folder.clone(), format: *format, stop: *stop })
    }

    pub(super) fn folder(&self, checkpoint: CheckpointId) -> Option<String> {
        self.folders.get(&checkpoint).map(|(folder, ..)| folder.clone())
    }

    /// Its files are to be deleted.
    pub(super) fn given_up(&mut self, checkpoint: CheckpointId) -> Option<String> {
        self.folders.remove(&checkpoint).map(|(folder, ..)| folder)
    }

    /// The user's from now on. Gives its folder; `None` if it is no savepoint. Who wants the job to stop waits for that.
    pub(super) fn completed(&mut self, checkpoint: CheckpointId, kind: Kind) -> Option<String> {
        let number = kind.request()?;
        let (folder, ..) = self.folders.remove(&checkpoint)?;
        if kind.stops() {
            return Some(folder);
        }
        let Wanted { answer, .. } = self.wanted.remove(&number)?;
        // A user that has gone finds it by its name.
        let _ = answer.send(CommandAnswer::Savepoint { folder: folder.clone() });
        Some(folder)
    }

    /// The job has stopped.
    pub(super) fn stopped(&mut self, number: RequestNumber, checkpoint: CheckpointId, job: &str, unpublished: Option<String>) {
        if let Some(Wanted { target, answer, .. }) = self.wanted.remove(&number) {
            // A user that has gone sees it in the job's end.
            let _ = answer.send(CommandAnswer::Stopped { folder: savepoint_folder(&target, checkpoint, job), unpublished });
        }
    }

    pub(super) fn failed(&mut self, kind: Kind, reason: FailureReason) {
        let Some(number) = kind.request() else { return };
        if let Some(Wanted { answer, .. }) = self.wanted.remove(&number) {
            // A user that has gone needs no answer.
            let _ = answer.send(CommandAnswer::Failed(reason));
        }
    }
}
