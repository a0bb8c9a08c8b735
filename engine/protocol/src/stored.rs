//! The stored format of values: frozen, little-endian, bounded. Frames between processes use another codec; this one is for
//! bytes that outlive a release.
//!
//! Integers are fixed-width little-endian, text and sequences are a `u32` count followed by the elements, options and enums a
//! `u8` tag. A length is checked against the bytes that are left before anything is allocated.

use alloc::string::String;
use alloc::vec::Vec;

/// Bytes that are not what they should be. `offset` is within the buffer (or file) being read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// The bytes end in the middle of something.
    #[error("ends at offset {offset} in the middle of {what}")]
    Truncated {
        /// Where the bytes end.
        offset: u64,
        /// What was being read.
        what: &'static str,
    },
    /// A value that cannot be.
    #[error("at offset {offset}: {what}")]
    Invalid {
        /// Where it stands.
        offset: u64,
        /// What is wrong with it.
        what: String,
    },
    /// The bytes are not those that were written.
    #[error("at offset {offset}: checksum is {found:08x}, {expected:08x} was written")]
    Checksum {
        /// Where the block begins.
        offset: u64,
        /// As computed from the bytes.
        found: u32,
        /// As stored.
        expected: u32,
    },
    /// Written by a later release: read it with that.
    #[error("version {found} is not known, this release reads up to {newest}")]
    Version {
        /// As stored.
        found: u16,
        /// What this release knows.
        newest: u16,
    },
}

/// Reads values from a buffer and knows where it is.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    bytes: &'a [u8],
    offset: u64,
    written: Written,
}

/// How values were written, where that may differ from how the program writes them now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// The version of the type; `None` stands for the present one.
    pub version: Option<u32>,
    /// Times of last access.
    pub stamps: Stamps,
}

/// Whether each value has the time of its last access before it, as those of state with time-to-live have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stamps {
    /// As the program writes them now.
    #[default]
    AsNow,
    /// They have none, and the program wants some: this one, in milliseconds.
    Missing(i64),
    /// They have some, and the program wants none.
    Unwanted,
}

impl<'a> Reader<'a> {
    /// Reads `bytes`, of which the first stands at `offset` of the file.
    #[must_use]
    pub fn new(bytes: &'a [u8], offset: u64) -> Self {
        Self { bytes, offset, written: Written::default() }
    }

    /// The values were written by another program, perhaps. Types that have changed since ask for it.
    #[must_use]
    pub fn written(self, written: Written) -> Self {
        Self { written, ..self }
    }

    /// The version of the type that is being read; `None` stands for the present one.
    #[must_use]
    pub fn version(&self) -> Option<u32> {
        self.written.version
    }

    /// Whether there are times of last access.
    #[must_use]
    pub fn stamps(&self) -> Stamps {
        self.written.stamps
    }

    /// Reads a part whose type is at its present version, whatever is said of the whole: parts that may differ are named with their
    /// version in the name of the whole.
    ///
    /// # Errors
    /// Those of the part.
    pub fn at_present<T: Stored>(&mut self) -> Result<T, StoredError> {
        let written = core::mem::take(&mut self.written);
        let part = T::read(self);
        self.written = written;
        part
    }

    /// Where the next byte stands.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// How many bytes are left.
    #[must_use]
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn take(&mut self, count: usize, what: &'static str) -> Result<&'a [u8], StoredError> {
        if count > self.bytes.len() {
            return Err(StoredError::Truncated { offset: self.offset + self.bytes.len() as u64, what });
        }
        let (taken, rest) = self.bytes.split_at(count);
        self.bytes = rest;
        self.offset += count as u64;
        Ok(taken)
    }

    /// A count of elements that each take at least `least` bytes, 1 or more: more than can be there is refused before anybody allocates.
    ///
    /// # Errors
    /// `Truncated` or `Invalid`.
    pub fn count(&mut self, least: usize, what: &'static str) -> Result<usize, StoredError> {
        let offset = self.offset;
        let count = u32::read(self)? as usize;
        if count.saturating_mul(least.max(1)) > self.bytes.len() {
            return Err(StoredError::Invalid { offset, what: alloc::format!("{count} elements of {what} cannot fit") });
        }
        Ok(count)
    }

    /// Checks that nothing is left.
    ///
    /// # Errors
    /// `Invalid` if there is.
    pub fn finish(&self, what: &'static str) -> Result<(), StoredError> {
        if self.bytes.is_empty() {
            return Ok(());
        }
        let left = self.bytes.len();
        Err(StoredError::Invalid { offset: self.offset, what: alloc::format!("{left} bytes behind the end of {what}") })
    }
}

/// A value with a stored format.
pub trait Stored: Sized {
    /// Appends the value.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads one.
    ///
    /// # Errors
    /// Whatever is wrong with the bytes, with the offset.
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError>;
}

macro_rules! integers {
    ($($type:ty)*) => {$(
        impl Stored for $type {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
                let bytes = input.take(size_of::<Self>(), stringify!($type))?;
                Ok(Self::from_le_bytes(bytes.try_into().expect("take returns as many bytes as asked for")))
            }
        }
    )*};
}
integers!(u8 u16 u32 u64 i32 i64);

impl Stored for () {
    fn write(&self, _: &mut Vec<u8>) {}
    fn read(_: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(())
    }
}

impl Stored for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        match u8::read(input)? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(StoredError::Invalid { offset, what: alloc::format!("{other} is not a bool") }),
        }
    }
}

/// Appends a length and the bytes.
///
/// # Panics
/// If they are more than 4 GiB, which no value of ours can be.
pub fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    u32::try_from(bytes.len()).expect("a single value stays below 4 GiB").write(out);
    out.extend_from_slice(bytes);
}

/// Reads a length and the bytes.
///
/// # Errors
/// `Truncated` or `Invalid`.
pub fn read_bytes<'a>(input: &mut Reader<'a>, what: &'static str) -> Result<&'a [u8], StoredError> {
    let count = input.count(1, what)?;
    input.take(count, what)
}

impl Stored for String {
    fn write(&self, out: &mut Vec<u8>) {
        write_bytes(self.as_bytes(), out);
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let offset = input.offset();
        let bytes = read_bytes(input, "text")?;
        core::str::from_utf8(bytes).map(Into::into).map_err(|_| StoredError::Invalid { offset, what: "text is not UTF-8".into() })
    }
}

/// A sequence of elements that take no bytes, as `()` does, has at most so many: the bytes that are left bound any other.
pub const WEIGHTLESS_LIMIT: usize = 1 << 20;

impl<T: Stored> Stored for Vec<T> {
    fn write(&self, out: &mut Vec<u8>) {
        // Why: what is written here must be read back, and `read` takes no more.
        assert!(size_of::<T>() > 0 || self.len() <= WEIGHTLESS_LIMIT, "{} elements without bytes in a sequence", self.len());
        u32::try_from(self.len()).expect("a single value stays below 4 G elements").write(out);
        for element in self {
            element.write(out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        let (offset, weightless) = (input.offset(), size_of::<T>() == 0);
        let count = if weightless { u32::read(input)? as usize } else { input.count(1, "a sequence")? };
        if weightless && count > WEIGHTLESS_LIMIT {
            return Err(StoredError::Invalid { offset, what: alloc::format!("{count} elements without bytes in a sequence") });
        }
        // Grows as elements are really there: the count alone allocates nothing.
        let mut elements = Vec::new();
        for _ in 0..count {
            elements.push(T::read(input)?);
        }
        Ok(elements)
    }
}

impl<T: Stored> Stored for Option<T> {
    fn write(&self, out: &mut Vec<u8>) {
        self.is_some().write(out);
        if let Some(value) = self {
            value.write(out);
        }
    }
    fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
        Ok(if bool::read(input)? { Some(T::read(input)?) } else { None })
    }
}

/// The version of a tuple is that of its last part.
macro_rules! tuples {
    ($(($($name:ident),*; $last:ident))*) => {$(
        impl<$($name: Stored,)* $last: Stored> Stored for ($($name,)* $last,) {
            fn write(&self, out: &mut Vec<u8>) {
                #[allow(non_snake_case)]
                let ($($name,)* $last,) = self;
                $($name.write(out);)*
                $last.write(out);
            }
            fn read(input: &mut Reader<'_>) -> Result<Self, StoredError> {
                Ok(($(input.at_present::<$name>()?,)* $last::read(input)?,))
            }
        }
    )*};
}
tuples!((; A)(A; B)(A, B; C)(A, B, C; D));

#[cfg(test)]
mod tests;
