//! One side of a comparison: a run, or what a run has printed.

use crate::explore;
use crate::failure::Failure;
use crate::target;
use cofferdam_engine::observe::Moment;
use cofferdam_sim::run::simulate;
use cofferdam_sim::verdict::Keep;
use std::collections::BTreeMap;
use std::path::Path;

/// A line of the trace.
#[derive(Debug)]
pub struct Event {
    /// All of it.
    pub line: String,
    /// What happened, without the time.
    pub key: String,
}

impl Event {
    /// The moment, or what happened to the world.
    pub fn kind(&self) -> &str {
        let mut words = self.key.split_whitespace();
        let moment = words.clone().find(|word| word.parse::<Moment>().is_ok());
        moment.or(words.nth(1)).unwrap_or("nothing")
    }
}

/// What a machine held, from before the event of this number on.
#[derive(Debug)]
struct State {
    before: usize,
    actor: String,
    text: String,
}

/// One side.
#[derive(Debug)]
pub struct Side {
    name: String,
    /// What happened, in order.
    pub events: Vec<Event>,
    states: Vec<State>,
}

impl Side {
    /// `NAME:SEED`, a scenario file with a seed, or a file with a trace.
    ///
    /// # Errors
    /// It is none of these.
    pub fn of(text: &str) -> Result<Self, Failure> {
        let bad = |what: &str| Failure::Side { text: text.to_owned(), what: what.to_owned() };
        let path = Path::new(text);
        let is_toml = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("toml"));
        if path.is_file() && !is_toml {
            let content = std::fs::read_to_string(path);
            let content = content.map_err(|source| Failure::Path { purpose: "read", path: path.to_owned(), source })?;
            let side = Self::parse(text, &content);
            return if side.events.is_empty() { Err(bad("no line of it is one of a trace")) } else { Ok(side) };
        }
        let (name, seed) = if is_toml {
            if explore::saved(text)?.is_some() {
                return Err(bad("it was left by an exploration, which has no trace of a run"));
            }
            (text, None)
        } else {
            let Some((name, seed)) = text.rsplit_once(':') else {
                return Err(bad("neither NAME:SEED nor a file that is there"));
            };
            (name, Some(seed.parse().map_err(|_| bad("behind the colon must be a seed"))?))
        };
        let target = target::one(name)?;
        let Some(seed) = seed.or(target.seed()) else {
            return Err(Failure::SeedMissing { target: text.to_owned() });
        };
        let report = simulate(&target.expand(seed), seed, Keep { trace: true, states: true, ..Keep::default() });
        Ok(Self::parse(text, &report.trace.join("\n")))
    }

    /// The lines of a trace among others.
    pub fn parse(name: &str, text: &str) -> Self {
        let mut side = Self { name: name.to_owned(), events: Vec::new(), states: Vec::new() };
        for line in text.lines() {
            let Some((time, rest)) = line.trim_start().split_once("s  ") else { continue };
            if time.parse::<f64>().is_err() {
                continue;
            }
            match rest.split_once(" = ") {
                Some((actor, state)) if state_of(actor).is_some() => {
                    let (before, actor) = (side.events.len(), state_of(actor).unwrap_or_default());
                    side.states.push(State { before, actor, text: state.to_owned() });
                }
                _ => side.events.push(Event { line: line.to_owned(), key: rest.to_owned() }),
            }
        }
        side
    }

    /// What happened, line by line.
    pub fn keys(&self) -> Vec<&str> {
        self.events.iter().map(|event| event.key.as_str()).collect()
    }

    /// For people.
    pub fn described(&self) -> String {
        format!("{}: {} events", self.name, crate::console::grouped(self.events.len() as u64))
    }

    /// What each machine held when the event of this number came.
    pub fn states_before(&self, event: usize) -> BTreeMap<String, String> {
        let states = self.states.iter().filter(|state| state.before <= event);
        states.map(|state| (state.actor.clone(), state.text.clone())).collect()
    }
}

/// The node and actor of a line that shows a machine.
fn state_of(columns: &str) -> Option<String> {
    let words: Vec<&str> = columns.split_whitespace().collect();
    match words[..] {
        [node, actor] => Some(format!("{node} {actor}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_line_of_a_trace_is_passed_over() {
        let text = "warming up\n    0.001s  --  started          n0\n\nsteady-run with seed 1\n  events       4\n  simulated    7.067 s\n";
        let side = Side::parse("test", text);
        assert_eq!(side.keys(), ["--  started          n0"]);
        assert_eq!(side.events[0].kind(), "started");
    }

    #[test]
    fn states_are_kept_apart_from_events() {
        let side =
            Side::parse("test", "    0.001s  n1  coord     = e1 waiting; workers w1\n    0.002s  n1  coord e1               took-over");
        assert_eq!(side.events.len(), 1);
        assert_eq!(side.events[0].kind(), "took-over");
        assert_eq!(side.states_before(0), BTreeMap::from([("n1 coord".into(), "e1 waiting; workers w1".into())]));
    }
}
