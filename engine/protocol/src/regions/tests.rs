use super::*;
use proptest::prelude::*;

fn task(vertex: u32, subtask: u32) -> TaskId {
    TaskId::new(vertex, subtask)
}

fn tasks(vertices: u32, parallelism: u32) -> BTreeSet<TaskId> {
    (0..vertices).flat_map(|vertex| (0..parallelism).map(move |subtask| task(vertex, subtask))).collect()
}

fn forward(from: u32, to: u32, parallelism: u32) -> Vec<(TaskId, TaskId)> {
    (0..parallelism).map(|index| (task(from, index), task(to, index))).collect()
}

fn exchange(from: u32, to: u32, parallelism: u32) -> Vec<(TaskId, TaskId)> {
    (0..parallelism).flat_map(|sender| (0..parallelism).map(move |receiver| (task(from, sender), task(to, receiver)))).collect()
}

#[test]
fn chains_that_pass_records_on_index_by_index_are_a_region_per_index() {
    let regions = Regions::of(&tasks(3, 3), forward(0, 1, 3).into_iter().chain(forward(1, 2, 3)));
    let expected: Vec<BTreeSet<TaskId>> = (0..3).map(|index| (0..3).map(|vertex| task(vertex, index)).collect()).collect();
    assert_eq!(regions.iter().cloned().collect::<Vec<_>>(), expected);
    assert_eq!(regions.around(&[task(1, 2)].into()), Some(expected[2].clone()));
}

#[test]
fn a_job_with_an_exchange_is_one_region_and_restarts_whole() {
    let regions = Regions::of(&tasks(3, 2), forward(0, 1, 2).into_iter().chain(exchange(1, 2, 2)));
    assert_eq!(regions, Regions::whole());
    assert_eq!(regions.around(&[task(0, 0)].into()), None);
}

#[test]
fn two_pipelines_that_share_nothing_are_two_regions() {
    let regions = Regions::of(&tasks(4, 2), exchange(0, 1, 2).into_iter().chain(exchange(2, 3, 2)));
    assert_eq!(regions.iter().count(), 2);
    assert_eq!(regions.around(&[task(3, 1)].into()), Some([task(2, 0), task(2, 1), task(3, 0), task(3, 1)].into()));
    assert_eq!(regions.around(&[task(0, 0), task(3, 1)].into()), Some(tasks(4, 2)), "failures of both restart both");
}

#[test]
fn nobody_in_particular_and_nobody_known_is_everybody() {
    let regions = Regions::of(&tasks(1, 2), []);
    assert_eq!(regions.around(&BTreeSet::new()), None);
    assert_eq!(regions.around(&[task(7, 0)].into()), None);
}

proptest! {
    #[test]
    fn regions_share_nothing_cover_all_and_no_channel_leads_out(
        channels in prop::collection::vec(((0..4_u32, 0..4_u32), (0..4_u32, 0..4_u32)), 0..20),
        failed in prop::collection::btree_set((0..4_u32, 0..4_u32), 1..4),
    ) {
        let all = tasks(4, 4);
        let channels: Vec<(TaskId, TaskId)> = channels.into_iter().map(|((v, s), (w, t))| (task(v, s), task(w, t))).collect();
        let regions = Regions::of(&all, channels.clone());
        let counted: usize = regions.iter().map(BTreeSet::len).sum();
        let covered: BTreeSet<TaskId> = regions.iter().flatten().copied().collect();
        prop_assert!(regions == Regions::whole() || (counted == all.len() && covered == all));
        let failed: BTreeSet<TaskId> = failed.into_iter().map(|(vertex, subtask)| task(vertex, subtask)).collect();
        let restarts = regions.around(&failed).unwrap_or_else(|| all.clone());
        prop_assert!(failed.is_subset(&restarts));
        for (from, to) in channels {
            prop_assert_eq!(restarts.contains(&from), restarts.contains(&to), "a channel from {} to {}", from, to);
        }
    }

    #[test]
    fn a_region_is_no_larger_than_it_must_be(index in 0..5_u32, parallelism in 5..9_u32) {
        let regions = Regions::of(&tasks(2, parallelism), forward(0, 1, parallelism));
        prop_assert_eq!(regions.around(&[task(0, index)].into()), Some([task(0, index), task(1, index)].into()));
    }
}
