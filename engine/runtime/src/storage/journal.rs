//! The coordinator's durable record: one file per entry, each the whole journal, the highest number counts.
//!
//! # Why a deposed coordinator can write nothing
//!
//! Entries are `journal/%019d`. A coordinator that opened the journal at entry `n` appends `n + 1`, `n + 2`, ... An append
//! writes a temporary file, makes it durable, and *links* it to its number, which fails if there is one: of all that want
//! a number, one gets it. It then syncs the folder and lists it, and only a listing without a larger number makes the
//! append [`Written::Durable`]; only then are older entries removed, and never the newest two.
//!
//! Let the append `m` of coordinator B be durable while another one, A, is about to write a number `k` up to `m`. From then
//! on, with `d` the largest durable number, `k <= d` stays true and no append of A is durable:
//! * `d` only grows: a coordinator removes only numbers below one of its own that is durable.
//! * If entry `k` exists, as it does for `k = d`, the link fails, what is found there is not A's, and A is fenced.
//! * If it has been removed, then `k < d`. A may link it, but its listing comes after that and shows `d`: A is fenced.
//!   What it linked is below the largest number; nobody reads it, and the next append of the true coordinator removes it.
//! * A goes on to `k + 1` without a durable append only behind an entry `k` that is its own, hence `k < d` again.
//!
//! The other way round, B has seen everything that A was told is durable: B opened at the largest number, and if A has
//! linked another one since, B is the one that is fenced. What B reads when it opens is the entry that won its number,
//! not one that a deposed coordinator put there later: it is taken only if it is the largest before and after.
//!
//! An error from the link, or from anything behind it, leaves open whether the entry counts: [`Written::Unknown`]. The
//! next append looks first. An entry of its own is told by the random number of its writer, so that two coordinators that
//! take over at once, and would write the same words, cannot take each other's entry for theirs.
//!
//! Needed of the file system: `link` is atomic and exclusive over all processes, and a listing that begins after a link
//! has returned shows it and everything older. POSIX on one machine gives that; a network file system whose clients cache
//! listings does not.

use super::filesystem::{make_folder, remove_file};
use super::state_file::{write_new, READS};
use super::StorageError;
use crate::env::{Env, File, Files};
use crate::sometimes;
use cofferdam_protocol::coordinator::{Journal, Written};
use cofferdam_protocol::journal::JournalEntry;
use cofferdam_protocol::stored::StoredError;
use std::io::ErrorKind;

const FOLDER: &str = "journal";
const TEMPORARY: &str = "tmp-";
/// Digits of a number, so that names sort as numbers do (as in Flink's `ZooKeeperCheckpointStoreUtil`).
const DIGITS: usize = 19;
/// How many entries stay: the newest, and the one before it for people.
const KEPT: usize = 2;
/// More than any journal has; a larger file is not ours.
const SIZE_LIMIT: u64 = 16 << 20;
/// How often opening starts over because another coordinator went on writing in between.
const OPEN_ROUNDS: u32 = 8;
/// Entries are small; a larger one takes more reads.
const READ_SIZE: usize = 4 << 10;

/// The journal of one coordinator process.
#[derive(Debug)]
pub struct JournalStore {
    folder: String,
    writer: u64,
    /// The number of the next entry.
    next: u64,
    /// Whether an entry of ours with the number `next` may exist.
    doubtful: bool,
    fenced: bool,
    temporary_count: u64,
}

/// What stands under a number.
enum Found {
    Absent,
    /// Ours, and the very bytes that were looked for.
    This,
    /// Ours, from an earlier append.
    Earlier,
    Theirs,
    /// It cannot be told now.
    Unreadable,
}

fn name_of(number: u64) -> String {
    format!("{number:0DIGITS$}")
}

fn number_of(name: &str) -> Option<u64> {
    (name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit())).then(|| name.parse().ok())?
}

impl JournalStore {
    /// Opens the journal below `root` (`<dir>/<job-id>`), making its folder if need be, and reads the newest entry. Whoever
    /// opens it is about to take over: unfinished entries of others are removed.
    ///
    /// # Errors
    /// `Corrupt` if the newest entry is damaged: somebody has to look, because an older one would forget completed
    /// checkpoints and hand out numbers twice. `Io`: try again.
    pub async fn open<E: Env>(env: &E, root: &str) -> Result<(Self, Option<Journal>), StorageError> {
        let folder = format!("{root}/{FOLDER}");
        make_folder(env, &folder).await?;
        let mut round = 1;
        let (number, journal) = loop {
            let (newest, temporaries) = list(env, &folder).await?;
            for name in temporaries {
                // One that stays does no harm.
                let _ = remove_file(env, &format!("{folder}/{name}")).await;
            }
            // What is read here must not be lost any more: an entry may have been linked and not yet synced.
            env.files().sync_folder(&folder).await.map_err(StorageError::io("sync folder", &folder))?;
            let entry = match newest {
                Some(number) => read_entry(env, &folder, number).await.map(|entry| Some(entry.journal)),
                None => Ok(None),
            };
            // Since the listing, that entry may have been superseded and removed, and a deposed coordinator may have put
            // one of its own under the number. It is the right one only if it still is the newest.
            if list(env, &folder).await?.0 == newest {
                break (newest.unwrap_or(0), entry?);
            }
            sometimes!(env, seldom "file-journal/entry-superseded-while-opening");
            if round == OPEN_ROUNDS {
                return Err(StorageError::io("keep up with", &folder)(ErrorKind::ResourceBusy.into()));
            }
            round += 1;
        };
        let store = Self { folder, writer: env.random(), next: number + 1, doubtful: false, fenced: false, temporary_count: 0 };
        Ok((store, journal))
    }

    /// Appends an entry. After [`Written::Fenced`] nothing is touched any more, and every further append is fenced as well.
    ///
    /// Dropping the future half way is like [`Written::Unknown`].
    pub async fn append<E: Env>(&mut self, env: &E, journal: &Journal) -> Written {
        if self.fenced {
            return Written::Fenced;
        }
        if self.doubtful {
            match self.find(env, None).await {
                Found::Absent => sometimes!(env, "file-journal/doubtful-entry-is-not-there"),
                Found::This | Found::Earlier => {
                    sometimes!(env, "file-journal/doubtful-entry-is-there");
                    self.next += 1;
                }
                Found::Theirs => return self.fence(),
                Found::Unreadable => {
                    sometimes!(env, seldom "file-journal/doubtful-entry-cannot-be-read");
                    return Written::Unknown;
                }
            }
            self.doubtful = false;
        }
        let bytes = JournalEntry { number: self.next, writer: self.writer, journal: journal.clone() }.to_file();
        self.temporary_count += 1;
        let temporary = format!("{}/{TEMPORARY}{:016x}-{}", self.folder, env.random(), self.temporary_count);
        let outcome = match write_new(env, &temporary, &bytes).await {
            Ok(()) => self.publish(env, &temporary, &bytes).await,
            Err(_) => Written::Unknown,
        };
        // One that stays is removed by the next coordinator.
        let _ = remove_file(env, &temporary).await;
        outcome
    }

    /// Gives the durable temporary file its number.
    async fn publish<E: Env>(&mut self, env: &E, temporary: &str, bytes: &[u8]) -> Written {
        let path = self.path(self.next);
        // From here on it may have happened.
        self.doubtful = true;
        if env.files().link(temporary, &path).await.is_err() {
            // `AlreadyExists` may be our own doing as well, where a network file system has sent the request twice.
            match self.find(env, Some(bytes)).await {
                Found::This => sometimes!(env, "file-journal/link-failed-and-is-there"),
                Found::Theirs => return self.fence(),
                Found::Absent | Found::Earlier | Found::Unreadable => return Written::Unknown,
            }
        }
        if env.files().sync_folder(&self.folder).await.is_err() {
            sometimes!(env, "file-journal/entry-linked-and-not-synced");
            return Written::Unknown;
        }
        let Ok(names) = env.files().list(&self.folder).await else { return Written::Unknown };
        let numbers: Vec<u64> = names.iter().filter_map(|name| number_of(name)).collect();
        match numbers.last() {
            Some(&newest) if newest > self.next => return self.fence(),
            Some(&newest) if newest == self.next => {}
            Some(_) | None => return Written::Unknown,
        }
        self.doubtful = false;
        self.next += 1;
        for &old in &numbers[..numbers.len().saturating_sub(KEPT)] {
            // The next append tries again.
            let _ = remove_file(env, &self.path(old)).await;
        }
        Written::Durable
    }

    fn fence(&mut self) -> Written {
        self.fenced = true;
        Written::Fenced
    }

    fn path(&self, number: u64) -> String {
        format!("{}/{}", self.folder, name_of(number))
    }

    async fn find<E: Env>(&self, env: &E, expected: Option<&[u8]>) -> Found {
        let path = self.path(self.next);
        let bytes = match read_whole(env, &path).await {
            Ok(bytes) => bytes,
            Err(StorageError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => return Found::Absent,
            Err(_) => return Found::Unreadable,
        };
        match JournalEntry::from_file(&bytes) {
            Ok(_) if expected.is_some_and(|expected| expected == bytes) => Found::This,
            Ok(entry) if entry.writer == self.writer && entry.number == self.next => Found::Earlier,
            Ok(_) => Found::Theirs,
            Err(_) => Found::Unreadable,
        }
    }
}

/// The largest number and the names of unfinished entries.
async fn list<E: Env>(env: &E, folder: &str) -> Result<(Option<u64>, Vec<String>), StorageError> {
    let mut names = env.files().list(folder).await.map_err(StorageError::io("list", folder))?;
    let newest = names.iter().filter_map(|name| number_of(name)).max();
    names.retain(|name| name.starts_with(TEMPORARY));
    Ok((newest, names))
}

async fn read_entry<E: Env>(env: &E, folder: &str, number: u64) -> Result<JournalEntry, StorageError> {
    let path = format!("{folder}/{}", name_of(number));
    let mut read = 1;
    let entry = loop {
        match JournalEntry::from_file(&read_whole(env, &path).await?) {
            Ok(entry) => break entry,
            // What was garbled on its way may be right the next time.
            Err(_) if read < READS => read += 1,
            Err(source) => return Err(StorageError::Corrupt { path, source }),
        }
    };
    if entry.number != number {
        let what = format!("this is entry {}", entry.number);
        return Err(StorageError::Corrupt { path, source: StoredError::Invalid { offset: 0, what } });
    }
    Ok(entry)
}

async fn read_whole<E: Env>(env: &E, path: &str) -> Result<Vec<u8>, StorageError> {
    let file = env.files().open(path).await.map_err(StorageError::io("open", path))?;
    let mut bytes = Vec::new();
    loop {
        let have = bytes.len();
        bytes.resize(have + READ_SIZE, 0);
        let count = file.read_at(have as u64, &mut bytes[have..]).await.map_err(StorageError::io("read", path))?;
        bytes.truncate(have + count);
        if count == 0 {
            return Ok(bytes);
        }
        if bytes.len() as u64 > SIZE_LIMIT {
            let source = StoredError::Invalid { offset: SIZE_LIMIT, what: "too large for a journal entry".into() };
            return Err(StorageError::Corrupt { path: path.into(), source });
        }
    }
}
