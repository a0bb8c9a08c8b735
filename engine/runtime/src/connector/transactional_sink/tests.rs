use super::*;

fn transaction() -> Transaction {
    Transaction { subtask: 3, name: "out-00003.0000000001.0000000002.00000000deadbeef.0000000007".into(), size_bytes: 90, checksum: 7 }
}

fn restored(item: &[u8]) -> Result<Vec<Transaction>, ConnectorError> {
    let mut sink = TransactionalSink::<String>::new("/out", "out");
    let list = ListState { name: TRANSACTIONS.into(), redistribution: Redistribution::Union, items: vec![item.to_vec()] };
    sink.restore(&[list]).map(|()| sink.restored)
}

#[test]
fn a_transaction_comes_back_as_it_was_and_a_cut_one_is_refused() {
    let mut bytes = Vec::new();
    transaction().write(&mut bytes);
    assert_eq!(restored(&bytes).expect("just written"), [transaction()]);
    for length in 0..bytes.len() {
        assert!(matches!(restored(&bytes[..length]), Err(ConnectorError::State { .. })), "{length}");
    }
    bytes.push(0);
    assert!(restored(&bytes).is_err(), "bytes behind the end");
}

#[test]
fn a_name_that_would_lead_out_of_the_folder_is_refused() {
    for name in ["../secret", "a/b", "", "_staged"] {
        let mut bytes = Vec::new();
        Transaction { name: name.into(), ..transaction() }.write(&mut bytes);
        assert!(matches!(restored(&bytes), Err(ConnectorError::State { .. })), "{name:?}");
    }
}

#[test]
fn only_the_sinks_own_files_are_told_apart_by_their_maker() {
    let attempt = AttemptId { epoch: Epoch(1), number: 2 };
    let name = transaction().name;
    assert_eq!(maker("out", &name), Some((3, attempt)));
    assert_eq!(maker("out", &format!("{name}.2.tmp")), Some((3, attempt)));
    for (uid, other) in [("ou", name.as_str()), ("out-00003", &name), ("out", "out-3"), ("out", "out-00003.1.2"), ("out", "notes.txt")] {
        assert_eq!(maker(uid, other), None, "{uid} {other}");
    }
    assert_eq!(maker("out", "out-2-00003.0000000001.0000000002.00000000deadbeef.0000000007"), None, "of a sink with a longer uid");
}

#[test]
fn a_row_that_is_two_lines_fails_every_flush_and_names_itself() {
    let mut sink = TransactionalSink::<&str>::new("/out", "out");
    sink.accept(&mut vec!["fine", "torn\napart", "fine"]);
    assert_eq!(sink.bad.as_deref(), Some("torn\napart"));
}
