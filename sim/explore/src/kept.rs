//! Parts of a state that most transitions leave alone: shared between states, hashed once.

use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;

/// A value that states share until one of them changes it. Its hash is computed once per change, by [`Kept::seal`].
#[derive(Clone, Debug)]
pub struct Kept<T>(Arc<Sealed<T>>);

#[derive(Clone, Debug)]
struct Sealed<T> {
    /// 0: it has changed since.
    hash: u64,
    value: T,
}

impl<T: Clone + Hash> Kept<T> {
    /// Not sealed yet.
    pub fn new(value: T) -> Self {
        Self(Arc::new(Sealed { hash: 0, value }))
    }

    /// To change it: copies it first if another state has it as well.
    pub fn change(&mut self) -> &mut T {
        let sealed = Arc::make_mut(&mut self.0);
        sealed.hash = 0;
        &mut sealed.value
    }

    /// Computes its hash if it has changed.
    pub fn seal(&mut self) {
        if self.0.hash == 0 {
            let mut hasher = Folding::default();
            self.0.value.hash(&mut hasher);
            Arc::make_mut(&mut self.0).hash = hasher.finish().max(1);
        }
    }
}

impl<T> Deref for Kept<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

impl<T> Hash for Kept<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        debug_assert!(self.0.hash != 0, "a state is sealed before it is looked at");
        state.write_u64(self.0.hash);
    }
}

impl<T: PartialEq> PartialEq for Kept<T> {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || (self.0.hash == other.0.hash && self.0.value == other.0.value)
    }
}

impl<T: Eq> Eq for Kept<T> {}

/// A 64-bit hash by folded multiplication: the same in any process and build.
#[derive(Clone, Copy, Debug)]
pub struct Folding(u64);

impl Default for Folding {
    fn default() -> Self {
        Self(0x243f_6a88_85a3_08d3)
    }
}

impl Folding {
    fn fold(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835);
        self.0 = (product as u64) ^ ((product >> 64) as u64).rotate_left(23);
    }
}

impl Hasher for Folding {
    fn finish(&self) -> u64 {
        let mut last = *self;
        last.fold(0x1319_8a2e_0370_7344);
        last.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(8) {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.fold(u64::from_le_bytes(word));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.fold(u64::from(byte));
    }

    fn write_u16(&mut self, word: u16) {
        self.fold(u64::from(word));
    }

    fn write_u32(&mut self, word: u32) {
        self.fold(u64::from(word));
    }

    fn write_u64(&mut self, word: u64) {
        self.fold(word);
    }

    fn write_usize(&mut self, word: usize) {
        self.fold(word as u64);
    }

    fn write_isize(&mut self, word: isize) {
        self.fold(word as u64);
    }
}
