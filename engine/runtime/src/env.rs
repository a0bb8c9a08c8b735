//! The ports: everything that the engine wants from the world. It is generic over [`Env`] and never asks which one it got;
//! faults enter through here.

use crate::observe::{Event, MachineStep};
use crate::sight::Sight;
use crate::sometimes::Point;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};

pub mod objects;
#[cfg(feature = "real")]
pub mod real;

pub use objects::{ObjectError, Objects};

/// One process's view of the world. Cheap to clone.
pub trait Env: Clone + Send + Sync + 'static {
    /// A connection.
    type Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static;
    /// An open port.
    type Listener: Listener<Stream = Self::Stream>;
    /// The file systems that the process has mounted.
    type Files: Files;
    /// The object stores that the process can reach.
    type Objects: Objects;
    /// A running task; dropping it aborts the task at its next await.
    type Task: Send + Sync + 'static;

    /// Starts a task. `name` is for people.
    fn spawn(&self, name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> Self::Task;
    /// Monotonic time since some origin of this process's machine.
    fn now(&self) -> Duration;
    /// Milliseconds since 1970 by this machine's clock, which may be wrong, drift and jump. Processing time.
    fn wall_clock_ms(&self) -> i64;
    /// Waits at least so long.
    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send;
    /// A random number.
    fn random(&self) -> u64;
    /// Opens a port; port 0 asks for any free one.
    fn bind(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Listener>> + Send;
    /// Connects.
    fn connect(&self, address: SocketAddr) -> impl Future<Output = io::Result<Self::Stream>> + Send;
    /// Runs what may take long or wait for the local disk without an await, away from where tasks run.
    fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> impl Future<Output = T> + Send {
        async move { work() }
    }
    /// The file systems.
    fn files(&self) -> &Self::Files;
    /// The object stores.
    fn objects(&self) -> &Self::Objects;
    /// Tells whoever watches what just happened. Must not change what the engine does.
    fn observe(&self, event: Event);
    /// Tells whoever replays machines of the protocol what one of them gets, or what is done for it. Nobody may ask: then nothing is made.
    fn machine(&self, step: impl FnOnce() -> MachineStep) {
        drop(step);
    }
    /// A point of [`sometimes!`](crate::sometimes!) was reached. Must not change what the engine does.
    #[inline(always)]
    fn reached(&self, point: &'static Point) {
        let _ = point;
    }
    /// Shows a machine to whoever wants to see it. Must not change what the engine does.
    #[inline(always)]
    fn look(&self, sight: Sight<'_>) {
        let _ = sight;
    }
}

/// An open port.
pub trait Listener: Send + Sync + 'static {
    /// A connection.
    type Stream;
    /// The next connection, and who it is from.
    fn accept(&self) -> impl Future<Output = io::Result<(Self::Stream, SocketAddr)>> + Send;
    /// The address that others can connect to.
    fn local_address(&self) -> io::Result<SocketAddr>;
}

/// POSIX-like file operations. Nothing is durable before it is synced: data by [`File::sync`], the entry of a new, renamed,
/// linked or removed file or folder by [`sync_folder`](Files::sync_folder) of the folder that it stands in.
pub trait Files: Clone + Send + Sync + 'static {
    /// An open file.
    type File: File;
    /// Makes one folder; its parent must exist. An existing one is `AlreadyExists`.
    fn create_folder(&self, path: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// A new, empty file for appending. An existing one is `AlreadyExists`; a missing folder is `NotFound`.
    fn create(&self, path: &str) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// An existing file for reading.
    fn open(&self, path: &str) -> impl Future<Output = io::Result<Self::File>> + Send;
    /// Renames a file, replacing `to`.
    fn rename(&self, from: &str, to: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// Gives a file a second name. An existing `to` is `AlreadyExists`: this is the conditional put of a file system.
    fn link(&self, from: &str, to: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes a file.
    fn remove(&self, path: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// Removes an empty folder; `DirectoryNotEmpty` otherwise.
    fn remove_folder(&self, path: &str) -> impl Future<Output = io::Result<()>> + Send;
    /// The names in a folder, sorted.
    fn list(&self, path: &str) -> impl Future<Output = io::Result<Vec<String>>> + Send;
    /// Makes the entries of a folder durable.
    fn sync_folder(&self, path: &str) -> impl Future<Output = io::Result<()>> + Send;
}

/// An open file.
pub trait File: Send + Sync + 'static {
    /// Appends all of it.
    fn append(&mut self, bytes: &[u8]) -> impl Future<Output = io::Result<()>> + Send;
    /// Makes the data durable (`fsync`). After an error nothing that was not synced before can be relied on.
    fn sync(&mut self) -> impl Future<Output = io::Result<()>> + Send;
    /// Reads up to `buffer.len()` bytes at an offset; 0 at and behind the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> impl Future<Output = io::Result<usize>> + Send;
    /// In bytes.
    fn size(&self) -> impl Future<Output = io::Result<u64>> + Send;
}
