//! How fast states are visited: a world of ours beside stateright's own example of two-phase commit, in one session.
//!
//! ```text
//! cargo run --release -p cofferdam-explore --example speed -- [WORLD [NAME=N]...]
//! ```
//!
//! A world that is named runs alone.
//!
//! Two-phase commit is the model of Gray and Lamport ("Consensus on transaction commit"), as it comes with stateright: resource managers
//! that prepare, commit or abort, one transaction manager, and messages that are never lost.

use cofferdam_explore::explore::{explore, replay, Manner};
use cofferdam_explore::turn::Setup;
use cofferdam_explore::worlds;
use stateright::{Checker, Model, Property};
use std::collections::BTreeSet;
use std::time::Instant;

const THREADS: usize = 2;
const RESOURCE_MANAGERS: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Manager {
    Working,
    Prepared,
    Committed,
    Aborted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Decision {
    Open,
    Commit,
    Abort,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Message {
    Prepared(usize),
    Commit,
    Abort,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Transaction {
    managers: Vec<Manager>,
    decision: Decision,
    prepared: Vec<bool>,
    messages: BTreeSet<Message>,
}

#[derive(Clone, Debug, PartialEq)]
enum Step {
    Hear(usize),
    Commit,
    Abort,
    Prepare(usize),
    Refuse(usize),
    Obey(usize, Message),
}

struct TwoPhaseCommit;

impl Model for TwoPhaseCommit {
    type State = Transaction;
    type Action = Step;

    fn init_states(&self) -> Vec<Transaction> {
        vec![Transaction {
            managers: vec![Manager::Working; RESOURCE_MANAGERS],
            decision: Decision::Open,
            prepared: vec![false; RESOURCE_MANAGERS],
            messages: BTreeSet::new(),
        }]
    }

    fn actions(&self, state: &Transaction, steps: &mut Vec<Step>) {
        let open = state.decision == Decision::Open;
        if open && state.prepared.iter().all(|prepared| *prepared) {
            steps.push(Step::Commit);
        }
        if open {
            steps.push(Step::Abort);
        }
        for manager in 0..RESOURCE_MANAGERS {
            if open && state.messages.contains(&Message::Prepared(manager)) {
                steps.push(Step::Hear(manager));
            }
            if state.managers[manager] == Manager::Working {
                steps.extend([Step::Prepare(manager), Step::Refuse(manager)]);
            }
            let orders = [Message::Commit, Message::Abort].into_iter().filter(|order| state.messages.contains(order));
            steps.extend(orders.map(|order| Step::Obey(manager, order)));
        }
    }

    fn next_state(&self, state: &Transaction, step: Step) -> Option<Transaction> {
        let mut next = state.clone();
        match step {
            Step::Hear(manager) => next.prepared[manager] = true,
            Step::Commit => {
                next.decision = Decision::Commit;
                next.messages.insert(Message::Commit);
            }
            Step::Abort => {
                next.decision = Decision::Abort;
                next.messages.insert(Message::Abort);
            }
            Step::Prepare(manager) => {
                next.managers[manager] = Manager::Prepared;
                next.messages.insert(Message::Prepared(manager));
            }
            Step::Refuse(manager) => next.managers[manager] = Manager::Aborted,
            Step::Obey(manager, Message::Commit) => next.managers[manager] = Manager::Committed,
            Step::Obey(manager, _) => next.managers[manager] = Manager::Aborted,
        }
        Some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::sometimes("abort agreement", |_, state: &Transaction| {
                state.managers.iter().all(|manager| *manager == Manager::Aborted)
            }),
            Property::sometimes("commit agreement", |_, state: &Transaction| {
                state.managers.iter().all(|manager| *manager == Manager::Committed)
            }),
            Property::always("consistent", |_, state: &Transaction| {
                !(state.managers.contains(&Manager::Committed) && state.managers.contains(&Manager::Aborted))
            }),
        ]
    }
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let name = arguments.next().unwrap_or_else(|| "shuffle-crash".into());
    let mut world = worlds::find(&name).unwrap_or_else(|| panic!("no world is called {name:?}"));
    for bound in arguments {
        let (bound, value) = bound.split_once('=').expect("NAME=N");
        world.bounds.set(bound, value.parse().expect("a number")).expect("a bound");
    }
    let say = |name: &str, states: usize, unique: usize, depth: usize, seconds: f64, memory_mb: u64| {
        let (all, new) = (states as f64 / seconds, unique as f64 / seconds);
        println!(
            "{name}: {states} states, {unique} unique, depth {depth}, {seconds:.1} s, {all:.0} states/s, {new:.0} unique/s, {memory_mb} MB"
        );
    };
    let report = explore(Setup::new(world), Manner { threads: THREADS, memory_bytes: Some(12 << 30), ..Manner::default() }, |_, _, _| {});
    let (seen, seconds) = (report.seen, report.took.as_secs_f64());
    say(&name, seen.states, seen.unique, seen.depth, seconds, report.memory_bytes >> 20);
    println!("{}", report.end.text());
    if let Some(found) = &report.found {
        println!("{}: {}", found.violated, found.witness);
        replay(found).expect("it was just found").0.iter().for_each(|line| println!("{line}"));
    }
    let not_met = report.expected.iter().filter(|situation| !report.met.has(**situation)).map(|situation| situation.name());
    println!("not met: {:?}", not_met.collect::<Vec<_>>());
    if std::env::args().len() > 1 {
        return;
    }
    let begun = Instant::now();
    let checker = TwoPhaseCommit.checker().threads(THREADS).spawn_bfs().join();
    let (states, unique) = (checker.state_count(), checker.unique_state_count());
    say("two-phase-commit", states, unique, checker.max_depth(), begun.elapsed().as_secs_f64(), 0);
}
