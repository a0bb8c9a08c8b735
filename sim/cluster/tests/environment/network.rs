use crate::*;
use cofferdam_sim::Crash;
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

async fn within<T>(world: &World, limit: Duration, future: impl Future<Output = T>) -> Option<T> {
    let mut future = std::pin::pin!(future);
    tokio::select! {
        biased;
        value = &mut future => Some(value),
        () = world.sleep(limit) => None,
    }
}

#[test]
fn bytes_arrive_in_order_and_then_the_end() {
    for seed in 0..20 {
        simulate(seed, |world| async move {
            world.network().set_short_io(0.3);
            let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
            let (mut client, mut server) = connected(&world, &a, &b).await;
            let sent: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
            let expected = sent.clone();
            let writer = a.spawn("writer", async move {
                client.write_all(&sent).await.expect("open");
                client.shutdown().await.expect("open");
                let mut answer = String::new();
                client.read_to_string(&mut answer).await.expect("half open");
                assert_eq!(answer, "thanks");
            });
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.expect("open");
            assert!(received == expected);
            server.write_all(b"thanks").await.expect("the other direction is open");
            drop(server);
            world.sleep(secs(1)).await;
            drop(writer);
            world.sleep(ms(1)).await;
            assert_eq!(world.network().connection_count(), 0);
        });
    }
}

#[test]
fn a_writer_stops_at_a_full_window_until_the_reader_has_read() {
    simulate(1, |world| async move {
        world.network().set_default(fixed(2).window(10_000));
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        assert!(within(&world, secs(10), client.write_all(&[1; 10_001])).await.is_none());
        let mut buffer = [0; 5_000];
        server.read_exact(&mut buffer).await.expect("open");
        assert!(within(&world, ms(10), client.write_all(&[1; 4_999])).await.is_some());
        assert!(within(&world, secs(10), client.write_all(&[1; 2])).await.is_none());
    });
}

#[test]
fn a_megabyte_to_a_slow_reader_takes_as_long_as_the_reader() {
    let took = simulate(2, |world| async move {
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        let _reader = b.spawn("reader", {
            let world = world.clone();
            async move {
                let mut buffer = [0; 10_000];
                loop {
                    server.read_exact(&mut buffer).await.expect("open");
                    world.sleep(ms(1000)).await;
                }
            }
        });
        let start = world.now();
        client.write_all(&vec![7; 1 << 20]).await.expect("open");
        world.now() - start
    });
    assert!((secs(95)..secs(105)).contains(&took), "{took:?}");
}

#[test]
fn bandwidth_is_shared_by_the_connections_of_a_link() {
    simulate(3, |world| async move {
        world.network().set_default(fixed(1).bandwidth(100_000));
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut first, mut first_end) = connected(&world, &a, &b).await;
        let (mut second, mut second_end) = connected(&world, &a, &b).await;
        let start = world.now();
        first.write_all(&[0; 50_000]).await.expect("open");
        second.write_all(&[0; 50_000]).await.expect("open");
        first_end.read_exact(&mut [0; 50_000]).await.expect("open");
        second_end.read_exact(&mut [0; 50_000]).await.expect("open");
        let took = world.now() - start;
        assert!((ms(1000)..ms(1010)).contains(&took), "{took:?}");
    });
}

#[test]
fn latency_is_that_of_the_link_and_none_within_a_node() {
    simulate(4, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        world.network().set_link(ia, ib, Some(fixed(30)));
        world.network().set_link(ib, ia, Some(fixed(70)));
        let (mut client, mut server) = connected(&world, &a, &b).await;
        let start = world.now();
        client.write_all(b"ping").await.expect("open");
        server.read_exact(&mut [0; 4]).await.expect("open");
        assert!((ms(30)..ms(32)).contains(&(world.now() - start)));
        server.write_all(b"pong").await.expect("open");
        client.read_exact(&mut [0; 4]).await.expect("open");
        assert!((ms(100)..ms(103)).contains(&(world.now() - start)));

        drop((client, server));
        let (mut client, mut server) = connected(&world, &a, &a).await;
        let start = world.now();
        client.write_all(b"ping").await.expect("open");
        server.read_exact(&mut [0; 4]).await.expect("open");
        assert!(world.now() - start < ms(1));
    });
}

#[test]
fn a_partition_holds_bytes_back_and_a_heal_delivers_them() {
    simulate(5, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        client.write_all(b"in flight").await.expect("open");
        world.network().partition(&[ia], &[ib]);
        client.write_all(b", held").await.expect("nobody knows yet");
        let mut buffer = [0; 15];
        assert!(within(&world, secs(30), server.read_exact(&mut buffer)).await.is_none());
        world.network().heal(&[ia], &[ib]);
        assert!(within(&world, ms(10), server.read_exact(&mut buffer)).await.is_some());
        assert_eq!(&buffer, b"in flight, held");
    });
}

#[test]
fn a_one_way_partition_leaves_the_other_way_open() {
    simulate(6, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        world.network().partition_one_way(&[ia], &[ib]);
        client.write_all(b"lost").await.expect("nobody knows yet");
        server.write_all(b"pong").await.expect("open");
        assert!(within(&world, ms(10), client.read_exact(&mut [0; 4])).await.is_some());
        assert!(within(&world, secs(5), server.read_u8()).await.is_none());
        let error = b.connect(at(1)).await.err().expect("the answer cannot come back");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn connecting_fails_as_the_other_side_is_deaf_or_absent_or_down() {
    simulate(7, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let error = a.connect(at(2)).await.err().expect("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);

        let listener = b.bind(at(2)).await.expect("free");
        let error = b.bind(at(2)).await.err().expect("taken");
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        world.network().partition(&[ia], &[ib]);
        let start = world.now();
        let error = a.connect(at(2)).await.err().expect("no way");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        assert!((secs(3)..ms(3010)).contains(&(world.now() - start)));
        world.network().heal_all();
        a.connect(at(2)).await.expect("open again");

        drop(listener);
        b.bind(at(2)).await.expect("free again");
        world.kill(ib, Crash::Power);
        let error = a.connect(at(2)).await.err().expect("nobody there");
        assert_eq!(error.kind(), ErrorKind::TimedOut);
    });
}

#[test]
fn a_reset_reaches_both_ends() {
    simulate(8, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        world.network().reset_connections(ib, ia);
        assert_eq!(client.read_u8().await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert_eq!(server.write_u8(1).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn writing_to_who_has_closed_is_answered_by_a_reset() {
    simulate(9, |world| async move {
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, server) = connected(&world, &a, &b).await;
        drop(server);
        world.sleep(ms(20)).await;
        assert_eq!(client.read(&mut [0; 1]).await.expect("the end"), 0);
        client.write_u8(1).await.expect("the news is not here yet");
        world.sleep(ms(20)).await;
        assert_eq!(client.write_u8(1).await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_process_crash_resets_its_peers_after_a_latency() {
    simulate(10, |world| async move {
        world.network().set_default(fixed(25));
        let ((_, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, _server) = connected(&world, &a, &b).await;
        let start = world.now();
        world.kill(ib, Crash::Process);
        assert_eq!(client.read_u8().await.expect_err("reset").kind(), ErrorKind::ConnectionReset);
        assert!((ms(25)..ms(27)).contains(&(world.now() - start)));
    });
}

#[test]
fn a_reset_that_meets_a_partition_is_lost_and_comes_with_the_next_byte() {
    simulate(11, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, _server) = connected(&world, &a, &b).await;
        world.network().partition(&[ia], &[ib]);
        world.kill(ib, Crash::Process);
        assert!(within(&world, secs(60), client.read_u8()).await.is_none());
        world.network().heal_all();
        assert!(within(&world, secs(60), client.read_u8()).await.is_none());
        client.write_u8(1).await.expect("nobody knows yet");
        let error = within(&world, ms(20), client.read_u8()).await.expect("an answer").expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_power_loss_is_silent_until_the_machine_is_back_and_spoken_to() {
    simulate(12, |world| async move {
        let (_, a) = node(&world, 1).await;
        let (ib, b) = restartable(&world, 2);
        let (mut client, _server) = connected(&world, &a, &b.take(&world).await).await;
        world.kill(ib, Crash::Power);
        assert!(within(&world, secs(100), client.read_u8()).await.is_none(), "no end and no reset");
        client.write_u8(1).await.expect("it goes into the void");
        let filled = within(&world, secs(10), client.write_all(&vec![0; 1 << 20])).await;
        assert!(filled.is_none(), "the window is full and nobody reads");
        world.restart(ib);
        let error = within(&world, ms(50), client.read_u8()).await.expect("an answer").expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_server_that_dies_in_the_middle_of_a_handshake_does_not_leave_the_client_waiting() {
    for crash in [Crash::Process, Crash::Power] {
        simulate(14, move |world| async move {
            world.network().set_default(fixed(20));
            let ((_, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
            let _listener = b.bind(b.address(PORT)).await.expect("a free port");
            let killer = world.spawn("killer", {
                let world = world.clone();
                async move {
                    // It has heard of the connection, and its answer is on the way.
                    world.sleep(ms(30)).await;
                    world.kill(ib, crash);
                }
            });
            let connected = within(&world, secs(4), a.connect(b.address(PORT))).await;
            assert!(connected.is_some(), "neither an answer nor a refusal nor patience at its end");
            drop(killer);
        });
    }
}

#[test]
fn the_restart_of_a_machine_alone_tells_an_idle_peer_nothing() {
    simulate(13, |world| async move {
        let (_, a) = node(&world, 1).await;
        let (ib, b) = restartable(&world, 2);
        let (mut client, _server) = connected(&world, &a, &b.take(&world).await).await;
        world.kill(ib, Crash::Power);
        world.sleep(secs(1)).await;
        world.restart(ib);
        assert!(within(&world, secs(10), client.read_u8()).await.is_none());
        client.write_u8(1).await.expect("nobody knows yet");
        let error = within(&world, ms(50), client.read_u8()).await.expect("an answer").expect_err("a reset");
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn what_a_dead_process_held_is_useless_after_its_restart() {
    simulate(14, |world| async move {
        let (_, a) = node(&world, 1).await;
        let (ib, handed) = restartable(&world, 2);
        let b = handed.take(&world).await;
        let (_client, mut server) = connected(&world, &a, &b).await;
        let listener = b.bind(SocketAddr::new(ip(2), 0)).await.expect("any port");
        world.restart(ib);
        handed.take(&world).await.bind(listener.local_address().expect("bound")).await.expect("free after the crash");
        assert_eq!(server.read_u8().await.expect_err("dead").kind(), ErrorKind::ConnectionAborted);
        assert_eq!(listener.accept().await.err().expect("dead").kind(), ErrorKind::ConnectionAborted);
        assert_eq!(b.connect(at(1)).await.err().expect("dead").kind(), ErrorKind::ConnectionAborted);
    });
}
