//! How fast it is. Reports, and fails only when something is badly wrong.

use crate::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// CPU time of this process, read outside of any simulation.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("linux");
    let after = stat.rsplit_once(')').expect("a name in brackets").1;
    let ticks: Vec<f64> = after.split_whitespace().skip(11).take(2).map(|field| field.parse().expect("a number")).collect();
    (ticks[0] + ticks[1]) / 100.0
}

/// Five nodes in a full mesh, one message under way per connection.
fn mesh(messages: u64) {
    simulate(1, move |world| async move {
        let mut envs = Vec::new();
        for number in 1..=5 {
            envs.push(node(&world, number).await.1);
        }
        let mut pairs = Vec::new();
        for a in 0..5 {
            for b in 0..5 {
                if a != b {
                    pairs.push((envs[a].clone(), envs[b].clone()));
                }
            }
        }
        let mut done = Vec::new();
        let each = messages / 2 / pairs.len() as u64;
        for (a, b) in pairs {
            let (mut client, mut server) = connected(&world, &a, &b).await;
            b.spawn("echo", async move {
                let mut buffer = [0; 64];
                while server.read_exact(&mut buffer).await.is_ok() {
                    server.write_all(&buffer).await.expect("open");
                }
            })
            .detach();
            let finished = Handed::default();
            done.push(finished.clone());
            a.spawn("ask", async move {
                let mut buffer = [0; 64];
                for _ in 0..each {
                    client.write_all(&buffer).await.expect("open");
                    client.read_exact(&mut buffer).await.expect("open");
                }
                finished.put(());
            })
            .detach();
        }
        for finished in done {
            while !finished.is_there() {
                world.sleep(ms(100)).await;
            }
        }
    });
}

/// One connection, as many frames as fit.
fn flood(frames: u64) {
    simulate(1, move |world| async move {
        let ((_, a), (_, b)) = (node(&world, 1).await, node(&world, 2).await);
        let (mut client, mut server) = connected(&world, &a, &b).await;
        let _writer = a.spawn("writer", async move {
            for _ in 0..frames {
                client.write_all(&[7; 64]).await.expect("open");
            }
        });
        let mut buffer = [0; 64];
        for _ in 0..frames {
            server.read_exact(&mut buffer).await.expect("open");
        }
    });
}

fn empty() {
    simulate(1, |world| async move {
        for number in 1..=5 {
            let _ = node(&world, number).await;
        }
        world.sleep(secs(10)).await;
    });
}

fn sleepers(count: u64) {
    simulate(1, move |world| async move {
        let (_, env) = node(&world, 1).await;
        for number in 0..100 {
            let sleeper = env.clone();
            env.spawn("sleeper", async move {
                for round in 0..count / 100 {
                    sleeper.sleep(ms(1 + (round * 7 + number) % 50)).await;
                }
            })
            .detach();
        }
        world.sleep(ms(count / 100 * 60)).await;
    });
}

#[test]
#[ignore = "measures; run with --release --ignored --nocapture, alone"]
fn it_is_fast_enough() {
    let report = |what: &str, count: u64, run: &dyn Fn()| {
        let best = (0..3)
            .map(|_| {
                let start = cpu_seconds();
                run();
                cpu_seconds() - start
            })
            .fold(f64::INFINITY, f64::min);
        println!("{what:<40} {:>12.0} per CPU second", count as f64 / best);
    };
    report("messages, 5 nodes, 20 ping-pongs", 1_000_000, &|| mesh(1_000_000));
    report("64-byte frames on one connection", 2_000_000, &|| flood(2_000_000));
    report("sleeps, 100 tasks", 500_000, &|| sleepers(500_000));
    report("empty simulations of 5 nodes", 1_000, &|| (0..1_000).for_each(|_| empty()));
    let resident = || -> u64 {
        let statm = std::fs::read_to_string("/proc/self/statm").expect("linux");
        statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).expect("a number")
    };
    let before = resident();
    report("turmoil of 5 nodes, 7 simulated s", 200, &|| {
        for seed in 0..200 {
            let _ = crate::determinism::turmoil(seed);
        }
    });
    println!("resident memory grew by {} KiB in 600 turmoils", (resident() - before.min(resident())) * 4);
}
