//! A disk in memory: what is not synced is lost in a crash, and any operation can be made to fail.
//!
//! The full simulated disk is elsewhere; this one is small enough to be tried at every single operation.

use super::objects::TestObjects;
use crate::env::{Env, File, Files, Listener};
use crate::observe::Event;
use std::collections::hash_map::DefaultHasher;
use std::collections::{BTreeMap, BTreeSet};
use std::future::{poll_fn, Future};
use std::hash::{Hash, Hasher};
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::io::DuplexStream;

/// What is wrong with an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It fails and has done nothing.
    Before,
    /// It has happened, but the answer is an error.
    After,
    /// It and all that follow fail and do nothing: the process is dead.
    Halt,
}

/// What a crash leaves of what was not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced {
    Lost,
    Kept,
    /// Each name and each content is as it was or as it is, by its own lot.
    Scattered(u64),
}

impl Unsynced {
    pub const ALL: [Self; 6] = [Self::Lost, Self::Kept, Self::Scattered(1), Self::Scattered(2), Self::Scattered(3), Self::Scattered(4)];

    fn keeps(self, what: impl Hash) -> bool {
        match self {
            Self::Lost => false,
            Self::Kept => true,
            Self::Scattered(lot) => {
                let mut hasher = DefaultHasher::new();
                (lot, what).hash(&mut hasher);
                hasher.finish().is_multiple_of(2)
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Node {
    Folder,
    File(usize),
}

#[derive(Default)]
struct Content {
    live: Vec<u8>,
    synced: Vec<u8>,
}

#[derive(Default)]
struct State {
    contents: Vec<Content>,
    live: BTreeMap<String, Node>,
    durable: BTreeMap<String, Node>,
    operation_count: u64,
    fault: Option<(u64, Fault)>,
    /// How many reads from now on show a flipped bit.
    garbled: u32,
}

fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(parent, _)| parent)
}

fn is_child(path: &str, folder: &str) -> bool {
    parent(path) == folder
}

impl State {
    fn folder(&self, path: &str) -> io::Result<()> {
        match self.live.get(path) {
            Some(Node::Folder) => Ok(()),
            None if path == "." => Ok(()),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn file(&self, path: &str) -> io::Result<usize> {
        match self.live.get(path) {
            Some(Node::File(content)) => Ok(*content),
            Some(Node::Folder) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    fn add(&mut self, path: &str, node: Node) -> io::Result<()> {
        self.folder(parent(path))?;
        if self.live.contains_key(path) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        self.live.insert(path.into(), node);
        Ok(())
    }

    fn children(&self, folder: &str) -> Vec<String> {
        self.live.keys().filter(|path| is_child(path, folder)).cloned().collect()
    }
}

/// The disk, and everything else that storage wants of an environment. Clones share it.
#[derive(Clone, Default)]
pub struct TestEnv {
    state: Arc<Mutex<State>>,
    randomness: Arc<AtomicU64>,
    /// The object store.
    pub store: TestObjects,
}

impl TestEnv {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no test panics with the lock held")
    }

    /// One operation: an await, at which others can go first, then the effect, whole or not at all.
    async fn operation<T>(&self, effect: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut waited = false;
        poll_fn(|context| {
            if std::mem::replace(&mut waited, true) {
                return Poll::Ready(());
            }
            context.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        let mut state = self.lock();
        let number = state.operation_count;
        state.operation_count += 1;
        let broken = || io::Error::from_raw_os_error(5);
        match state.fault {
            Some((at, Fault::Before)) if at == number => Err(broken()),
            Some((at, Fault::After)) if at == number => effect(&mut state).and(Err(broken())),
            Some((at, Fault::Halt)) if at <= number => Err(broken()),
            Some(_) | None => effect(&mut state),
        }
    }

    /// How many operations there have been.
    pub fn operation_count(&self) -> u64 {
        self.lock().operation_count
    }

    /// Makes the operation of this number fail.
    pub fn fail(&self, operation: u64, fault: Fault) {
        self.lock().fault = Some((operation, fault));
    }

    /// So many reads from now on show a flipped bit, at some place.
    pub fn garble(&self, reads: u32) {
        self.lock().garbled = reads;
    }

    /// Power off and on.
    pub fn crash(&self, unsynced: Unsynced) {
        let mut state = self.lock();
        state.fault = None;
        let paths: BTreeSet<String> = state.live.keys().chain(state.durable.keys()).cloned().collect();
        for path in paths.into_iter().filter(|path| !unsynced.keeps(path)) {
            match state.durable.get(&path).copied() {
                Some(node) => state.live.insert(path, node),
                None => state.live.remove(&path),
            };
        }
        for (number, content) in state.contents.iter_mut().enumerate() {
            if !unsynced.keeps(number) {
                content.live.clone_from(&content.synced);
            }
        }
        // What stands in a folder that is lost is lost with it.
        while let Some(lost) = state.live.keys().find(|path| state.folder(parent(path)).is_err()).cloned() {
            state.live.remove(&lost);
        }
        state.durable = state.live.clone();
        for content in &mut state.contents {
            content.synced.clone_from(&content.live);
        }
    }

    /// All paths.
    pub fn paths(&self) -> Vec<String> {
        self.lock().live.keys().cloned().collect()
    }

    /// What a file holds.
    pub fn bytes(&self, path: &str) -> Vec<u8> {
        let state = self.lock();
        state.contents[state.file(path).expect("the test knows that it is there")].live.clone()
    }

    /// Changes what a file holds, behind everybody's back.
    pub fn set_bytes(&self, path: &str, bytes: Vec<u8>) {
        let mut state = self.lock();
        let content = state.file(path).expect("the test knows that it is there");
        state.contents[content] = Content { synced: bytes.clone(), live: bytes };
    }
}

/// Runs a future that nobody else has to wake.
pub fn run<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = future.as_mut().poll(&mut context) {
            return value;
        }
    }
}

pub struct TestFile {
    env: TestEnv,
    content: usize,
}

impl File for TestFile {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        let content = self.content;
        self.env
            .operation(|state| {
                state.contents[content].live.extend_from_slice(bytes);
                Ok(())
            })
            .await
    }

    async fn sync(&mut self) -> io::Result<()> {
        let content = self.content;
        self.env
            .operation(|state| {
                let content = &mut state.contents[content];
                content.synced.clone_from(&content.live);
                Ok(())
            })
            .await
    }

    /// Gives less than asked for, as a file system may.
    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.env
            .operation(|state| {
                let live = &state.contents[self.content].live;
                let rest = &live[live.len().min(usize::try_from(offset).expect("files of a test are small"))..];
                let count = rest.len().min(buffer.len()).min(100_000);
                buffer[..count].copy_from_slice(&rest[..count]);
                if state.garbled > 0 && count > 0 {
                    state.garbled -= 1;
                    buffer[usize::try_from(state.garbled).expect("small") * 7 % count] ^= 1;
                }
                Ok(count)
            })
            .await
    }

    async fn size(&self) -> io::Result<u64> {
        self.env.operation(|state| Ok(state.contents[self.content].live.len() as u64)).await
    }
}

impl Files for TestEnv {
    type File = TestFile;

    async fn create_folder(&self, path: &str) -> io::Result<()> {
        self.operation(|state| state.add(path, Node::Folder)).await
    }

    async fn create(&self, path: &str) -> io::Result<TestFile> {
        let content = self
            .operation(|state| {
                let content = state.contents.len();
                state.add(path, Node::File(content))?;
                state.contents.push(Content::default());
                Ok(content)
            })
            .await?;
        Ok(TestFile { env: self.clone(), content })
    }

    async fn open(&self, path: &str) -> io::Result<TestFile> {
        let content = self.operation(|state| state.file(path)).await?;
        Ok(TestFile { env: self.clone(), content })
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation(|state| {
            let content = state.file(from)?;
            state.folder(parent(to))?;
            state.live.remove(from);
            state.live.insert(to.into(), Node::File(content));
            Ok(())
        })
        .await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        self.operation(|state| {
            let content = state.file(from)?;
            state.add(to, Node::File(content))
        })
        .await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        self.operation(|state| {
            state.file(path)?;
            state.live.remove(path);
            Ok(())
        })
        .await
    }

    async fn remove_folder(&self, path: &str) -> io::Result<()> {
        self.operation(|state| {
            state.folder(path)?;
            if !state.children(path).is_empty() {
                return Err(ErrorKind::DirectoryNotEmpty.into());
            }
            state.live.remove(path);
            Ok(())
        })
        .await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<String>> {
        self.operation(|state| {
            state.folder(path)?;
            let name = |child: String| child.rsplit_once('/').map_or(child.clone(), |(_, name)| name.into());
            Ok(state.children(path).into_iter().map(name).collect())
        })
        .await
    }

    async fn sync_folder(&self, path: &str) -> io::Result<()> {
        self.operation(|state| {
            state.folder(path)?;
            state.durable.retain(|child, _| !is_child(child, path));
            for child in state.children(path) {
                let node = state.live[&child];
                state.durable.insert(child, node);
            }
            Ok(())
        })
        .await
    }
}

pub struct NoListener;

impl Listener for NoListener {
    type Stream = DuplexStream;
    async fn accept(&self) -> io::Result<(DuplexStream, SocketAddr)> {
        Err(ErrorKind::Unsupported.into())
    }
    fn local_address(&self) -> io::Result<SocketAddr> {
        Err(ErrorKind::Unsupported.into())
    }
}

impl Env for TestEnv {
    type Stream = DuplexStream;
    type Listener = NoListener;
    type Files = Self;
    type Objects = TestObjects;
    type Task = ();

    /// Storage only cleans up in the background, which can as well be done at once.
    fn spawn(&self, _: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        run(future);
    }
    fn now(&self) -> Duration {
        Duration::ZERO
    }
    fn wall_clock_ms(&self) -> i64 {
        0
    }
    async fn sleep(&self, _: Duration) {}
    /// Different each time, which is all that storage needs.
    fn random(&self) -> u64 {
        self.randomness.fetch_add(1, Ordering::Relaxed)
    }
    async fn bind(&self, _: SocketAddr) -> io::Result<NoListener> {
        Err(ErrorKind::Unsupported.into())
    }
    async fn connect(&self, _: SocketAddr) -> io::Result<DuplexStream> {
        Err(ErrorKind::Unsupported.into())
    }
    fn files(&self) -> &Self {
        self
    }
    fn objects(&self) -> &TestObjects {
        &self.store
    }
    fn observe(&self, _: Event) {}
}
