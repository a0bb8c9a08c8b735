//! Second copies of state on the disks of workers, as the harness sees them: a layout that it reads by itself.
//!
//! ```text
//! /local/<job>/v<vertex>.s<subtask>-c<checkpoint>-a<epoch>.<number>/<file>
//! ```

use crate::disk::View;
use crate::world::{NodeIndex, World, WorldEvent};
use rand::seq::SliceRandom;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

/// Where workers have them.
pub const FOLDER: &str = "/local";

/// All files of copies on a disk, by subtask, checkpoint, and path.
fn copies(world: &World, node: NodeIndex) -> BTreeMap<(String, u64), Vec<String>> {
    let mut found: BTreeMap<(String, u64), Vec<String>> = BTreeMap::new();
    for path in world.storage(node).tree_now(View::Live).into_keys() {
        let Some((subtask, rest)) = path.strip_prefix(FOLDER).and_then(|rest| rest.split('/').nth(2)?.split_once("-c")) else { continue };
        let Some(Ok(checkpoint)) = rest.split_once('-').map(|(checkpoint, _)| checkpoint.parse()) else { continue };
        found.entry((subtask.to_owned(), checkpoint)).or_default().push(path);
    }
    found
}

/// Flips a byte of one file of each copy.
pub fn corrupt(world: &World, node: NodeIndex, rng: &mut ChaCha8Rng) {
    let disk = world.storage(node);
    for files in copies(world, node).values() {
        let path = files.choose(rng).expect("a copy without files is not found");
        let size = disk.read_now(View::Live, path).map_or(0, |bytes| bytes.len());
        if size > 0 && disk.flip_now(path, rng.gen_range(0..size), 1 << rng.gen_range(0..8)).is_ok() {
            world.count_fault("local-copy-corrupted");
            world.note(&WorldEvent::Damaged { node, path: path.clone() });
        }
    }
}

/// Puts the files of each subtask's oldest copy into the place of its newest.
pub fn put_back(world: &World, node: NodeIndex) {
    let disk = world.storage(node);
    let copies = copies(world, node);
    for ((subtask, newest), files) in &copies {
        let mut of_subtask = copies.iter().filter(|((other, _), _)| other == subtask);
        let Some(((_, oldest), old_files)) = of_subtask.next() else { continue };
        if oldest == newest || of_subtask.any(|((_, other), _)| other > newest) {
            continue;
        }
        let folder = |files: &[String]| files[0].rsplit_once('/').map(|(folder, _)| folder.to_owned());
        let (Some(from), Some(to)) = (folder(old_files), folder(files)) else { continue };
        for path in files {
            // It was there a moment ago.
            let _ = disk.remove_now(path);
        }
        for path in old_files {
            let bytes = disk.read_now(View::Live, path).unwrap_or_default();
            // As above: the folder is there.
            let _ = disk.write_now(&path.replacen(&from, &to, 1), &bytes);
        }
        world.count_fault("local-copy-put-back");
        world.note(&WorldEvent::Damaged { node, path: to });
    }
}
