//! The jobs again, sequentially, over a prefix of their input: ten lines each.

use super::decode::{Shape as Form, State, Stored, Value};
use super::patterns;
use crate::jobs::Log;
use crate::scenario::{JobKind, Shape};
use crate::workload::{GAP_MS, RANK, SLIDE_MS, WEIGHT, WINDOW_MS};
use std::collections::BTreeMap;

/// The lines of each source up to a cut.
pub type Prefix<'a> = BTreeMap<&'static str, Vec<&'a str>>;

/// All lines.
#[must_use]
pub fn everything(logs: &[Log]) -> Prefix<'_> {
    logs.iter().map(|log| (log.source, log.partitions.iter().flat_map(|(_, lines)| lines.iter().map(String::as_str)).collect())).collect()
}

/// The operator with keyed state.
#[must_use]
pub fn keyed_operator(kind: JobKind) -> &'static str {
    match kind {
        JobKind::WordCount | JobKind::Arrivals => "count",
        JobKind::Windows | JobKind::IdleSplit => "windows",
        JobKind::Ledger => "ledger",
        JobKind::Expiring => "expiring",
        JobKind::Rules => "rules",
        JobKind::Visits => "visits",
        JobKind::Sessions | JobKind::Hops => "spans",
        JobKind::Delivery | JobKind::Lanes | JobKind::Post => "deliver",
        JobKind::Patterns => "patterns",
        JobKind::Shaped(_) => "gather",
    }
}

/// The named operators of each vertex, in the order of the vertices. One that only reshuffles has none.
#[must_use]
pub fn vertices(kind: JobKind) -> &'static [&'static [&'static str]] {
    match kind {
        JobKind::WordCount => &[&["lines"], &["count", "table"]],
        JobKind::Windows => &[&["events"], &[], &["windows", "table"]],
        JobKind::Ledger => &[&["orders-a"], &["orders-b"], &[], &["payments"], &["ledger", "table"]],
        JobKind::Expiring => &[&["uses"], &["expiring", "table"]],
        JobKind::Rules => &[&["records"], &["weights"], &["rules", "table"]],
        JobKind::Visits => &[&["log"], &["visits", "table"]],
        JobKind::Sessions | JobKind::Hops => &[&["events"], &[], &["spans", "table"]],
        JobKind::Delivery => &[&["parcels"], &["deliver", "out"]],
        JobKind::Lanes => &[&["parcels"], &["parcels-out"]],
        JobKind::Post => &[&["parcels"], &["parcels-out"], &["letters"], &["deliver", "letters-out"]],
        JobKind::Arrivals => &[&["files"], &["count", "table"]],
        JobKind::Patterns => &[&["moves"], &["patterns", "table"]],
        JobKind::IdleSplit => &[&["events"], &["feed"], &[], &["windows", "table"]],
        JobKind::Shaped(Shape::Chain) => &[&["a"], &[], &["gather", "table"]],
        JobKind::Shaped(Shape::Shuffle) => &[&["a"], &[], &["sort"], &["gather", "table"]],
        JobKind::Shaped(Shape::Join | Shape::Broadcast) => &[&["a"], &["b"], &["gather", "table"]],
        JobKind::Shaped(Shape::Diamond) => &[&["a"], &["left"], &[], &["gather", "table"]],
        JobKind::Shaped(Shape::Union) => &[&["a"], &["b"], &[], &["gather", "table"]],
    }
}

/// How its states are written.
#[must_use]
pub fn shape(kind: JobKind, stored: &Stored<'_>) -> Option<Form> {
    Some(match (kind, stored.state) {
        (JobKind::Delivery | JobKind::Post | JobKind::Arrivals, "count") => Form::Number,
        (JobKind::WordCount, "count") | (JobKind::Ledger, "ordered" | "due") => Form::Number,
        (JobKind::Windows | JobKind::IdleSplit, "sums") | (JobKind::Ledger, "amounts") => Form::Map,
        (JobKind::Ledger, "paid") => Form::Pair,
        (JobKind::Ledger, "payments") => Form::List,
        (JobKind::Ledger, "ripe") => Form::Bool,
        (JobKind::Expiring, "count") | (JobKind::Rules, "total") => Form::Number,
        (JobKind::Expiring, "value" | "noted-value") => Form::Timed,
        (JobKind::Expiring, "list") => Form::TimedList { led: true },
        (JobKind::Expiring, "noted-list" | "lost") => Form::TimedList { led: false },
        (JobKind::Expiring, "map") => Form::TimedMap { led: true },
        (JobKind::Expiring, "noted-map") => Form::TimedMap { led: false },
        (JobKind::Expiring, "wrong") => Form::List,
        (JobKind::Rules, "counts") => Form::Map,
        (JobKind::Visits, "tally") => Form::Numbers(if stored.version == 1 { 2 } else { 3 }),
        (JobKind::Visits, "marks") => Form::ListOf(if stored.version == 1 { 1 } else { 2 }),
        (JobKind::Visits, "hours") if stored.value_type == "(i64, u64)" => Form::Map,
        (JobKind::Visits, "hours") => Form::TimedMap { led: true },
        (JobKind::Patterns, "waiting") => Form::Groups { by_time: true },
        (JobKind::Patterns, "partial") => Form::Groups { by_time: false },
        (JobKind::Shaped(_), "seen") => Form::List,
        (JobKind::Shaped(_), "passed") => Form::Number,
        // End and sum by start.
        (JobKind::Sessions | JobKind::Hops, "windows") => Form::TimedMap { led: false },
        (_, "timers/event" | "timers/processing") => Form::Times,
        _ => return None,
    })
}

fn field(line: &str, index: usize) -> &str {
    line.split(' ').nth(index).expect("our own input has all fields")
}

fn numeric(line: &str, index: usize) -> u64 {
    field(line, index).parse().expect("our own input has numbers there")
}

/// What state must be after exactly these lines, but for timers and what follows from clocks.
#[must_use]
pub fn state(kind: JobKind, prefix: &Prefix<'_>) -> State {
    let mut state = State::new();
    let mut at = |name: &str, key: &str, zero: Value, change: &mut dyn FnMut(&mut Value)| {
        // Names are copied only when they are new: this is called for each word of each line, once per checkpoint.
        if !state.contains_key(name) {
            state.insert(name.to_owned(), BTreeMap::new());
        }
        let values = state.get_mut(name).expect("it was just put there");
        match values.get_mut(key) {
            Some(value) => change(value),
            None => change(values.entry(key.to_owned()).or_insert(zero)),
        }
    };
    let add = |value: &mut Value, amount: u64| {
        if let Value::Number(number) = value {
            *number += amount
        }
    };
    let bump = |value: &mut Value, at: i64, amount: u64| {
        if let Value::Map(map) = value {
            *map.entry(at).or_default() += amount
        }
    };
    match kind {
        // What these hold is judged way by way, and moment by moment.
        JobKind::Shaped(_) | JobKind::Patterns => {}
        // No state but positions and transactions.
        JobKind::Lanes => {}
        JobKind::Post => {
            for line in &prefix["letters"] {
                at("count", field(line, 0), Value::Number(0), &mut |value| add(value, 1));
            }
        }
        JobKind::WordCount | JobKind::Arrivals => {
            for word in prefix.values().flatten().flat_map(|line| line.split(' ')) {
                at("count", word, Value::Number(0), &mut |value| add(value, 1));
            }
        }
        JobKind::Windows | JobKind::IdleSplit => {
            for line in prefix.values().flatten() {
                let window = numeric(line, 0).cast_signed() / WINDOW_MS * WINDOW_MS;
                at("sums", field(line, 1), Value::Map(BTreeMap::new()), &mut |value| bump(value, window, numeric(line, 2)));
            }
        }
        JobKind::Sessions => {
            let mut times: BTreeMap<&str, Vec<(i64, u64)>> = BTreeMap::new();
            for line in &prefix["events"] {
                times.entry(field(line, 1)).or_default().push((numeric(line, 0).cast_signed(), numeric(line, 2)));
            }
            for (key, mut times) in times {
                times.sort_unstable();
                let mut sessions: Vec<(i64, (i64, u64))> = Vec::new();
                for (time, amount) in times {
                    match sessions.last_mut() {
                        Some((_, (end, sum))) if time < *end => (*end, *sum) = (time + GAP_MS, *sum + amount),
                        _ => sessions.push((time, (time + GAP_MS, amount))),
                    }
                }
                at("windows", key, Value::TimedMap(sessions.into_iter().collect()), &mut |_| ());
            }
        }
        JobKind::Hops => {
            for line in &prefix["events"] {
                let time = numeric(line, 0).cast_signed();
                let first = (time - WINDOW_MS).div_euclid(SLIDE_MS) + 1;
                for start in (first..=time / SLIDE_MS).map(|number| number * SLIDE_MS) {
                    at("windows", field(line, 1), Value::TimedMap(BTreeMap::new()), &mut |value| {
                        if let Value::TimedMap(map) = value {
                            map.entry(start).or_insert((start + WINDOW_MS, 0)).1 += numeric(line, 2)
                        }
                    });
                }
            }
        }
        JobKind::Expiring => {
            for line in &prefix["uses"] {
                at("count", field(line, 0), Value::Number(0), &mut |value| add(value, 1));
            }
        }
        JobKind::Delivery => {
            for line in &prefix["parcels"] {
                at("count", field(line, 0), Value::Number(0), &mut |value| add(value, 1));
            }
        }
        JobKind::Rules => {
            for line in &prefix["records"] {
                at("total", line, Value::Number(0), &mut |value| add(value, 1));
            }
        }
        JobKind::Visits => {
            for line in &prefix["log"] {
                let (key, seconds) = (field(line, 0), numeric(line, 1));
                at("tally", key, Value::List(vec![0; 2]), &mut |value| {
                    if let Value::List(tally) = value {
                        (tally[0], tally[1]) = (tally[0] + 1, tally[1] + seconds)
                    }
                });
                at("marks", key, Value::List(Vec::new()), &mut |value| {
                    if let Value::List(list) = value {
                        list.push(seconds)
                    }
                });
                at("hours", key, Value::Map(BTreeMap::new()), &mut |value| bump(value, (seconds % 4).cast_signed(), 1));
            }
        }
        JobKind::Ledger => {
            for line in prefix["orders-a"].iter().chain(&prefix["orders-b"]) {
                let (key, amount) = (field(line, 0), numeric(line, 1));
                at("ordered", key, Value::Number(0), &mut |value| add(value, amount));
                at("amounts", key, Value::Map(BTreeMap::new()), &mut |value| bump(value, amount.cast_signed(), 1));
            }
            for line in &prefix["payments"] {
                let (key, amount) = (field(line, 0), numeric(line, 1));
                at("paid", key, Value::Pair(0, 0), &mut |value| {
                    if let Value::Pair(count, sum) = value {
                        (*count, *sum) = (*count + 1, *sum + amount)
                    }
                });
                at("payments", key, Value::List(Vec::new()), &mut |value| {
                    if let Value::List(list) = value {
                        list.push(amount)
                    }
                });
            }
        }
    }
    state
}

/// The same state of visits as the second version of the program has it.
#[must_use]
pub fn visits_of_second_version(mut state: State) -> State {
    for tally in state.get_mut("tally").into_iter().flat_map(BTreeMap::values_mut) {
        if let Value::List(tally) = tally {
            *tally = vec![tally[0], tally[1] * 1000, RANK]
        }
    }
    for marks in state.get_mut("marks").into_iter().flat_map(BTreeMap::values_mut) {
        if let Value::List(marks) = marks {
            *marks = marks.iter().flat_map(|amount| [*amount, WEIGHT]).collect()
        }
    }
    state
}

/// The rows that the table must have when all lines are processed; those of the ledger also say how ripe the account is.
#[must_use]
pub fn table(kind: JobKind, logs: &[Log]) -> BTreeMap<String, String> {
    let state = state(kind, &everything(logs));
    let number = |name: &str, key: &str| match state.get(name).and_then(|keys| keys.get(key)) {
        Some(Value::Number(number)) => *number,
        Some(Value::Pair(_, sum)) => *sum,
        Some(Value::List(list)) => list[0],
        _ => 0,
    };
    let rows = |name: &str| state[name].keys().map(|key| (key.clone(), number(name, key).to_string())).collect();
    match kind {
        // Its output is no table.
        JobKind::Delivery | JobKind::Lanes | JobKind::Post => BTreeMap::new(),
        JobKind::Patterns => patterns::table(&everything(logs)),
        // Of these it depends on the order between channels.
        JobKind::Shaped(_) => BTreeMap::new(),
        JobKind::WordCount | JobKind::Expiring | JobKind::Arrivals => rows("count"),
        JobKind::Rules => rows("total"),
        JobKind::Visits => rows("tally"),
        JobKind::Sessions | JobKind::Hops => {
            let windows = state["windows"].iter().flat_map(|(key, value)| match value {
                Value::TimedMap(spans) => {
                    spans.iter().map(|(start, (end, sum))| (format!("{key}@{start}"), format!("{end} {sum}"))).collect()
                }
                _ => Vec::new(),
            });
            windows.collect()
        }
        JobKind::Windows | JobKind::IdleSplit => {
            let windows = state["sums"].iter().flat_map(|(key, value)| match value {
                Value::Map(sums) => sums.iter().map(|(window, sum)| (format!("{key}@{window}"), sum.to_string())).collect(),
                _ => Vec::new(),
            });
            windows.collect()
        }
        JobKind::Ledger => {
            let keys = state.values().flat_map(BTreeMap::keys);
            keys.map(|key| (key.clone(), format!("{} {}", number("ordered", key), number("paid", key)))).collect()
        }
    }
}
