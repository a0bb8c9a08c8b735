//! Facts about the frame.

use super::*;
use alloc::format;
use alloc::string::String;
use proptest::prelude::*;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn file(blocks: &[&[u8]]) -> Vec<u8> {
    let mut writer = BlockWriter::new(FileKind::State);
    for block in blocks {
        writer.block(block).expect("blocks of a test have a size that fits");
    }
    writer.finish()
}

fn read(bytes: &[u8]) -> Result<Vec<Vec<u8>>, StoredError> {
    let mut reader = BlockReader::new(FileKind::State, bytes)?;
    let mut blocks = Vec::new();
    while let Some(block) = reader.next_block()? {
        blocks.push(block.to_vec());
    }
    Ok(blocks)
}

/// The stored format is frozen: a release that writes other bytes cannot read the checkpoints of the one before.
#[test]
fn headers_and_frames_have_the_bytes_they_always_had() {
    let header = |kind| {
        let mut out = Vec::new();
        write_header(kind, &mut out);
        hex(&out)
    };
    assert_eq!(header(FileKind::Metadata), "4346444d4554410001000000c88c0670");
    assert_eq!(header(FileKind::State), "434644535441544501000000e6d3fb52");
    assert_eq!(header(FileKind::Journal), "4346444a524e4c00010000006d09291d");
    let frame = hex(&file(&[b"ab", b"c"]));
    assert_eq!(&frame[2 * HEADER_SIZE..], "020000003a5a50236162010000004feef92f63000000008cc15af50300000000000000");
}

#[test]
fn an_empty_file_is_a_header_and_an_end() {
    let bytes = file(&[]);
    assert_eq!(bytes.len(), HEADER_SIZE + BLOCK_HEAD_SIZE + TOTAL_SIZE);
    assert_eq!(read(&bytes), Ok(Vec::new()));
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = file(&[b"first", b"second", b"x"]);
    for length in 0..bytes.len() {
        let error = read(&bytes[..length]).expect_err("a part is not the whole");
        assert!(matches!(error, StoredError::Truncated { offset, .. } if offset == length as u64), "{length}: {error}");
    }
}

#[test]
fn every_flipped_bit_is_an_error() {
    let bytes = file(&[b"first", b"second", b"x"]);
    for bit in 0..bytes.len() * 8 {
        let mut bent = bytes.clone();
        bent[bit / 8] ^= 1 << (bit % 8);
        assert!(read(&bent).is_err(), "bit {bit}");
    }
}

#[test]
fn anything_behind_the_end_is_an_error() {
    let mut bytes = file(&[b"first"]);
    let offset = bytes.len() as u64;
    bytes.push(0);
    assert_eq!(read(&bytes), Err(StoredError::Invalid { offset, what: "1 bytes behind the end".into() }));
}

#[test]
fn a_missing_or_doubled_block_is_an_error() {
    let (first, second) = (file(&[b"first"]), file(&[b"second"]));
    let (head, end) = (HEADER_SIZE, BLOCK_HEAD_SIZE + TOTAL_SIZE);
    let blocks = |bytes: &[u8]| bytes[head..bytes.len() - end].to_vec();
    let whole = file(&[b"first", b"second"]);
    let (header, ending) = (&whole[..head], &whole[whole.len() - end..]);
    let missing = [header, &blocks(&second), ending].concat();
    let doubled = [header, &blocks(&first), &blocks(&second), &blocks(&second), ending].concat();
    for bytes in [missing, doubled] {
        assert!(matches!(read(&bytes), Err(StoredError::Invalid { .. })));
    }
}

#[test]
fn a_later_version_is_told_from_damage() {
    let mut bytes = file(&[]);
    bytes[8] = 2;
    let sum = crc32fast::hash(&bytes[..12]);
    bytes[12..16].copy_from_slice(&sum.to_le_bytes());
    assert_eq!(read(&bytes), Err(StoredError::Version { found: 2, newest: 1 }));
}

#[test]
fn a_file_of_another_kind_is_refused() {
    let error = BlockReader::new(FileKind::Journal, &file(&[])).expect_err("state is no journal");
    assert_eq!(error, StoredError::Invalid { offset: 0, what: "this is not a journal entry".into() });
}

#[test]
fn a_hostile_size_is_refused_before_anything_is_read() {
    for size in [BLOCK_LIMIT as u32 + 1, u32::MAX] {
        let mut head = [0; BLOCK_HEAD_SIZE];
        head[..4].copy_from_slice(&size.to_le_bytes());
        assert!(matches!(parse_block_head(&head, 16), Err(StoredError::Invalid { offset: 16, .. })));
    }
}

#[test]
fn a_block_is_neither_empty_nor_too_large() {
    let mut writer = BlockWriter::new(FileKind::State);
    assert_eq!(writer.block(&[]), Err(BadBlockSize { size_bytes: 0 }));
    assert_eq!(writer.block(&vec![0; BLOCK_LIMIT + 1]), Err(BadBlockSize { size_bytes: BLOCK_LIMIT + 1 }));
    assert_eq!(writer.block(&vec![7; BLOCK_LIMIT]), Ok(()));
    assert_eq!(read(&writer.finish()), Ok(vec![vec![7; BLOCK_LIMIT]]));
}

#[test]
fn a_large_encoding_comes_in_blocks_of_64_kib() {
    let encoding: Vec<u8> = (0..FRAME_BLOCK * 2 + 5).map(|at| (at % 251) as u8).collect();
    let bytes = frame(FileKind::State, &encoding);
    let sizes: Vec<usize> = read(&bytes).expect("just written").iter().map(Vec::len).collect();
    assert_eq!(sizes, [FRAME_BLOCK, FRAME_BLOCK, 5]);
    assert_eq!(unframe(FileKind::State, &bytes), Ok(encoding));
}

proptest! {
    #[test]
    fn what_is_read_is_what_was_written(blocks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..8)) {
        let slices: Vec<&[u8]> = blocks.iter().map(Vec::as_slice).collect();
        prop_assert_eq!(read(&file(&slices)), Ok(blocks));
    }

    #[test]
    fn arbitrary_bytes_behind_a_header_are_never_a_panic(tail in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut bytes = Vec::new();
        write_header(FileKind::State, &mut bytes);
        bytes.extend_from_slice(&tail);
        prop_assert!(read(&bytes).is_err());
    }
}
