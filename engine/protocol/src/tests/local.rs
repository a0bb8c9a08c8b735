//! The copies on a worker's disk, talked to in words, and in random lives.

use super::conversation;
use crate::ids::{AttemptId, CheckpointId, Epoch, TaskId};
use crate::local::{Input, LocalCopies, LocalCopy, Output, Taken};
use crate::machine::Machine;
use alloc::collections::{BTreeMap, BTreeSet};
use proptest::prelude::*;

#[test]
fn conversations_about_local_copies() {
    conversation::run_all("local", || {
        let mut copies = LocalCopies::default();
        move |line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let mut out = Vec::new();
            copies.step(input(&words), &mut out);
            out.iter().map(ToString::to_string).collect()
        }
    });
}

fn copy(word: &str) -> LocalCopy {
    LocalCopy::of_folder(word).unwrap_or_else(|| panic!("{word:?} is no copy such as v1.s0-c7-a1.2"))
}

fn task(word: &str) -> TaskId {
    copy(&format!("{word}-c1-a1.1")).task
}

fn checkpoint(word: &str) -> CheckpointId {
    copy(&format!("v0.s0-{word}-a1.1")).taken.checkpoint
}

fn input(words: &[&str]) -> Input {
    let found = |words: &[&str]| words.iter().map(|word| copy(word)).collect::<BTreeSet<_>>();
    match *words {
        ["deployed", attempt, tasks, from, ref there @ ..] => {
            let attempt = copy(&format!("v0.s0-c1-{attempt}")).taken.attempt;
            let tasks = tasks.split(',').filter(|word| *word != "none").map(task);
            let from = from.strip_prefix("from=").expect("from=c7-a1.2 or from=none");
            let from = (from != "none").then(|| copy(&format!("v0.s0-{from}")).taken);
            Input::Deployed { attempt, tasks: begin_from(tasks, from), going_on: BTreeSet::new(), found: found(there) }
        }
        ["beside", going_on, ref deployed @ ..] => match input(deployed) {
            Input::Deployed { attempt, tasks, found, .. } => {
                Input::Deployed { attempt, tasks, going_on: going_on.split(',').map(task).collect(), found }
            }
            other => panic!("beside is of a deployment, not of {other:?}"),
        },
        ["begun", word] => Input::Begun(copy(word)),
        ["written", word] => Input::Written(copy(word)),
        ["failed", word] => Input::Failed(copy(word)),
        ["completed", of, number] => Input::Completed(task(of), checkpoint(number)),
        ["aborted", of, number] => Input::Aborted(task(of), checkpoint(number)),
        ["ended", ref there @ ..] => Input::Ended { found: found(there) },
        _ => panic!("no such directive: {words:?}"),
    }
}

fn begin_from(tasks: impl IntoIterator<Item = TaskId>, from: Option<Taken>) -> BTreeMap<TaskId, Option<Taken>> {
    tasks.into_iter().map(|task| (task, from)).collect()
}

/// What happens to one subtask's copies, by small numbers.
#[derive(Clone, Copy, Debug)]
enum Event {
    Written(u64),
    Completed(u64),
    Aborted(u64),
    Redeployed(u64),
}

fn event() -> impl Strategy<Value = Event> {
    (0..4, 1..8u64).prop_map(|(kind, number)| match kind {
        0 => Event::Written(number),
        1 => Event::Completed(number),
        2 => Event::Aborted(number),
        _ => Event::Redeployed(number),
    })
}

proptest! {
    /// Whatever order notices come in, and however often: a copy goes if and only if a later checkpoint is complete, its own is aborted,
    /// or a deployment begins from something else.
    #[test]
    fn a_copy_goes_for_three_reasons_alone(events in proptest::collection::vec(event(), 0..40)) {
        let task = TaskId::new(1, 0);
        let attempt = AttemptId { epoch: Epoch(1), number: 1 };
        let copy = |number| LocalCopy { task, taken: Taken { checkpoint: CheckpointId(number), attempt } };
        let (mut copies, mut expected, mut completed) = (LocalCopies::default(), BTreeSet::new(), 0);
        for event in events {
            let mut out = Vec::new();
            match event {
                Event::Written(number) => {
                    copies.step(Input::Begun(copy(number)), &mut out);
                    copies.step(Input::Written(copy(number)), &mut out);
                    if number >= completed {
                        expected.insert(number);
                    }
                }
                Event::Completed(number) => {
                    copies.step(Input::Completed(task, CheckpointId(number)), &mut out);
                    completed = completed.max(number);
                    expected.retain(|kept| *kept >= completed);
                }
                Event::Aborted(number) => {
                    copies.step(Input::Aborted(task, CheckpointId(number)), &mut out);
                    expected.remove(&number);
                }
                Event::Redeployed(number) => {
                    let (from, next) = (Some(copy(number).taken), attempt.next());
                    let (tasks, found) = ([task], copies.whole().collect());
                    copies.step(Input::Deployed { attempt: next, tasks: begin_from(tasks, from), going_on: BTreeSet::new(), found }, &mut out);
                    completed = 0;
                    expected.retain(|kept| *kept == number);
                }
            }
            let whole: BTreeSet<u64> = copies.whole().map(|copy| copy.taken.checkpoint.0).collect();
            prop_assert_eq!(&whole, &expected);
            for output in out {
                if let Output::Delete(copy) = output {
                    prop_assert!(!expected.contains(&copy.taken.checkpoint.0), "{} is deleted and kept", copy);
                }
            }
        }
    }
}
