use super::*;
use crate::jobs;
use crate::scenario::{JobSpec, Shape};
use crate::workload;
use crate::{Concern, SimEnv, Streams};

fn checkpoint() -> Checkpoint {
    let part = |uid: &str, subtask, entries| ((uid.to_owned(), subtask), entries);
    let parts = [part("lines", 0, 2), part("lines", 1, 2), part("count", 0, 17), part("table", 0, 0)];
    Checkpoint { number: 3, parts: parts.into(), ..Checkpoint::default() }
}

fn judged(vertex: u32, subtask: u32, held: u64) -> Result<(), Contradiction> {
    judge(JobKind::WordCount, &checkpoint(), TaskId::new(vertex, subtask), held)
}

#[test]
fn a_subtask_that_holds_what_it_put_in_is_accepted() {
    assert_eq!(judged(0, 1, 2), Ok(()));
    assert_eq!(judged(1, 0, 17), Ok(()));
}

#[test]
fn a_subtask_that_begins_empty_or_with_too_little_or_too_much_is_red_and_named() {
    for held in [0, 16, 18] {
        let red = judged(1, 0, held).expect_err("it must be seen red");
        assert!(red.contains("v1.s0") && red.contains("c3") && red.contains(&held.to_string()), "{red}");
    }
    assert!(judged(0, 0, 0).is_err());
}

#[test]
fn a_subtask_that_the_checkpoint_does_not_know_is_red() {
    assert!(judged(1, 1, 0).is_err_and(|red| red.contains("s1")));
    assert!(judged(2, 0, 0).is_err());
    let mut strange = checkpoint();
    strange.parts.insert(("other".into(), 0), 0);
    assert!(judge(JobKind::WordCount, &strange, TaskId::new(0, 0), 2).is_err_and(|red| red.contains("other")));
}

#[test]
fn the_vertices_are_those_of_the_jobs() {
    let state = [JobKind::Expiring, JobKind::Rules, JobKind::Visits, JobKind::Sessions, JobKind::Hops];
    let shaped = Shape::ALL.map(JobKind::Shaped);
    for kind in [JobKind::WordCount, JobKind::Windows, JobKind::Ledger].into_iter().chain(state).chain(shaped) {
        let spec = JobSpec { kind, ..JobSpec::default() };
        let logs = workload::logs(&spec, crate::scenario::LoadSpec::default(), &mut Streams::new(0).stream(Concern::Workload));
        let shapes = jobs::build::<SimEnv>(&spec, &logs, "/shared/output", &jobs::Watch::nobody()).shapes();
        let found: Vec<(u32, &str)> = shapes.iter().map(|shape| (shape.vertex.0, shape.uid.as_str())).collect();
        let vertices = (0..).zip(reference::vertices(kind));
        let named = vertices.map(|(vertex, uids)| match uids {
            [] => vec![(vertex, format!("chain-{vertex}"))],
            uids => uids.iter().map(|uid| (vertex, (*uid).to_owned())).collect(),
        });
        let expected: Vec<(u32, String)> = named.flatten().collect();
        let found: Vec<(u32, String)> = found.into_iter().map(|(vertex, uid)| (vertex, uid.to_owned())).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn a_chain_without_a_name_has_nothing_but_what_is_under_way() {
    let mut windows = checkpoint();
    windows.parts.insert(("chain-1".into(), 0), 0);
    let strange = judge(JobKind::WordCount, &windows, TaskId::new(0, 0), 2);
    assert!(strange.is_err_and(|red| red.contains("chain-1")), "the second vertex has names");
}
