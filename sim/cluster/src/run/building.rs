//! The world of a run: nodes, what runs on them, the network between them, and what goes wrong at which time.

use super::*;

impl Run {
    pub(super) fn build_storage(&mut self) {
        self.storage = self.world.add_node("storage", self.address(0), |_| std::future::pending());
        self.world.mount("/shared", self.storage);
        let on_storage = self.world.storage(self.storage);
        on_storage.create_folders_now("/shared/checkpoints");
        if self.scenario.job.kind == JobKind::Arrivals {
            self.fill_folder();
            return;
        }
        for (path, lines) in self.logs.iter().flat_map(|log| &log.partitions) {
            let text: String = lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect();
            on_storage.write_now(path, text.as_bytes()).expect("a fresh disk takes the input");
        }
    }

    pub(super) fn build_world(&mut self, graph: &Arc<JobGraph<SimEnv>>) -> Injector {
        let Scenario { cluster, network, disk, checkpoints, .. } = &self.scenario;
        let ms = Duration::from_millis;
        let address = |node: u32| self.address(node);
        let on_storage = self.world.storage(self.storage);
        on_storage.create_folders_now(self.job.output);
        let link = LinkSettings::default()
            .latency(ms(network.latency_min_ms), ms(network.latency_max_ms))
            .bandwidth(network.bandwidth_bytes_per_s)
            .window(network.window_bytes as usize);
        self.world.network().set_default(link);
        let heartbeats = Heartbeats { interval: ms(cluster.heartbeat_ms), timeout: ms(cluster.heartbeat_timeout_ms) };
        let objects = &self.scenario.objects;
        self.world.objects().serve(self.storage);
        self.world.objects().set(ObjectSettings {
            latency: (ms(objects.latency_min_ms), ms(objects.latency_max_ms)),
            timeout: ms(objects.timeout_ms),
            part_bytes: objects.part_bytes as usize,
            ..ObjectSettings::default()
        });
        let root = self.root();
        let storage = match cluster.storage {
            StorageKind::FileSystem => CheckpointStorage::FileSystem { root: self.job.root.into() },
            StorageKind::Object => CheckpointStorage::Object { root: root.into() },
            StorageKind::Memory => CheckpointStorage::Memory { limit_bytes: MEMORY_LIMIT_BYTES },
        };
        let coordinator_address = SocketAddr::new(address(1), ways::PORTS.coordinator);
        let plan = Plan {
            tasks: graph.tasks(),
            sources: graph.source_tasks(),
            committers: graph.committing_tasks(),
            regions: graph.regions(cluster.failover),
            checkpoints: checkpoints.settings().validated().expect("a checked scenario has settings in range"),
            restart: self.scenario.restart.clone(),
            hooks: !graph.hooks.is_empty(),
            enumerators: !graph.enumerators.is_empty(),
            origin: self.job.origin.clone(),
            local_recovery: cluster.local_recovery,
            heartbeat_timeout: heartbeats.timeout,
            deploy_timeout: ms(5000),
            stop_timeout: ms(1000),
        };
        let settings = CoordinatorSettings {
            job: self.job.name.into(),
            address: coordinator_address,
            heartbeats,
            root: root.into(),
            plan,
            unclaimed: UnclaimedState::Refuse,
            allow_drained: false,
        };
        let (of_graph, of_storage, seen) = (graph.clone(), storage.clone(), self.seen.clone());
        let world = self.world.clone();
        let again = if self.job.network == 0 { "" } else { "-again" };
        let coordinator = self.world.add_node(&format!("coordinator{again}"), address(1), move |env| {
            let (settings, graph, seen) = (settings.clone(), of_graph.clone(), seen.clone());
            let store = Arc::new(CheckpointStore::new(of_storage.clone()));
            let world = world.clone();
            async move {
                let begun = world.now();
                if let Err(error) = coordinator::run(env.clone(), settings, store, graph, None).await {
                    if matches!(error, CoordinatorError::SteppedDown(_)) && gave_way(&world, &env, root, begun) {
                        return;
                    }
                    let mut seen = lock(&seen);
                    let last = seen.last;
                    seen.violated("coordinator-leads", error.to_string(), last);
                }
            }
        });
        let (mode, overtaking) = (checkpoints.mode, checkpoints.unaligned);
        let backends = Backends::new(cluster);
        let merge = cluster.merge.map(MergeSpec::merging);
        let small = SmallState { inline_below_bytes: cluster.inline_below_bytes, merge };
        let worker = |number: u32| {
            let address = address(1 + number);
            let settings = WorkerSettings {
                formats: Formats::OURS,
                worker: WorkerId(number),
                slots: cluster.slots,
                coordinator: coordinator_address,
                data_address: SocketAddr::new(address, ways::PORTS.data),
                heartbeats,
                storage: storage.clone(),
                small,
                mode,
                overtaking,
                backend: StateBackend::InMemory,
                local: cluster.local_recovery.then(|| format!("{}/{}", local_copies::FOLDER, self.job.name)),
            };
            let (graph, backends) = (graph.clone(), backends.clone());
            let of_worker = self.world.clone();
            self.world.add_node(&format!("worker-{number}{again}"), address, move |env| {
                let release = of_worker.release(env.node());
                let formats = Formats { snapshots: Formats::OURS.snapshots + u16::try_from(release).unwrap_or(1), ..Formats::OURS };
                let settings = WorkerSettings { formats, backend: backends.of_a_life(), ..settings.clone() };
                let graph = graph.clone();
                async move {
                    // The port is free on a node of its own; everything else is tried for ever.
                    let _ = worker::run(env, settings, graph).await;
                }
            })
        };
        let workers: Vec<NodeIndex> = (1..=cluster.workers).map(worker).collect();
        for clock in &self.scenario.clocks {
            let node = self.world.node(&clock.node).expect("a checked scenario names nodes that there are");
            self.world.jump(node, clock.offset_ms);
            self.world.set_drift_ppm(node, clock.drift_ppm);
        }
        self.be_that_world();
        let us = Duration::from_micros;
        let healthy = DiskSettings { sync_latency: (us(disk.latency_min_us), us(disk.latency_max_us)), ..DiskSettings::default() };
        for node in self.world.nodes() {
            self.world.storage(node).set(healthy);
        }
        let (user, wishes) = mpsc::unbounded_channel();
        if self.scenario.has_user() {
            self.add_user(address(250), coordinator_address, wishes);
        }
        let savepoints = if self.in_objects() { OBJECT_SAVEPOINTS } else { SAVEPOINTS };
        let injector = Injector::new(self.world.clone(), coordinator, self.storage, workers, healthy, user);
        injector.saving_to(savepoints).in_world(&self.scenario.world, self.job.root)
    }

    /// A node from which the user gives commands, each until it is taken, or until it is not refused any more. Nothing waits for a job
    /// to stop.
    fn add_user(&self, address: IpAddr, coordinator: SocketAddr, wishes: mpsc::UnboundedReceiver<Wish>) {
        let wishes = Arc::new(tokio::sync::Mutex::new(wishes));
        self.world.add_node("user", address, move |env| {
            let wishes = wishes.clone();
            async move {
                let mut stopping = Vec::new();
                while let Some(wish) = wishes.lock().await.recv().await {
                    if let Command::Stop { .. } = wish.command {
                        stopping.push(env.spawn("stop", ask(env.clone(), coordinator, wish)));
                    } else {
                        ask(env.clone(), coordinator, wish).await;
                    }
                }
            }
        });
    }

    /// Faults by time, and chaos.
    pub(super) fn schedule(&self, signals: &mpsc::UnboundedSender<Signal>) -> Vec<crate::env::SimTask> {
        let mut at: Vec<(u64, usize)> = Vec::new();
        for (number, fault) in self.scenario.faults.iter().enumerate() {
            if let When::AtMs(time) = fault.when {
                at.push((time, number));
            }
        }
        if let Some(chaos) = &self.scenario.chaos {
            let mut rng = self.world.streams().stream(Concern::Swarm);
            let mut time = 0;
            loop {
                time += rng.gen_range(1..=2 * chaos.every_ms.max(1));
                if time >= chaos.until_ms.min(self.scenario.calm_after_ms) {
                    break;
                }
                at.push((time, self.scenario.faults.len()));
            }
        }
        at.sort_unstable();
        let (world, signals, storage) = (self.world.clone(), signals.clone(), self.storage);
        let task = self.world.spawn("schedule", async move {
            for (time, number) in at {
                world.sleep(Duration::from_millis(time).saturating_sub(world.now())).await;
                if signals.send(Signal::Fault(number, storage)).is_err() {
                    return;
                }
            }
        });
        vec![task]
    }
}
