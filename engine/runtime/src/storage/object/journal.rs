//! The coordinator's durable record as a chain of objects: `journal/%019d`, each made by a create-only put and each the whole
//! journal. The largest number counts. Same promises as the [files](crate::storage::journal), from less: no listing.
//!
//! # Which entries stay
//!
//! Write `last(n)` for the lowest bit of `n` that is set. With `N` the largest number, the coordinator that writes `N` deletes
//! an entry `x` once `N >= x + last(x)`, that is, once `x` is not `N` with some of its low bits cleared. Excepted, for
//! ever: powers of two, the first entry of each coordinator, and what other coordinators have written. So there are few entries
//! beside the newest one, about two for each bit of `N`, and each coordinator leaves as many behind at most.
//!
//! # How the newest is found without a list
//!
//! By asking for `1, 2, 4, 8, ...` until one is not there, and from the largest that is there by adding ever smaller powers of
//! two: a number is added if there is an entry at the sum. What is asked for is either `N` with low bits cleared, and there,
//! or larger than `N`, and not there. That makes two requests per bit: 40 for a journal of a million entries. A hint would
//! save some, but is one more object whose late and repeated writes would have to be thought about.
//!
//! While somebody else writes on and deletes, the search may end too low. That is found out by what follows.
//!
//! # Why a deposed coordinator can write nothing
//!
//! A number belongs to the first that ever makes an entry of it. Let A want number `k`, having found, or made, `k - 1`.
//! * If there is an entry `k`, the put fails, what is found there is not A's, and A is fenced.
//! * If there was one and it has been deleted, the put succeeds and must not count. But then `N >= k + last(k)`. Let `k'` be that
//!   number: it was written, so there is an entry, unless it was deleted because `N >= k' + last(k')`, and so on up to a power of
//!   two, which stays. So after its put A asks for `k', k'', ...`, in this order (later ones can only appear), and if one of them is
//!   there, A is fenced. If none is, nobody ever wrote `k` before, hence nobody wrote anything larger: `k` is A's, and what
//!   A found at `k - 1` was the newest.
//! * That has to be asked for A's first entry only. A later `k` comes after an entry of A's own that counts, so whoever writes
//!   `k` before A does so as its own first entry, and that stays for ever.
//!
//! An entry that was put where one had been deleted is never looked at: a search asks for nothing below `N` but what has not
//! been deleted.
//!
//! An answer that is lost leaves open whether the entry counts: [`Written::Unknown`], and the next append looks first. An
//! entry of its own is told by the random number of its writer.
//!
//! Needed of the store: a create-only put is atomic over all processes, and a read that begins after its answer sees it.

use super::requests::{self, Created};
use crate::env::{Env, ObjectError};
use crate::sometimes;
use crate::storage::StorageError;
use bytes::Bytes;
use cofferdam_protocol::coordinator::{Journal, Written};
use cofferdam_protocol::journal::JournalEntry;
use cofferdam_protocol::stored::StoredError;
use std::collections::BTreeSet;

const FOLDER: &str = "journal";
/// Digits of a number, as on disk.
const DIGITS: usize = 19;
/// How often opening starts over because another coordinator goes on writing.
const OPEN_ROUNDS: u32 = 8;

/// The journal of one coordinator process, in an object store.
#[derive(Debug)]
pub struct ObjectJournal {
    folder: String,
    writer: u64,
    /// The number of the next entry.
    next: u64,
    /// Whether an entry of ours with the number `next` may exist.
    doubtful: bool,
    /// Our first entry, once it is certain that its number is ours.
    first: Option<u64>,
    fenced: bool,
    /// Entries of ours that are not needed any more.
    unneeded: BTreeSet<u64>,
}

/// What stands under a number.
enum Found {
    Absent,
    /// Ours, from an earlier append.
    Earlier,
    Theirs,
    /// It cannot be told now.
    Unreadable,
}

fn last(number: u64) -> u64 {
    1 << number.trailing_zeros()
}

/// Who takes its place as one of those that stay, until that is a power of two.
fn successors(number: u64) -> impl Iterator<Item = u64> {
    let next = |number: &u64| (!number.is_power_of_two()).then(|| number + last(*number));
    std::iter::successors(Some(number), next).skip(1)
}

/// Those that are not needed any more once `number` is there, and were until then, but for the exceptions.
fn superseded_by(number: u64) -> impl Iterator<Item = u64> {
    // Walking up from `x` ends at `number` if `x` is `number` less a power of two below its last bit.
    std::iter::successors(Some(last(number) / 2), |bit| Some(bit / 2)).take_while(|bit| *bit > 0).map(move |bit| number - bit)
}

impl ObjectJournal {
    /// Opens the journal below `root` and reads the newest entry.
    ///
    /// # Errors
    /// `Corrupt` if the newest entry is damaged: somebody has to look. `Object`: try again if it is transient.
    pub async fn open<E: Env>(env: &E, root: &str) -> Result<(Self, Option<Journal>), StorageError> {
        let folder = format!("{root}/{FOLDER}");
        let mut round = 1;
        let (number, journal) = loop {
            let number = newest(env, &folder).await?;
            if number == 0 {
                break (0, None);
            }
            match read_entry(env, &folder, number).await {
                // Deleted since: somebody else goes on.
                Err(StorageError::Object { source: ObjectError::NotFound, url, .. }) => {
                    sometimes!(env, seldom "object-journal/entry-deleted-while-opening");
                    if round == OPEN_ROUNDS {
                        let source = ObjectError::Transient("it is deleted before it can be read, again and again".into());
                        return Err(StorageError::Object { operation: "read", url, source });
                    }
                    round += 1;
                }
                entry => break (number, Some(entry?.journal)),
            }
        };
        let (writer, next) = (env.random(), number + 1);
        Ok((Self { folder, writer, next, doubtful: false, first: None, fenced: false, unneeded: BTreeSet::new() }, journal))
    }

    /// Appends an entry. After [`Written::Fenced`] nothing is touched any more, and every further append is fenced as well.
    ///
    /// Dropping the future half way is like [`Written::Unknown`].
    pub async fn append<E: Env>(&mut self, env: &E, journal: &Journal) -> Written {
        if self.fenced {
            return Written::Fenced;
        }
        if self.doubtful {
            match self.find(env).await {
                // It may still be under way. Then it or the next one gets the number.
                Found::Absent => sometimes!(env, "object-journal/doubtful-entry-is-not-there"),
                Found::Earlier => {
                    sometimes!(env, seldom "object-journal/doubtful-entry-is-there");
                    match self.settle(env).await {
                        Written::Durable => {}
                        other => return other,
                    }
                }
                Found::Theirs => {
                    sometimes!(env, seldom "object-journal/doubtful-entry-is-anothers");
                    return self.fence();
                }
                Found::Unreadable => {
                    sometimes!(env, seldom "object-journal/doubtful-entry-cannot-be-read");
                    return Written::Unknown;
                }
            }
        }
        let entry = JournalEntry { number: self.next, writer: self.writer, journal: journal.clone() };
        // From here on it may have happened.
        self.doubtful = true;
        match requests::create(env, &self.url(self.next), &Bytes::from(entry.to_file())).await {
            Ok(Created::Ours) => self.settle(env).await,
            Ok(Created::Theirs(found)) => match self.whose(&found) {
                // An earlier append's put was under way for that long: what this one says is not there.
                Found::Earlier | Found::Absent | Found::Unreadable => Written::Unknown,
                Found::Theirs => {
                    sometimes!(env, seldom "object-journal/number-taken-by-another");
                    self.fence()
                }
            },
            Err(_) => {
                sometimes!(env, "object-journal/outcome-unknown");
                Written::Unknown
            }
        }
    }

    /// An entry of ours stands at `next`. Counts it, if it counts.
    async fn settle<E: Env>(&mut self, env: &E) -> Written {
        if self.first.is_none() {
            for later in successors(self.next) {
                match requests::exists(env, &self.url(later)).await {
                    Ok(false) => {}
                    Ok(true) => {
                        sometimes!(env, seldom "object-journal/first-entry-is-behind-a-later-one");
                        return self.fence();
                    }
                    Err(_) => return Written::Unknown,
                }
            }
        }
        let first = *self.first.get_or_insert(self.next);
        self.doubtful = false;
        self.unneeded.extend(superseded_by(self.next).filter(|old| *old > first && !old.is_power_of_two()));
        self.next += 1;
        let unneeded: Vec<String> = self.unneeded.iter().map(|old| self.url(*old)).collect();
        if requests::delete(env, &unneeded).await.is_ok() {
            // Otherwise the next append tries again.
            self.unneeded.clear();
        }
        Written::Durable
    }

    fn fence(&mut self) -> Written {
        self.fenced = true;
        Written::Fenced
    }

    fn url(&self, number: u64) -> String {
        url_of(&self.folder, number)
    }

    async fn find<E: Env>(&self, env: &E) -> Found {
        match requests::get(env, &self.url(self.next)).await {
            Ok(bytes) => self.whose(&bytes),
            Err(ObjectError::NotFound) => Found::Absent,
            Err(_) => Found::Unreadable,
        }
    }

    fn whose(&self, bytes: &[u8]) -> Found {
        match JournalEntry::from_file(bytes) {
            Ok(entry) if entry.writer == self.writer && entry.number == self.next => Found::Earlier,
            Ok(_) => Found::Theirs,
            Err(_) => Found::Unreadable,
        }
    }
}

fn url_of(folder: &str, number: u64) -> String {
    format!("{folder}/{number:0DIGITS$}")
}

/// The largest number, or 0.
async fn newest<E: Env>(env: &E, folder: &str) -> Result<u64, StorageError> {
    let exists = |number: u64| async move {
        let url = url_of(folder, number);
        requests::exists(env, &url).await.map_err(StorageError::object("find", &url))
    };
    let mut bit = 1;
    while exists(bit).await? {
        bit *= 2;
    }
    bit /= 2;
    let mut number = bit;
    while bit > 1 {
        bit /= 2;
        if exists(number + bit).await? {
            number += bit;
        }
    }
    Ok(number)
}

async fn read_entry<E: Env>(env: &E, folder: &str, number: u64) -> Result<JournalEntry, StorageError> {
    let url = url_of(folder, number);
    let bytes = requests::get(env, &url).await.map_err(StorageError::object("read", &url))?;
    let entry = JournalEntry::from_file(&bytes).map_err(StorageError::corrupt(&url))?;
    if entry.number != number {
        let what = format!("this is entry {}", entry.number);
        return Err(StorageError::Corrupt { path: url, source: StoredError::Invalid { offset: 0, what } });
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left after so many entries of one coordinator.
    fn left(count: u64) -> BTreeSet<u64> {
        let mut left = BTreeSet::new();
        for number in 1..=count {
            left.insert(number);
            for old in superseded_by(number).filter(|old| !old.is_power_of_two()) {
                assert!(left.remove(&old), "{old} is deleted by {number}, and is not there");
            }
        }
        left
    }

    #[test]
    fn the_number_with_low_bits_cleared_and_powers_of_two_are_what_stays() {
        assert_eq!(left(11), BTreeSet::from([1, 2, 4, 8, 10, 11]));
        for count in 1..600_u64 {
            let cleared = (0..64).map(|bits| count >> bits << bits).filter(|number| *number > 0);
            let powers = (0..64).map(|bit| 1 << bit).take_while(|number| *number <= count);
            assert_eq!(left(count), cleared.chain(powers).collect());
        }
    }

    #[test]
    fn of_what_was_deleted_a_successor_is_there() {
        for count in 1..300 {
            let left = left(count);
            for number in 1..=count {
                let found = left.contains(&number) || successors(number).any(|later| left.contains(&later));
                assert!(found, "{number} of {count}");
            }
            assert!(!successors(count + 1).any(|later| left.contains(&later)));
        }
    }
}
