//! The frame around everything that is stored: a header, blocks that each carry a checksum, an end that counts them up.
//!
//! ```text
//! header   magic [u8; 8], version u16, reserved u16 (0), crc32 of these 12 bytes                    16 bytes
//! block    size u32 (1 ..= 1 MiB), crc32 of size and payload, payload                               8 + size bytes, repeated
//! end      size u32 (0), crc32 of size and total, total payload bytes of all blocks u64             16 bytes, nothing behind it
//! ```
//! All integers are little-endian, the checksum is IEEE's. The header keeps its layout in every version to come, so that a
//! file of a later release is told from a broken one. The end is what tells a whole file from one that was cut off
//! between two blocks.
//!
//! Lives here: the frame, over slices ([`BlockWriter`], [`BlockReader`]) and as the pieces that a streaming reader needs.
//! Never here: what is inside a block, files.

use crate::stored::StoredError;
use alloc::vec::Vec;

/// Bytes of the header.
pub const HEADER_SIZE: usize = 16;
/// Bytes in front of a payload, and of the first half of the end.
pub const BLOCK_HEAD_SIZE: usize = 8;
/// Bytes of the total behind the end's head.
pub const TOTAL_SIZE: usize = 8;
/// The largest payload of a block; a reader never allocates more than this on the word of a file.
pub const BLOCK_LIMIT: usize = 1 << 20;
/// The first version of every format, which most still have.
pub const VERSION: u16 = 1;

/// What a file holds, by its magic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FileKind {
    /// `_metadata` of a checkpoint.
    Metadata,
    /// State of one subtask of one operator.
    State,
    /// An entry of the coordinator's journal.
    Journal,
    /// What a copy of state on a worker's disk consists of.
    LocalCopy,
}

impl FileKind {
    /// The first bytes of a file of this kind.
    #[must_use]
    pub const fn magic(self) -> [u8; 8] {
        match self {
            Self::Metadata => *b"CFDMETA\0",
            Self::State => *b"CFDSTATE",
            Self::Journal => *b"CFDJRNL\0",
            Self::LocalCopy => *b"CFDLOCAL",
        }
    }

    /// The newest version of the format that this release reads.
    #[must_use]
    pub const fn newest(self) -> u16 {
        match self {
            // Since 2: data in flight. Since 3: what operators have at the coordinator.
            Self::Metadata => 4,
            // Since 2: what is begun and what is being deleted. Since 3: the savepoint that the job was stopped with.
            Self::Journal => 3,
            Self::State | Self::LocalCopy => VERSION,
        }
    }

    /// For messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Metadata => "checkpoint metadata",
            Self::State => "a state file",
            Self::Journal => "a journal entry",
            Self::LocalCopy => "the manifest of a local copy",
        }
    }
}

/// A payload that no block can hold: none at all, or more than [`BLOCK_LIMIT`]. Split it over several blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a block holds 1 to {BLOCK_LIMIT} bytes, not {size_bytes}")]
pub struct BadBlockSize {
    /// What was to be written.
    pub size_bytes: usize,
}

fn checksum(parts: &[&[u8]]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn verify(offset: u64, found: u32, expected: u32) -> Result<(), StoredError> {
    if found == expected {
        return Ok(());
    }
    Err(StoredError::Checksum { offset, found, expected })
}

/// Appends the header, of the first version.
pub fn write_header(kind: FileKind, out: &mut Vec<u8>) {
    write_header_as(kind, VERSION, out);
}

fn write_header_as(kind: FileKind, version: u16, out: &mut Vec<u8>) {
    let begin = out.len();
    out.extend_from_slice(&kind.magic());
    out.extend_from_slice(&version.to_le_bytes());
    out.extend_from_slice(&0u16.to_le_bytes());
    let sum = checksum(&[&out[begin..]]);
    out.extend_from_slice(&sum.to_le_bytes());
}

/// Appends a block.
///
/// # Errors
/// If the payload is empty or too large; then nothing is appended.
pub fn write_block(payload: &[u8], out: &mut Vec<u8>) -> Result<(), BadBlockSize> {
    let too_large = BadBlockSize { size_bytes: payload.len() };
    if payload.is_empty() || payload.len() > BLOCK_LIMIT {
        return Err(too_large);
    }
    let size = u32::try_from(payload.len()).map_err(|_| too_large)?.to_le_bytes();
    out.extend_from_slice(&size);
    out.extend_from_slice(&checksum(&[&size, payload]).to_le_bytes());
    out.extend_from_slice(payload);
    Ok(())
}

/// Appends the end; `total` is the sum of all payload bytes.
pub fn write_end(total: u64, out: &mut Vec<u8>) {
    let size = 0u32.to_le_bytes();
    let total = total.to_le_bytes();
    out.extend_from_slice(&size);
    out.extend_from_slice(&checksum(&[&size, &total]).to_le_bytes());
    out.extend_from_slice(&total);
}

/// Checks a header, and says which version what follows has.
///
/// # Errors
/// `Invalid` for another magic, `Checksum`, or `Version` for a file of a later release.
pub fn parse_header(kind: FileKind, header: &[u8; HEADER_SIZE]) -> Result<u16, StoredError> {
    if header[..8] != kind.magic() {
        return Err(StoredError::Invalid { offset: 0, what: alloc::format!("this is not {}", kind.name()) });
    }
    verify(0, checksum(&[&header[..12]]), u32_at(header, 12))?;
    let version = u16::from_le_bytes([header[8], header[9]]);
    if version == 0 || version > kind.newest() {
        return Err(StoredError::Version { found: version, newest: kind.newest() });
    }
    if header[10..12] != [0, 0] {
        return Err(StoredError::Invalid { offset: 10, what: "reserved bytes are in use".into() });
    }
    Ok(version)
}

/// What the next eight bytes announce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BlockHead {
    /// A payload, to be checked by [`check_block`].
    Block {
        /// Of the payload: 1 to [`BLOCK_LIMIT`].
        size_bytes: usize,
        /// Over size and payload.
        checksum: u32,
    },
    /// The total, to be checked by [`parse_end`].
    End {
        /// Over a size of 0 and the total.
        checksum: u32,
    },
}

/// Reads the head of a block or of the end, which stands at `offset`.
///
/// # Errors
/// `Invalid` for a size that no block can have.
pub fn parse_block_head(head: &[u8; BLOCK_HEAD_SIZE], offset: u64) -> Result<BlockHead, StoredError> {
    let (size, checksum) = (u32_at(head, 0), u32_at(head, 4));
    if size == 0 {
        return Ok(BlockHead::End { checksum });
    }
    match usize::try_from(size) {
        Ok(size_bytes) if size_bytes <= BLOCK_LIMIT => Ok(BlockHead::Block { size_bytes, checksum }),
        Ok(_) | Err(_) => Err(StoredError::Invalid { offset, what: alloc::format!("a block cannot have {size} bytes") }),
    }
}

/// Checks a payload against the head of its block, which stands at `offset`.
///
/// # Errors
/// `Checksum`.
pub fn check_block(payload: &[u8], expected: u32, offset: u64) -> Result<(), StoredError> {
    // A payload beyond u32 cannot come out of a head; its checksum would not match either.
    let size = u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes();
    verify(offset, checksum(&[&size, payload]), expected)
}

/// Checks the total behind the end's head, which stands at `offset`. `read` is the sum of the payload bytes that were read.
///
/// # Errors
/// `Checksum`, or `Invalid` if blocks are missing or doubled.
pub fn parse_end(total: &[u8; TOTAL_SIZE], expected: u32, read: u64, offset: u64) -> Result<(), StoredError> {
    verify(offset, checksum(&[&0u32.to_le_bytes(), total]), expected)?;
    let total = u64::from_le_bytes(*total);
    if total == read {
        return Ok(());
    }
    Err(StoredError::Invalid { offset, what: alloc::format!("{total} payload bytes were written, {read} are here") })
}

/// Refuses anything behind the end.
///
/// # Errors
/// `Invalid` if `count` is not 0.
pub fn check_nothing_behind(count: u64, offset: u64) -> Result<(), StoredError> {
    if count == 0 {
        return Ok(());
    }
    Err(StoredError::Invalid { offset, what: alloc::format!("{count} bytes behind the end") })
}

/// Builds a whole file in memory.
#[derive(Clone, Debug)]
pub struct BlockWriter {
    bytes: Vec<u8>,
    total: u64,
}

impl BlockWriter {
    /// Begins with the header, of the first version.
    #[must_use]
    pub fn new(kind: FileKind) -> Self {
        Self::new_as(kind, VERSION)
    }

    /// Begins with the header, of this version.
    #[must_use]
    pub fn new_as(kind: FileKind, version: u16) -> Self {
        let mut bytes = Vec::new();
        write_header_as(kind, version, &mut bytes);
        Self { bytes, total: 0 }
    }

    /// Appends a block.
    ///
    /// # Errors
    /// If the payload is empty or too large; then nothing is appended.
    pub fn block(&mut self, payload: &[u8]) -> Result<(), BadBlockSize> {
        write_block(payload, &mut self.bytes)?;
        self.total += payload.len() as u64;
        Ok(())
    }

    /// How many bytes the file has so far, without its end.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// What a stream goes on from: the bytes so far, and how many of them are payload.
    #[must_use]
    pub fn into_unfinished(self) -> (Vec<u8>, u64) {
        (self.bytes, self.total)
    }

    /// Appends the end and hands out the file.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        write_end(self.total, &mut self.bytes);
        self.bytes
    }
}

/// Reads a whole file from memory, block by block.
#[derive(Clone, Debug)]
pub struct BlockReader<'a> {
    bytes: &'a [u8],
    at: usize,
    total: u64,
    ended: bool,
    version: u16,
}

impl<'a> BlockReader<'a> {
    /// Begins behind the header.
    ///
    /// # Errors
    /// Whatever is wrong with the header.
    pub fn new(kind: FileKind, bytes: &'a [u8]) -> Result<Self, StoredError> {
        let mut reader = Self { bytes, at: 0, total: 0, ended: false, version: VERSION };
        reader.version = parse_header(kind, reader.array("the header")?)?;
        Ok(reader)
    }

    /// The version of what is in the blocks.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// The next payload; `None` once the end has been seen and found in order.
    ///
    /// # Errors
    /// Whatever is wrong with the next block, with the offset.
    pub fn next_block(&mut self) -> Result<Option<&'a [u8]>, StoredError> {
        if self.ended {
            return Ok(None);
        }
        let offset = self.at as u64;
        match parse_block_head(self.array("the head of a block")?, offset)? {
            BlockHead::Block { size_bytes, checksum } => {
                let payload = self.take(size_bytes, "a block")?;
                check_block(payload, checksum, offset)?;
                self.total += payload.len() as u64;
                Ok(Some(payload))
            }
            BlockHead::End { checksum } => {
                parse_end(self.array("the end")?, checksum, self.total, offset)?;
                check_nothing_behind((self.bytes.len() - self.at) as u64, self.at as u64)?;
                self.ended = true;
                Ok(None)
            }
        }
    }

    fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], StoredError> {
        let rest = &self.bytes[self.at..];
        if count > rest.len() {
            return Err(StoredError::Truncated { offset: self.bytes.len() as u64, what });
        }
        self.at += count;
        Ok(&rest[..count])
    }

    fn array<const N: usize>(&mut self, what: &'static str) -> Result<&'a [u8; N], StoredError> {
        let bytes = self.take(N, what)?;
        Ok(bytes.try_into().expect("take returns as many bytes as asked for"))
    }
}

/// Splits an encoding into blocks of at most 64 KiB and frames it: the format of files that are read whole. Of the first version.
#[must_use]
pub fn frame(kind: FileKind, encoding: &[u8]) -> Vec<u8> {
    frame_as(kind, VERSION, encoding)
}

/// The same in any version.
#[must_use]
pub fn frame_as(kind: FileKind, version: u16, encoding: &[u8]) -> Vec<u8> {
    let mut writer = BlockWriter::new_as(kind, version);
    for chunk in encoding.chunks(FRAME_BLOCK) {
        writer.block(chunk).expect("chunks are neither empty nor above 64 KiB");
    }
    writer.finish()
}

/// The block size of [`frame`].
pub const FRAME_BLOCK: usize = 64 << 10;

/// Takes the frame off again.
///
/// # Errors
/// Whatever is wrong with the bytes, with the offset.
pub fn unframe(kind: FileKind, bytes: &[u8]) -> Result<Vec<u8>, StoredError> {
    unframe_any(kind, bytes).map(|(_, encoding)| encoding)
}

/// The same, and which version it is in.
///
/// # Errors
/// Whatever is wrong with the bytes, with the offset.
pub fn unframe_any(kind: FileKind, bytes: &[u8]) -> Result<(u16, Vec<u8>), StoredError> {
    let mut reader = BlockReader::new(kind, bytes)?;
    let mut encoding = Vec::new();
    while let Some(payload) = reader.next_block()? {
        encoding.extend_from_slice(payload);
    }
    Ok((reader.version(), encoding))
}

#[cfg(test)]
mod tests;
