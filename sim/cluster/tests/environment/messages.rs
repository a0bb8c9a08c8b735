//! What is done to connections and to whole messages is what it is said to be.

use crate::*;
use cofferdam_engine::cluster::message::ToWorker;
use cofferdam_engine::codec;
use cofferdam_engine::task::TaskControl;
use cofferdam_protocol::{AttemptId, CheckpointId};
use cofferdam_sim::network::{MeddledPorts, Meddling};
use std::io::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[test]
fn what_is_reported_failed_has_arrived_to_the_last_byte() {
    for seed in 0..30 {
        simulate(seed, |world| async move {
            world.network().set_default(fixed(20));
            let ((one, a), (other, b)) = (node(&world, 1).await, node(&world, 2).await);
            let (mut client, mut server) = connected(&world, &a, &b).await;
            client.write_all(&[7; 3000]).await.expect("open");
            world.network().report_failed(one, other);
            let told = client.write_all(&[8; 10]).await.expect_err("the sender is told that it failed");
            assert_eq!(told.kind(), ErrorKind::ConnectionReset);
            assert_eq!(client.read(&mut [0; 10]).await.expect_err("both ways").kind(), ErrorKind::ConnectionReset);
            let mut received = Vec::new();
            server.read_to_end(&mut received).await.expect("the receiver sees an orderly end");
            assert_eq!(received, [7; 3000]);
            assert_eq!(world.faults().get("delivered-reported-failed"), Some(&1));
        });
    }
}

fn notice(checkpoint: u64) -> ToWorker {
    ToWorker::Control { attempt: AttemptId::default(), tasks: Vec::new(), control: TaskControl::Completed(CheckpointId(checkpoint)) }
}

/// What a worker hears when these notices are told among heartbeats.
fn heard(seed: u64, meddling: Meddling) -> (Vec<u64>, usize) {
    simulate(seed, move |world| async move {
        // The server of the test is the coordinator.
        world.network().look_at_messages(MeddledPorts { coordinator: PORT, data: 1 });
        world.network().meddle(|now| *now = meddling);
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut worker, mut coordinator) = connected(&world, &a, &b).await;
        let mut scratch = Vec::new();
        for checkpoint in 1..=20 {
            for message in [notice(checkpoint), ToWorker::Heartbeat] {
                codec::write_frame(&mut coordinator, &message, &mut scratch).await.expect("open");
            }
        }
        drop(coordinator);
        let (mut notices, mut others) = (Vec::new(), 0);
        while let Some(message) = codec::read_frame(&mut worker, &mut scratch).await.expect("whole frames") {
            match message {
                ToWorker::Control { control: TaskControl::Completed(checkpoint), .. } => notices.push(checkpoint.0),
                _ => others += 1,
            }
        }
        (notices, others)
    })
}

#[test]
fn notices_come_twice_or_behind_others_and_nothing_else_does() {
    let all: Vec<u64> = (1..=20).collect();
    let (plain, heartbeats) = heard(1, Meddling::default());
    assert_eq!((plain, heartbeats), (all.clone(), 20));
    let (twice, heartbeats) = heard(2, Meddling { duplicated_notices: 1.0, ..Meddling::default() });
    assert_eq!((twice.len(), heartbeats), (40, 20), "{twice:?}");
    let (late, heartbeats) = heard(3, Meddling { reordered_notices: 0.5, ..Meddling::default() });
    let mut sorted = late.clone();
    sorted.sort_unstable();
    assert_eq!((sorted, heartbeats), (all.clone(), 20), "none is lost");
    let twice_and_late = heard(4, Meddling { duplicated_notices: 0.5, reordered_notices: 1.0, ..Meddling::default() }).0;
    assert!(all.iter().all(|checkpoint| twice_and_late.contains(checkpoint)));
}

#[test]
fn elements_of_a_channel_come_in_another_order_where_that_is_asked_for() {
    let order = |chance: f64| {
        simulate(5, move |world| async move {
            world.network().look_at_messages(MeddledPorts { coordinator: 1, data: PORT });
            world.network().meddle(|now| now.reordered_elements = chance);
            let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
            let (mut client, mut server) = connected(&world, &a, &b).await;
            let mut scratch = Vec::new();
            for number in 0..50_u64 {
                codec::write_frame(&mut client, &number, &mut scratch).await.expect("open");
            }
            drop(client);
            let mut received = Vec::new();
            while let Some(number) = codec::read_frame::<u64, _>(&mut server, &mut scratch).await.expect("whole frames") {
                received.push(number);
            }
            received
        })
    };
    let all: Vec<u64> = (0..50).collect();
    assert_eq!(order(0.0), all);
    let mut another = order(0.3);
    assert!(another != all && another[0] == 0, "the first says what the connection is for: {another:?}");
    another.sort_unstable();
    assert_eq!(another, all, "none is lost");
}
