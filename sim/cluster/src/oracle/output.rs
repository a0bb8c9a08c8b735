//! Is the output right at the end? Exactly once, or, where that was asked for, nothing lost.

use super::reference;
use crate::jobs::Log;
use crate::scenario::JobKind;
use cofferdam_protocol::settings::Mode;
use std::collections::BTreeMap;

/// The rows of all finished parts. `files` are the names and contents of the output folder.
///
/// # Errors
/// A part that cannot be read, or a row that is in two of them.
pub fn rows<'a>(files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<BTreeMap<String, String>, String> {
    let mut rows = BTreeMap::new();
    for (name, bytes) in files {
        let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
        for line in text.split_terminator('\n') {
            let (key, value) = line.split_once('\t').ok_or_else(|| format!("{name}: {line:?} is not key<TAB>value"))?;
            if rows.insert(key.to_owned(), value.to_owned()).is_some() {
                return Err(format!("{name}: key {key} is in another part too"));
            }
        }
    }
    Ok(rows)
}

/// Judges the finished table, and tells how many of its rows differ from exactly-once where they may. In an `undisturbed` run
/// nothing delays what timers do either.
///
/// # Errors
/// The first row that is wrong.
pub fn judge(kind: JobKind, mode: Mode, undisturbed: bool, logs: &[Log], rows: &BTreeMap<String, String>) -> Result<u64, String> {
    if kind != JobKind::Ledger {
        return judge_counts(kind, mode, logs, rows);
    }
    let mut counts = BTreeMap::new();
    for (key, row) in rows {
        // Two numbers, and how ripe the account was when it was asked last.
        let (count, ripeness) = match row.match_indices(' ').nth(1) {
            Some((at, _)) => (&row[..at], &row[at + 1..]),
            None => (row.as_str(), ""),
        };
        judge_ripeness(key, ripeness, undisturbed)?;
        counts.insert(key.clone(), count.to_owned());
    }
    judge_counts(kind, mode, logs, &counts)
}

/// A timer that is due by the clock of its worker has fired. One that is not due may still be waiting at the end only if something
/// went wrong: a clock that is behind, or a worker that stood still.
fn judge_ripeness(key: &str, ripeness: &str, undisturbed: bool) -> Result<(), String> {
    let words: Vec<&str> = ripeness.split(' ').collect();
    let times = match words[..] {
        ["ripe"] => return Ok(()),
        ["due", due, "at", clock] => due.parse::<i64>().ok().zip(clock.parse::<i64>().ok()),
        _ => None,
    };
    match times {
        None => Err(format!("the row of {key} does not say whether it is ripe: {ripeness:?}")),
        Some((due, clock)) if clock >= due => Err(format!("the timer of {key} was due at {due} and had not fired at {clock}")),
        Some((due, clock)) if undisturbed => {
            Err(format!("the job did not wait for the timer of {key}, due at {due}: it was asked at {clock}"))
        }
        Some(_) => Ok(()),
    }
}

fn judge_counts(kind: JobKind, mode: Mode, logs: &[Log], rows: &BTreeMap<String, String>) -> Result<u64, String> {
    let mut recounted = 0;
    let expected = reference::table(kind, logs);
    for key in expected.keys().chain(rows.keys().filter(|key| !expected.contains_key(*key))) {
        let (wanted, found) = (expected.get(key), rows.get(key));
        let fine = match (mode, wanted, found) {
            (Mode::AtLeastOnce, Some(wanted), Some(found)) => at_least(wanted, found),
            _ => wanted == found,
        };
        if !fine {
            return Err(format!("the row of {key} is {found:?}, the input makes {wanted:?}"));
        }
        recounted += u64::from(wanted != found);
    }
    Ok(recounted)
}

fn at_least(wanted: &str, found: &str) -> bool {
    let numbers = |text: &str| text.split(' ').map(|number| number.parse::<u64>().ok()).collect::<Vec<_>>();
    let (wanted, found) = (numbers(wanted), numbers(found));
    wanted.len() == found.len() && wanted.iter().zip(&found).all(|(wanted, found)| found >= wanted)
}

#[cfg(test)]
mod tests;
