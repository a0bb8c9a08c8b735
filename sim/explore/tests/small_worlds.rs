//! Small worlds, exhausted.

use cofferdam_explore::explore::{explore, End, Manner};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;

#[test]
fn print() {
    for world in worlds::all() {
        if std::env::var("ONLY").is_ok_and(|only| only != world.name) {
            continue;
        }
        let name = world.name;
        let manner = Manner { memory_bytes: Some(6 << 30), time: Some(std::time::Duration::from_secs(60)), ..Manner::default() };
        let report = explore(Setup::new(world), manner, |_, _, _| {});
        println!("{name}: {:?} {:?} {:?} {} MB not met {:?}", report.seen, report.end, report.took, report.memory_bytes >> 20, report.expected.iter().filter(|s| !report.met.has(**s)).collect::<Vec<_>>());
        if let Some(found) = &report.found {
            println!("{}: {}", found.violated, found.witness);
            for line in cofferdam_explore::explore::replay(found).expect("it was just found").0 { println!("{line}"); }
        }
        let _ = End::Exhausted;
    }
}
