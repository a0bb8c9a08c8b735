//! What may be left outside of the folder of a job that is over: savepoints that are whole, and nothing else that the job made; of a
//! snapshot that it was given either all or nothing.

use super::{Run, OBJECT_SAVEPOINTS, SAVEPOINTS};
use crate::disk::View;
use crate::oracle::decode;
use crate::trace::lock;
use cofferdam_protocol::coordinator::{ClaimMode, Ended, Origin};
use cofferdam_protocol::CheckpointId;
use std::collections::BTreeSet;

/// The invariant.
const NAME: &str = "nothing-left-behind";

impl Run {
    /// What the job was given.
    pub(super) fn claimed(&self) -> Option<&Origin> {
        self.job.origin.as_ref().filter(|origin| origin.claim == ClaimMode::Claim)
    }

    /// A snapshot by its folder. The paths of a checkpoint's are relative to the folder above.
    fn read_snapshot(&self, origin: &Origin) -> Result<(String, decode::Checkpoint), String> {
        let (above, name) = origin.path.rsplit_once('/').unwrap_or_default();
        if name.starts_with("chk-") {
            let read = self.read_at(above, &format!("{name}/_metadata"), origin.checkpoint)?;
            return Ok((above.to_owned(), read));
        }
        Ok((origin.path.clone(), self.read_savepoint(origin.checkpoint, &origin.path)?))
    }

    /// Notes what the next job begins from, by where it is.
    pub(super) fn look_into_origin(&mut self, origin: Option<&Origin>) {
        let Some(origin) = origin else { return };
        match self.read_snapshot(origin) {
            Ok((base, read)) => {
                let full = |path: String| if path.starts_with('/') || path.contains("://") { path } else { format!("{base}/{path}") };
                self.origin_files = read.files.into_iter().map(full).collect();
            }
            Err(broken) => self.violated("retained-files", format!("a job begins from {}, but {broken}", origin.path)),
        }
    }

    /// Files and objects, now.
    fn everything(&self, view: View) -> BTreeSet<String> {
        let files = self.world.storage(self.storage).tree_now(view).into_keys();
        files.chain(self.world.objects().names_now().into_keys()).collect()
    }

    /// A claimed snapshot that looks like one is one, at any moment, also after a power loss.
    pub(super) fn judge_parting(&self) {
        let Some(origin) = self.claimed() else { return };
        for view in [View::Live, View::Durable] {
            let there = self.everything(view);
            if !there.contains(&format!("{}/_metadata", origin.path)) {
                continue;
            }
            if let Some(missing) = self.origin_files.iter().find(|path| !there.contains(*path)) {
                self.violated(NAME, format!("{} looks like a snapshot ({view:?}), but {missing} is gone", origin.path));
            }
        }
    }

    /// What the users own is as it was; what the job was given is gone if the job has taken it in, and as it was if not.
    pub(super) fn judge_origin(&self) {
        let Some(origin) = &self.job.origin else { return };
        if lock(&self.seen).violation.is_some() {
            return;
        }
        let there = self.everything(View::Live);
        let taken_in =
            self.claimed().is_some() && (matches!(self.ended, Some(Ended::Finished | Ended::Stopped(_))) || !self.retained.is_empty());
        if taken_in {
            let folder = format!("{}/", origin.path);
            let named = self.origin_files.iter().find(|path| there.contains(*path));
            if let Some(path) = there.iter().find(|path| path.starts_with(&folder)).or(named) {
                self.violated(NAME, format!("{path} is of a claimed snapshot, and its job is over"));
            }
        } else if let Err(broken) = self.read_snapshot(origin) {
            self.violated("retained-files", format!("{} was not given away, or never taken in, but {broken}", origin.path));
        }
    }

    /// Of each savepoint there is all or nothing; and all of each whose metadata was durable.
    pub(super) fn judge_savepoints(&self) {
        let target = if self.in_objects() { OBJECT_SAVEPOINTS } else { SAVEPOINTS };
        let given = self.claimed().map(|origin| origin.path.as_str());
        let mut there = if self.in_objects() { self.objects_to_judge() } else { self.files_to_judge() };
        there.retain(|path| path.starts_with(target));
        let folder = |path: &String| path.strip_prefix(target)?.strip_prefix('/')?.split_once('/').map(|(folder, _)| folder.to_owned());
        let folders: BTreeSet<String> = there.iter().filter_map(folder).collect();
        for folder in folders {
            let number = folder.strip_prefix("savepoint-").and_then(|rest| rest.split_once('-')?.0.parse().ok());
            let (path, checkpoint) = (format!("{target}/{folder}"), CheckpointId(number.unwrap_or_default()));
            if Some(path.as_str()) == given {
                continue;
            }
            if let Err(broken) = self.read_savepoint(checkpoint, &path) {
                self.violated(NAME, format!("{path} is no savepoint, and its job is over: {broken}"));
            }
        }
        for checkpoint in &self.written {
            let path = format!("{target}/savepoint-{}-job", checkpoint.0);
            if Some(path.as_str()) != given {
                if let Err(broken) = self.read_savepoint(*checkpoint, &path) {
                    self.violated("retained-files", format!("the metadata of savepoint {checkpoint} was durable, but {broken}"));
                }
            }
        }
    }
}
