//! What a disk does without telling anybody is what it is said to be, and the disk remembers it.

use crate::*;
use cofferdam_engine::env::{File, Files};
use cofferdam_sim::disk::{DiskFault, DiskSettings, Silent, SimFiles, View};
use cofferdam_sim::{Crash, NodeIndex};

fn always(fault: DiskFault, paths: &[&str]) -> Silent {
    Silent { fault, chance: 1.0, paths: paths.iter().map(ToString::to_string).collect() }
}

async fn write(files: &SimFiles, path: &str, bytes: &[u8]) {
    let mut file = files.create(path).await.expect("free");
    file.append(bytes).await.expect("nobody is told");
    file.sync().await.expect("nobody is told");
}

/// Reads as often as it takes.
async fn read(files: &SimFiles, path: &str) -> Vec<u8> {
    let file = files.open(path).await.expect("there");
    let mut bytes = vec![0; usize::try_from(file.size().await.expect("open")).expect("small")];
    let mut filled = 0;
    while filled < bytes.len() {
        let count = file.read_at(filled as u64, &mut bytes[filled..]).await.expect("nobody is told");
        assert!(count > 0, "{path} ends at {filled}");
        filled += count;
    }
    bytes
}

fn harmed(world: &World, node: NodeIndex) -> Vec<String> {
    world.storage(node).harmed_now().into_iter().collect()
}

#[test]
fn a_lost_write_leaves_zeros_and_no_error() {
    simulate(1, |world| async move {
        let (index, env) = node(&world, 1).await;
        world.storage(index).add_silent(always(DiskFault::LostWrite, &["/lost"]));
        write(env.files(), "/lost", b"0123456789").await;
        write(env.files(), "/kept", b"0123456789").await;
        assert_eq!(read(env.files(), "/lost").await, [0; 10]);
        assert_eq!(read(env.files(), "/kept").await, b"0123456789");
        assert_eq!(harmed(&world, index), ["/lost"]);
        assert_eq!(world.faults().get("lost-write"), Some(&1));
    });
}

#[test]
fn a_misdirected_write_damages_two_files() {
    simulate(2, |world| async move {
        let (index, env) = node(&world, 1).await;
        env.files().create_folder("/a").await.expect("free");
        env.files().create_folder("/a/b").await.expect("free");
        write(env.files(), "/a/b/before", &[b'x'; 10]).await;
        world.storage(index).add_silent(always(DiskFault::Misdirected, &[]));
        write(env.files(), "/a/b/meant", &[b'y'; 10]).await;
        assert_eq!(read(env.files(), "/a/b/meant").await, [0; 10]);
        let victim = read(env.files(), "/a/b/before").await;
        assert!(victim.len() == 10 && victim.contains(&b'y'), "{victim:?}");
        assert_eq!(harmed(&world, index), ["/a/b/before", "/a/b/meant"]);
    });
}

#[test]
fn a_read_that_is_garbled_shows_one_flipped_bit_and_the_third_is_right() {
    simulate(3, |world| async move {
        let (index, env) = node(&world, 1).await;
        write(env.files(), "/file", &[0; 100]).await;
        world.storage(index).add_silent(always(DiskFault::RotOnRead, &[]));
        for _ in 0..2 {
            let bits: u32 = read(env.files(), "/file").await.iter().map(|byte| byte.count_ones()).sum();
            assert_eq!(bits, 1);
        }
        assert_eq!(read(env.files(), "/file").await, [0; 100]);
        assert!(harmed(&world, index).is_empty(), "on the disk it is as it was");
    });
}

#[test]
fn a_short_read_gives_less_and_the_rest_is_there() {
    simulate(4, |world| async move {
        let (index, env) = node(&world, 1).await;
        let bytes: Vec<u8> = (0..200).collect();
        write(env.files(), "/file", &bytes).await;
        world.storage(index).add_silent(always(DiskFault::ShortRead, &[]));
        let file = env.files().open("/file").await.expect("there");
        let count = file.read_at(0, &mut [0; 200]).await.expect("nobody is told");
        assert!((1..200).contains(&count), "{count}");
        assert_eq!(read(env.files(), "/file").await, bytes);
    });
}

#[test]
fn a_sync_that_lies_shows_when_the_power_goes() {
    let mut lost = 0;
    for seed in 0..40 {
        lost += simulate(seed, |world| async move {
            let (index, handed) = restartable(&world, 1);
            let env = handed.take(&world).await;
            write(env.files(), "/file", b"honest").await;
            env.files().sync_folder("/").await.expect("done");
            world.storage(index).add_silent(always(DiskFault::LyingSync, &[]));
            write(env.files(), "/lie", &[b'x'; 2000]).await;
            env.files().sync_folder("/").await.expect("nobody is told");
            assert_eq!(harmed(&world, index), ["", "/lie"]);
            assert!(world.storage(index).read_now(View::Durable, "/lie").is_err());
            world.kill(index, Crash::Power);
            world.restart(index);
            let env = handed.take(&world).await;
            assert_eq!(read(env.files(), "/file").await, b"honest");
            i32::from(env.files().open("/lie").await.is_err())
        });
    }
    assert!((10..30).contains(&lost), "{lost}");
}

#[test]
fn rot_at_rest_stays_and_is_remembered() {
    simulate(5, |world| async move {
        let (index, env) = node(&world, 1).await;
        write(env.files(), "/file", &[0; 10]).await;
        world.storage(index).flip_now("/file", 3, 4).expect("there");
        for _ in 0..3 {
            assert_eq!(read(env.files(), "/file").await[3], 4);
        }
        assert_eq!(harmed(&world, index), ["/file"]);
    });
}

#[test]
fn a_disk_that_stalls_does_nothing_until_it_goes_on() {
    simulate(6, |world| async move {
        let (index, env) = node(&world, 1).await;
        let until = world.now() + secs(3);
        world.storage(index).adjust(|disk| *disk = DiskSettings { stalled_until: until, ..*disk });
        write(env.files(), "/file", b"late").await;
        assert!(world.now() >= until && world.now() < until + secs(1), "{:?}", world.now());
        let before = world.now();
        write(env.files(), "/next", b"soon").await;
        assert!(world.now() < before + secs(1), "it goes on");
    });
}
