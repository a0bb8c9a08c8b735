//! `cofferdam diff`: two traces side by side.
//!
//! * [`side`]: what a side is, and its lines.
//! * [`align`]: which line of one is which line of the other.
//!
//! Lines are aligned by what happened, not when: a run that is a little late is not another one in every line. Where the first line
//! differs in full, time included, is told as well, since runs that should be equal must be so to the microsecond.

mod align;
mod side;

use crate::args::DiffArguments;
use crate::console::{self, grouped};
use crate::failure::{Failure, Outcome};
use align::{Part, Place};
use side::Side;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

/// How many kinds of events are told of the rest.
const MOST_KINDS: usize = 12;
/// How many lines of one side alone are shown where they part.
const MOST_LINES: usize = 12;

/// Compares them. Red if they differ, as `diff` does.
///
/// # Errors
/// A side stands for nothing.
pub fn diff(arguments: &DiffArguments) -> Result<Outcome, Failure> {
    let (one, other) = (Side::of(&arguments.one)?, Side::of(&arguments.other)?);
    let (text, same) = compared(&one, &other, arguments.context);
    console::say(text);
    Ok(if same { Outcome::Green } else { Outcome::Red })
}

/// What there is to say, and whether that is nothing.
fn compared(one: &Side, other: &Side, context: usize) -> (String, bool) {
    let mut text = format!("A  {}\nB  {}\n", one.described(), other.described());
    let parts = align::align(&one.keys(), &other.keys());
    let in_full = one.events.iter().zip(&other.events).take_while(|(a, b)| a.line == b.line).count();
    if in_full == one.events.len() && in_full == other.events.len() {
        text += &format!("\nthe same: all {} events, to the last digit", grouped(in_full as u64));
        return (text, true);
    }
    let parting = parts.iter().find(|part| !matches!(part, Part::Both { .. }));
    let Some(place) = parting.map(Part::place) else {
        let (a, b) = (&one.events[in_full], &other.events[in_full]);
        text += &format!("\nthe same events in the same order, at other times from event {in_full} on\n");
        text += &format!("  A {}\n  B {}", a.line, b.line);
        return (text, false);
    };
    text += &parting_text(one, other, &parts, place, in_full, context);
    text += &states(one, other, place);
    text += &rest(one, other, &parts);
    (text, false)
}

fn parting_text(one: &Side, other: &Side, parts: &[Part], place: Place, in_full: usize, context: usize) -> String {
    let mut text = format!("\nthey part at event {} of A and {} of B", place.one, place.other);
    if in_full < place.one.min(place.other) {
        text += &format!("; times differ from event {in_full} on");
    }
    text.push('\n');
    for at in place.one.saturating_sub(context)..place.one {
        writeln!(text, "    {}", one.events[at].line).expect("writing to a String does not fail");
    }
    let (mut shown, mut left) = ([0, 0], context);
    for part in parts.iter().skip_while(|part| part.place() != place) {
        match *part {
            Part::One(range, _) => lines(&mut text, "A", one, range, &mut shown[0]),
            Part::Other(range, _) => lines(&mut text, "B", other, range, &mut shown[1]),
            Part::Both { one: at, count, .. } => {
                let here = count.min(left);
                for event in &one.events[at..at + here] {
                    writeln!(text, "    {}", event.line).expect("writing to a String does not fail");
                }
                left -= here;
                if left == 0 {
                    break;
                }
            }
        }
    }
    text
}

fn lines(text: &mut String, mark: &str, side: &Side, (from, to): (usize, usize), shown: &mut usize) {
    for event in &side.events[from..to] {
        if *shown == MOST_LINES {
            writeln!(text, "  {mark} ... {} more lines of {mark} alone", to - from).expect("writing to a String does not fail");
            *shown += 1;
        }
        if *shown > MOST_LINES {
            return;
        }
        *shown += 1;
        writeln!(text, "  {mark} {}", event.line).expect("writing to a String does not fail");
    }
}

/// The machines of both just before, where a side has shown them.
fn states(one: &Side, other: &Side, place: Place) -> String {
    let (a, b) = (one.states_before(place.one), other.states_before(place.other));
    if a.is_empty() && b.is_empty() {
        return "\nno machines: neither trace has any; `replay --trace --states` prints them\n".into();
    }
    let mut text = String::from("\nmachines just before\n");
    let actors: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    for actor in actors {
        let (a, b) = (a.get(actor), b.get(actor));
        if a == b {
            writeln!(text, "    {actor:<14} {}", a.map_or("", String::as_str)).expect("writing to a String does not fail");
            continue;
        }
        for (mark, state) in [("A", a), ("B", b)] {
            let state = state.map_or("is not there", String::as_str);
            writeln!(text, "  {mark} {actor:<14} {state}").expect("writing to a String does not fail");
        }
    }
    text
}

/// How much of the rest is common, and of what kind the rest of it is.
fn rest(one: &Side, other: &Side, parts: &[Part]) -> String {
    let (mut common, mut only, mut hunks) = (0_u64, [0_u64, 0], 0_u64);
    let mut kinds: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    let mut both_before = true;
    for part in parts {
        match *part {
            Part::Both { count, .. } => common += count as u64,
            Part::One((from, to), _) => {
                only[0] += (to - from) as u64;
                one.events[from..to].iter().for_each(|event| kinds.entry(event.kind()).or_default().0 += 1);
            }
            Part::Other((from, to), _) => {
                only[1] += (to - from) as u64;
                other.events[from..to].iter().for_each(|event| kinds.entry(event.kind()).or_default().1 += 1);
            }
        }
        let both = matches!(part, Part::Both { .. });
        hunks += u64::from(both_before && !both);
        both_before = both;
    }
    let mut text = format!(
        "\nin all: {} events in both, {} in A alone, {} in B alone, in {} places",
        grouped(common),
        grouped(only[0]),
        grouped(only[1]),
        grouped(hunks)
    );
    let mut kinds: Vec<(&str, (u64, u64))> = kinds.into_iter().collect();
    kinds.sort_by_key(|(kind, (a, b))| (std::cmp::Reverse(a.abs_diff(*b)), *kind));
    for (kind, (a, b)) in kinds.iter().take(MOST_KINDS) {
        text += &format!("\n  {kind:<24} {a:>7} in A alone, {b:>7} in B alone");
    }
    if kinds.len() > MOST_KINDS {
        text += &format!("\n  and {} more kinds of events", kinds.len() - MOST_KINDS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn side(lines: &[&str]) -> Side {
        Side::parse("test", &lines.join("\n"))
    }

    const BEFORE: &[&str] = &["    0.001s  --  started          n0", "    0.100s  n1  coord e1         c1    checkpoint-triggered"];

    fn with(more: &[&str]) -> Side {
        side(&[BEFORE, more].concat())
    }

    #[test]
    fn equal_traces_are_the_same() {
        let (text, same) = compared(&with(&[]), &with(&[]), 3);
        assert!(same && text.ends_with("the same: all 2 events, to the last digit"), "{text}");
    }

    #[test]
    fn what_is_only_late_is_the_same_events() {
        let one = with(&["    0.200s  n3  v1.s1     a1.1   c1    barrier-arrived       ch1"]);
        let other = with(&["    0.201s  n3  v1.s1     a1.1   c1    barrier-arrived       ch1"]);
        let (text, same) = compared(&one, &other, 3);
        assert!(!same && text.contains("the same events in the same order, at other times from event 2 on"), "{text}");
    }

    #[test]
    fn what_one_has_alone_does_not_move_the_rest() {
        let tail = "    0.300s  n1  coord e1         c1    checkpoint-completed";
        let held = "    0.200s  n3  v1.s1     a1.1         channel-held          ch1";
        let (text, same) = compared(&with(&[held, tail]), &with(&[tail]), 3);
        assert!(!same && text.contains("they part at event 2 of A and 2 of B"), "{text}");
        assert!(text.contains(&format!("\n  A {held}\n    {tail}\n")), "{text}");
        assert!(text.contains("in all: 3 events in both, 1 in A alone, 0 in B alone, in 1 places"), "{text}");
        assert!(text.contains("channel-held                   1 in A alone,       0 in B alone"), "{text}");
    }

    #[test]
    fn machines_are_those_of_just_before() {
        let state = |of: &str| format!("    0.150s  n3  v1.s1     = aligned newest {of}");
        let (a, b) = (state("c1"), state("c2"));
        let one = with(&[
            &a,
            "    0.200s  n3  v1.s1     a1.1   c1    barrier-arrived       ch1",
            "    0.201s  n3  v1.s1     = aligned newest c9",
        ]);
        let other = with(&[&b, "    0.200s  n3  v1.s1     a1.1   c2    barrier-arrived       ch1"]);
        let (text, _) = compared(&one, &other, 3);
        assert!(text.contains("\n  A n3 v1.s1       aligned newest c1\n  B n3 v1.s1       aligned newest c2\n"), "{text}");
    }
}
