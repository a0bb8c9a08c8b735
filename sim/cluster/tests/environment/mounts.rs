use crate::*;
use cofferdam_engine::env::{File, Files};
use cofferdam_sim::disk::View;
use cofferdam_sim::Crash;
use std::io::ErrorKind;

#[test]
fn a_mounted_file_is_one_file_for_all_nodes_and_survives_its_writer() {
    simulate(1, |world| async move {
        let (storage, _) = node(&world, 9).await;
        let ((ia, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        world.mount("/shared", storage);
        world.network().set_default(fixed(10));
        let start = world.now();
        let mut file = a.files().create("/shared/file").await.expect("free");
        assert!((ms(20)..ms(24)).contains(&(world.now() - start)), "there and back");
        file.append(b"hello").await.expect("room");
        world.kill(ia, Crash::Process);
        let file = b.files().open("/shared/file").await.expect("there");
        let mut buffer = [0; 10];
        assert_eq!(file.read_at(0, &mut buffer).await.expect("there"), 5);
        assert!(b.files().open("/sharedfile").await.is_err(), "not under the mount");
        assert_eq!(world.storage(storage).read_now(View::Live, "/shared/file").expect("there"), b"hello");
    });
}

#[test]
fn a_power_loss_of_the_storage_node_makes_handles_stale() {
    simulate(2, |world| async move {
        let (storage, handed) = restartable(&world, 9);
        handed.take(&world).await;
        let (_, a) = node(&world, 1).await;
        world.mount("/shared", storage);
        let mut file = a.files().create("/shared/file").await.expect("free");
        file.append(b"x").await.expect("room");
        file.sync().await.expect("no faults");
        a.files().sync_folder("/shared").await.expect("no faults");
        world.kill(storage, Crash::Power);
        world.restart(storage);
        let error = file.append(b"y").await.expect_err("stale");
        assert_eq!(error.raw_os_error(), Some(116));
        let file = a.files().open("/shared/file").await.expect("durable");
        assert_eq!(file.size().await.expect("fresh"), 1);
    });
}

/// Whether an operation into a partition happened: in time for its caller, later, or never.
fn fate(seed: u64, heal_after: Duration) -> (bool, bool, bool) {
    simulate(seed, move |world| async move {
        let (storage, _) = node(&world, 9).await;
        let (ia, a) = node(&world, 1).await;
        world.mount("/shared", storage);
        world.storage(storage).set_mount_timeout(secs(4));
        world.network().partition(&[ia], &[storage]);
        let healer = world.clone();
        let _healer = world.spawn("heal", async move {
            healer.sleep(heal_after).await;
            healer.network().heal_all();
        });
        let result = a.files().create_folder("/shared/new").await;
        let there = || world.storage(storage).list_now(View::Live, "/shared").expect("mounted") == ["new"];
        let (answered, at_once) = (result.is_ok(), there());
        if let Err(error) = result {
            assert_eq!(error.kind(), ErrorKind::TimedOut);
        }
        world.sleep(secs(20)).await;
        (answered, at_once, there())
    })
}

#[test]
fn an_operation_that_timed_out_may_still_happen() {
    assert_eq!(fate(1, secs(1)), (true, true, true), "a short partition is a delay");
    let fates: Vec<_> = (0..30).map(|seed| fate(seed, secs(5))).collect();
    assert!(fates.iter().all(|&(answered, at_once, _)| !answered && !at_once));
    let happened = fates.iter().filter(|&&(_, _, later)| later).count();
    assert!((5..25).contains(&happened), "{happened} of 30");
}

#[test]
fn an_answer_that_is_lost_leaves_the_change_behind() {
    simulate(4, |world| async move {
        let (storage, _) = node(&world, 9).await;
        let (ia, a) = node(&world, 1).await;
        world.mount("/shared", storage);
        world.network().partition_one_way(&[storage], &[ia]);
        let error = a.files().create("/shared/file").await.err().expect("no answer");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert_eq!(world.storage(storage).list_now(View::Live, "/shared").expect("mounted"), ["file"]);
        assert_eq!(world.faults()["mount-timeout"], 1);
    });
}

#[test]
fn a_request_outlives_the_process_that_sent_it() {
    let happened = (0..20).filter(|&seed| {
        simulate(seed, |world| async move {
            let (storage, _) = node(&world, 9).await;
            let (ia, a) = node(&world, 1).await;
            world.mount("/shared", storage);
            let mut file = a.files().create("/shared/file").await.expect("free");
            world.network().partition(&[ia], &[storage]);
            let _writer = a.spawn("writer", async move {
                let _ = file.append(b"zombie").await;
            });
            world.sleep(secs(1)).await;
            world.kill(ia, Crash::Process);
            world.sleep(secs(3)).await;
            world.network().heal_all();
            world.sleep(secs(20)).await;
            world.storage(storage).read_now(View::Live, "/shared/file").expect("there") == b"zombie"
        })
    });
    assert!((5..20).contains(&happened.count()));
}
