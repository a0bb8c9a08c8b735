//! Keys and their hashes. A hash decides where a key lives in the cluster, so it is the same in every process, on every
//! machine, in every release: no seed, and the functions below are frozen.
//!
//! | key | hash |
//! |---|---|
//! | `u64`, `u32` | `fmix64(x)` |
//! | `i64`, `i32` | `fmix64` of the two's complement, widened to 64 bits with its sign |
//! | `bool`, `()` | `fmix64` of 0 or 1; of 0 |
//! | text | MurmurHash64A of the UTF-8 bytes, seed 0 |
//! | `(a, b)` | `fmix64(hash(a) * 0x9E3779B97F4A7C15 + hash(b))`, wrapping |
//!
//! Bits 0 to 11 and 57 to 63 serve the pages of a [`PagedTable`](super::PagedTable), bits 12 to 31 its directory, and bits 32
//! to 63 choose the key group.

use super::schema::Typed;
use cofferdam_protocol::stored::Stored;

/// What can be a key. Equal keys have equal hashes, stored bytes and order.
pub trait StateKey: Stored + Typed + Clone + Eq + Ord + Send + Sync + 'static {
    /// The same in every process and release: it decides where the key's state is. All 64 bits are used.
    fn hash64(&self) -> u64;
}

/// A key with its hash, which is computed once per record.
#[derive(Debug)]
pub struct Key<'a, K> {
    /// The key itself.
    pub key: &'a K,
    /// Its [`StateKey::hash64`].
    pub hash: u64,
}

impl<'a, K: StateKey> Key<'a, K> {
    /// Hashes the key.
    #[inline]
    pub fn new(key: &'a K) -> Self {
        Self { key, hash: key.hash64() }
    }
}

impl<K> Clone for Key<'_, K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Key<'_, K> {}

/// The finaliser of MurmurHash3: a bijection under which each input bit moves each output bit half of the time.
#[inline]
#[must_use]
pub const fn fmix64(mut x: u64) -> u64 {
    x ^= x >> 33;
    x = x.wrapping_mul(0xff51_afd7_ed55_8ccd);
    x ^= x >> 33;
    x = x.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    x ^ (x >> 33)
}

/// MurmurHash64A with seed 0.
#[inline]
#[must_use]
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    let mut hash = (bytes.len() as u64).wrapping_mul(M);
    let (words, tail) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word = (word ^ (word >> 47)).wrapping_mul(M);
        hash = (hash ^ word).wrapping_mul(M);
    }
    if !tail.is_empty() {
        hash = (hash ^ little_endian(tail)).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 47)).wrapping_mul(M);
    hash ^ (hash >> 47)
}

/// Up to seven bytes as a number. Overlapping reads instead of a loop or a call to `memcpy`.
#[inline]
fn little_endian(tail: &[u8]) -> u64 {
    let count = tail.len();
    match (tail.first_chunk::<4>(), tail.last_chunk::<4>()) {
        (Some(low), Some(high)) => u64::from(u32::from_le_bytes(*low)) | (u64::from(u32::from_le_bytes(*high)) << ((count - 4) * 8)),
        (_, _) => tail.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)),
    }
}

impl StateKey for u64 {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(*self)
    }
}

impl StateKey for u32 {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(u64::from(*self))
    }
}

impl StateKey for i64 {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(self.cast_unsigned())
    }
}

impl StateKey for i32 {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(i64::from(*self).cast_unsigned())
    }
}

impl StateKey for bool {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(u64::from(*self))
    }
}

impl StateKey for () {
    #[inline]
    fn hash64(&self) -> u64 {
        fmix64(0)
    }
}

impl StateKey for String {
    #[inline]
    fn hash64(&self) -> u64 {
        hash_bytes(self.as_bytes())
    }
}

impl<A: StateKey, B: StateKey> StateKey for (A, B) {
    #[inline]
    fn hash64(&self) -> u64 {
        // Why not a xor: (a, a) would be the same for every a.
        fmix64(self.0.hash64().wrapping_mul(0x9E37_79B9_7F4A_7C15).wrapping_add(self.1.hash64()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Text;

    #[test]
    fn hashes_never_change() {
        // From an independent implementation. If these differ, no stored state finds its key group again.
        assert_eq!(fmix64(0), 0);
        assert_eq!(1_u64.hash64(), 0xb456_bcfc_34c2_cb2c);
        assert_eq!((-1_i64).hash64(), 0x64b5_720b_4b82_5f21);
        assert_eq!((1_u64, Text::from("a")).hash64(), 0x3a91_e8aa_be7e_9394);
        for (text, hash) in MURMUR_64A {
            assert_eq!(hash_bytes(text.as_bytes()), *hash, "{text:?}");
        }
    }

    /// Computed by the textbook code in another language.
    const MURMUR_64A: &[(&str, u64)] = &[
        ("", 0x0000_0000_0000_0000),
        ("a", 0x0717_17d2_d36b_6b11),
        ("abc", 0x9cc9_c334_98a9_5efb),
        ("four", 0xacb1_529c_952c_92ba),
        ("seven77", 0x6ef4_f42c_daaf_c884),
        ("eight888", 0xa9ab_f9c8_fe54_2a0b),
        ("nine99999", 0x06ef_e42e_9290_e047),
        ("a text of more than twenty-four bytes", 0x38ad_5208_58ce_8cc0),
    ];

    #[test]
    fn a_number_hashes_the_same_at_every_width() {
        assert_eq!(7_u32.hash64(), 7_u64.hash64());
        assert_eq!(7_i32.hash64(), 7_u64.hash64());
        assert_eq!((-7_i32).hash64(), (-7_i64).hash64());
    }

    #[test]
    fn a_text_hashes_the_same_in_both_types() {
        for text in ["", "a", "four", "eight888", "a text of more than twenty-four bytes"] {
            assert_eq!(String::from(text).hash64(), Text::from(text).hash64());
        }
    }

    #[test]
    fn the_order_within_a_pair_matters() {
        assert_ne!((1_u64, 2_u64).hash64(), (2_u64, 1_u64).hash64());
        assert_ne!((1_u64, 1_u64).hash64(), (2_u64, 2_u64).hash64());
    }
}
