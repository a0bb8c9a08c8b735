//! The stored format of the coordinator's journal: one entry is the whole of [`Journal`].
//!
//! Lives here: an entry's bytes. Never here: files, and how entries follow each other (the runtime's `storage::journal`).

use crate::block::{frame_as, unframe_any, FileKind, VERSION};
use crate::coordinator::{ClaimMode, Ended, Journal, Origin, StoppedWith};
use crate::ids::{CheckpointId, Epoch};
use crate::stored::{Reader, Stored, StoredError};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

/// One entry, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct JournalEntry {
    /// Its place in the sequence, as in its file name.
    pub number: u64,
    /// Drawn at random by each coordinator process. Without it, two processes that take over at the same moment would write
    /// the same bytes, and each could mistake the other's entry for its own.
    pub writer: u64,
    /// What the coordinator needs to know after a crash.
    pub journal: Journal,
}

impl JournalEntry {
    /// The bytes of the file, in the frame of [`block`](crate::block).
    #[must_use]
    pub fn to_file(&self) -> Vec<u8> {
        let mut out = Vec::new();
        self.number.write(&mut out);
        self.writer.write(&mut out);
        self.journal.write(&mut out);
        frame_as(FileKind::Journal, self.journal.version(), &out)
    }

    /// Reads the bytes of the file.
    ///
    /// # Errors
    /// Whatever is wrong with them; offsets are of the file for its frame, and of the encoding for what is inside.
    pub fn from_file(bytes: &[u8]) -> Result<Self, StoredError> {
        let (version, encoding) = unframe_any(FileKind::Journal, bytes)?;
        let mut input = Reader::new(&encoding, 0);
        let (number, writer) = (u64::read(&mut input)?, u64::read(&mut input)?);
        let entry = Self { number, writer, journal: Journal::read(version, &mut input)? };
        input.finish("a journal entry")?;
        Ok(entry)
    }
}

/// Since this version savepoints that were begun, and a snapshot that is being deleted, stand behind the rest. An entry without them is
/// written as before.
const WITH_LEFTOVERS: u16 = 2;
/// Since this version a job may have been stopped with a savepoint. An entry of a job that was not is written as before.
const WITH_STOP: u16 = 3;
/// A number and an empty text.
const BEGUN_LEAST_SIZE: usize = 12;

impl Journal {
    /// The version of its stored format: the oldest that can say all of it.
    fn version(&self) -> u16 {
        match &self.ended {
            Some(Ended::Stopped(_)) => WITH_STOP,
            Some(Ended::Finished | Ended::Failed(_) | Ended::Cancelled) | None => {
                let leftovers = !self.begun.is_empty() || self.discarding.is_some();
                if leftovers {
                    WITH_LEFTOVERS
                } else {
                    VERSION
                }
            }
        }
    }

    fn write(&self, out: &mut Vec<u8>) {
        // Without `..`, so that a new field cannot be forgotten here.
        let Self { epoch, reserved, completed, origin, begun, discarding, ended } = self;
        epoch.0.write(out);
        reserved.0.write(out);
        u32::try_from(completed.len()).expect("few checkpoints are retained").write(out);
        for checkpoint in completed {
            checkpoint.0.write(out);
        }
        origin.write(out);
        ended.write(out);
        if self.version() >= WITH_LEFTOVERS {
            u32::try_from(begun.len()).expect("few savepoints are begun").write(out);
            for (checkpoint, target) in begun {
                checkpoint.0.write(out);
                target.write(out);
            }
            discarding.write(out);
        }
    }

    fn read(version: u16, input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let epoch = Epoch(u64::read(input)?);
        let reserved = CheckpointId(u64::read(input)?);
        let count = input.count(8, "completed checkpoints")?;
        let mut completed = BTreeSet::new();
        for _ in 0..count {
            let offset = input.offset();
            let checkpoint = CheckpointId(u64::read(input)?);
            if completed.last().is_some_and(|last| *last >= checkpoint) {
                return Err(StoredError::Invalid { offset, what: "completed checkpoints are not in order".into() });
            }
            completed.insert(checkpoint);
        }
        let (origin, ended) = (Option::read(input)?, Option::read(input)?);
        let mut journal = Self { epoch, reserved, completed, origin, ended, ..Self::default() };
        if version >= WITH_LEFTOVERS {
            (journal.begun, journal.discarding) = (read_begun(input)?, Option::read(input)?);
        }
        if journal.version() != version {
            return Err(StoredError::Invalid { offset: 0, what: "this entry does not say what is new in its version, or more".into() });
        }
        Ok(journal)
    }
}

fn read_begun(input: &mut Reader<'_>) -> Result<BTreeMap<CheckpointId, String>, StoredError> {
    let mut begun = BTreeMap::new();
    for _ in 0..input.count(BEGUN_LEAST_SIZE, "savepoints")? {
        let offset = input.offset();
        let checkpoint = CheckpointId(u64::read(input)?);
        if begun.last_key_value().is_some_and(|(last, _)| *last >= checkpoint) {
            return Err(StoredError::Invalid { offset, what: "savepoints are not in order".into() });
        }
        begun.insert(checkpoint, String::read(input)?);
    }
    Ok(begun)
}

const NO_CLAIM: u8 = 0;
const CLAIM: u8 = 1;

impl Stored for Origin {
    fn write(&self, out: &mut Vec<u8>) {
        self.path.write(out);
        self.checkpoint.0.write(out);
        match self.claim {
            ClaimMode::NoClaim => NO_CLAIM.write(out),
            ClaimMode::Claim => CLAIM.write(out),
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (path, checkpoint) = (String::read(input)?, CheckpointId(u64::read(input)?));
        let offset = input.offset();
        let claim = match u8::read(input)? {
            NO_CLAIM => ClaimMode::NoClaim,
            CLAIM => ClaimMode::Claim,
            other => return Err(StoredError::Invalid { offset, what: alloc::format!("{other} is not a claim mode") }),
        };
        Ok(Self { path, checkpoint, claim })
    }
}

const TAG_FINISHED: u8 = 0;
const TAG_FAILED: u8 = 1;
const TAG_CANCELLED: u8 = 2;
const TAG_STOPPED: u8 = 3;
const SUSPENDED: u8 = 0;
const DRAINED: u8 = 1;

impl Stored for Ended {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Finished => TAG_FINISHED.write(out),
            Self::Failed(cause) => {
                TAG_FAILED.write(out);
                cause.write(out);
            }
            Self::Cancelled => TAG_CANCELLED.write(out),
            Self::Stopped(with) => {
                TAG_STOPPED.write(out);
                with.write(out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        match u8::read(input)? {
            TAG_FINISHED => Ok(Self::Finished),
            TAG_FAILED => Ok(Self::Failed(String::read(input)?)),
            TAG_CANCELLED => Ok(Self::Cancelled),
            TAG_STOPPED => Ok(Self::Stopped(StoppedWith::read(input)?)),
            other => Err(StoredError::Invalid { offset, what: alloc::format!("{other} is not a way to end") }),
        }
    }
}

impl Stored for StoppedWith {
    fn write(&self, out: &mut Vec<u8>) {
        let Self { checkpoint, target, drained } = self;
        checkpoint.0.write(out);
        target.write(out);
        if *drained { DRAINED } else { SUSPENDED }.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (checkpoint, target, offset) = (CheckpointId(u64::read(input)?), String::read(input)?, input.offset());
        let drained = match u8::read(input)? {
            SUSPENDED => false,
            DRAINED => true,
            other => return Err(StoredError::Invalid { offset, what: alloc::format!("{other} is not a way to stop") }),
        };
        Ok(Self { checkpoint, target, drained })
    }
}

#[cfg(test)]
mod tests;
