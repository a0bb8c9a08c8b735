//! The stored format of handles: where state is, and how it was written.

use super::invalid;
use crate::ids::KeyGroup;
use crate::key_group::KeyGroupRange;
use crate::snapshot::{InFlightHandle, KeyedHandle, Layout, Segment, SharedFile, StateLocation};
use crate::stored::{read_bytes, write_bytes, Reader, Stored, StoredError};
use alloc::string::String;
use alloc::vec::Vec;

impl Stored for KeyedHandle {
    fn write(&self, out: &mut Vec<u8>) {
        (self.groups.first.0, self.groups.last.0).write(out);
        self.location.write(out);
        self.layout.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let groups = KeyGroupRange { first: KeyGroup(u16::read(input)?), last: KeyGroup(u16::read(input)?) };
        Ok(Self { groups, location: StateLocation::read(input)?, layout: Layout::read(input)? })
    }
}

impl Stored for InFlightHandle {
    fn write(&self, out: &mut Vec<u8>) {
        self.edge.write(out);
        self.location.write(out);
        self.records.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { edge: String::read(input)?, location: StateLocation::read(input)?, records: u64::read(input)? })
    }
}

const LAYOUT_BLOCKS: u8 = 0;
const LAYOUT_STORE: u8 = 1;
/// As a store, where some shared files are segments.
const LAYOUT_STORE_MERGED: u8 = 2;

impl Stored for Layout {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Blocks => LAYOUT_BLOCKS.write(out),
            Self::Store { backend, columns, shared } => {
                let merged = shared.iter().any(|file| file.segment.is_some());
                if merged { LAYOUT_STORE_MERGED } else { LAYOUT_STORE }.write(out);
                backend.write(out);
                columns.write(out);
                u32::try_from(shared.len()).expect("a store stays below 4 G files").write(out);
                for file in shared {
                    (file.name.clone(), file.path.clone(), file.size_bytes).write(out);
                    if merged {
                        file.segment.map(|Segment { offset, file_bytes }| (offset, file_bytes)).write(out);
                    }
                }
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let merged = match u8::read(input)? {
            LAYOUT_BLOCKS => return Ok(Self::Blocks),
            LAYOUT_STORE => false,
            LAYOUT_STORE_MERGED => true,
            other => return Err(invalid(offset, alloc::format!("{other} is not a layout of keyed state"))),
        };
        let (backend, columns) = (String::read(input)?, Vec::read(input)?);
        let count = input.count(SHARED_LEAST_SIZE, "shared files")?;
        let mut shared = Vec::new();
        for _ in 0..count {
            shared.push(read_shared(input, merged)?);
        }
        Ok(Self::Store { backend, columns, shared })
    }
}

/// Two empty texts and a size.
const SHARED_LEAST_SIZE: usize = 16;

fn read_shared(input: &mut Reader<'_>, merged: bool) -> Result<SharedFile, StoredError> {
    let (name, path, size_bytes) = <(String, String, u64)>::read(input)?;
    let at = input.offset();
    let segment = if merged { Option::<(u64, u64)>::read(input)? } else { None };
    let segment = segment.map(|(offset, file_bytes)| Segment { offset, file_bytes });
    if let Some(Segment { offset, file_bytes }) = segment {
        if offset.checked_add(size_bytes).is_none_or(|end| end > file_bytes) {
            let what = alloc::format!("{size_bytes} bytes at {offset} do not lie in a file of {file_bytes}");
            return Err(invalid(at, what));
        }
    }
    Ok(SharedFile { name, path, size_bytes, segment })
}

const TAG_FILE: u8 = 0;
const TAG_INLINE: u8 = 1;
const TAG_SEGMENT: u8 = 2;

impl Stored for StateLocation {
    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::File { path, size_bytes } => {
                TAG_FILE.write(out);
                path.write(out);
                size_bytes.write(out);
            }
            Self::Segment { path, offset, size_bytes } => {
                TAG_SEGMENT.write(out);
                path.write(out);
                (*offset, *size_bytes).write(out);
            }
            Self::Inline(bytes) => {
                TAG_INLINE.write(out);
                write_bytes(bytes, out);
            }
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let begin = input.offset();
        match u8::read(input)? {
            TAG_FILE => Ok(Self::File { path: String::read(input)?, size_bytes: u64::read(input)? }),
            TAG_SEGMENT => {
                let (path, offset, size_bytes) = <(String, u64, u64)>::read(input)?;
                if offset.checked_add(size_bytes).is_none() {
                    return Err(invalid(begin, alloc::format!("{size_bytes} bytes at {offset} lie in no file")));
                }
                Ok(Self::Segment { path, offset, size_bytes })
            }
            TAG_INLINE => Ok(Self::Inline(read_bytes(input, "inline state")?.to_vec())),
            other => Err(invalid(begin, alloc::format!("{other} is not a kind of location"))),
        }
    }
}
