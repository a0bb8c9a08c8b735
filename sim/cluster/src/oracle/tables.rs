//! Tables of RocksDB, read by RocksDB itself and by nothing of the engine.

use super::decode::{Broken, Rows};
use crate::run::scratch::Scratch;
use rocksdb::{IteratorMode, LogLevel, Options, DB};
use std::collections::BTreeMap;
use std::fs;

/// In a simulation each file has its length before it, and zeros behind it.
fn content(file: &[u8]) -> Option<&[u8]> {
    let (length, rest) = file.split_first_chunk::<8>()?;
    let (content, zeros) = rest.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
    zeros.iter().all(|byte| *byte == 0).then_some(content)
}

/// What each of so many columns holds.
pub(super) fn rows<'a>(files: impl Iterator<Item = (&'a String, &'a Vec<u8>)>, columns: usize) -> Result<Vec<Rows>, Broken> {
    let scratch = Scratch::new();
    let folder = scratch.of_a_life();
    for (name, file) in files {
        if name.contains('/') || name.starts_with('.') {
            return Err(format!("{name} is not the name of a file"));
        }
        let content = content(file).ok_or_else(|| format!("{name} is not as long as it says"))?;
        fs::write(folder.path().join(name), content).map_err(|error| format!("{name}: {error}"))?;
    }
    let broken = |error: rocksdb::Error| folder.hidden_in(error.as_ref());
    let mut options = Options::default();
    options.set_log_level(LogLevel::Fatal);
    options.set_skip_stats_update_on_db_open(true);
    let names: Vec<String> = (0..columns).map(|column| column.to_string()).collect();
    let all = std::iter::once("default").chain(names.iter().map(String::as_str));
    let database = DB::open_cf_for_read_only(&options, folder.path(), all, false).map_err(broken)?;
    let read = |name: &String| {
        let family = database.cf_handle(name).ok_or_else(|| format!("there is no column {name}"))?;
        let entries = database.iterator_cf(family, IteratorMode::Start);
        entries
            .map(|entry| entry.map(|(key, value)| (key.into_vec(), value.into_vec())).map_err(broken))
            .collect::<Result<BTreeMap<_, _>, _>>()
    };
    names.iter().map(read).collect()
}
