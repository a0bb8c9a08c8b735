//! The folders of one disk: entries as programs see them, and as they would be after a power loss.

use super::content::{Content, SECTOR};
use super::images::ends;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::sync::Arc;

/// A file or folder, counted from 0 within one disk; 0 is the root.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Inode(u32);

const ROOT: Inode = Inode(0);

impl Inode {
    fn nth(position: usize) -> Self {
        Self(u32::try_from(position).expect("inodes are counted in 32 bits"))
    }
}

type Name = Arc<str>;
type Entries = BTreeMap<Name, Inode>;

#[derive(Clone, Debug, Default)]
struct Folder {
    entries: Entries,
    durable: Entries,
    /// What leads from `durable` to `entries`.
    pending: Vec<Change>,
    /// A sync of it was acknowledged and has done nothing.
    lied: bool,
}

#[derive(Clone, Debug)]
enum Change {
    Put(Name, Inode),
    Take(Name),
    /// Within the folder: both or nothing.
    Move(Name, Name, Inode),
}

#[derive(Clone, Debug)]
enum Thing {
    File(Content),
    Folder(Folder),
}

/// What a power loss took.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Lost {
    pub(super) bytes: u64,
    pub(super) entries: u64,
    pub(super) torn: u64,
}

/// One disk.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    things: Vec<Thing>,
    used_bytes: u64,
}

fn apply(entries: &mut Entries, change: &Change) {
    match change {
        Change::Put(name, inode) => {
            entries.insert(name.clone(), *inode);
        }
        Change::Take(name) => {
            entries.remove(name);
        }
        Change::Move(from, to, inode) => {
            entries.remove(from);
            entries.insert(to.clone(), *inode);
        }
    }
}

impl Folder {
    fn change(&mut self, change: Change) {
        apply(&mut self.entries, &change);
        self.pending.push(change);
    }

    fn settle(&mut self, count: usize) {
        for change in self.pending.drain(..count) {
            apply(&mut self.durable, &change);
        }
    }
}

fn is_a_folder() -> io::Error {
    ErrorKind::IsADirectory.into()
}

fn not_found() -> io::Error {
    ErrorKind::NotFound.into()
}

impl Tree {
    pub(super) fn new() -> Self {
        Self { things: vec![Thing::Folder(Folder::default())], used_bytes: 0 }
    }

    pub(super) fn used_bytes(&self) -> u64 {
        self.used_bytes
    }

    pub(super) fn create_folder(&mut self, path: &str) -> io::Result<()> {
        let (parent, name) = self.vacancy(path)?;
        let inode = self.add(Thing::Folder(Folder::default()));
        self.folder_mut(parent)?.change(Change::Put(name.into(), inode));
        Ok(())
    }

    pub(super) fn create(&mut self, path: &str) -> io::Result<Inode> {
        let (parent, name) = self.vacancy(path)?;
        let inode = self.add(Thing::File(Content::durable(Vec::new())));
        self.folder_mut(parent)?.change(Change::Put(name.into(), inode));
        Ok(inode)
    }

    pub(super) fn open(&self, path: &str) -> io::Result<Inode> {
        let inode = self.find(path)?;
        self.file(inode)?;
        Ok(inode)
    }

    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let (source_parent, source) = self.parent(from)?;
        let (target_parent, target) = self.parent(to)?;
        let inode = *self.folder(source_parent)?.entries.get(source).ok_or_else(not_found)?;
        self.file(inode)?;
        if source_parent != target_parent {
            // Two folders, two journals: nobody may count on both halves, so nobody may ask.
            return Err(ErrorKind::CrossesDevices.into());
        }
        let replaced = self.folder(target_parent)?.entries.get(target).copied();
        if replaced == Some(inode) {
            return Ok(());
        }
        if let Some(replaced) = replaced {
            self.file(replaced)?;
            self.unname(replaced);
        }
        self.folder_mut(source_parent)?.change(Change::Move(source.into(), target.into(), inode));
        Ok(())
    }

    pub(super) fn link(&mut self, from: &str, to: &str) -> io::Result<()> {
        let inode = self.open(from)?;
        let (parent, name) = self.vacancy(to)?;
        if let Thing::File(content) = &mut self.things[inode.0 as usize] {
            content.names += 1;
        }
        self.folder_mut(parent)?.change(Change::Put(name.into(), inode));
        Ok(())
    }

    pub(super) fn remove(&mut self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let inode = *self.folder(parent)?.entries.get(name).ok_or_else(not_found)?;
        self.file(inode)?;
        self.unname(inode);
        self.folder_mut(parent)?.change(Change::Take(name.into()));
        Ok(())
    }

    pub(super) fn remove_folder(&mut self, path: &str) -> io::Result<()> {
        let (parent, name) = self.parent(path)?;
        let inode = *self.folder(parent)?.entries.get(name).ok_or_else(not_found)?;
        if !self.folder(inode)?.entries.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.folder_mut(parent)?.change(Change::Take(name.into()));
        Ok(())
    }

    pub(super) fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = self.folder(self.find(path)?)?;
        Ok(folder.entries.keys().map(ToString::to_string).collect())
    }

    pub(super) fn sync_folder(&mut self, path: &str) -> io::Result<()> {
        let inode = self.find(path)?;
        let folder = self.folder_mut(inode)?;
        folder.settle(folder.pending.len());
        Ok(())
    }

    /// A sync that is acknowledged and does nothing, of a file or of a folder.
    pub(super) fn lie(&mut self, of: Result<Inode, &str>) -> io::Result<()> {
        let inode = match of {
            Ok(inode) => inode,
            Err(path) => self.find(path)?,
        };
        match &mut self.things[inode.0 as usize] {
            Thing::File(content) => content.harmed |= !content.unsynced().1.is_empty(),
            Thing::Folder(folder) => folder.lied |= !folder.pending.is_empty(),
        }
        Ok(())
    }

    /// All files that the disk has harmed, and folders that it has lied about, by path.
    pub(super) fn harmed(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, inode)) = open.pop() {
            match &self.things[inode.0 as usize] {
                Thing::File(content) if content.harmed => {
                    found.insert(path);
                }
                Thing::File(_) => {}
                Thing::Folder(folder) => {
                    open.extend(folder.entries.iter().map(|(name, &inode)| (format!("{path}/{name}"), inode)));
                    if folder.lied {
                        found.insert(path);
                    }
                }
            }
        }
        found
    }

    pub(super) fn file(&self, inode: Inode) -> io::Result<&Content> {
        match &self.things[inode.0 as usize] {
            Thing::File(content) => Ok(content),
            Thing::Folder(_) => Err(is_a_folder()),
        }
    }

    pub(super) fn file_mut(&mut self, inode: Inode) -> io::Result<&mut Content> {
        match &mut self.things[inode.0 as usize] {
            Thing::File(content) => Ok(content),
            Thing::Folder(_) => Err(is_a_folder()),
        }
    }

    pub(super) fn append(&mut self, inode: Inode, bytes: &[u8]) -> io::Result<()> {
        let content = self.file_mut(inode)?;
        content.append(bytes);
        if content.names > 0 {
            self.used_bytes += bytes.len() as u64;
        }
        Ok(())
    }

    /// Makes a folder and those above it, durably.
    pub(super) fn make_folders(&mut self, path: &str) {
        let mut at = ROOT;
        for name in components(path) {
            at = match self.folder(at).ok().and_then(|folder| folder.entries.get(name).copied()) {
                Some(inode) => inode,
                None => {
                    let inode = self.add(Thing::Folder(Folder::default()));
                    self.put_durably(at, name, inode);
                    inode
                }
            };
        }
    }

    /// Puts a file there, durably, whatever was there before.
    pub(super) fn write(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        if let Some((above, _)) = path.trim_end_matches('/').rsplit_once('/') {
            self.make_folders(above);
        }
        let (parent, name) = self.parent(path)?;
        if let Some(&existing) = self.folder(parent)?.entries.get(name) {
            self.file(existing)?;
            self.unname(existing);
        }
        self.used_bytes += bytes.len() as u64;
        let inode = self.add(Thing::File(Content::durable(bytes.to_vec())));
        self.put_durably(parent, name, inode);
        Ok(())
    }

    /// Appends durably: whoever has the file open reads it.
    pub(super) fn extend(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        let inode = self.open(path)?;
        self.append(inode, bytes)?;
        self.file_mut(inode)?.sync();
        Ok(())
    }

    /// Flips bits of a byte.
    pub(super) fn flip(&mut self, path: &str, at: usize, bits: u8) -> io::Result<()> {
        let inode = self.open(path)?;
        let content = self.file_mut(inode)?;
        *content.bytes.get_mut(at).ok_or(ErrorKind::InvalidInput)? ^= bits;
        content.harmed = true;
        Ok(())
    }

    /// What a path leads to, as programs see it.
    pub(super) fn live_file(&self, path: &str) -> io::Result<Vec<u8>> {
        Ok(self.file(self.find(path)?)?.bytes.clone())
    }

    /// What a path would surely lead to after a power loss.
    pub(super) fn durable_file(&self, path: &str) -> io::Result<Vec<u8>> {
        Ok(self.file(self.walk(path, |folder| &folder.durable)?)?.surviving())
    }

    /// The names in a folder after a power loss that takes whatever it can.
    pub(super) fn durable_list(&self, path: &str) -> io::Result<Vec<String>> {
        let folder = self.folder(self.walk(path, |folder| &folder.durable)?)?;
        Ok(folder.durable.keys().map(ToString::to_string).collect())
    }

    /// All files by path, with their contents.
    pub(super) fn all_files(&self, durable: bool) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, inode)) = open.pop() {
            match &self.things[inode.0 as usize] {
                Thing::File(content) => {
                    let bytes = if durable { content.surviving() } else { content.bytes.clone() };
                    found.insert(path, bytes);
                }
                Thing::Folder(folder) => {
                    let entries = if durable { &folder.durable } else { &folder.entries };
                    open.extend(entries.iter().map(|(name, &inode)| (format!("{path}/{name}"), inode)));
                }
            }
        }
        found
    }

    /// The files and folders that a power loss can take something of, and how many operations; the oldest first.
    pub(super) fn unsynced(&self) -> Vec<(Inode, usize)> {
        let count = |thing: &Thing| match thing {
            Thing::File(content) => content.unsynced().1.len(),
            Thing::Folder(folder) => folder.pending.len(),
        };
        let counted = self.things.iter().enumerate().map(|(position, thing)| (Inode::nth(position), count(thing)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// One file or folder keeps all of what is not synced, or nothing.
    pub(super) fn keep_all_or_nothing(&mut self, inode: Inode, all: bool) {
        match &mut self.things[inode.0 as usize] {
            Thing::File(content) if all => content.sync(),
            Thing::File(content) => content.cut_at(content.unsynced().0),
            Thing::Folder(folder) => {
                folder.settle(if all { folder.pending.len() } else { 0 });
                folder.pending.clear();
            }
        }
    }

    /// The trees that differ in how much of one file or folder is kept.
    pub(super) fn outcomes(&self, inode: Inode) -> Vec<Self> {
        let kept = |change: &dyn Fn(&mut Thing)| {
            let mut tree = self.clone();
            change(&mut tree.things[inode.0 as usize]);
            tree
        };
        match &self.things[inode.0 as usize] {
            Thing::File(content) => {
                let cut = |end: usize| {
                    kept(&|thing| {
                        if let Thing::File(content) = thing {
                            content.cut_at(end)
                        }
                    })
                };
                ends(content, SECTOR).into_iter().map(cut).collect()
            }
            Thing::Folder(folder) => {
                let settle = |count: usize| {
                    kept(&|thing| {
                        if let Thing::Folder(folder) = thing {
                            folder.settle(count);
                            folder.pending.clear();
                        }
                    })
                };
                (0..=folder.pending.len()).map(settle).collect()
            }
        }
    }

    /// After what is kept has been chosen: everything else is gone.
    pub(super) fn lose_the_rest(&mut self) {
        for (inode, _) in self.unsynced() {
            self.keep_all_or_nothing(inode, false);
        }
        for thing in &mut self.things {
            if let Thing::Folder(folder) = thing {
                folder.entries.clone_from(&folder.durable);
            }
        }
        self.recount();
    }

    /// All folders, as programs see them.
    pub(super) fn all_folders(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut open = vec![(String::new(), ROOT)];
        while let Some((path, inode)) = open.pop() {
            if let Thing::Folder(folder) = &self.things[inode.0 as usize] {
                open.extend(folder.entries.iter().map(|(name, &inode)| (format!("{path}/{name}"), inode)));
                found.insert(path);
            }
        }
        found
    }

    /// Every file and folder keeps what happens to be on the disk already.
    pub(super) fn power_lost(&mut self, rng: &mut ChaCha8Rng) -> Lost {
        let mut lost = Lost::default();
        for thing in &mut self.things {
            match thing {
                Thing::File(content) => {
                    let (bytes, torn) = content.power_lost(rng);
                    lost.bytes += bytes;
                    lost.torn += u64::from(torn);
                }
                Thing::Folder(folder) => {
                    if !folder.pending.is_empty() {
                        let kept = rng.gen_range(0..=folder.pending.len());
                        folder.settle(kept);
                        lost.entries += folder.pending.len() as u64;
                        folder.pending.clear();
                    }
                    folder.entries.clone_from(&folder.durable);
                }
            }
        }
        self.recount();
        lost
    }

    /// After the entries changed behind everybody's back: who has how many names, and what is still reachable at all.
    fn recount(&mut self) {
        let mut reachable = BTreeSet::new();
        let mut open = vec![ROOT];
        let mut names: BTreeMap<Inode, u32> = BTreeMap::new();
        while let Some(inode) = open.pop() {
            reachable.insert(inode);
            if let Thing::Folder(folder) = &self.things[inode.0 as usize] {
                for &entry in folder.entries.values() {
                    *names.entry(entry).or_default() += 1;
                    if !reachable.contains(&entry) {
                        open.push(entry);
                    }
                }
            }
        }
        self.used_bytes = 0;
        for (position, thing) in self.things.iter_mut().enumerate() {
            let inode = Inode::nth(position);
            match thing {
                Thing::File(content) if reachable.contains(&inode) => {
                    content.names = names.get(&inode).copied().unwrap_or(0);
                    self.used_bytes += content.bytes.len() as u64;
                }
                Thing::File(content) => *content = Content::default(),
                Thing::Folder(folder) if !reachable.contains(&inode) => *folder = Folder::default(),
                Thing::Folder(_) => {}
            }
        }
    }

    fn add(&mut self, thing: Thing) -> Inode {
        let inode = Inode(u32::try_from(self.things.len()).expect("fewer than four billion files"));
        self.things.push(thing);
        inode
    }

    fn put_durably(&mut self, parent: Inode, name: &str, inode: Inode) {
        if let Ok(folder) = self.folder_mut(parent) {
            folder.change(Change::Put(name.into(), inode));
            folder.settle(folder.pending.len());
        }
    }

    fn unname(&mut self, inode: Inode) {
        if let Thing::File(content) = &mut self.things[inode.0 as usize] {
            content.names -= 1;
            if content.names == 0 {
                self.used_bytes -= content.bytes.len() as u64;
            }
        }
    }

    fn folder(&self, inode: Inode) -> io::Result<&Folder> {
        match &self.things[inode.0 as usize] {
            Thing::Folder(folder) => Ok(folder),
            Thing::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn folder_mut(&mut self, inode: Inode) -> io::Result<&mut Folder> {
        match &mut self.things[inode.0 as usize] {
            Thing::Folder(folder) => Ok(folder),
            Thing::File(_) => Err(ErrorKind::NotADirectory.into()),
        }
    }

    fn find(&self, path: &str) -> io::Result<Inode> {
        self.walk(path, |folder| &folder.entries)
    }

    fn walk(&self, path: &str, entries: impl Fn(&Folder) -> &Entries) -> io::Result<Inode> {
        let mut at = ROOT;
        for name in components(path) {
            at = *entries(self.folder(at)?).get(name).ok_or_else(not_found)?;
        }
        Ok(at)
    }

    /// The folder that a path stands in, and its name there.
    fn parent<'p>(&self, path: &'p str) -> io::Result<(Inode, &'p str)> {
        let path = path.trim_end_matches('/');
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        if name.is_empty() || name == "." || name == ".." {
            return Err(ErrorKind::InvalidInput.into());
        }
        let parent = self.find(above)?;
        self.folder(parent)?;
        Ok((parent, name))
    }

    fn vacancy<'p>(&self, path: &'p str) -> io::Result<(Inode, &'p str)> {
        if components(path).next().is_none() {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let (parent, name) = self.parent(path)?;
        if self.folder(parent)?.entries.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        Ok((parent, name))
    }
}

fn components(path: &str) -> impl Iterator<Item = &str> {
    path.split('/').filter(|name| !name.is_empty())
}

#[cfg(test)]
mod tests;
