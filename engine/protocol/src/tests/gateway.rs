//! A gateway that is talked to in words.

use super::conversation;
use crate::gateway::{EventNumber, Gateway, Input};
use crate::ids::{CheckpointId, SubtaskIndex};
use crate::machine::Machine;

#[test]
fn gateway_conversations() {
    conversation::run_all("gateway", || {
        let mut gateway = Gateway::new(2);
        move |line: &str| {
            let words: Vec<&str> = line.split_whitespace().collect();
            if let ["subtasks", count] = words[..] {
                gateway = Gateway::new(count.parse().expect("a number of subtasks"));
                return Vec::new();
            }
            let mut out = Vec::new();
            gateway.step(input(&words), &mut out);
            out.iter().map(ToString::to_string).collect()
        }
    });
}

fn number(word: &str, prefix: char) -> u64 {
    let digits = word.strip_prefix(prefix).unwrap_or_else(|| panic!("{word:?} begins with {prefix}"));
    digits.parse().unwrap_or_else(|_| panic!("{word:?} ends in a number"))
}

fn input(words: &[&str]) -> Input<String> {
    let subtask = |word: &str| SubtaskIndex(u32::try_from(number(word, 's')).expect("a small number"));
    let checkpoint = |word: &str| CheckpointId(number(word, 'c'));
    match *words {
        ["send", s, event] => Input::Send { subtask: subtask(s), event: event.to_owned() },
        ["taken-in", s, n] => Input::TakenIn { subtask: subtask(s), number: EventNumber(number(n, 'n')) },
        ["lost", s, n] => Input::Lost { subtask: subtask(s), number: EventNumber(number(n, 'n')) },
        ["snapshot", c] => Input::Snapshot(checkpoint(c)),
        ["cut", s, c] => Input::Cut { subtask: subtask(s), checkpoint: checkpoint(c) },
        ["completed", c] => Input::Completed(checkpoint(c)),
        ["aborted", c] => Input::Aborted(checkpoint(c)),
        _ => panic!("no such directive: {words:?}"),
    }
}
