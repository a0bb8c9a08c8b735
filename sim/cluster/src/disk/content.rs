//! The bytes of one file, and which of them would survive.

use rand::Rng;
use rand_chacha::ChaCha8Rng;

pub(super) const SECTOR: usize = 512;

/// One file. It only ever grows at the end, so what is durable is a prefix, but for holes that failed syncs left.
#[derive(Clone, Debug, Default)]
pub(super) struct Content {
    /// The page cache: what reads show.
    pub(super) bytes: Vec<u8>,
    /// Up to here the system believes everything to be durable.
    clean: usize,
    /// Ends of the appends behind `clean`.
    appends: Vec<usize>,
    /// Believed durable, and wrongly: starts and ends, in order.
    holes: Vec<(usize, usize)>,
    /// How many live entries name it.
    pub(super) names: u32,
    /// The disk has done something to it that nobody was told of.
    pub(super) harmed: bool,
}

impl Content {
    /// A file with one name, all of it durable.
    pub(super) fn durable(bytes: Vec<u8>) -> Self {
        Self { clean: bytes.len(), bytes, names: 1, ..Self::default() }
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        if !bytes.is_empty() {
            self.bytes.extend_from_slice(bytes);
            self.appends.push(self.bytes.len());
        }
    }

    pub(super) fn sync(&mut self) {
        self.clean = self.bytes.len();
        self.appends.clear();
    }

    /// What was appended last never got to the disk.
    pub(super) fn lose_last_append(&mut self) {
        let end = self.appends.len().checked_sub(2).map_or(self.clean, |before| self.appends[before]);
        if self.bytes.len() > end {
            self.bytes[end..].fill(0);
            self.harmed = true;
        }
    }

    /// Something that was meant for another file.
    pub(super) fn overwrite(&mut self, at: usize, bytes: &[u8]) {
        let room = self.bytes.len().saturating_sub(at).min(bytes.len());
        self.bytes[at..at + room].copy_from_slice(&bytes[..room]);
        self.harmed = true;
    }

    /// Some of the unsynced data gets lost, and nobody will ever try again.
    pub(super) fn sync_failed(&mut self, rng: &mut ChaCha8Rng) {
        let end = self.bytes.len();
        if end > self.clean {
            let start = rng.gen_range(self.clean..end);
            self.holes.push((start, end));
        }
        self.sync();
    }

    pub(super) fn read_at(&self, offset: u64, buffer: &mut [u8]) -> usize {
        let start = usize::try_from(offset).unwrap_or(usize::MAX).min(self.bytes.len());
        let length = buffer.len().min(self.bytes.len() - start);
        buffer[..length].copy_from_slice(&self.bytes[start..start + length]);
        length
    }

    /// From where on bytes are not synced, and where the appends behind that end.
    pub(super) fn unsynced(&self) -> (usize, &[usize]) {
        (self.clean, &self.appends)
    }

    /// What a power loss leaves that keeps the bytes before `end`.
    pub(super) fn cut_at(&mut self, end: usize) {
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.truncate(end);
        self.punch(&mut bytes);
        *self = Self { clean: bytes.len(), bytes, names: self.names, harmed: self.harmed, ..Self::default() };
    }

    /// What a power loss would surely leave.
    pub(super) fn surviving(&self) -> Vec<u8> {
        let mut bytes = self.bytes[..self.clean].to_vec();
        self.punch(&mut bytes);
        bytes
    }

    /// A hole reads as zeros; at the end of the file, the file is shorter.
    fn punch(&self, bytes: &mut Vec<u8>) {
        for &(start, end) in self.holes.iter().rev() {
            if end >= bytes.len() {
                bytes.truncate(start);
            } else {
                bytes[start..end].fill(0);
            }
        }
    }

    /// Keeps what happened to be written already. Returns how many bytes are lost, and whether an append is torn.
    pub(super) fn power_lost(&mut self, rng: &mut ChaCha8Rng) -> (u64, bool) {
        let before = self.bytes.len();
        let mut torn = false;
        let mut end = self.clean;
        if !self.appends.is_empty() {
            let kept = rng.gen_range(0..=self.appends.len());
            if kept > 0 {
                end = self.appends[kept - 1];
            }
            if let Some(&next) = self.appends.get(kept) {
                let part = rng.gen_range(0..=next - end);
                let part = if rng.gen_bool(0.5) { part / SECTOR * SECTOR } else { part };
                torn = part > 0 && part < next - end;
                end += part;
            }
        }
        self.cut_at(end);
        ((before - self.bytes.len()) as u64, torn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    #[test]
    fn synced_bytes_survive_every_power_loss_and_the_rest_is_a_prefix() {
        for seed in 0..200 {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            let mut content = Content::default();
            content.append(b"synced");
            content.sync();
            content.append(&[b'x'; 1000]);
            content.append(&[b'y'; 1000]);
            let all = content.bytes.clone();
            content.power_lost(&mut rng);
            assert!(content.bytes.len() >= 6);
            assert!(all.starts_with(&content.bytes));
        }
    }

    #[test]
    fn a_write_that_is_lost_leaves_zeros_and_nothing_else() {
        let mut content = Content::default();
        content.append(b"here");
        content.append(b"gone");
        content.lose_last_append();
        assert_eq!((content.bytes.as_slice(), content.harmed), (b"here\0\0\0\0".as_slice(), true));
        content.sync();
        assert_eq!(content.surviving(), b"here\0\0\0\0");
        content.append(b"x");
        content.lose_last_append();
        assert_eq!(content.bytes, b"here\0\0\0\0\0");
    }

    #[test]
    fn a_write_that_comes_to_a_wrong_place_does_not_make_the_file_longer() {
        let mut content = Content::durable(b"0123456789".to_vec());
        content.overwrite(7, b"abcdef");
        assert_eq!((content.surviving().as_slice(), content.harmed), (b"0123456abc".as_slice(), true));
    }

    #[test]
    fn a_failed_sync_is_not_made_good_by_the_next_one() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut content = Content::default();
        content.append(b"lost");
        content.sync_failed(&mut rng);
        content.append(b"kept");
        content.sync();
        assert_eq!(content.bytes, b"lostkept");
        let surviving = content.surviving();
        assert_ne!(surviving, b"lostkept");
        assert!(surviving.ends_with(b"kept"));
        content.power_lost(&mut rng);
        assert_eq!(content.bytes, surviving);
    }
}
