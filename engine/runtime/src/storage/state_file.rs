//! Files of blocks, written and read as streams: neither side ever holds more than a block and a bit.

use super::filesystem::remove_file;
use super::object::requests;
use super::StorageError;
use crate::env::{Env, File, Files};
use cofferdam_protocol::block::{
    check_block, check_nothing_behind, parse_block_head, parse_end, parse_header, write_block, write_end, write_header, BlockHead,
    BlockWriter, FileKind, BLOCK_HEAD_SIZE, HEADER_SIZE, VERSION,
};
use cofferdam_protocol::stored::StoredError;
use std::fmt;

/// How much goes into one append, and comes out of one read.
pub(super) const TRANSFER_SIZE: usize = 256 << 10;
/// How often something that does not match its checksum is read. What a disk or the way from it has garbled once may be right the next
/// time; only what is wrong each time is damaged.
pub(super) const READS: u32 = 3;
/// The same for objects, where each request is a way there and back.
const OBJECT_TRANSFER_SIZE: u64 = 4 << 20;

pub(super) type FileOf<E> = <<E as Env>::Files as Files>::File;

/// Writes a new file and makes its content durable. Its name is not: sync the folder.
pub(crate) async fn write_new<E: Env>(env: &E, path: &str, bytes: &[u8]) -> Result<(), StorageError> {
    let mut file = env.files().create(path).await.map_err(StorageError::io("create", path))?;
    for chunk in bytes.chunks(TRANSFER_SIZE) {
        file.append(chunk).await.map_err(StorageError::io("append to", path))?;
    }
    file.sync().await.map_err(StorageError::io("sync", path))
}

/// Makes content and name of a file durable, of which so many bytes were written.
pub(super) async fn make_durable<E: Env>(env: &E, path: &str, file: &mut FileOf<E>, size_bytes: u64) -> Result<(), StorageError> {
    file.sync().await.map_err(StorageError::io("sync", path))?;
    let folder = path.rsplit_once('/').map_or(".", |(folder, _)| folder);
    env.files().sync_folder(folder).await.map_err(StorageError::io("sync folder", folder))?;
    // Why: where the files are on another machine, it may have lost power since the sync of the content, and the name with
    // it; the sync of the folder then finds nothing to do. What was lost before the sync shows in the size as well.
    let file = env.files().open(path).await.map_err(StorageError::io("open", path))?;
    if file.size().await.map_err(StorageError::io("size", path))? != size_bytes {
        return Err(StorageError::ReadBack { path: path.into() });
    }
    Ok(())
}

/// Writes a state file.
pub struct StateFileWriter<E: Env> {
    env: E,
    path: String,
    file: FileOf<E>,
    pending: Vec<u8>,
    total: u64,
    size_bytes: u64,
    failed: bool,
}

impl<E: Env> fmt::Debug for StateFileWriter<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFileWriter").field("path", &self.path).field("size_bytes", &self.size_bytes).finish_non_exhaustive()
    }
}

impl<E: Env> StateFileWriter<E> {
    /// Creates the file.
    ///
    /// # Errors
    /// `Io`: `AlreadyExists` if the name was used before, `NotFound` if the folder is gone.
    pub async fn create(env: &E, path: &str) -> Result<Self, StorageError> {
        let file = env.files().create(path).await.map_err(StorageError::io("create", path))?;
        let mut pending = Vec::new();
        write_header(FileKind::State, &mut pending);
        Ok(Self { env: env.clone(), path: path.into(), file, pending, total: 0, size_bytes: 0, failed: false })
    }

    /// Goes on from blocks that were small enough for memory at first. Nothing else is in the file yet.
    pub(super) fn take_over(&mut self, blocks: BlockWriter) {
        (self.pending, self.total) = blocks.into_unfinished();
    }

    /// Appends a block of 1 byte to 1 MiB.
    ///
    /// # Errors
    /// `BlockSize`, or `Io`, after which the file is given up.
    pub async fn block(&mut self, payload: &[u8]) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Abandoned { path: self.path.clone() });
        }
        write_block(payload, &mut self.pending).map_err(|source| StorageError::BlockSize { path: self.path.clone(), source })?;
        self.total += payload.len() as u64;
        if self.pending.len() >= TRANSFER_SIZE {
            self.flush().await?;
        }
        Ok(())
    }

    /// Appends the end, makes content and name durable, and says how many bytes the file has. After an error the file is
    /// removed as far as possible.
    ///
    /// # Errors
    /// `Io` or `ReadBack`.
    pub async fn finish(mut self) -> Result<u64, StorageError> {
        write_end(self.total, &mut self.pending);
        let outcome = self.make_durable().await;
        if outcome.is_err() {
            // It goes with the checkpoint's folder in any case.
            let _ = remove_file(&self.env, &self.path).await;
        }
        outcome
    }

    async fn make_durable(&mut self) -> Result<u64, StorageError> {
        self.flush().await?;
        make_durable(&self.env, &self.path, &mut self.file, self.size_bytes).await?;
        Ok(self.size_bytes)
    }

    async fn flush(&mut self) -> Result<(), StorageError> {
        if self.failed {
            return Err(StorageError::Abandoned { path: self.path.clone() });
        }
        // Until all of it is there: an append that failed, or was dropped half way, leaves nobody knows what.
        self.failed = true;
        for chunk in self.pending.chunks(TRANSFER_SIZE) {
            self.file.append(chunk).await.map_err(StorageError::io("append to", &self.path))?;
        }
        self.failed = false;
        self.size_bytes += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}

/// Reads a file of blocks, or the same bytes from memory, and checks every one of them.
pub struct StateFileReader<E: Env> {
    path: String,
    source: Source<E>,
    /// Where it begins in the file.
    base: u64,
    size: u64,
    /// Read ahead: the bytes of the file from `offset` on.
    buffer: Vec<u8>,
    used: usize,
    offset: u64,
    total: u64,
    ended: bool,
    version: u16,
}

/// Where more bytes come from.
enum Source<E: Env> {
    /// All are in the buffer from the start.
    Buffer,
    File(FileOf<E>),
    /// Of the reader's path.
    Object(E),
}

impl<E: Env> fmt::Debug for StateFileReader<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateFileReader").field("path", &self.path).field("offset", &self.offset).finish_non_exhaustive()
    }
}

impl<E: Env> StateFileReader<E> {
    /// Opens a file and checks its header and, if it is known, its size.
    ///
    /// # Errors
    /// `Io` or `Corrupt`.
    pub async fn open(env: &E, kind: FileKind, path: &str, expected_bytes: Option<u64>) -> Result<Self, StorageError> {
        let file = env.files().open(path).await.map_err(StorageError::io("open", path))?;
        let size = file.size().await.map_err(StorageError::io("read the size of", path))?;
        Self::begin(Self::over(path.into(), Source::File(file), size, Vec::new()), kind, expected_bytes).await
    }

    /// As [`open`](Self::open), of an object.
    ///
    /// # Errors
    /// `Object` or `Corrupt`.
    pub async fn open_object(env: &E, kind: FileKind, url: &str, expected_bytes: Option<u64>) -> Result<Self, StorageError> {
        let first = requests::range(env, url, 0, OBJECT_TRANSFER_SIZE).await.map_err(StorageError::object("read", url))?;
        let source = Source::Object(env.clone());
        Self::begin(Self::over(url.into(), source, first.object_size_bytes, first.bytes.into()), kind, expected_bytes).await
    }

    /// As [`open`](Self::open), of a part of a file.
    ///
    /// # Errors
    /// `Io` or `Corrupt`. Offsets are those within the segment.
    pub async fn open_segment(env: &E, kind: FileKind, path: &str, base: u64, size_bytes: u64) -> Result<Self, StorageError> {
        let file = env.files().open(path).await.map_err(StorageError::io("open", path))?;
        let there = file.size().await.map_err(StorageError::io("read the size of", path))?;
        let size = there.saturating_sub(base).min(size_bytes);
        let mut reader = Self::over(format!("{path} from {base}"), Source::File(file), size, Vec::new());
        reader.base = base;
        Self::begin(reader, kind, Some(size_bytes)).await
    }

    async fn begin(mut reader: Self, kind: FileKind, expected_bytes: Option<u64>) -> Result<Self, StorageError> {
        let (path, size) = (reader.path.clone(), reader.size);
        let expected = expected_bytes.unwrap_or(size);
        if size < expected {
            let source = StoredError::Truncated { offset: size, what: "a file that was larger" };
            return Err(StorageError::Corrupt { path, source });
        }
        check_nothing_behind(size - expected, expected).map_err(StorageError::corrupt(&path))?;
        let mut read = 1;
        loop {
            let header = reader.array("the header").await?;
            match parse_header(kind, &header) {
                Ok(version) => {
                    reader.version = version;
                    return Ok(reader);
                }
                // Why not a version that is not known: it may be the version that is garbled.
                Err(_) if read < READS => reader.go_back(0),
                Err(source) => return Err(StorageError::Corrupt { path, source }),
            }
            read += 1;
        }
    }

    /// What has been read from there on is read again.
    fn go_back(&mut self, to: u64) {
        self.buffer.clear();
        (self.used, self.offset) = (0, to);
    }

    /// Reads state that came with the metadata.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn inline(bytes: Vec<u8>) -> Result<Self, StorageError> {
        let path = "inline state";
        let mut reader = Self::over(path.into(), Source::Buffer, bytes.len() as u64, bytes);
        let Some(header) = reader.buffer.first_chunk::<HEADER_SIZE>() else {
            let source = StoredError::Truncated { offset: reader.size, what: "the header" };
            return Err(StorageError::Corrupt { path: path.into(), source });
        };
        parse_header(FileKind::State, header).map_err(StorageError::corrupt(path))?;
        reader.advance(HEADER_SIZE);
        Ok(reader)
    }

    fn over(path: String, source: Source<E>, size: u64, buffer: Vec<u8>) -> Self {
        Self { path, source, base: 0, size, buffer, used: 0, offset: 0, total: 0, ended: false, version: VERSION }
    }

    /// The version of what is in the blocks.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The next payload and the offset that it stands at; `None` once the end has been seen and found in order.
    ///
    /// # Errors
    /// `Io`, after which the same block can be asked for again, or `Corrupt`.
    pub async fn next(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        let (begin, mut read) = (self.offset, 1);
        loop {
            match self.block().await {
                Err(StorageError::Corrupt { .. }) if read < READS && !matches!(self.source, Source::Buffer) => self.go_back(begin),
                outcome => return outcome,
            }
            read += 1;
        }
    }

    async fn block(&mut self) -> Result<Option<(u64, Vec<u8>)>, StorageError> {
        if self.ended {
            return Ok(None);
        }
        let begin = self.offset;
        self.fill(BLOCK_HEAD_SIZE, "the head of a block").await?;
        let head = self.peek(0);
        match parse_block_head(&head, begin).map_err(StorageError::corrupt(&self.path))? {
            BlockHead::Block { size_bytes, checksum } => {
                self.fill(BLOCK_HEAD_SIZE + size_bytes, "a block").await?;
                let payload = self.buffer[self.used + BLOCK_HEAD_SIZE..][..size_bytes].to_vec();
                check_block(&payload, checksum, begin).map_err(StorageError::corrupt(&self.path))?;
                self.advance(BLOCK_HEAD_SIZE + size_bytes);
                self.total += payload.len() as u64;
                Ok(Some((begin + BLOCK_HEAD_SIZE as u64, payload)))
            }
            BlockHead::End { checksum } => {
                self.fill(BLOCK_HEAD_SIZE * 2, "the end").await?;
                let total = self.peek(BLOCK_HEAD_SIZE);
                parse_end(&total, checksum, self.total, begin).map_err(StorageError::corrupt(&self.path))?;
                self.advance(BLOCK_HEAD_SIZE * 2);
                check_nothing_behind(self.size - self.offset, self.offset).map_err(StorageError::corrupt(&self.path))?;
                self.ended = true;
                Ok(None)
            }
        }
    }

    fn peek<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.buffer[self.used + at..][..N]);
        bytes
    }

    async fn array<const N: usize>(&mut self, what: &'static str) -> Result<[u8; N], StorageError> {
        self.fill(N, what).await?;
        let bytes = self.peek(0);
        self.advance(N);
        Ok(bytes)
    }

    fn advance(&mut self, count: usize) {
        self.used += count;
        self.offset += count as u64;
    }

    /// Reads until `count` bytes are in the buffer. `count` is at most a block, and checked against the size of the file
    /// before anything is allocated.
    async fn fill(&mut self, count: usize, what: &'static str) -> Result<(), StorageError> {
        if count as u64 > self.size - self.offset {
            let source = StoredError::Truncated { offset: self.size, what };
            return Err(StorageError::Corrupt { path: self.path.clone(), source });
        }
        while self.buffer.len() - self.used < count {
            self.buffer.drain(..self.used);
            self.used = 0;
            let have = self.buffer.len();
            let at = self.offset + have as u64;
            let left = usize::try_from(self.size - at).unwrap_or(usize::MAX);
            let count = match &self.source {
                Source::File(file) => {
                    // Not into the buffer, where it would be taken for read if this future is dropped while it waits.
                    let mut chunk = vec![0; left.min((count - have).max(TRANSFER_SIZE))];
                    let count = file.read_at(self.base + at, &mut chunk).await.map_err(StorageError::io("read", &self.path))?;
                    self.buffer.extend_from_slice(&chunk[..count]);
                    count
                }
                Source::Object(env) => {
                    let wanted = ((count - have) as u64).max(OBJECT_TRANSFER_SIZE).min(left as u64);
                    let piece = requests::range(env, &self.path, at, wanted).await.map_err(StorageError::object("read", &self.path))?;
                    self.buffer.extend_from_slice(&piece.bytes);
                    piece.bytes.len()
                }
                Source::Buffer => 0,
            };
            if count == 0 {
                let source = StoredError::Truncated { offset: at, what };
                return Err(StorageError::Corrupt { path: self.path.clone(), source });
            }
        }
        Ok(())
    }
}
