use crate::*;
use cofferdam_engine::env::{File, Files};
use cofferdam_sim::disk::{DiskFault, DiskOp, DiskSettings, FailNext, SimFiles, View};
use cofferdam_sim::Crash;
use std::io::ErrorKind;

async fn written(files: &SimFiles, path: &str, bytes: &[u8], synced: bool) {
    let mut file = files.create(path).await.expect("free");
    file.append(bytes).await.expect("room");
    if synced {
        file.sync().await.expect("no faults");
    }
}

async fn read(files: &SimFiles, path: &str) -> std::io::Result<Vec<u8>> {
    let file = files.open(path).await?;
    let mut bytes = vec![0; usize::try_from(file.size().await?).expect("small")];
    let length = file.read_at(0, &mut bytes).await?;
    assert_eq!(length, bytes.len());
    Ok(bytes)
}

#[test]
fn a_process_crash_keeps_what_was_never_synced() {
    simulate(1, |world| async move {
        let (index, handed) = restartable(&world, 1);
        let env = handed.take(&world).await;
        env.files().create_folder("/a").await.expect("free");
        written(env.files(), "/a/file", b"unsynced", false).await;
        world.kill(index, Crash::Process);
        assert!(read(env.files(), "/a/file").await.is_err(), "the dead read nothing");
        world.restart(index);
        let env = handed.take(&world).await;
        assert_eq!(read(env.files(), "/a/file").await.expect("kept"), b"unsynced");
    });
}

#[test]
fn a_power_loss_takes_what_was_not_synced_and_only_that() {
    let mut lost = 0;
    for seed in 0..40 {
        lost += simulate(seed, |world| async move {
            let (index, handed) = restartable(&world, 1);
            let env = handed.take(&world).await;
            written(env.files(), "/safe", b"safe", true).await;
            written(env.files(), "/torn", &[b'x'; 5000], true).await;
            env.files().sync_folder("/").await.expect("no faults");
            written(env.files(), "/unsynced", b"data without entry", true).await;
            world.kill(index, Crash::Power);
            world.restart(index);
            let env = handed.take(&world).await;
            assert_eq!(read(env.files(), "/safe").await.expect("durable"), b"safe");
            assert_eq!(read(env.files(), "/torn").await.expect("durable").len(), 5000);
            i32::from(env.files().open("/unsynced").await.is_err())
        });
    }
    assert!((10..30).contains(&lost), "{lost}");
}

#[test]
fn unsynced_appends_are_torn_somewhere_after_a_power_loss() {
    let mut lengths = std::collections::BTreeSet::new();
    for seed in 0..40 {
        let bytes = simulate(seed, |world| async move {
            let (index, handed) = restartable(&world, 1);
            let env = handed.take(&world).await;
            let mut file = env.files().create("/log").await.expect("free");
            file.append(b"synced").await.expect("room");
            file.sync().await.expect("no faults");
            env.files().sync_folder("/").await.expect("no faults");
            for _ in 0..3 {
                file.append(&[b'x'; 2000]).await.expect("room");
            }
            assert_eq!(world.storage(index).read_now(View::Durable, "/log").expect("durable"), b"synced");
            world.kill(index, Crash::Power);
            world.storage(index).read_now(View::Live, "/log").expect("durable")
        });
        assert!(bytes.starts_with(b"synced"));
        lengths.insert(bytes.len());
    }
    assert!(lengths.len() > 10, "{lengths:?}");
    assert!(lengths.iter().any(|length| (length - 6) % 512 == 0), "{lengths:?}");
}

#[test]
fn a_failed_sync_loses_data_that_reads_still_show() {
    simulate(3, |world| async move {
        let (index, handed) = restartable(&world, 1);
        let env = handed.take(&world).await;
        let mut file = env.files().create("/log").await.expect("free");
        env.files().sync_folder("/").await.expect("no faults");
        file.append(b"gone").await.expect("room");
        let fault = DiskFault::SyncLost;
        world.storage(index).fail_next(FailNext { op: DiskOp::Sync, path_contains: "log".into(), fault });
        assert!(file.sync().await.is_err());
        file.sync().await.expect("the page is clean now, the system believes");
        assert_eq!(read(env.files(), "/log").await.expect("cached"), b"gone");
        assert_ne!(world.storage(index).read_now(View::Durable, "/log").expect("durable"), b"gone");
        assert_eq!(world.faults()["sync-failure"], 1);
        world.kill(index, Crash::Power);
        assert_ne!(world.storage(index).read_now(View::Live, "/log").expect("durable"), b"gone");
    });
}

#[test]
fn a_full_disk_refuses_and_a_removal_makes_room() {
    simulate(4, |world| async move {
        let (index, env) = node(&world, 1).await;
        world.storage(index).adjust(|settings| settings.capacity_bytes = 100);
        written(env.files(), "/big", &[0; 90], true).await;
        let mut file = env.files().create("/small").await.expect("room");
        let error = file.append(&[1; 20]).await.expect_err("no room");
        assert_eq!(error.kind(), ErrorKind::StorageFull);
        assert_eq!(file.size().await.expect("open"), 10, "what fits is written");
        env.files().remove("/big").await.expect("there");
        file.append(&[1; 20]).await.expect("room again");
        assert_eq!(world.storage(index).used_bytes(), 30);
    });
}

#[test]
fn after_an_input_output_error_the_change_may_have_happened() {
    simulate(5, |world| async move {
        let (index, env) = node(&world, 1).await;
        let fail = |op, fault| world.storage(index).fail_next(FailNext { op, path_contains: String::new(), fault });
        fail(DiskOp::Create, DiskFault::ErrorBefore);
        assert!(env.files().create("/before").await.is_err());
        fail(DiskOp::Create, DiskFault::ErrorAfter);
        assert!(env.files().create("/after").await.is_err());
        assert_eq!(env.files().list("/").await.expect("root"), ["after"]);
        written(env.files(), "/from", b"x", true).await;
        fail(DiskOp::Rename, DiskFault::ErrorAfter);
        assert!(env.files().rename("/from", "/to").await.is_err());
        assert_eq!(env.files().list("/").await.expect("root"), ["after", "to"]);
    });
}

#[test]
fn random_errors_strike_as_often_as_they_should() {
    simulate(6, |world| async move {
        let (index, env) = node(&world, 1).await;
        let settings = DiskSettings { error_before: 0.1, error_after: 0.1, ..DiskSettings::default() };
        world.storage(index).set(settings);
        let mut failed = 0;
        for number in 0..1000 {
            failed += u32::from(env.files().create(&format!("/{number}")).await.is_err());
        }
        assert!((140..240).contains(&failed), "{failed}");
        let created = world.storage(index).list_now(View::Live, "/").expect("root").len();
        assert!((860..940).contains(&created), "{created}");
    });
}

#[test]
fn a_wiped_disk_is_empty() {
    simulate(7, |world| async move {
        let (index, handed) = restartable(&world, 1);
        world.storage(index).write_now("/in/put", b"x").expect("a fresh disk");
        let env = handed.take(&world).await;
        assert_eq!(read(env.files(), "/in/put").await.expect("there"), b"x");
        world.kill(index, Crash::Power);
        world.wipe(index);
        world.restart(index);
        assert_eq!(handed.take(&world).await.files().list("/").await.expect("root"), [""; 0]);
    });
}

#[test]
fn operations_without_latency_take_no_time() {
    simulate(8, |world| async move {
        let (index, env) = node(&world, 1).await;
        let none = (Duration::ZERO, Duration::ZERO);
        world.storage(index).adjust(|settings| settings.sync_latency = none);
        let start = world.now();
        written(env.files(), "/file", b"x", true).await;
        env.files().sync_folder("/").await.expect("no faults");
        assert_eq!(world.now(), start);
        world.storage(index).adjust(|settings| {
            settings.sync_latency = (ms(10), ms(10));
            settings.slow_factor = 50.0;
        });
        env.files().sync_folder("/").await.expect("no faults");
        assert!((ms(500)..ms(502)).contains(&(world.now() - start)));
    });
}
