//! The stored form of records under way: each as CBOR (RFC 8949) behind its length.
//!
//! CBOR carries the names of fields. So what a record type has gained with a default, or lost, does no harm to a checkpoint of before,
//! and its records can be shown to people.

use cofferdam_protocol::stored::{read_bytes, write_bytes, Reader, StoredError};
use serde::de::DeserializeOwned;
use serde::Serialize;

/// Bytes that are no record of this type. Restore with the program that wrote them, or give the type a default for what is missing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadRecord {
    /// Cut off or damaged.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// Of another type.
    #[error("record {number} of those under way is not of the type that the edge carries: {cause}")]
    Type {
        /// Counted from 0.
        number: usize,
        /// For people.
        cause: String,
    },
}

/// Appends one record.
///
/// # Errors
/// For people: what serde refuses.
pub fn write<T: Serialize>(record: &T, out: &mut Vec<u8>) -> Result<(), String> {
    let mut bytes = Vec::new();
    ciborium::into_writer(record, &mut bytes).map_err(|error| error.to_string())?;
    write_bytes(&bytes, out);
    Ok(())
}

/// Reads all records.
///
/// # Errors
/// The first one that cannot be read.
pub fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<Vec<T>, BadRecord> {
    let mut reader = Reader::new(bytes, 0);
    let mut records = Vec::new();
    while reader.remaining() > 0 {
        let record = read_bytes(&mut reader, "a record under way")?;
        let number = records.len();
        let typed =
            ciborium::from_reader(record).map_err(|error: ciborium::de::Error<_>| BadRecord::Type { number, cause: error.to_string() })?;
        records.push(typed);
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct Old {
        key: u64,
        word: String,
    }

    #[derive(Serialize, Deserialize, PartialEq, Debug)]
    struct New {
        word: String,
        #[serde(default)]
        weight: i64,
        key: u64,
    }

    #[test]
    fn a_field_may_be_added_and_move() {
        let mut bytes = Vec::new();
        write(&Old { key: 7, word: "dam".into() }, &mut bytes).expect("serde takes it");
        write(&Old { key: u64::MAX, word: String::new() }, &mut bytes).expect("serde takes it");
        let read: Vec<New> = read(&bytes).expect("the field has a default");
        assert_eq!(read, [New { word: "dam".into(), weight: 0, key: 7 }, New { word: String::new(), weight: 0, key: u64::MAX }]);
    }

    #[test]
    fn another_type_is_refused_with_the_number_of_the_record() {
        let mut bytes = Vec::new();
        write(&1_u64, &mut bytes).expect("serde takes it");
        write(&"two", &mut bytes).expect("serde takes it");
        let error = read::<u64>(&bytes).expect_err("the second is no number");
        assert!(matches!(error, BadRecord::Type { number: 1, .. }), "{error}");
    }

    #[test]
    fn every_cut_is_refused_or_ends_between_two_records() {
        let mut bytes = Vec::new();
        for number in 0..20_u64 {
            write(&(number, "text"), &mut bytes).expect("serde takes it");
        }
        for cut in 0..bytes.len() {
            match read::<(u64, String)>(&bytes[..cut]) {
                Ok(records) => assert!(records.len() < 20),
                Err(BadRecord::Stored(_)) => {}
                Err(BadRecord::Type { .. }) => panic!("a record is whole or not there"),
            }
        }
    }
}
