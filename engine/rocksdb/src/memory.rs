//! What all stores of a worker take together.

/// Memory of the stores of one worker, which share one cache and one budget for what is not written yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MemoryUse {
    /// What they may take together.
    pub budget_bytes: usize,
    /// Blocks of tables, their indexes and filters, and, in automatic mode, the write buffers, which are charged to the cache.
    pub cache_bytes: usize,
    /// Of these, what is in use and cannot be let go of.
    pub pinned_bytes: usize,
    /// Changes that no table has yet; not known in explicit mode, where they are kept until the next checkpoint.
    pub buffer_bytes: Option<usize>,
}

#[cfg(test)]
mod tests {
    use crate::backend::{RocksDbMode, RocksDbSettings};
    use crate::options::OptionsOfStores;
    use crate::place::PlaceFolder;
    use crate::store::{column_name, RocksDbStore};
    use cofferdam_engine::state::cold::{Change, ColdPlace, ColdStore as _, ColumnIndex};
    use cofferdam_protocol::{KeyGroup, KeyGroupRange};

    const STORES: u16 = 4;
    const BUDGET: usize = 16 << 20;

    /// As RocksDB itself says, of each column family.
    fn property(store: &RocksDbStore, name: &str) -> Vec<u64> {
        let database = store.database();
        let of = |column| database.cf_handle(&column_name(ColumnIndex(column))).expect("it has two columns");
        let value = |column| database.property_int_value_cf(of(column), name).expect("readable").expect("it is known");
        (0..2).map(value).collect()
    }

    fn random(n: u64) -> u64 {
        n.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29).wrapping_mul(0xBF58_476D_1CE4_E5B9)
    }

    /// Twelve times the budget goes in, and is read again at random: what RocksDB takes for it stays within the budget, for all
    /// stores together.
    #[test]
    fn the_stores_of_a_worker_share_one_budget_however_much_they_hold() {
        let folder = tempfile::tempdir().expect("there is room");
        let path = folder.path().to_owned();
        let settings = RocksDbSettings { folder: path.clone(), memory_budget_bytes: BUDGET, hot_bytes: 0, mode: RocksDbMode::Automatic };
        let options = OptionsOfStores::new(settings);
        let groups = KeyGroupRange { first: KeyGroup(0), last: KeyGroup(0) };
        let store = |number| {
            let place = ColdPlace { name: format!("store {number}"), columns: 2, groups, expiring: Default::default() };
            let folder = PlaceFolder::empty(&path, &place).expect("there is room");
            RocksDbStore::create(&options, folder, &place).expect("there is room")
        };
        let stores: Vec<RocksDbStore> = (0..STORES).map(store).collect();
        let key = |number: u64| [&[0, 0][..], &random(number).to_be_bytes()].concat();
        let (per_store, at_once) = (50_000_u64, 500);
        let mut most = 0;
        let mut check = || {
            let used = options.memory();
            let buffers: u64 = stores.iter().flat_map(|store| property(store, "rocksdb.cur-size-all-mem-tables")).sum();
            let readers: u64 = stores.iter().flat_map(|store| property(store, "rocksdb.estimate-table-readers-mem")).sum();
            assert!(used.cache_bytes <= BUDGET, "{used:?}");
            assert!(used.buffer_bytes.is_some_and(|bytes| bytes <= BUDGET / 2), "{used:?}");
            assert!(buffers <= BUDGET as u64 / 2, "{buffers} bytes in write buffers");
            // Indexes and filters are in the cache: what is left is a little for each open table.
            assert!(readers <= BUDGET as u64 / 8, "{readers} bytes of table readers");
            most = most.max(used.cache_bytes);
        };
        for first in (0..per_store).step_by(at_once as usize) {
            for (number, store) in (0..).zip(&stores) {
                let change = |n: u64| {
                    let value = (0..125).flat_map(|word| random(n * 125 + word).to_be_bytes()).collect();
                    Change { column: ColumnIndex(number % 2), key: key(n), value: Some(value) }
                };
                let mut changes: Vec<Change> = (first..first + at_once).map(change).collect();
                changes.sort_by(|one, other| one.key.cmp(&other.key));
                store.apply(&mut changes.into_iter()).expect("there is room");
            }
            check();
        }
        for n in 0..20_000 {
            let (mut value, number) = (Vec::new(), n % u64::from(STORES));
            let store = &stores[usize::try_from(number).expect("small")];
            let column = ColumnIndex(u16::try_from(number % 2).expect("small"));
            assert!(store.get(column, &key(random(n) % per_store), &mut value).expect("readable"));
            if n % 100 == 0 {
                check();
            }
        }
        assert!(most > BUDGET / 2, "only {most} bytes were ever in use: is it tested?");
        let on_disk: u64 = stores.iter().flat_map(|store| property(store, "rocksdb.total-sst-files-size")).sum();
        assert!(on_disk > 8 * BUDGET as u64, "only {on_disk} bytes are on the disk");
        // One cache, of which each database tells the same.
        let caches: Vec<Vec<u64>> = stores.iter().map(|store| property(store, "rocksdb.block-cache-capacity")).collect();
        assert!(caches.iter().flatten().all(|capacity| *capacity == caches[0][0] && *capacity <= BUDGET as u64), "{caches:?}");
    }
}
