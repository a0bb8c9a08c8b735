//! The world at one instant, for people: machines, what is under way, what is on disks, what waits.

use crate::disk::View;
use crate::network::LinkPicture;
use crate::world::{NodeIndex, World};
use std::collections::BTreeMap;
use std::fmt::{self, Write};
use std::time::Duration;

/// Where a run is stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Until {
    /// At so much simulated time.
    Time(Duration),
    /// With the event that it names.
    Event(EventName),
}

/// An event of the engine, by what is in its line of the trace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EventName {
    /// All of these are whole words of the line; the last one may leave out the beginning of the moment's name.
    pub words: Vec<String>,
    /// The how-manieth such event, from 1.
    pub nth: u64,
}

impl EventName {
    /// Whether a line of the trace is such an event: the moment by its name or the end of it, and every other word somewhere.
    #[must_use]
    pub fn is(&self, moment: &str, line: &str) -> bool {
        let Some((wanted, others)) = self.words.split_last() else { return false };
        let named = moment == wanted || moment.strip_suffix(wanted.as_str()).is_some_and(|before| before.ends_with('-'));
        named && others.iter().all(|word| line.split_whitespace().any(|other| other == word))
    }
}

/// A machine, as its driver has shown it last.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct MachinePicture {
    /// On which node.
    pub node: NodeIndex,
    /// Whose it is.
    pub actor: String,
    /// What it holds, in lines.
    pub text: String,
}

/// A file or object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FilePicture {
    /// On which node's disk.
    pub node: NodeIndex,
    /// Where.
    pub path: String,
    /// How large it is for programs; none if it is removed for them.
    pub live_bytes: Option<u64>,
    /// How many bytes are sure to survive a power loss; none if its name is not.
    pub durable_bytes: Option<u64>,
}

/// Somebody who waits.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimerPicture {
    /// Until when, on the world's clock.
    pub due: Duration,
    /// On which node; none is the harness.
    pub node: Option<NodeIndex>,
    /// Which task.
    pub task: &'static str,
}

/// All of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// When.
    pub at: Duration,
    /// The line of the trace at which the run was stopped, if it was an event.
    pub event: Option<String>,
    /// Every node: its name, and whether it runs.
    pub nodes: Vec<(NodeIndex, String, &'static str)>,
    /// The machines, by node.
    pub machines: Vec<MachinePicture>,
    /// The coordinator's timers by name, and when each is due by its node's clock.
    pub deadlines: Vec<(NodeIndex, String, Duration)>,
    /// Directions between nodes on which something is under way, waits to be read, or cannot pass.
    pub links: Vec<LinkPicture>,
    /// What is on the disks.
    pub files: Vec<FilePicture>,
    /// What is in the object store, with sizes.
    pub objects: BTreeMap<String, u64>,
    /// Who waits for what time.
    pub timers: Vec<TimerPicture>,
}

impl Picture {
    /// Of the world as it is now. Machines are not the world's: whoever watches knows them.
    #[must_use]
    pub fn of(world: &World) -> Self {
        let state = |node| match (world.is_up(node), world.is_paused(node)) {
            (true, false) => "runs",
            (true, true) => "stands still",
            (false, _) => "is down",
        };
        let mut files = Vec::new();
        for node in world.nodes() {
            let (live, durable) = (world.storage(node).tree_now(View::Live), world.storage(node).tree_now(View::Durable));
            let mut sizes: BTreeMap<String, (Option<u64>, Option<u64>)> = BTreeMap::new();
            live.into_iter().for_each(|(path, bytes)| sizes.entry(path).or_default().0 = Some(bytes.len() as u64));
            durable.into_iter().for_each(|(path, bytes)| sizes.entry(path).or_default().1 = Some(bytes.len() as u64));
            let file = |(path, (live_bytes, durable_bytes))| FilePicture { node, path, live_bytes, durable_bytes };
            files.extend(sizes.into_iter().map(file));
        }
        let names = world.objects().names_now().into_keys();
        let sized = names.map(|url| {
            let size = world.objects().read_now(&url).map_or(0, |bytes| bytes.len() as u64);
            (url, size)
        });
        Self {
            at: world.now(),
            nodes: world.nodes().into_iter().map(|node| (node, world.name(node), state(node))).collect(),
            links: world.network().links_now(),
            files,
            objects: sized.collect(),
            timers: world.timers_now(),
            ..Self::default()
        }
    }
}

fn seconds(time: Duration) -> String {
    format!("{:.3} s", time.as_secs_f64())
}

/// A file's state in words.
fn durability(live: Option<u64>, durable: Option<u64>) -> String {
    match (live, durable) {
        (Some(live), Some(durable)) if live == durable => format!("{live} bytes, synced"),
        (Some(live), Some(durable)) => format!("{live} bytes, {durable} of them synced"),
        (Some(live), None) => format!("{live} bytes, its name not synced"),
        (None, Some(durable)) => format!("removed, not synced: {durable} bytes may come back"),
        (None, None) => "nothing".into(),
    }
}

impl fmt::Display for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "stopped at {}", seconds(self.at))?;
        if let Some(event) = &self.event {
            write!(f, ", with\n  {}", event.trim_start())?;
        }
        f.write_str("\n\nmachines")?;
        for (node, name, state) in &self.nodes {
            write!(f, "\n  {node:<3} {name} {state}")?;
            for machine in self.machines.iter().filter(|machine| machine.node == *node) {
                let mut lines = machine.text.lines();
                write!(f, "\n      {:<9} {}", machine.actor, lines.next().unwrap_or_default())?;
                lines.try_for_each(|line| write!(f, "\n      {:<9} {line}", ""))?;
            }
        }
        f.write_str("\n\nwires")?;
        if self.links.is_empty() {
            f.write_str("\n  nothing is under way")?;
        }
        for link in &self.links {
            write!(f, "\n  {link}")?;
        }
        f.write_str("\n\ndisks")?;
        let mut shown = None;
        for file in &self.files {
            if shown != Some(file.node) {
                shown = Some(file.node);
                let name = self.nodes.iter().find(|(node, ..)| *node == file.node).map_or("", |(_, name, _)| name);
                write!(f, "\n  {:<3} {name}", file.node)?;
            }
            write!(f, "\n      {}  {}", file.path, durability(file.live_bytes, file.durable_bytes))?;
        }
        if self.files.is_empty() {
            f.write_str("\n  nothing is on any")?;
        }
        if !self.objects.is_empty() {
            f.write_str("\n\nobjects")?;
            self.objects.iter().try_for_each(|(url, size)| write!(f, "\n  {url}  {size} bytes"))?;
        }
        f.write_str("\n\ntimers")?;
        for (node, timer, due) in &self.deadlines {
            write!(f, "\n  {node:<3} {timer:<28} at {} by its own clock", seconds(*due))?;
        }
        let mut text = String::new();
        for timer in &self.timers {
            let node = timer.node.map_or_else(|| "--".to_owned(), |node| node.to_string());
            let forever = timer.due > Duration::from_secs(1 << 30);
            let due = if forever { "for ever".into() } else { format!("until {}", seconds(timer.due)) };
            write!(text, "\n  {node:<3} {:<28} waits {due}", timer.task)?;
        }
        f.write_str(&text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(words: &[&str]) -> EventName {
        EventName { words: words.iter().map(|word| (*word).to_owned()).collect(), nth: 1 }
    }

    #[test]
    fn an_event_is_named_by_whole_words_and_the_end_of_its_moment() {
        let line = "0.744s  n3  v1.s1     a1.1   c3    barrier-arrived       ch1";
        let is = |words: &[&str]| event(words).is("barrier-arrived", line);
        assert!(is(&["c3", "barrier-arrived"]) && is(&["arrived"]) && is(&["v1.s1", "ch1", "arrived"]));
        assert!(!is(&["c", "arrived"]), "c is the beginning of c3 only");
        assert!(!is(&["rrived"]) && !is(&["barrier"]) && !is(&["c4", "arrived"]) && !is(&[]));
    }

    #[test]
    fn what_a_power_loss_leaves_of_a_file_is_said() {
        assert_eq!(durability(Some(5), Some(5)), "5 bytes, synced");
        assert_eq!(durability(Some(5), Some(2)), "5 bytes, 2 of them synced");
        assert_eq!(durability(Some(5), None), "5 bytes, its name not synced");
        assert_eq!(durability(None, Some(2)), "removed, not synced: 2 bytes may come back");
    }
}
