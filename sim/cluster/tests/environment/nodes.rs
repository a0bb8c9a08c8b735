use crate::*;
use cofferdam_sim::clock::EPOCH_MS;
use cofferdam_sim::{Crash, Watcher, WorldEvent};

#[test]
fn clocks_of_nodes_are_wrong_each_in_its_own_way() {
    simulate(1, |world| async move {
        let ((ia, a), (ib, b)) = (node(&world, 1).await, node(&world, 2).await);
        assert_ne!(a.now(), b.now(), "each machine has an origin of its own");
        world.jump(ia, 5_000);
        world.set_drift_ppm(ib, 100_000);
        let (wall, monotonic, start) = (b.wall_clock_ms(), b.now(), world.now());
        b.sleep(secs(11)).await;
        assert!((ms(10_000)..ms(10_002)).contains(&(world.now() - start)), "a fast clock sleeps shorter");
        assert!((11_000..11_003).contains(&(b.wall_clock_ms() - wall)));
        assert!((ms(11_000)..ms(11_003)).contains(&(b.now() - monotonic)));
        let truth = EPOCH_MS + i64::try_from(world.now().as_millis()).expect("small");
        assert_eq!(a.wall_clock_ms() - truth, 5_000);
    });
}

#[test]
fn a_paused_node_stands_still_and_then_goes_on() {
    simulate(2, |world| async move {
        let (index, env) = node(&world, 1).await;
        let ticks = Arc::new(Mutex::new(0));
        let (mine, sleeper) = (ticks.clone(), env.clone());
        let _ticker = env.spawn("ticker", async move {
            loop {
                sleeper.sleep(secs(1)).await;
                *mine.lock().expect("no panic while held") += 1;
            }
        });
        let count = || *ticks.lock().expect("no panic while held");
        world.sleep(ms(5_500)).await;
        assert_eq!(count(), 5);
        world.pause(index);
        world.sleep(secs(5)).await;
        assert_eq!(count(), 5);
        world.resume(index);
        world.sleep(ms(1_500)).await;
        assert_eq!(count(), 7);
    });
}

#[test]
fn a_process_whose_main_returns_is_down_and_can_be_restarted() {
    simulate(3, |world| async move {
        let lives = Arc::new(Mutex::new(Vec::new()));
        let mine = lives.clone();
        let index = world.add_node("short", ip(1), move |env| {
            let mine = mine.clone();
            async move {
                mine.lock().expect("no panic while held").push(env.incarnation());
                env.sleep(secs(1)).await;
            }
        });
        assert!(world.is_up(index));
        world.sleep(secs(2)).await;
        assert!(!world.is_up(index));
        world.restart(index);
        world.sleep(ms(500)).await;
        assert!(world.is_up(index));
        world.kill(index, Crash::Power);
        assert!(!world.is_up(index));
        let lives = lives.lock().expect("no panic while held").clone();
        assert_eq!(lives.len(), 2);
        assert!(lives[0] < lives[1]);
    });
}

#[test]
fn a_dropped_task_is_aborted_and_a_detached_one_is_not() {
    simulate(4, |world| async move {
        let (_, env) = node(&world, 1).await;
        let (dropped, detached) = (Handed::default(), Handed::default());
        for (handed, keep) in [(dropped.clone(), false), (detached.clone(), true)] {
            let sleeper = env.clone();
            let task = env.spawn("waits", async move {
                sleeper.sleep(ms(10)).await;
                handed.put(());
            });
            if keep {
                task.detach();
            }
        }
        world.sleep(secs(1)).await;
        assert!(!dropped.is_there() && detached.is_there());
    });
}

#[test]
fn a_panic_names_the_task_and_the_node_and_ends_the_simulation() {
    let panicked = run(5, secs(10), |world| async move {
        let (_, env) = node(&world, 7).await;
        env.spawn("culprit", async { panic!("cut is torn") }).detach();
        world.sleep(secs(5)).await;
    });
    let message = panicked.expect_err("a panic").message;
    assert!(message.starts_with("cut is torn (at "), "{message}");
    assert!(message.ends_with("in task culprit of node-7"), "{message}");
}

#[test]
fn panics_of_the_story_deadlocks_and_the_time_limit_are_failures() {
    let panicked = run(6, secs(10), |_| async { panic!("no {}", "luck") });
    let panicked: Result<(), _> = panicked;
    let message = panicked.expect_err("a panic").message;
    assert!(message.starts_with("no luck (at "), "{message}");
    let panicked = run(6, secs(10), |world| async move { world.sleep(secs(20)).await });
    assert!(panicked.expect_err("a panic").message.contains("time limit exceeded"));
    let panicked = run(6, secs(10), |_| std::future::pending::<()>());
    assert!(panicked.expect_err("a panic").message.contains("block forever"));
}

#[test]
fn the_watcher_hears_of_crashes_in_stable_columns() {
    struct Lines(Arc<Mutex<Vec<String>>>);
    impl Watcher for Lines {
        fn event(&mut self, _: Duration, _: NodeIndex, _: &cofferdam_engine::observe::Event) {}
        fn world_event(&mut self, _: Duration, event: &WorldEvent) {
            self.0.lock().expect("no panic while held").push(event.to_string());
        }
    }
    let lines = Arc::new(Mutex::new(Vec::new()));
    let mine = lines.clone();
    simulate(7, move |world| async move {
        world.set_watcher(Some(Box::new(Lines(mine))));
        let (index, _) = node(&world, 1).await;
        world.kill(index, Crash::Power);
        world.restart(index);
        world.jump(index, -7);
        assert_eq!(world.faults()["power-loss"], 1);
    });
    let lines = lines.lock().expect("no panic while held").clone();
    assert_eq!(
        lines,
        [
            "started          n0",
            "power-loss       n0",
            "lost             n0        bytes=0 entries=0 torn=0",
            "restarted        n0",
            "clock-jump       n0        -7ms",
        ]
    );
}
