use cofferdam_sim::{run::simulate, verdict::Keep};
fn main() {
    let mut args = std::env::args().skip(1);
    let name = args.next().unwrap();
    let seeds: u64 = args.next().unwrap().parse().unwrap();
    let from: u64 = args.next().map_or(0, |a| a.parse().unwrap());
    let trace = args.next().is_some();
    for story in cofferdam_scenarios::all() {
        if name != "all" && story.name != name {
            continue;
        }
        let start = std::time::Instant::now();
        let (mut completed, mut records, mut events, mut restores, mut bad) = (0, 0, 0, 0, 0);
        for seed in from..from + seeds {
            let s = (story.expand)(seed);
            s.check().unwrap();
            let r = simulate(&s, seed, Keep { trace, hashes: false });
            if trace {
                for l in &r.trace {
                    println!("{l}");
                }
            }
            completed += r.completed;
            records += r.records;
            events += r.events;
            restores += r.restores;
            if let Some(v) = r.violation {
                bad += 1;
                if bad < 4 {
                    println!("  {} seed {seed}: {} at {:?}: {}", story.name, v.invariant, v.at, v.witness);
                }
            }
        }
        println!(
            "{:<50} bad {bad}/{seeds} completed {completed} restores {restores} records {records} events {events} {:.1} ms/seed",
            story.name,
            start.elapsed().as_secs_f64() * 1000.0 / seeds as f64
        );
    }
}
