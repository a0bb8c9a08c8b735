//! The environment of production: tokio, TCP and files.

use super::{Env, File, Files, Listener};
use crate::observe::Event;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::AsyncWriteExt;

#[cfg(feature = "object-store")]
mod objects;

/// This build has no object storage: see the cargo feature `object-store`.
#[cfg(not(feature = "object-store"))]
pub use super::objects::NoObjects as RealObjects;
/// The object stores that a URL can name: `s3://`, `gs://`, `az://`, `file://`, `memory://`.
#[cfg(feature = "object-store")]
pub use objects::RealObjects;

/// Called with every event of the engine.
pub type Observer = Arc<dyn Fn(&Event) + Send + Sync>;

/// tokio's answer to [`Env`]. Must be used inside a tokio runtime.
#[derive(Clone)]
pub struct RealEnv {
    origin: Instant,
    files: RealFiles,
    objects: RealObjects,
    observer: Option<Observer>,
}

impl Default for RealEnv {
    fn default() -> Self {
        Self::new(None)
    }
}

impl RealEnv {
    /// The observer sees every event, beside what goes to `tracing`.
    #[must_use]
    pub fn new(observer: Option<Observer>) -> Self {
        Self { origin: Instant::now(), files: RealFiles, objects: Default::default(), observer }
    }
}

/// Aborts the task when dropped.
pub struct RealTask(Option<tokio::task::JoinHandle<()>>);

impl Drop for RealTask {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}

impl Env for RealEnv {
    type Stream = tokio::net::TcpStream;
    type Listener = RealListener;
    type Files = RealFiles;
    type Objects = RealObjects;
    type Task = RealTask;

    fn spawn(&self, _name: &'static str, future: impl Future<Output = ()> + Send + 'static) -> RealTask {
        // Destructors start tasks that clean up, and some run when the runtime is gone already.
        RealTask(tokio::runtime::Handle::try_current().ok().map(|runtime| runtime.spawn(future)))
    }

    fn now(&self) -> Duration {
        self.origin.elapsed()
    }

    fn wall_clock_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn sleep(&self, duration: Duration) -> impl Future<Output = ()> + Send {
        tokio::time::sleep(duration)
    }

    fn random(&self) -> u64 {
        use std::hash::{BuildHasher, Hasher};
        // The standard library's per-process random keys are all the randomness that jitter and temporary names need.
        std::collections::hash_map::RandomState::new().build_hasher().finish()
    }

    async fn bind(&self, address: SocketAddr) -> io::Result<RealListener> {
        Ok(RealListener(tokio::net::TcpListener::bind(address).await?))
    }

    async fn connect(&self, address: SocketAddr) -> io::Result<tokio::net::TcpStream> {
        let connecting = tokio::net::TcpStream::connect(address);
        let stream = tokio::time::timeout(Duration::from_secs(5), connecting).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    async fn blocking<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(failed) => match failed.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is being shut down: nobody waits any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn files(&self) -> &RealFiles {
        &self.files
    }

    fn objects(&self) -> &RealObjects {
        &self.objects
    }

    fn observe(&self, event: Event) {
        tracing::debug!(target: "cofferdam", actor = %event.actor, attempt = ?event.attempt, checkpoint = ?event.checkpoint,
            moment = event.moment.name(), detail = ?event.detail);
        if let Some(observer) = &self.observer {
            observer(&event);
        }
    }
}

/// A TCP port.
pub struct RealListener(tokio::net::TcpListener);

impl Listener for RealListener {
    type Stream = tokio::net::TcpStream;

    async fn accept(&self) -> io::Result<(tokio::net::TcpStream, SocketAddr)> {
        let (stream, peer) = self.0.accept().await?;
        stream.set_nodelay(true)?;
        Ok((stream, peer))
    }

    fn local_address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// The file systems of this machine.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealFiles;

async fn blocking<T: Send + 'static>(operation: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    tokio::task::spawn_blocking(operation).await.unwrap_or_else(|failed| Err(io::Error::other(failed)))
}

impl Files for RealFiles {
    type File = RealFile;

    async fn create_folder(&self, path: &str) -> io::Result<()> {
        tokio::fs::create_dir(path).await
    }

    async fn create(&self, path: &str) -> io::Result<RealFile> {
        let file = tokio::fs::OpenOptions::new().append(true).create_new(true).open(path).await?;
        Ok(RealFile { file, path: path.into() })
    }

    async fn open(&self, path: &str) -> io::Result<RealFile> {
        let file = tokio::fs::File::open(path).await?;
        Ok(RealFile { file, path: path.into() })
    }

    async fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        tokio::fs::rename(from, to).await
    }

    async fn link(&self, from: &str, to: &str) -> io::Result<()> {
        tokio::fs::hard_link(from, to).await
    }

    async fn remove(&self, path: &str) -> io::Result<()> {
        tokio::fs::remove_file(path).await
    }

    async fn remove_folder(&self, path: &str) -> io::Result<()> {
        tokio::fs::remove_dir(path).await
    }

    async fn list(&self, path: &str) -> io::Result<Vec<String>> {
        let path = PathBuf::from(path);
        blocking(move || {
            let mut names = Vec::new();
            for entry in std::fs::read_dir(path)? {
                let name = entry?.file_name();
                names.push(name.into_string().map_err(|name| io::Error::other(format!("{} is not UTF-8", name.display())))?);
            }
            names.sort();
            Ok(names)
        })
        .await
    }

    async fn sync_folder(&self, path: &str) -> io::Result<()> {
        let path = PathBuf::from(path);
        blocking(move || std::fs::File::open(path)?.sync_all()).await
    }
}

/// An open file of this machine.
pub struct RealFile {
    file: tokio::fs::File,
    path: PathBuf,
}

impl RealFile {
    /// What it was opened as.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl File for RealFile {
    async fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all(bytes).await?;
        self.file.flush().await
    }

    async fn sync(&mut self) -> io::Result<()> {
        self.file.sync_all().await
    }

    async fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        use std::os::unix::fs::FileExt;
        // Reads go through a second handle, so that they share no position with anybody.
        let file = self.file.try_clone().await?.into_std().await;
        let count = buffer.len();
        let bytes = blocking(move || {
            let mut bytes = vec![0; count];
            let mut filled = 0;
            while filled < count {
                match file.read_at(&mut bytes[filled..], offset + filled as u64)? {
                    0 => break,
                    more => filled += more,
                }
            }
            bytes.truncate(filled);
            Ok(bytes)
        })
        .await?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        Ok(bytes.len())
    }

    async fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata().await?.len())
    }
}
