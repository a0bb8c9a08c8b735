use super::*;
use alloc::vec;

fn bytes(value: &impl Stored) -> Vec<u8> {
    let mut out = Vec::new();
    value.write(&mut out);
    out
}

fn read_all<T: Stored>(bytes: &[u8]) -> Result<T, StoredError> {
    let mut input = Reader::new(bytes, 0);
    let value = T::read(&mut input)?;
    input.finish("the value")?;
    Ok(value)
}

#[test]
fn a_sequence_of_elements_without_bytes_is_its_count() {
    for count in [0, 1, 5, 300, WEIGHTLESS_LIMIT] {
        let written = bytes(&vec![(); count]);
        assert_eq!(written, u32::try_from(count).expect("small").to_le_bytes());
        assert_eq!(read_all::<Vec<()>>(&written), Ok(vec![(); count]));
    }
}

#[test]
fn elements_without_bytes_may_stand_inside_of_others() {
    let value = vec![(vec![(); 70_000], 7_u8), (vec![], 9)];
    assert_eq!(read_all(&bytes(&value)), Ok(value));
    let nested = vec![vec![((), ()); 3]; 2];
    assert_eq!(read_all(&bytes(&nested)), Ok(nested));
}

#[test]
fn a_hostile_count_of_elements_without_bytes_is_refused() {
    for count in [u32::try_from(WEIGHTLESS_LIMIT).expect("small") + 1, u32::MAX] {
        let found = read_all::<Vec<()>>(&count.to_le_bytes());
        assert!(matches!(found, Err(StoredError::Invalid { offset: 0, .. })), "{found:?}");
    }
}

#[test]
fn a_hostile_count_of_elements_with_bytes_is_refused() {
    let mut written = u32::MAX.to_le_bytes().to_vec();
    written.extend([1; 100]);
    assert!(matches!(read_all::<Vec<u64>>(&written), Err(StoredError::Invalid { offset: 0, .. })));
}

#[test]
#[should_panic(expected = "elements without bytes")]
fn more_elements_without_bytes_than_can_be_read_are_not_written() {
    bytes(&vec![(); WEIGHTLESS_LIMIT + 1]);
}
