//! A store made of former ones: as it was, or from parts of several.

use crate::backend::RocksDbMode;
use crate::checkpoint::is_table;
use crate::expiry::Deadlines;
use crate::failure::{cannot, cannot_at, BACKEND};
use crate::options::{without_log, OptionsOfStores};
use crate::place::PlaceFolder;
use crate::sink::plain;
use crate::store::{column_name, families, RocksDbStore, Scan};
use cofferdam_engine::state::cold::{ColdError, ColdPart, ColdPlace, ColumnIndex, Loaded, LoadedFile};
use cofferdam_protocol::KeyGroupRange;
use rocksdb::{ColumnFamily, IngestExternalFileOptions, Options, SstFileWriter, WriteBatch, DB};
use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// How many bytes of keys and values go into a table that is taken in.
const TABLE_BYTES: usize = 64 << 20;

const OPEN: &str = "open a former store";

/// Makes the store. True if its tables keep their names.
pub fn restore(
    options: &OptionsOfStores,
    folder: PlaceFolder,
    place: &ColdPlace,
    mut parts: Vec<ColdPart>,
) -> Result<(RocksDbStore, bool), ColdError> {
    let base = base(&parts, place.columns).map(|index| (index, parts.remove(index)));
    let Some((base_index, mut base)) = base else {
        let store = RocksDbStore::create(options, folder, place)?;
        take_in(&store, options, parts.into_iter().enumerate())?;
        return Ok((store, false));
    };
    // The others keep the numbers that their files were fetched under.
    let others = parts.into_iter().enumerate().map(move |(index, part)| (index + usize::from(index >= base_index), part));

    let landed = Landed::land(folder.database(), std::mem::take(&mut base.files))?;
    remove(&folder.fetched(base_index))?;
    let deadlines = Deadlines::of(place);
    let mut database = landed.open(options, base.column_count.max(place.columns), &deadlines)?;
    let whole = base.groups == base.held && base.column_count == place.columns && others.len() == 0;
    for column in place.columns..base.column_count {
        database.drop_cf(&column_name(ColumnIndex(column))).map_err(cannot("drop a column"))?;
    }
    if base.groups != base.held {
        clip(&database, place.columns, &base, options.settings().mode)?;
    }
    let store = RocksDbStore::over(options, folder, database, place.columns, deadlines);
    take_in(&store, options, others)?;
    store.begin_compactions()?;
    Ok((store, whole))
}

/// The part whose database is taken as it is: the one with the most key groups, the first of several. Column families cannot
/// be renamed, so its columns must be where they were; new ones may come behind them, and the last ones may go.
fn base(parts: &[ColdPart], columns: u16) -> Option<usize> {
    let stays = |part: &ColdPart| {
        (0..columns).map(ColumnIndex).zip(&part.columns).all(|(now, then)| match then {
            Some(then) => *then == now,
            None => now.0 >= part.column_count,
        })
    };
    let groups = |part: &ColdPart| part.groups.last.0.saturating_sub(part.groups.first.0);
    let candidates = parts.iter().enumerate().filter(|(_, part)| stays(part));
    // `max_by_key` takes the last of equals.
    candidates.rev().max_by_key(|(_, part)| groups(part)).map(|(index, _)| index)
}

/// The files of a former store, in a folder under their names.
struct Landed {
    folder: PathBuf,
    tables: BTreeSet<String>,
    /// What a database is opened from: errors are about it unless they name another file.
    manifest: PathBuf,
}

impl Landed {
    fn land(folder: PathBuf, files: Vec<LoadedFile>) -> Result<Self, ColdError> {
        fs::create_dir_all(&folder).map_err(cannot_at("make a folder for a former store", &folder))?;
        let mut names = BTreeSet::new();
        for file in files {
            let path = folder.join(plain(&file.name)?);
            let landed = match &file.content {
                Loaded::Bytes(bytes) => fs::write(&path, bytes),
                Loaded::Path(from) => fs::rename(from, &path),
            };
            landed.map_err(cannot_at("put a file of a former store into place", &path))?;
            names.insert(file.name);
        }
        // Without it there would be nothing to open, and an empty store is the last thing that a restore should end with.
        if !names.contains("CURRENT") {
            return Err(unusable("CURRENT is missing".to_owned()));
        }
        let manifest = names.iter().find(|name| name.starts_with("MANIFEST-")).map_or("CURRENT", String::as_str);
        let manifest = folder.join(manifest);
        names.retain(|name| is_table(name));
        Ok(Self { folder, tables: names, manifest })
    }

    /// With all these columns, of which the last may be new: one that is added later would have no filter. Nothing is compacted yet, so
    /// that the tables can be compared with those that came.
    fn open(&self, options: &OptionsOfStores, columns: u16, deadlines: &Deadlines) -> Result<DB, ColdError> {
        let at_rest = |column| {
            let mut family = options.column(column);
            family.set_disable_auto_compactions(true);
            deadlines.filter(column, &mut family);
            family
        };
        let families = families(columns, at_rest, options);
        let mut database_options = options.database()?;
        database_options.create_missing_column_families(true);
        self.checked(DB::open_cf_with_opts(&database_options, &self.folder, families))
    }

    fn open_for_reading(&self, options: &OptionsOfStores, columns: u16) -> Result<DB, ColdError> {
        let families = families(columns, |column| options.column(column), options);
        self.checked(DB::open_cf_with_opts_for_read_only(&options.database()?, &self.folder, families, false))
    }

    /// The tables of a database must be those that came with it. RocksDB complains about one that is missing; but where the end
    /// of its manifest is damaged it may take that for a write that was cut short, and forget the newest tables without a word.
    fn checked(&self, opened: Result<DB, rocksdb::Error>) -> Result<DB, ColdError> {
        let database = opened.map_err(cannot_at(OPEN, &self.manifest))?;
        let live = database.live_files().map_err(cannot_at(OPEN, &self.manifest))?;
        let live: BTreeSet<&str> = live.iter().map(|file| file.name.trim_start_matches('/')).collect();
        match self.tables.iter().find(|name| !live.contains(name.as_str())) {
            None => Ok(database),
            Some(name) => {
                let manifest = self.manifest.display();
                Err(unusable(format!("{manifest} does not name {name}: it is damaged, or of another checkpoint")))
            }
        }
    }
}

fn unusable(cause: String) -> ColdError {
    ColdError { backend: BACKEND, operation: OPEN, cause }
}

fn remove(folder: &Path) -> Result<(), ColdError> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(cannot_at("remove a folder", folder)(error)),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// The first key that a group may have, and that is in no group before it.
fn first_key(group: u32) -> Vec<u8> {
    // There are at most 32768 groups.
    u16::try_from(group).map_or(vec![u8::MAX; 3], |group| group.to_be_bytes().to_vec())
}

/// Keys from the first to, not including, the second.
fn keys_of(groups: KeyGroupRange) -> (Vec<u8>, Vec<u8>) {
    (first_key(u32::from(groups.first.0)), first_key(u32::from(groups.last.0) + 1))
}

/// Removes what the subtask does not own.
fn clip(database: &DB, columns: u16, part: &ColdPart, mode: RocksDbMode) -> Result<(), ColdError> {
    let ((held_first, held_end), (first, end)) = (keys_of(part.held), keys_of(part.groups));
    for column in (0..columns.min(part.column_count)).map(ColumnIndex) {
        let family = family(database, column);
        for (from, to) in [(&held_first, &first), (&end, &held_end)] {
            if from >= to {
                continue;
            }
            // Whole tables go at once. The range of this call includes its end, so that is a key below the end.
            let below = u16::from_be_bytes([to[0], to[1]]).wrapping_sub(1).to_be_bytes();
            database.delete_file_in_range_cf(family, from.as_slice(), below.as_slice()).map_err(cannot("drop tables"))?;
            let mut batch = WriteBatch::default();
            batch.delete_range_cf(family, from, to);
            database.write_opt(batch, &without_log()).map_err(cannot("remove key groups"))?;
        }
        database.flush_cf(family).map_err(cannot("remove key groups"))?;
        match mode {
            // It happens in the background.
            RocksDbMode::Automatic => {}
            RocksDbMode::Explicit { .. } => database.compact_range_cf(family, None::<&[u8]>, None::<&[u8]>),
        }
    }
    Ok(())
}

fn family(database: &DB, column: ColumnIndex) -> &ColumnFamily {
    database.cf_handle(&column_name(column)).expect("the database was opened with this column")
}

/// Adds what other former stores have of the subtask's key groups. No two of them have the same group.
fn take_in(store: &RocksDbStore, options: &OptionsOfStores, parts: impl Iterator<Item = (usize, ColdPart)>) -> Result<(), ColdError> {
    for (index, mut part) in parts {
        let landed = Landed::land(store.folder().part(index), std::mem::take(&mut part.files))?;
        let former = landed.open_for_reading(options, part.column_count)?;
        for (now, then) in (0..).map(ColumnIndex).zip(&part.columns) {
            if let Some(then) = *then {
                let (from, to) = keys_of(part.groups);
                let scan = Scan::new(&former, family(&former, then), &from, Some(&to));
                let ingest = store.folder().ingest();
                let tables = write_tables(scan, &options.column(now), &ingest)?;
                ingest_tables(store.database(), now, tables)?;
                remove(&ingest)?;
            }
        }
        drop(former);
        remove(&landed.folder)?;
        remove(&store.folder().fetched(index))?;
    }
    Ok(())
}

/// Writes entries to tables of bounded size.
fn write_tables(scan: Scan<'_>, options: &Options, folder: &Path) -> Result<Vec<PathBuf>, ColdError> {
    fs::create_dir_all(folder).map_err(cannot_at("make a folder for tables", folder))?;
    let failed = cannot("write a table");
    let mut tables = Vec::new();
    let mut writer: Option<(SstFileWriter<'_>, usize)> = None;
    scan.each(|key, value| {
        let (mut table, bytes) = match writer.take() {
            Some(open) => open,
            None => {
                let path = folder.join(format!("{}.sst", tables.len()));
                let table = SstFileWriter::create(options);
                table.open(&path).map_err(&failed)?;
                tables.push(path);
                (table, 0)
            }
        };
        table.put(key, value).map_err(&failed)?;
        let bytes = bytes + key.len() + value.len();
        if bytes >= TABLE_BYTES {
            table.finish().map_err(&failed)?;
        } else {
            writer = Some((table, bytes));
        }
        Ok(())
    })?;
    if let Some((mut table, _)) = writer {
        table.finish().map_err(&failed)?;
    }
    Ok(tables)
}

fn ingest_tables(database: &DB, column: ColumnIndex, tables: Vec<PathBuf>) -> Result<(), ColdError> {
    if tables.is_empty() {
        return Ok(());
    }
    let mut ingest = IngestExternalFileOptions::default();
    ingest.set_move_files(true);
    database.ingest_external_file_cf_opts(family(database, column), &ingest, tables).map_err(cannot("take tables in"))
}
