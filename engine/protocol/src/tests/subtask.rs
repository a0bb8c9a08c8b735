//! A subtask that is talked to in words, and facts about one.

use super::conversation;
use crate::ids::{ChannelIndex, CheckpointId};
use crate::machine::Machine;
use crate::settings::Mode;
use crate::subtask::{Ending, Input, Output, Participant, Subtask};
use std::collections::BTreeSet;

#[test]
fn aligned_conversations() {
    conversation::run_all("aligned", || talk(Mode::ExactlyOnce));
}

#[test]
fn tracker_conversations() {
    conversation::run_all("tracker", || talk(Mode::AtLeastOnce));
}

#[test]
fn unaligned_conversations() {
    conversation::run_all("unaligned", || talk(Mode::ExactlyOnce));
}

#[test]
fn conversations_of_finishing_subtasks() {
    conversation::run_all("finishing", || talk(Mode::ExactlyOnce));
}

#[test]
fn conversations_of_subtasks_that_finish_in_at_least_once_mode() {
    conversation::run_all("finishing-tracked", || talk(Mode::AtLeastOnce));
}

fn talk(mode: Mode) -> impl FnMut(&str) -> Vec<String> {
    let mut subtask = plain(mode, 0);
    move |line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        if let ["channels", count] = words[..] {
            subtask = plain(mode, count.parse().expect("a number of channels"));
            return Vec::new();
        }
        if let ["overtaking", count, ref forced @ ..] = words[..] {
            let forced = forced.iter().map(|word| channel(word.strip_prefix("forced=").unwrap_or(word))).collect();
            subtask = overtaking(count.parse().expect("a number of channels"), forced);
            return Vec::new();
        }
        let mut out = Vec::new();
        subtask.step(input(&words), &mut out);
        out.iter().map(ToString::to_string).collect()
    }
}

fn plain(mode: Mode, channels: u32) -> Subtask {
    Subtask::new(Participant { mode, channels, overtaking: None })
}

/// Barriers overtake, but for those of the forced channels.
fn overtaking(channels: u32, forced: BTreeSet<ChannelIndex>) -> Subtask {
    Subtask::new(Participant { mode: Mode::ExactlyOnce, channels, overtaking: Some(forced) })
}

fn channel(word: &str) -> ChannelIndex {
    ChannelIndex(word.strip_prefix("ch").and_then(|digits| digits.parse().ok()).expect("a channel such as ch0"))
}

fn input(words: &[&str]) -> Input {
    let c = |word: &str| CheckpointId(word.strip_prefix('c').and_then(|digits| digits.parse().ok()).expect("a checkpoint such as c7"));
    let ch = channel;
    match *words {
        ["triggered", checkpoint] => Input::Triggered { checkpoint: c(checkpoint), urgent: false },
        ["triggered", checkpoint, "urgent"] => Input::Triggered { checkpoint: c(checkpoint), urgent: true },
        ["announced", channel, checkpoint] => Input::Announced { channel: ch(channel), checkpoint: c(checkpoint), urgent: false },
        ["announced", channel, checkpoint, "urgent"] => Input::Announced { channel: ch(channel), checkpoint: c(checkpoint), urgent: true },
        ["timed-out", checkpoint] => Input::TimedOut(c(checkpoint)),
        ["stops", checkpoint] => Input::Stops { checkpoint: c(checkpoint), drain: false },
        ["stops", checkpoint, "drain"] => Input::Stops { checkpoint: c(checkpoint), drain: true },
        ["barrier", channel, checkpoint] => Input::Barrier { channel: ch(channel), checkpoint: c(checkpoint) },
        ["cancelled", channel, checkpoint] => Input::Cancelled { channel: ch(channel), checkpoint: c(checkpoint) },
        ["end-announced", channel] => Input::EndAnnounced { channel: ch(channel) },
        ["ended", channel] => Input::Ended { channel: ch(channel) },
        ["drained"] => Input::Drained(Ending::Leaves),
        ["drained", "stays"] => Input::Drained(Ending::Stays),
        ["drained", "publishes"] => Input::Drained(Ending::LeavesWhenPublished),
        ["published", checkpoint] => Input::Published(c(checkpoint)),
        ["durable", checkpoint] => Input::Durable(c(checkpoint)),
        ["write-failed", checkpoint] => Input::WriteFailed(c(checkpoint)),
        ["completed", checkpoint] => Input::Completed(c(checkpoint)),
        ["aborted", checkpoint] => Input::Aborted { checkpoint: c(checkpoint), latest_completed: None },
        ["aborted", checkpoint, latest] => {
            let latest = latest.strip_prefix("latest=").expect("latest=c6");
            Input::Aborted { checkpoint: c(checkpoint), latest_completed: Some(c(latest)) }
        }
        _ => panic!("no such directive: {words:?}"),
    }
}

fn steps(subtask: &mut Subtask, inputs: impl IntoIterator<Item = Input>) -> Vec<Output> {
    let mut out = Vec::new();
    inputs.into_iter().for_each(|input| subtask.step(input, &mut out));
    out
}

fn barrier(channel: u32, checkpoint: u64) -> Input {
    Input::Barrier { channel: ChannelIndex(channel), checkpoint: CheckpointId(checkpoint) }
}

#[test]
fn the_barrier_leaves_before_the_snapshot_and_the_channels_open_after_it() {
    let mut subtask = plain(Mode::ExactlyOnce, 2);
    let out = steps(&mut subtask, [barrier(0, 1), barrier(1, 1)]);
    let c1 = CheckpointId(1);
    assert_eq!(out, [Output::Hold(ChannelIndex(0)), Output::Forward(c1), Output::Snapshot(c1), Output::ReleaseAll]);
}

#[test]
fn only_the_sixteen_newest_aborted_ones_are_remembered() {
    let mut subtask = plain(Mode::ExactlyOnce, 1);
    let abort = |id| Input::Aborted { checkpoint: CheckpointId(id), latest_completed: None };
    steps(&mut subtask, (1..=17).map(abort));
    assert_eq!(steps(&mut subtask.clone(), [barrier(0, 2)]), [Output::ForwardCancel(CheckpointId(2))]);
    let forgotten = steps(&mut subtask, [barrier(0, 1)]);
    assert!(forgotten.contains(&Output::Snapshot(CheckpointId(1))), "c1 had to make room: {forgotten:?}");
}

#[test]
fn the_tracker_follows_no_more_than_fifty_checkpoints() {
    let mut subtask = plain(Mode::AtLeastOnce, 2);
    steps(&mut subtask, (1..=51).map(|id| barrier(0, id)));
    assert!(matches!(steps(&mut subtask.clone(), [barrier(1, 1)])[..], [Output::Ignored(_)]), "c1 had to make room");
    assert!(steps(&mut subtask, [barrier(1, 2)]).contains(&Output::Snapshot(CheckpointId(2))), "c2 is still followed");
}

#[test]
fn a_single_channel_is_never_held() {
    for mode in [Mode::ExactlyOnce, Mode::AtLeastOnce] {
        let out = steps(&mut plain(mode, 1), (1..5).map(|id| barrier(0, id)));
        assert!(!out.iter().any(|output| matches!(output, Output::Hold(_))), "{out:?}");
    }
}
