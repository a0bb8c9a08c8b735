use super::hashmap::{BlockError, Blocks, KeyedSnapshot, BLOCK_BYTES, BLOCK_BYTES_MAX};
use super::restore::{restore_block, RestoreStateError};
use super::*;
use crate::state::*;
use cofferdam_protocol::ids::SubtaskIndex;
use cofferdam_protocol::key_group::KeyGroupRange;
use cofferdam_protocol::stored::StoredError;
use proptest::prelude::*;

/// The mean of what came in.
#[derive(Default)]
struct Mean;

impl Aggregate for Mean {
    type In = u64;
    type Accumulator = (u64, u64);
    type Out = u64;
    fn add(&self, (sum, count): &mut (u64, u64), value: u64) {
        *sum += value;
        *count += 1;
    }
    fn get(&self, (sum, count): &(u64, u64)) -> u64 {
        sum / count
    }
}

/// The largest of what came in.
#[derive(Default)]
struct Max;

impl Reduce<i64> for Max {
    fn reduce(&self, current: &mut i64, next: i64) {
        *current = next.max(*current);
    }
}

/// An operator with a state of every kind.
#[derive(Default)]
struct Everything {
    last: ValueState<Text, String>,
    seen: ListState<Text, u64>,
    words: MapState<Text, u32, String>,
    largest: ReducingState<Text, i64, Max>,
    mean: AggregatingState<Text, Mean>,
    timers: Timers<Text>,
}

impl Everything {
    fn states(&mut self, visit: &mut dyn StateVisitor<Text>) {
        visit.visit("last", &mut self.last);
        visit.visit("seen", &mut self.seen);
        visit.visit("words", &mut self.words);
        visit.visit("largest", &mut self.largest);
        visit.visit("mean", &mut self.mean);
        self.timers.states(visit);
    }

    fn record(&mut self, name: &str, number: u64) {
        let text = Text::from(name);
        let key = &Key::new(&text);
        self.last.set(key, format!("{name} {number}"));
        self.seen.push(key, number);
        self.words.insert(key, u32::try_from(number % 5).expect("below 5"), name.repeat(3));
        self.largest.add(key, -number.cast_signed());
        self.mean.add(key, number);
        self.timers.register_event(key, number.cast_signed() * 10);
        self.timers.register_processing(key, number.cast_signed() % 3);
    }

    fn filled(key_count: u64, record_count: u64) -> Self {
        let mut operator = Self::default();
        for number in 0..record_count {
            operator.record(&format!("key-{}", number % key_count), number);
        }
        operator
    }

    fn snapshot(&mut self, max: MaxParallelism, groups: KeyGroupRange) -> KeyedSnapshot {
        KeyedSnapshot::take(max, groups, |visit| self.states(visit))
    }

    fn restore(&mut self, block: &[u8], max: MaxParallelism, groups: KeyGroupRange) -> Result<usize, RestoreStateError> {
        restore_block(block, 0, max, groups, |visit| self.states(visit))
    }
}

fn max(count: u32) -> MaxParallelism {
    MaxParallelism::new(count).expect("a legal max parallelism")
}

fn all(max: MaxParallelism) -> KeyGroupRange {
    max.range_of(SubtaskIndex(0), 1).expect("one subtask owns all")
}

fn blocks(snapshot: &KeyedSnapshot) -> Vec<Vec<u8>> {
    snapshot.blocks().collect::<Result<_, _>>().expect("no entry is too large")
}

fn take<V: StateTable<u64>>(max: MaxParallelism, table: &mut V) -> KeyedSnapshot {
    KeyedSnapshot::take(max, all(max), |visit: &mut dyn StateVisitor<u64>| visit.visit("s", table))
}

fn restore<V: StateTable<u64>>(block: &[u8], max: MaxParallelism, table: &mut V) -> Result<usize, RestoreStateError> {
    restore_block(block, 0, max, all(max), |visit: &mut dyn StateVisitor<u64>| visit.visit("s", table))
}

#[test]
fn a_snapshot_can_be_written_on_another_thread() {
    fn sent<T: Send + Sync>() {}
    fn moved<T: Send>() {}
    sent::<KeyedSnapshot>();
    moved::<Blocks<'_>>();
}

#[test]
fn state_moves_to_any_other_parallelism_and_back() {
    let max = max(30);
    let mut before = Everything::filled(500, 2_000);
    let stored = blocks(&before.snapshot(max, all(max)));
    for parallelism in [1, 2, 3, 7, 30] {
        let mut again = Vec::new();
        for subtask in 0..parallelism {
            let groups = max.range_of(SubtaskIndex(subtask), parallelism).expect("no more subtasks than groups");
            let mut part = Everything::default();
            for block in &stored {
                part.restore(block, max, groups).expect("written just now");
            }
            again.extend(blocks(&part.snapshot(max, groups)));
        }
        let mut expected = stored.clone();
        expected.sort();
        again.sort();
        assert!(again == expected, "parallelism {parallelism}");
    }
}

#[test]
fn restored_state_answers_as_before() {
    let max = max(128);
    let (mut before, mut after) = (Everything::filled(10, 100), Everything::default());
    for block in blocks(&before.snapshot(max, all(max))) {
        after.restore(&block, max, all(max)).expect("written just now");
    }
    let text = Text::from("key-3");
    let key = &Key::new(&text);
    assert_eq!(after.last.get(key).map(String::as_str), Some("key-3 93"));
    assert_eq!(after.seen.get(key), &[3, 13, 23, 33, 43, 53, 63, 73, 83, 93]);
    assert!(after.words.iter(key).eq(before.words.iter(key)));
    assert_eq!(after.largest.get(key), Some(&-3));
    assert_eq!(after.mean.get(key), Some(48));
    assert_eq!(after.timers.pop_due_event(0), Some((0, Text::from("key-0"))));
}

#[test]
fn equal_state_gives_equal_bytes_whatever_its_history() {
    let max = max(16);
    let (mut up, mut down) = (ValueState::<u64, u64>::new(), ValueState::<u64, u64>::new());
    for key in 0..20_000 {
        up.set(&Key::new(&key), key);
    }
    for key in (0..30_000).rev() {
        down.set(&Key::new(&key), key);
    }
    for key in 20_000..30_000 {
        down.clear(&Key::new(&key));
    }
    assert!(blocks(&take(max, &mut up)) == blocks(&take(max, &mut down)));
}

#[test]
fn the_layout_of_blocks_is_frozen() {
    let max = max(1);
    let text = Text::from("k");
    let key = &Key::new(&text);
    let mut operator = Everything::default();
    operator.last.set(key, "v".into());
    operator.seen.replace(key, vec![7, 8]);
    operator.words.insert(key, 2, "y".into());
    operator.words.insert(key, 1, "x".into());
    operator.largest.add(key, -1);
    operator.mean.add(key, 6);
    operator.timers.register_event(key, 258);
    operator.timers.register_event(key, 3);
    let hex: Vec<String> =
        blocks(&operator.snapshot(max, all(max))).iter().map(|block| block.iter().map(|byte| format!("{byte:02x}")).collect()).collect();
    // group, kind, name, count, key, value
    let expected = [
        "0000 04 07000000 6c617267657374 01000000 01000000 6b ffffffffffffffff",
        "0000 01 04000000 6c617374 01000000 01000000 6b 01000000 76",
        "0000 05 04000000 6d65616e 01000000 01000000 6b 0600000000000000 0100000000000000",
        "0000 02 04000000 7365656e 01000000 01000000 6b 02000000 0700000000000000 0800000000000000",
        "0000 06 0c000000 74696d6572732f6576656e74 01000000 01000000 6b 02000000 0300000000000000 0201000000000000",
        "0000 03 05000000 776f726473 01000000 01000000 6b 02000000 01000000 01000000 78 02000000 01000000 79",
    ];
    assert_eq!(hex, expected.map(|line| line.replace(' ', "")));
}

#[test]
fn blocks_are_small_and_their_keys_ascend_from_block_to_block() {
    let max = max(2);
    let mut state = ValueState::<u64, u64>::new();
    for key in 0..30_000 {
        state.set(&Key::new(&key), key);
    }
    let (mut last, mut total, mut count) = ((0, None), 0, 0);
    for block in take(max, &mut state).blocks() {
        let block = block.expect("no entry is too large");
        assert!(block.len() <= BLOCK_BYTES);
        let group = u16::from_le_bytes([block[0], block[1]]);
        for entry in block[12..].chunks(16) {
            let key = u64::from_le_bytes(entry[..8].try_into().expect("half of sixteen"));
            assert!(last < (group, Some(key)));
            last = (group, Some(key));
            total += 1;
        }
        count += 1;
    }
    assert_eq!((total, count), (30_000, 8), "two groups of about 240 KB in blocks of 64 KB");
}

#[test]
fn large_entries_have_blocks_of_their_own_and_too_large_ones_are_refused() {
    let max = max(1);
    let mut state = ValueState::<u64, String>::new();
    for (key, size) in [(1, 10), (2, 300_000), (3, 10), (4, 10), (5, 70_000), (6, 65_000), (7, 65_000)] {
        state.set(&Key::new(&key), "x".repeat(size));
    }
    let written = blocks(&take(max, &mut state));
    assert_eq!(
        written.iter().map(|block| u32::from_le_bytes([block[8], block[9], block[10], block[11]])).collect::<Vec<_>>(),
        [1, 1, 2, 1, 1, 1]
    );
    let mut restored = ValueState::<u64, String>::new();
    for block in &written {
        restore(block, max, &mut restored).expect("written just now");
    }
    assert!((1..=7).all(|key| restored.get(&Key::new(&key)) == state.get(&Key::new(&key))));

    state.set(&Key::new(&8), "x".repeat(BLOCK_BYTES_MAX));
    let snapshot = take(max, &mut state);
    let results: Vec<_> = snapshot.blocks().collect();
    assert_eq!(results.len(), 7);
    assert!(matches!(results[6], Err(BlockError::EntryTooLarge { name: "s", .. })));
}

#[test]
fn a_key_of_another_subtask_fails_the_snapshot() {
    let max = max(4);
    let mut operator = Everything::filled(50, 50);
    let groups = max.range_of(SubtaskIndex(0), 2).expect("two of four groups");
    let results: Vec<_> = operator.snapshot(max, groups).blocks().collect();
    let expected = BlockError::ForeignKeyGroup { name: "largest", group: KeyGroup(2), groups };
    assert_eq!(results.last(), Some(&Err(expected)));
}

#[test]
fn no_state_gives_no_blocks() {
    let max = max(128);
    let snapshot = Everything::default().snapshot(max, all(max));
    assert!(snapshot.is_empty());
    assert_eq!(snapshot.blocks().count(), 0);
}

#[test]
fn two_states_of_one_name_are_told_before_any_snapshot() {
    let (mut one, mut two) = (ValueState::<u64, u64>::new(), ListState::<u64, u64>::new());
    let twice = |visit: &mut dyn StateVisitor<u64>| {
        visit.visit("s", &mut one);
        visit.visit("s", &mut two);
    };
    assert_eq!(declared_states(twice), Err(DuplicateState { name: "s" }));
    let mut operator = Everything::default();
    assert_eq!(declared_states(|visit| operator.states(visit)).map(|states| states.len()), Ok(7));
}

#[test]
fn what_does_not_fit_the_operator_is_refused_by_name() {
    let max = max(128);
    let mut state = ValueState::<u64, u64>::new();
    state.set(&Key::new(&1), 1);
    let block = &blocks(&take(max, &mut state))[0];

    let nothing = restore_block(block, 0, max, all(max), |_: &mut dyn StateVisitor<u64>| {});
    assert_eq!(nothing, Err(RestoreStateError::UnknownState { name: "s".into(), stored: StateKind::Value }));
    let (name, stored, declared) = ("s".to_owned(), StateKind::Value, StateKind::List);
    let error = restore(block, max, &mut ListState::<u64, u64>::new());
    assert_eq!(error, Err(RestoreStateError::OtherKind { name, stored, declared }));
    let error = restore(block, self::max(127), &mut ValueState::<u64, u64>::new());
    assert!(matches!(error, Err(RestoreStateError::OtherKeyGroup { .. })));
    let error = restore(block, max, &mut state);
    assert!(matches!(error, Err(RestoreStateError::Bytes(StoredError::Invalid { .. }))), "the key is there already");
}

#[test]
fn lists_of_elements_without_bytes_come_back() {
    let max = max(1);
    let (mut state, mut restored) = (ListState::<u64, ()>::new(), ListState::<u64, ()>::new());
    state.replace(&Key::new(&1), vec![(); 100]);
    restore(&blocks(&take(max, &mut state))[0], max, &mut restored).expect("written just now");
    assert_eq!(restored.get(&Key::new(&1)).len(), 100);
}

#[test]
fn counts_that_nothing_backs_end_early() {
    let max = max(1);
    for kind in StateKind::ALL {
        let mut block = vec![0, 0, kind.code()];
        "s".to_owned().write(&mut block);
        u32::MAX.write(&mut block);
        let mut state = ValueState::<(), ()>::new();
        let result = restore_block(&block, 0, max, all(max), |visit: &mut dyn StateVisitor<()>| visit.visit("s", &mut state));
        assert!(result.is_err());
    }
}

#[test]
fn a_cleared_operator_can_be_restored_into() {
    let max = max(8);
    let mut operator = Everything::filled(20, 60);
    let stored = blocks(&operator.snapshot(max, all(max)));
    clear_all(|visit| operator.states(visit));
    assert!(operator.snapshot(max, all(max)).is_empty());
    assert_eq!(operator.timers.next_processing(), None);
    for block in &stored {
        operator.restore(block, max, all(max)).expect("written just now");
    }
    assert!(blocks(&operator.snapshot(max, all(max))) == stored);
}

proptest! {
    #[test]
    fn a_block_that_ends_early_is_an_error(record_count in 1..60_u64, cut in any::<prop::sample::Index>()) {
        let max = max(3);
        for block in blocks(&Everything::filled(20, record_count).snapshot(max, all(max))) {
            let cut = cut.index(block.len());
            prop_assert!(Everything::default().restore(&block[..cut], max, all(max)).is_err());
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(record_count in 1..60_u64, bit in any::<prop::sample::Index>()) {
        let max = max(3);
        for mut block in blocks(&Everything::filled(20, record_count).snapshot(max, all(max))) {
            let bit = bit.index(block.len() * 8);
            block[bit / 8] ^= 1 << (bit % 8);
            let mut operator = Everything::default();
            if operator.restore(&block, max, all(max)).is_ok() {
                // What got in can also be written.
                prop_assert!(operator.snapshot(max, all(max)).blocks().all(|block| block.is_ok()));
            }
        }
    }

    #[test]
    fn any_bytes_at_all_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let max = max(128);
        let _ = Everything::default().restore(&bytes, max, all(max));
    }
}
