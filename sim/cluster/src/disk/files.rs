//! The file systems as one process sees them: its own disk, and what it has mounted.

use super::tree::Inode;
use super::{DiskFault, DiskOp, Disks};
use crate::buggify::Point;
use crate::world::{lock, Node, NodeIndex, World, WorldEvent};
use cofferdam_engine::env::{File, Files};
use rand::Rng;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// How often somebody looks whether a way is free again.
const PATIENCE: Duration = Duration::from_millis(50);
const EIO: i32 = 5;
const EBADF: i32 = 9;
const ENOSPC: i32 = 28;
const ESTALE: i32 = 116;

/// The file systems of one process.
#[derive(Clone)]
pub struct SimFiles {
    process: Arc<Process>,
}

struct Process {
    world: World,
    node: Arc<Node>,
    incarnation: u64,
}

/// An open file of one process.
pub struct SimFile {
    files: SimFiles,
    storage: NodeIndex,
    handle: Handle,
    path: Arc<str>,
    writable: bool,
}

/// A file on a disk that has not lost power since.
#[derive(Clone, Copy)]
struct Handle {
    inode: Inode,
    boot: u64,
}

/// Something that changes a disk.
#[derive(Clone, Copy)]
enum Change<'a> {
    CreateFolder,
    Create,
    Rename {
        to: &'a str,
    },
    Link {
        to: &'a str,
    },
    Remove,
    RemoveFolder,
    SyncFolder,
    /// `at`: drop it if the file has another size by now. Only late requests care.
    Append {
        handle: Handle,
        bytes: &'a [u8],
        at: Option<u64>,
    },
    Sync {
        handle: Handle,
    },
}

impl Change<'_> {
    fn op(&self) -> DiskOp {
        match self {
            Self::CreateFolder => DiskOp::CreateFolder,
            Self::Create => DiskOp::Create,
            Self::Rename { .. } => DiskOp::Rename,
            Self::Link { .. } => DiskOp::Link,
            Self::Remove => DiskOp::Remove,
            Self::RemoveFolder => DiskOp::RemoveFolder,
            Self::SyncFolder => DiskOp::SyncFolder,
            Self::Append { .. } => DiskOp::Append,
            Self::Sync { .. } => DiskOp::Sync,
        }
    }

    /// The second path or the bytes, to be kept while the request is under way.
    fn luggage(&self) -> Vec<u8> {
        match self {
            Self::Rename { to } | Self::Link { to } => to.as_bytes().to_vec(),
            Self::Append { bytes, .. } => bytes.to_vec(),
            Self::CreateFolder | Self::Create | Self::Remove | Self::RemoveFolder | Self::SyncFolder | Self::Sync { .. } => Vec::new(),
        }
    }
}

/// What a change leaves its caller with: a handle, if it created a file.
type Answer = io::Result<Option<Handle>>;

fn stale() -> io::Error {
    io::Error::from_raw_os_error(ESTALE)
}

impl Disks {
    /// Changes a disk, or fails to, as planned.
    fn execute(&self, node: NodeIndex, path: &str, change: Change<'_>, fault: Option<DiskFault>) -> Answer {
        let op = change.op();
        if let Some(fault) = fault {
            self.failed(node, op, fault, path);
        }
        let wrong_place = if fault == Some(DiskFault::Misdirected) { self.wrong_place(node, path) } else { None };
        let state = &mut *lock(&self.state);
        let disk = &mut state.disks[node.at()];
        if let Change::Append { handle, .. } | Change::Sync { handle } = change {
            if handle.boot != disk.boot {
                return Err(stale());
            }
        }
        match fault {
            None
            | Some(DiskFault::ErrorAfter | DiskFault::RotOnRead | DiskFault::ShortRead | DiskFault::LostWrite | DiskFault::Misdirected) => {
            }
            Some(DiskFault::LyingSync) => {
                match change {
                    Change::Sync { handle } => disk.tree.lie(Ok(handle.inode))?,
                    _ => disk.tree.lie(Err(path))?,
                }
                disk.ever_harmed.insert(path.to_owned());
                return Ok(None);
            }
            Some(DiskFault::ErrorBefore) => return Err(io::Error::from_raw_os_error(EIO)),
            Some(DiskFault::NoSpace) => return Err(io::Error::from_raw_os_error(ENOSPC)),
            Some(DiskFault::SyncLost) => {
                if let Change::Sync { handle } = change {
                    disk.tree.file_mut(handle.inode)?.sync_failed(&mut state.rng);
                }
                return Err(io::Error::from_raw_os_error(EIO));
            }
        }
        let room = disk.settings.capacity_bytes.saturating_sub(disk.tree.used_bytes());
        let mut made = None;
        let mut full = false;
        match change {
            Change::CreateFolder => disk.tree.create_folder(path)?,
            Change::Create if room == 0 => full = true,
            Change::Create => made = Some(Handle { inode: disk.tree.create(path)?, boot: disk.boot }),
            Change::Rename { to } => disk.tree.rename(path, to)?,
            Change::Link { to } => disk.tree.link(path, to)?,
            Change::Remove => disk.tree.remove(path)?,
            Change::RemoveFolder => disk.tree.remove_folder(path)?,
            Change::SyncFolder => disk.tree.sync_folder(path)?,
            Change::Append { handle, bytes, at } => {
                let size = disk.tree.file(handle.inode)?.bytes.len() as u64;
                if at.is_some_and(|at| at != size) {
                    return Err(stale());
                }
                let mut length = bytes.len();
                if fault == Some(DiskFault::ErrorAfter) {
                    length = state.rng.gen_range(0..=length);
                }
                if length as u64 > room {
                    full = true;
                    length = usize::try_from(room).unwrap_or(length);
                }
                disk.tree.append(handle.inode, &bytes[..length])?;
                if length > 0 && matches!(fault, Some(DiskFault::LostWrite | DiskFault::Misdirected)) {
                    disk.tree.file_mut(handle.inode)?.lose_last_append();
                }
                if let Some(victim) = &wrong_place {
                    let victim = disk.tree.open(victim)?;
                    let content = disk.tree.file_mut(victim)?;
                    let at = state.rng.gen_range(0..content.bytes.len());
                    content.overwrite(at, &bytes[..length]);
                }
            }
            Change::Sync { handle } => disk.tree.file_mut(handle.inode)?.sync(),
        }
        if let Some(recorded) = &mut disk.recorded {
            recorded.push(super::Instant { at: self.sink.now(), tree: disk.tree.clone() });
        }
        for harmed in [path].into_iter().filter(|_| fault.is_some_and(|fault| !fault.is_told())).chain(wrong_place.as_deref()) {
            disk.ever_harmed.insert(harmed.to_owned());
            self.damaged(node, harmed);
        }
        if full {
            self.failed(node, op, DiskFault::NoSpace, path);
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if fault.is_some_and(DiskFault::is_told) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        Ok(made)
    }

    fn open(&self, node: NodeIndex, path: &str) -> io::Result<Handle> {
        let state = lock(&self.state);
        let disk = &state.disks[node.at()];
        Ok(Handle { inode: disk.tree.open(path)?, boot: disk.boot })
    }

    fn with_content<T>(&self, node: NodeIndex, handle: Handle, look: impl FnOnce(&super::content::Content) -> T) -> io::Result<T> {
        let state = lock(&self.state);
        let disk = &state.disks[node.at()];
        if handle.boot != disk.boot {
            return Err(stale());
        }
        Ok(look(disk.tree.file(handle.inode)?))
    }
}

impl SimFiles {
    pub(crate) fn new(world: World, node: Arc<Node>, incarnation: u64) -> Self {
        Self { process: Arc::new(Process { world, node, incarnation }) }
    }

    fn disks(&self) -> &Disks {
        &self.process.world.inner.disks
    }

    fn world(&self) -> &World {
        &self.process.world
    }

    fn here(&self) -> NodeIndex {
        self.process.node.index
    }

    fn place(&self, path: &str) -> NodeIndex {
        self.disks().place(self.here(), path)
    }

    /// Destructors run after a crash: they must not reach the disk of the next life.
    fn check_alive(&self) -> io::Result<()> {
        if self.process.node.is_current(self.process.incarnation) {
            return Ok(());
        }
        Err(io::Error::from_raw_os_error(EIO))
    }

    fn plan(&self, storage: NodeIndex, op: DiskOp, path: &str) -> super::Plan {
        let mut plan = self.disks().plan(storage, op, path);
        plan.delay += self.world().buggify().late(Point::SlowOperation).unwrap_or_default();
        plan
    }

    async fn change(&self, storage: NodeIndex, path: &str, change: Change<'_>) -> Answer {
        self.check_alive()?;
        let plan = self.plan(storage, change.op(), path);
        if storage != self.here() {
            return self.change_remotely(storage, path, change, plan).await;
        }
        if !plan.delay.is_zero() {
            self.world().sleep(plan.delay).await;
            self.check_alive()?;
        }
        self.disks().execute(storage, path, change, plan.fault)
    }

    async fn change_remotely(&self, storage: NodeIndex, path: &str, change: Change<'_>, plan: super::Plan) -> Answer {
        let deadline = self.world().now() + self.disks().mount_timeout();
        let mut arrived = false;
        if let Some(latency) = reaches(self.world(), self.here(), storage, storage) {
            self.world().sleep(latency + plan.delay).await;
            self.check_alive()?;
            arrived = reaches(self.world(), self.here(), storage, storage).is_some();
        }
        let answer = if arrived {
            self.disks().execute(storage, path, change, plan.fault)
        } else {
            // The request is repeated by the machine, whatever becomes of the process and of its patience.
            let slot = self.send_repeatedly(storage, path, change, plan);
            loop {
                if let Some(answer) = lock(&slot).take() {
                    break answer;
                }
                self.wait_until(deadline, storage, change.op()).await?;
            }
        };
        self.receive(storage, change.op(), deadline).await?;
        answer
    }

    fn send_repeatedly(&self, storage: NodeIndex, path: &str, change: Change<'_>, plan: super::Plan) -> Arc<Mutex<Option<Answer>>> {
        let slot = Arc::new(Mutex::new(None));
        let (world, client, answer) = (self.world().clone(), self.here(), slot.clone());
        let (path, op, luggage) = (path.to_owned(), change.op(), change.luggage());
        let (handle, at) = match change {
            Change::Append { handle, .. } => {
                let size = self.disks().with_content(storage, handle, |content| content.bytes.len() as u64);
                (Some(handle), size.ok())
            }
            Change::Sync { handle } => (Some(handle), None),
            _ => (None, None),
        };
        let timeout = self.disks().mount_timeout();
        let until = self.world().now() + timeout.mul_f64(lock(&self.disks().state).rng.gen_range(0.5..2.0));
        let repeat = async move {
            while world.now() < until {
                world.sleep(PATIENCE).await;
                if let Some(latency) = reaches(&world, client, storage, storage) {
                    world.sleep(latency + plan.delay).await;
                    let to = std::str::from_utf8(&luggage).unwrap_or_default();
                    let change = match (op, handle) {
                        (DiskOp::CreateFolder, _) => Change::CreateFolder,
                        (DiskOp::Create, _) => Change::Create,
                        (DiskOp::Rename, _) => Change::Rename { to },
                        (DiskOp::Link, _) => Change::Link { to },
                        (DiskOp::Remove, _) => Change::Remove,
                        (DiskOp::RemoveFolder, _) => Change::RemoveFolder,
                        (DiskOp::Append, Some(handle)) => Change::Append { handle, bytes: &luggage, at },
                        (DiskOp::Sync, Some(handle)) => Change::Sync { handle },
                        _ => Change::SyncFolder,
                    };
                    *lock(&answer) = Some(world.inner.disks.execute(storage, &path, change, plan.fault));
                    return;
                }
            }
        };
        self.world().spawn("mount-request", repeat).detach();
        slot
    }

    /// Looks at a disk; if it is elsewhere, after the way there and before the way back.
    async fn look<T>(
        &self,
        storage: NodeIndex,
        op: DiskOp,
        path: &str,
        look: impl FnOnce(&Disks, Option<DiskFault>) -> io::Result<T> + Send,
    ) -> io::Result<T> {
        self.check_alive()?;
        let plan = self.plan(storage, op, path);
        let remote = storage != self.here();
        let deadline = self.world().now() + if remote { self.disks().mount_timeout() } else { Duration::ZERO };
        let mut delay = plan.delay;
        if remote {
            delay += loop {
                if let Some(latency) = reaches(self.world(), self.here(), storage, storage) {
                    break latency;
                }
                self.wait_until(deadline, storage, op).await?;
            };
        }
        if !delay.is_zero() {
            self.world().sleep(delay).await;
            self.check_alive()?;
        }
        if let Some(fault) = plan.fault.filter(|fault| fault.is_told()) {
            self.disks().failed(storage, op, fault, path);
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let seen = look(self.disks(), plan.fault);
        if remote {
            self.receive(storage, op, deadline).await?;
        }
        seen
    }

    /// The answer's way back.
    async fn receive(&self, storage: NodeIndex, op: DiskOp, deadline: Duration) -> io::Result<()> {
        loop {
            if let Some(latency) = reaches(self.world(), storage, self.here(), storage) {
                if !latency.is_zero() {
                    self.world().sleep(latency).await;
                }
                return self.check_alive();
            }
            self.wait_until(deadline, storage, op).await?;
        }
    }

    async fn wait_until(&self, deadline: Duration, storage: NodeIndex, op: DiskOp) -> io::Result<()> {
        let now = self.world().now();
        if now >= deadline {
            self.world().inner.sink.fault("mount-timeout");
            self.world().note(&WorldEvent::MountTimedOut { client: self.here(), storage, op });
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.world().sleep(PATIENCE.min(deadline - now)).await;
        self.check_alive()
    }

    fn opened(&self, storage: NodeIndex, handle: Handle, path: &str, writable: bool) -> SimFile {
        SimFile { files: self.clone(), storage, handle, path: path.into(), writable }
    }

    async fn change_done(&self, path: &str, change: Change<'_>) -> io::Result<()> {
        self.change(self.place(path), path, change).await.map(|_| ())
    }

    /// Both paths are on the same disk, or nothing can be done.
    fn same_place(&self, from: &str, to: &str) -> io::Result<()> {
        if self.place(from) == self.place(to) {
            return Ok(());
        }
        Err(io::ErrorKind::CrossesDevices.into())
    }
}

/// How long a packet takes between a client and a storage node that serves; `None` if there is no way now.
fn reaches(world: &World, from: NodeIndex, to: NodeIndex, storage: NodeIndex) -> Option<Duration> {
    if !world.is_up(storage) {
        return None;
    }
    world.inner.network.one_way(from, to)
}

impl Files for SimFiles {
    type File = SimFile;

    async fn create_folder(&self, path: &str) -> io::Result<()> {
        self.change_done(path, Change::CreateFolder).await
    }

    async fn create(&self, path: &str) -> io::Result<SimFile> {
        let storage = self.place(path);
        let made = self.change(storage, path, Change::Create).await?;
        let handle = made.ok_or_else(stale)?;
        Ok(self.opened(storage, handle, path, true))
    }

    async fn open(&self, path: &str) -> io::Result<SimFile> {
        let storage = self.place(path);
        let handle = self.look(storage, DiskOp::Open, path, |disks, _| disks.open(storage, path)).await?;
        Ok(self.opened(storage, handle, path, false))
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.same_place(from, to)?;
        self.change_done(from, Change::Rename { to }).await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.same_place(from, to)?;
        self.change_done(from, Change::Link { to }).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.change_done(path, Change::Remove).await
    }

    async fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.change_done(path, Change::RemoveFolder).await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let storage = self.place(path);
        self.look(storage, DiskOp::List, path, |disks, _| lock(&disks.state).disks[storage.at()].tree.list(path)).await
    }

    async fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.change_done(path, Change::SyncFolder).await
    }
}

impl File for SimFile {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if !self.writable {
            return Err(io::Error::from_raw_os_error(EBADF));
        }
        let change = Change::Append { handle: self.handle, bytes, at: None };
        self.files.change(self.storage, &self.path, change).await.map(|_| ())
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.files.change(self.storage, &self.path, Change::Sync { handle: self.handle }).await.map(|_| ())
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let (storage, handle) = (self.storage, self.handle);
        let few = self.files.world().buggify().few(Point::FewBytes, buffer.len()).unwrap_or(buffer.len());
        let buffer = &mut buffer[..few];
        let read = |disks: &Disks, fault: Option<DiskFault>| {
            let count = disks.with_content(storage, handle, |content| content.read_at(offset, buffer))?;
            Ok(fault.map_or(count, |fault| disks.read_wrongly(storage, fault, &self.path, buffer, count)))
        };
        self.files.look(storage, DiskOp::ReadAt, &self.path, read).await
    }

    async fn size(&self) -> io::Result<u64> {
        let (storage, handle) = (self.storage, self.handle);
        let size = |disks: &Disks, _: Option<DiskFault>| disks.with_content(storage, handle, |content| content.bytes.len() as u64);
        self.files.look(storage, DiskOp::Size, &self.path, size).await
    }
}
