//! Short text as a key or a value.

use super::key::{hash_bytes, StateKey};
use cofferdam_protocol::stored::{read_bytes, write_bytes, Reader, Stored, StoredError};
use compact_str::CompactString;
use core::borrow::Borrow;
use core::fmt;
use core::ops::Deref;
use serde::{Deserialize, Serialize};

/// Text that needs no allocation up to 24 bytes. A type of our own, because `Stored` and `CompactString` are both foreign.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Text(pub CompactString);

impl Text {
    /// As a plain slice.
    #[must_use]
    #[inline]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

impl Deref for Text {
    type Target = str;
    #[inline]
    fn deref(&self) -> &str {
        self.0.as_str()
    }
}

impl AsRef<str> for Text {
    fn as_ref(&self) -> &str {
        self
    }
}

impl Borrow<str> for Text {
    fn borrow(&self) -> &str {
        self
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        Self(CompactString::from(text))
    }
}

impl From<String> for Text {
    fn from(text: String) -> Self {
        Self(CompactString::from(text))
    }
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self)
    }
}

impl PartialEq<str> for Text {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == other
    }
}

impl PartialEq<&str> for Text {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == *other
    }
}

/// The same bytes as `String`.
impl Stored for Text {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let bytes = read_bytes(input, "text")?;
        match core::str::from_utf8(bytes) {
            Ok(text) => Ok(Self::from(text)),
            Err(_) => Err(StoredError::Invalid { offset, what: "text is not UTF-8".into() }),
        }
    }
}

impl StateKey for Text {
    #[inline]
    fn hash64(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }
}
