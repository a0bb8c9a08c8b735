//! What readers of transactional output see: at any moment only records before the positions of a completed checkpoint, and none twice.

use super::cut::lines_before;
use crate::jobs::Log;
use crate::workload::NEXT_LOG;
use std::collections::{BTreeMap, BTreeSet};

/// What may be seen so far, and what has been.
#[derive(Clone, Debug, Default)]
pub struct CommittedOnly {
    /// For each partition, how many of its lines are before the positions of a completed checkpoint.
    complete: BTreeMap<u32, usize>,
    /// Of these, the ones that are under way in every completed checkpoint so far: their effect belongs to a later one.
    withheld: BTreeSet<String>,
    /// The files that are visible, with their lines.
    visible: BTreeMap<String, Vec<String>>,
}

impl CommittedOnly {
    /// A checkpoint is complete: what is before its positions may be seen from now on, but for what is under way.
    pub fn completed(&mut self, logs: &[Log], positions: &BTreeMap<String, BTreeMap<u32, u64>>, under_way: &BTreeSet<String>) {
        for (base, log) in bases(logs) {
            for (index, offset) in positions.get(log.source).into_iter().flatten() {
                // An offset that is inside a line is judged elsewhere.
                let count = log.partitions.get(*index as usize).and_then(|(_, lines)| lines_before(lines, *offset)).unwrap_or(0);
                let complete = self.complete.entry(base + *index).or_default();
                let (_, lines) = &log.partitions[*index as usize];
                self.withheld.extend(lines.iter().take(count).skip(*complete).filter(|line| under_way.contains(*line)).cloned());
                for line in lines.iter().take(count).filter(|line| !under_way.contains(*line)) {
                    self.withheld.remove(line);
                }
                *complete = count.max(*complete);
            }
        }
    }

    /// Takes the output folder as it is now. What is published is complete and never changes, so only new names are read.
    ///
    /// # Errors
    /// A row that nobody may see yet, that is there twice, or that is not in the input.
    pub fn look(&mut self, names: &[String], read: &dyn Fn(&str) -> Result<Vec<u8>, String>) -> Result<(), String> {
        self.visible.retain(|name, _| names.contains(name));
        for name in names {
            if !self.visible.contains_key(name) {
                self.visible.insert(name.clone(), lines(name, &read(name)?)?);
            }
        }
        let mut seen = BTreeSet::new();
        for (name, lines) in &self.visible {
            for line in lines {
                let (partition, index) = place(line).ok_or_else(|| format!("{name}: {line:?} is not of the input"))?;
                if self.complete.get(&partition).is_none_or(|complete| index >= *complete) {
                    return Err(format!("{name} shows {line:?}, which is behind the positions of every completed checkpoint"));
                }
                if self.withheld.contains(line) {
                    return Err(format!("{name} shows {line:?}, which is under way in every completed checkpoint"));
                }
                if !seen.insert(line) {
                    return Err(format!("{name} shows {line:?}, which is there already"));
                }
            }
        }
        Ok(())
    }

    /// Everything before the positions of the newest completed checkpoint is there: what was held back for it is published.
    ///
    /// # Errors
    /// A row that is missing.
    pub fn all_is_published(&self, logs: &[Log]) -> Result<(), String> {
        let seen: BTreeSet<&String> = self.visible.values().flatten().collect();
        let partitions = bases(logs).flat_map(|(base, log)| (base..).zip(&log.partitions));
        for (index, (_, lines)) in partitions {
            let complete = self.complete.get(&index).copied().unwrap_or(0);
            if let Some(missing) = lines.iter().take(complete).find(|line| !seen.contains(line) && !self.withheld.contains(*line)) {
                return Err(format!("{missing:?} is before the positions of the checkpoint, and is not published"));
            }
        }
        Ok(())
    }
}

/// The logs, with the numbers of their first partitions.
fn bases(logs: &[Log]) -> impl Iterator<Item = (u32, &Log)> {
    (0..).step_by(NEXT_LOG as usize).zip(logs)
}

/// The lines of a file of the output.
fn lines(name: &str, bytes: &[u8]) -> Result<Vec<String>, String> {
    let text = std::str::from_utf8(bytes).map_err(|_| format!("{name} is not UTF-8"))?;
    if !text.is_empty() && !text.ends_with('\n') {
        return Err(format!("{name} ends in the middle of a row"));
    }
    Ok(text.lines().map(str::to_owned).collect())
}

/// Partition and index of a line of the input: `k7 2-15`.
fn place(line: &str) -> Option<(u32, usize)> {
    let (partition, index) = line.split(' ').nth(1)?.split_once('-')?;
    Some((partition.parse().ok()?, index.parse().ok()?))
}

/// At the end every record is there, exactly once.
///
/// # Errors
/// The first one that is missing, too much, or torn.
pub fn delivered<'a>(logs: &[Log], files: impl Iterator<Item = (&'a str, &'a [u8])>) -> Result<(), String> {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for (name, bytes) in files {
        for line in lines(name, bytes)? {
            *seen.entry(line).or_default() += 1;
        }
    }
    for line in logs.iter().flat_map(|log| &log.partitions).flat_map(|(_, lines)| lines) {
        match seen.remove(line) {
            Some(1) => {}
            times => return Err(format!("the record {line:?} is there {} times", times.unwrap_or(0))),
        }
    }
    match seen.into_keys().next() {
        Some(line) => Err(format!("{line:?} is not of the input")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
