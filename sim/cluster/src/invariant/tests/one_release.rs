use super::*;
use crate::invariant::one_release::OneRelease;

fn starts() -> Told {
    worker(WORKER, Moment::TasksStarting).a(1, 2)
}

#[test]
fn tasks_of_the_same_release_and_processes_that_run_on_are_accepted() {
    let installed = |release| world(1, WorldEvent::Installed(WORKER, release));
    let restarted = || world(2, WorldEvent::Restarted(WORKER));
    assert_accepted(OneRelease::default(), vec![starts(), installed(1), starts()]);
    assert_accepted(OneRelease::default(), vec![installed(1), restarted(), installed(0), restarted(), starts()]);
    assert_accepted(OneRelease::default(), vec![installed(1), restarted(), worker(SPARE, Moment::TasksStarting)]);
}

#[test]
fn tasks_on_a_worker_of_another_release_are_red() {
    let (installed, restarted) = (world(1, WorldEvent::Installed(WORKER, 1)), world(2, WorldEvent::Restarted(WORKER)));
    assert_red(OneRelease::default(), vec![installed, restarted, starts()], &["another release"]);
}
