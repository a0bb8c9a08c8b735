//! Numbers, texts and checksummed blocks.

use super::Broken;

/// Bytes, and how far they are read.
pub(in crate::oracle) struct Bytes<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) at: usize,
}

impl<'a> Bytes<'a> {
    pub(in crate::oracle) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Broken> {
        let end = self.at.checked_add(count).filter(|end| *end <= self.bytes.len());
        let Some(end) = end else { return Err(format!("ends before {count} bytes at {}", self.at)) };
        let taken = &self.bytes[self.at..end];
        self.at = end;
        Ok(taken)
    }

    pub(in crate::oracle) fn number(&mut self, size: usize) -> Result<u64, Broken> {
        Ok(self.take(size)?.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    pub(in crate::oracle) fn u32(&mut self) -> Result<u32, Broken> {
        u32::try_from(self.number(4)?).map_err(|_| "four bytes are a u32".to_owned())
    }

    pub(in crate::oracle) fn signed(&mut self) -> Result<i64, Broken> {
        Ok(self.number(8)?.cast_signed())
    }

    pub(in crate::oracle) fn count(&mut self) -> Result<usize, Broken> {
        usize::try_from(self.number(4)?).map_err(|_| "a count that does not fit".to_owned())
    }

    pub(in crate::oracle) fn text(&mut self) -> Result<String, Broken> {
        let length = self.count()?;
        String::from_utf8(self.take(length)?.to_vec()).map_err(|_| "text that is not UTF-8".to_owned())
    }

    pub(in crate::oracle) fn is_empty(&self) -> bool {
        self.at == self.bytes.len()
    }
}

/// The CRC-32 of IEEE 802.3, byte by byte.
fn crc32(parts: &[&[u8]]) -> u32 {
    const BITWISE: [u32; 256] = {
        let mut table = [0; 256];
        let mut byte = 0;
        while byte < 256 {
            let (mut crc, mut bit) = (byte as u32, 0);
            while bit < 8 {
                crc = if crc & 1 == 1 { crc >> 1 ^ 0xedb8_8320 } else { crc >> 1 };
                bit += 1;
            }
            table[byte] = crc;
            byte += 1;
        }
        table
    };
    let bytes = parts.iter().flat_map(|part| part.iter());
    !bytes.fold(u32::MAX, |crc, byte| crc >> 8 ^ BITWISE[usize::from(crc.to_le_bytes()[0] ^ byte)])
}

/// The payloads of a framed file.
///
/// # Errors
/// Whatever contradicts the layout.
pub fn blocks(magic: &[u8; 8], file: &[u8]) -> Result<Vec<Vec<u8>>, Broken> {
    match versioned(magic, file)? {
        (1, payloads) => Ok(payloads),
        (version, _) => Err(format!("version {version} of what has only one")),
    }
}

/// The same of any version, and which one.
pub(super) fn versioned(magic: &[u8; 8], file: &[u8]) -> Result<(u8, Vec<Vec<u8>>), Broken> {
    let mut bytes = Bytes { bytes: file, at: 0 };
    let head = bytes.take(12)?;
    let version = head[8];
    if !head.starts_with(magic) || head[9..12] != [0, 0, 0] {
        return Err("another magic or version".into());
    }
    if bytes.number(4)? != u64::from(crc32(&[head])) {
        return Err("the header's checksum is wrong".into());
    }
    let (mut payloads, mut total) = (Vec::new(), 0);
    loop {
        let size = bytes.take(4)?;
        let (length, crc) = (u32::from_le_bytes([size[0], size[1], size[2], size[3]]), bytes.number(4)?);
        if length == 0 {
            let written = bytes.take(8)?;
            let total_is = u64::try_from(total).unwrap_or(u64::MAX).to_le_bytes();
            if crc != u64::from(crc32(&[size, written])) || *written != total_is || !bytes.is_empty() {
                return Err(format!("a wrong end at {}", bytes.at));
            }
            return Ok((version, payloads));
        }
        let payload = bytes.take(length as usize)?;
        if crc != u64::from(crc32(&[size, payload])) {
            return Err(format!("the checksum of the block before {} is wrong", bytes.at));
        }
        total += payload.len();
        payloads.push(payload.to_vec());
    }
}
