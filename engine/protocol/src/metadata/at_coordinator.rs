//! What the coordinator itself puts into a checkpoint.

use crate::stored::{read_bytes, write_bytes, Reader, Stored, StoredError};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What one hook of the coordinator put into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HookState {
    /// The hook's stable name.
    pub name: String,
    /// Whatever it needs.
    pub bytes: Vec<u8>,
}

/// What the part of an operator that lives at the coordinator put into a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EnumeratorState {
    /// The operator's stable name.
    pub uid: String,
    /// Whatever it needs.
    pub bytes: Vec<u8>,
}

impl Stored for HookState {
    fn write(&self, out: &mut Vec<u8>) {
        self.name.write(out);
        write_bytes(&self.bytes, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { name: String::read(input)?, bytes: read_bytes(input, "the state of a hook")?.to_vec() })
    }
}

impl Stored for EnumeratorState {
    fn write(&self, out: &mut Vec<u8>) {
        self.uid.write(out);
        write_bytes(&self.bytes, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(Self { uid: String::read(input)?, bytes: read_bytes(input, "the state of an enumerator")?.to_vec() })
    }
}
