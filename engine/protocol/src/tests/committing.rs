//! Transactional output, talked to in words, and in random lives.

use super::conversation;
use crate::committer::{self, Committer};
use crate::ids::{AttemptId, CheckpointId, Epoch, SubtaskIndex};
use crate::machine::Machine;
use crate::transactions::{Beginning, Input, Output, Share, Staged, Transaction, Transactions};
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::prelude::*;

/// By its name: `s1-a1.2-7` is the seventh of subtask 1 in the second attempt of the first epoch.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Named(String);

impl Transaction for Named {
    fn name(&self) -> &str {
        &self.0
    }

    fn maker(&self) -> u32 {
        staged(&self.0).maker
    }
}

fn attempt(word: &str) -> AttemptId {
    let (epoch, number) = word.strip_prefix('a').and_then(|word| word.split_once('.')).expect("an attempt such as a1.2");
    AttemptId { epoch: Epoch(epoch.parse().expect("a number")), number: number.parse().expect("a number") }
}

fn staged(name: &str) -> Staged {
    let mut parts = name.split('-');
    let maker = parts.next().and_then(|word| word.strip_prefix('s')).expect("a maker such as s1").parse().expect("a number");
    Staged { name: name.into(), maker, attempt: attempt(parts.next().expect("an attempt")) }
}

fn checkpoint(word: &str) -> CheckpointId {
    CheckpointId(word.strip_prefix('c').expect("a checkpoint such as c7").parse().expect("a number"))
}

#[test]
fn conversations_about_transactions() {
    conversation::run_all("transactions", || {
        let mut machine: Option<Transactions<Named>> = None;
        move |line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut out = Vec::new();
            match (&words[..], &mut machine) {
                (["begin", subtask, of, at, restored @ ..], machine) => {
                    let share = Share {
                        subtask: SubtaskIndex(subtask[1..].parse().expect("a number")),
                        parallelism: of[3..].parse().expect("of=N"),
                        attempt: attempt(at),
                    };
                    let restored = restored.iter().map(|name| Named((*name).into())).collect();
                    *machine = Some(Transactions::recover(Beginning { share, restored }, &mut out));
                }
                (["snapshot"], Some(machine)) => {
                    let open: Vec<&str> = machine.open().map(|open| open.0.as_str()).collect();
                    return vec![if open.is_empty() { "nothing is open".into() } else { open.join(" ") }];
                }
                (_, Some(machine)) => machine.step(input(&words), &mut out),
                (_, None) => panic!("a conversation begins with `begin`"),
            }
            out.iter().map(ToString::to_string).collect()
        }
    });
}

fn input(words: &[&str]) -> Input<Named> {
    match *words {
        ["published", name] => Input::Published(Named(name.into())),
        ["found", ref names @ ..] => Input::Found(names.iter().map(|name| staged(name)).collect()),
        ["closed", at, name] => Input::Closed { checkpoint: checkpoint(at), transaction: Named(name.into()) },
        ["completed", at] => Input::Completed(checkpoint(at)),
        _ => panic!("no such directive: {words:?}"),
    }
}

#[test]
fn conversations_about_commits() {
    conversation::run_all("committer", || {
        let mut machine = Committer::default();
        move |line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut out = Vec::new();
            let input = match *words {
                ["completed", at] => committer::Input::Completed(checkpoint(at)),
                ["done", at] => committer::Input::Done(checkpoint(at)),
                ["failed", at] => committer::Input::Failed { checkpoint: checkpoint(at), lasts: false },
                ["failed-for-good", at] => committer::Input::Failed { checkpoint: checkpoint(at), lasts: true },
                _ => panic!("no such directive: {words:?}"),
            };
            machine.step(input, &mut out);
            out.iter().map(ToString::to_string).collect()
        }
    });
}

/// What happens to a job with one sink. Rows are numbers; a source's position is the next one.
#[derive(Clone, Copy, Debug)]
enum Event {
    Row,
    Barrier,
    Complete {
        told: bool,
    },
    Abort,
    /// Somebody publishes one more: what he was told to, earlier or now.
    Publish(usize),
    Restart {
        finishes: usize,
    },
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        3 => Just(Event::Row),
        2 => Just(Event::Barrier),
        2 => any::<bool>().prop_map(|told| Event::Complete { told }),
        1 => Just(Event::Abort),
        3 => any::<usize>().prop_map(Event::Publish),
        1 => (0..4usize).prop_map(|finishes| Event::Restart { finishes }),
    ]
}

/// A transaction with its rows.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Rows(String, Vec<u32>);

impl Transaction for Rows {
    fn name(&self) -> &str {
        &self.0
    }

    fn maker(&self) -> u32 {
        0
    }
}

/// A life of the sink: what it was told to publish, it may publish at any time, also when it has been replaced.
struct Life {
    machine: Transactions<Rows>,
    due: Vec<Rows>,
    opened: bool,
}

#[derive(Default)]
struct Job {
    published: BTreeMap<String, Vec<u32>>,
    staged: BTreeMap<String, (AttemptId, Vec<u32>)>,
    lives: Vec<Life>,
    attempt: AttemptId,
    closed: u32,
    /// The rows since the last barrier, and the next one.
    rows: Vec<u32>,
    next: u32,
    /// The pending checkpoint, and the newest complete one: position and open transactions.
    pending: Option<(CheckpointId, u32, Vec<Rows>)>,
    completed: Option<(u32, Vec<Rows>)>,
    newest: CheckpointId,
}

impl Job {
    fn perform(&mut self, life: usize, outputs: Vec<Output<Rows>>) {
        for output in outputs {
            match output {
                Output::Publish(rows) => self.lives[life].due.push(rows),
                Output::ListStaged => {
                    let found = self.staged.iter().map(|(name, (attempt, _))| Staged { name: name.clone(), maker: 0, attempt: *attempt });
                    let found = Input::Found(found.collect());
                    self.step(life, found);
                }
                Output::Delete(name) => {
                    let (_, rows) = self.staged.remove(&name).expect("it was found");
                    // Of what is deleted nothing is complete, or it is published already.
                    let (position, _) = self.completed.clone().unwrap_or_default();
                    let visible = self.published.values().flatten().copied().collect::<BTreeSet<u32>>();
                    assert!(rows.iter().all(|row| *row >= position || visible.contains(row)), "{name} is deleted: {rows:?}");
                }
                Output::Opened => self.lives[life].opened = true,
            }
        }
    }

    fn step(&mut self, life: usize, input: Input<Rows>) {
        let mut outputs = Vec::new();
        self.lives[life].machine.step(input, &mut outputs);
        self.perform(life, outputs);
    }

    /// As the driver does it: to one that is published nothing happens any more.
    fn publish(&mut self, life: usize) {
        if self.lives[life].due.is_empty() {
            return;
        }
        let rows = self.lives[life].due.remove(0);
        let there = self.published.contains_key(&rows.0) || self.staged.contains_key(&rows.0);
        assert!(there, "{} is to be published, and is not there", rows.0);
        self.published.insert(rows.0.clone(), rows.1.clone());
        self.staged.remove(&rows.0);
        self.step(life, Input::Published(rows));
    }

    fn restart(&mut self, finishes: usize) {
        let (position, restored) = self.completed.clone().unwrap_or_default();
        self.attempt = self.attempt.next();
        (self.rows, self.next, self.pending) = (Vec::new(), position, None);
        let share = Share { subtask: SubtaskIndex(0), parallelism: 1, attempt: self.attempt };
        let mut outputs = Vec::new();
        let machine = Transactions::recover(Beginning { share, restored }, &mut outputs);
        self.lives.push(Life { machine, due: Vec::new(), opened: false });
        let life = self.lives.len() - 1;
        self.perform(life, outputs);
        // It may die before it is done; then the next one begins from the same.
        (0..finishes).for_each(|_| self.publish(life));
    }

    fn happen(&mut self, event: Event) {
        let life = self.lives.len() - 1;
        let opened = self.lives[life].opened;
        match event {
            Event::Row if opened => {
                self.rows.push(self.next);
                self.next += 1;
            }
            Event::Barrier if opened && self.pending.is_none() => {
                self.newest = self.newest.next();
                if !self.rows.is_empty() {
                    self.closed += 1;
                    let rows = Rows(format!("{:?}-{}", self.attempt, self.closed), std::mem::take(&mut self.rows));
                    self.staged.insert(rows.0.clone(), (self.attempt, rows.1.clone()));
                    self.step(life, Input::Closed { checkpoint: self.newest, transaction: rows });
                }
                let open = self.lives[life].machine.open().cloned().collect();
                self.pending = Some((self.newest, self.next, open));
            }
            Event::Complete { told } => {
                let Some((checkpoint, position, open)) = self.pending.take() else { return };
                self.completed = Some((position, open));
                if told {
                    self.step(life, Input::Completed(checkpoint));
                }
            }
            Event::Abort => self.pending = None,
            Event::Publish(whose) => self.publish(whose % (life + 1)),
            Event::Restart { finishes } => self.restart(finishes),
            Event::Row | Event::Barrier => {}
        }
    }

    fn check(&self) {
        let (position, _) = self.completed.clone().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for (name, rows) in &self.published {
            for row in rows {
                assert!(*row < position, "row {row} of {name} is visible, and no complete checkpoint has it");
                assert!(seen.insert(*row), "row {row} is visible twice");
            }
        }
        let life = self.lives.last().expect("one lives");
        if life.opened && self.pending.is_none() && life.due.is_empty() && life.machine.open().next().is_none() {
            assert_eq!(seen.len() as u32, position, "all that is complete is visible");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    /// Whoever crashes when, whoever is told or not: each row of a completed checkpoint is visible once, and no other.
    #[test]
    fn rows_are_visible_once_and_not_before_they_are_complete(events in proptest::collection::vec(event(), 0..80)) {
        let mut job = Job::default();
        job.restart(0);
        for event in events {
            job.happen(event);
            job.check();
        }
        // In the end one lives long enough.
        job.restart(usize::from(u8::MAX));
        job.check();
        let (position, _) = job.completed.clone().unwrap_or_default();
        prop_assert_eq!(job.published.values().flatten().count() as u32, position);
    }

    /// Whatever is complete is committed or being committed, the newest last, and never two at once.
    #[test]
    fn the_newest_completion_is_committed_in_the_end(inputs in proptest::collection::vec((0..3u8, 1..9u64), 0..60)) {
        let mut machine = Committer::default();
        let (mut running, mut newest, mut reported) = (None, CheckpointId::NONE, CheckpointId::NONE);
        for (kind, number) in inputs {
            let input = match (kind, running) {
                (0, _) | (_, None) => committer::Input::Completed(CheckpointId(number)),
                (1, Some(checkpoint)) => committer::Input::Done(checkpoint),
                (_, Some(checkpoint)) => committer::Input::Failed { checkpoint, lasts: false },
            };
            match input {
                committer::Input::Completed(checkpoint) => newest = newest.max(checkpoint),
                committer::Input::Done(_) | committer::Input::Failed { .. } => running = None,
            }
            let mut out = Vec::new();
            machine.step(input, &mut out);
            for output in out {
                match output {
                    committer::Output::Commit { checkpoint, .. } => {
                        prop_assert!(running.replace(checkpoint).is_none(), "one at a time");
                    }
                    committer::Output::Report(checkpoint) => reported = reported.max(checkpoint),
                    committer::Output::GiveUp(_) => return Ok(()),
                    committer::Output::Ignored(why) => prop_assert!(false, "{}", why),
                }
            }
            prop_assert_eq!(running, machine.running());
        }
        while let Some(checkpoint) = running.take() {
            let mut out = Vec::new();
            machine.step(committer::Input::Done(checkpoint), &mut out);
            for output in out {
                match output {
                    committer::Output::Commit { checkpoint, .. } => running = Some(checkpoint),
                    committer::Output::Report(checkpoint) => reported = reported.max(checkpoint),
                    committer::Output::GiveUp(_) | committer::Output::Ignored(_) => prop_assert!(false, "it is being committed"),
                }
            }
        }
        prop_assert_eq!(reported, newest);
    }
}
