use crate::*;
use cofferdam_engine::env::{File, Files};
use cofferdam_engine::observe::Event;
use cofferdam_sim::disk::DiskSettings;
use cofferdam_sim::{Concern, Crash, Watcher, WorldEvent};
use rand::Rng;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

struct Digest(Arc<Mutex<(DefaultHasher, u64)>>);

impl Watcher for Digest {
    fn event(&mut self, at: Duration, node: NodeIndex, event: &Event) {
        (at, node, event).hash(&mut self.0.lock().expect("no panic while held").0);
    }

    fn world_event(&mut self, at: Duration, event: &WorldEvent) {
        let mut digest = self.0.lock().expect("no panic while held");
        (at, event).hash(&mut digest.0);
        digest.1 += 1;
    }
}

/// Five nodes that talk, write and die; returns a hash of all that happened, and of how many things.
pub fn turmoil(seed: u64) -> (u64, u64) {
    simulate(seed, |world| async move {
        let digest = Arc::new(Mutex::new((DefaultHasher::new(), 0)));
        world.set_watcher(Some(Box::new(Digest(digest.clone()))));
        let storage = world.add_node("storage", ip(100), |_| std::future::pending());
        world.mount("/shared", storage);
        let nodes: Vec<NodeIndex> = (1..=5).map(|number| world.add_node(&format!("node-{number}"), ip(number), chatter)).collect();
        for &node in &nodes {
            world.storage(node).set(DiskSettings { error_before: 0.01, error_after: 0.01, ..DiskSettings::default() });
        }
        let mut faults = world.streams().stream(Concern::Faults);
        for _ in 0..20 {
            world.sleep(ms(faults.gen_range(100..600))).await;
            let victim = nodes[faults.gen_range(0..nodes.len())];
            match faults.gen_range(0..5) {
                0 => world.kill(victim, Crash::Power),
                1 => world.kill(victim, Crash::Process),
                2 => world.network().partition(&[victim], &nodes),
                3 => world.network().heal_all(),
                _ => world.restart(victim),
            }
        }
        for &node in &nodes {
            world.note(&WorldEvent::Note(format!("{:?}", world.storage(node).tree_now(cofferdam_sim::disk::View::Live))));
        }
        let digest = digest.lock().expect("no panic while held");
        (digest.0.finish(), digest.1)
    })
}

async fn chatter(env: SimEnv) {
    let listener = match env.bind(env.address(PORT)).await {
        Ok(listener) => listener,
        Err(_) => return,
    };
    let server = env.clone();
    let _server = env.spawn("server", async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            server
                .spawn("echo", async move {
                    let mut buffer = [0; 64];
                    while let Ok(length @ 1..) = stream.read(&mut buffer).await {
                        if stream.write_all(&buffer[..length]).await.is_err() {
                            return;
                        }
                    }
                })
                .detach();
        }
    });
    for round in 0.. {
        let peer = u8::try_from(env.random() % 5 + 1).expect("small");
        if let Ok(mut stream) = env.connect(at(peer)).await {
            for _ in 0..env.random() % 50 {
                if stream.write_all(b"are you there?").await.is_err() || stream.read_exact(&mut [0; 14]).await.is_err() {
                    break;
                }
            }
        }
        let place = if round % 3 == 0 { "/shared" } else { "" };
        if let Ok(mut file) = env.files().create(&format!("{place}/{}-{}-{round}", env.node(), env.incarnation())).await {
            let _ = file.append(&env.random().to_le_bytes()).await;
            let _ = file.sync().await;
        }
        // Hash order is hidden state; here on purpose, to see that it is the same in each run.
        let mut order: std::collections::HashMap<u64, u64> = (0..10).map(|key| (key, key)).collect();
        order.retain(|_, _| true);
        env.sleep(ms(*order.values().next().expect("ten of them") + 1)).await;
    }
}

#[test]
fn one_seed_is_one_history_in_one_process_and_beside_others() {
    let alone = turmoil(42);
    assert!(alone.1 > 100, "{alone:?}");
    let threads: Vec<_> = (0..4).map(|number| std::thread::spawn(move || turmoil(42 + number % 2))).collect();
    let beside: Vec<_> = threads.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    assert_eq!(beside[0], alone);
    assert_eq!(beside[2], alone);
    assert_ne!(beside[1], alone);
    assert_eq!(beside[1], beside[3]);
}

#[test]
fn the_hundredth_simulation_is_like_the_first() {
    let first = turmoil(7);
    for seed in 100..198 {
        turmoil(seed);
    }
    assert_eq!(turmoil(7), first);
}

#[test]
#[ignore = "run by two_processes_agree"]
fn tells_its_digest() {
    println!("digest {:?}", turmoil(9));
}

#[test]
fn two_processes_agree() {
    let told = || {
        let test = std::env::current_exe().expect("this test");
        let arguments = ["--exact", "determinism::tells_its_digest", "--ignored", "--nocapture"];
        let output = std::process::Command::new(test).args(arguments).output().expect("it runs");
        let text = String::from_utf8(output.stdout).expect("text");
        text.split_once("digest ").expect("a digest").1.lines().next().map(str::to_owned)
    };
    assert_eq!(told(), told());
    assert_eq!(told(), Some(format!("{:?}", turmoil(9))));
}
