//! Tasks and channels of a job.

use crate::tally::SECOND_PATH;
use cofferdam_protocol::{ChannelIndex, TaskId};
use std::collections::{BTreeMap, BTreeSet};

/// No world has more tasks.
pub const MOST_TASKS: usize = 6;
/// No task has more input channels.
pub const MOST_CHANNELS: usize = 4;

/// No world has more sinks.
pub const MOST_SINKS: usize = 2;

/// How subtasks of two vertices are connected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pattern {
    /// Each with the one of the same number.
    Forward,
    /// All with all; a record goes by its position in its source.
    Shuffle,
}

/// What a job looks like.
#[derive(Clone, Copy, Debug)]
pub struct Topology {
    /// Subtasks of each vertex; those without incoming edge are sources.
    pub parallelism: &'static [u32],
    /// From which vertex to which, in topological order.
    pub edges: &'static [(usize, usize, Pattern)],
    /// The vertex whose output is told apart from others', where two paths meet again.
    pub second_path: Option<usize>,
}

/// One task, and where its output goes.
#[derive(Clone, Debug)]
pub struct Task {
    /// Its name.
    pub id: TaskId,
    /// Its number among the sources.
    pub source: Option<u8>,
    /// Its number among those that write the output.
    pub sink: Option<usize>,
    /// How many input channels it has.
    pub channels: u32,
    /// Those that stay aligned also where barriers overtake.
    pub forced: BTreeSet<ChannelIndex>,
    /// For each outgoing edge the receivers: which task, on which of its channels.
    pub outputs: Vec<Vec<(usize, usize)>>,
    /// What its output adds to a record's number.
    pub mark: u8,
}

/// The subtasks of one vertex, and the edges into it.
#[derive(Clone, Debug)]
pub struct Vertex {
    /// The numbers of its tasks.
    pub tasks: Vec<usize>,
    /// From which vertex an edge comes, and what its records' numbers have grown by there.
    pub edges: Vec<(usize, u8)>,
}

/// A topology with everything worked out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// Tasks in topological order.
    pub tasks: Vec<Task>,
    /// In topological order.
    pub vertices: Vec<Vertex>,
    /// How many sources there are.
    pub sources: u8,
}

impl Layout {
    /// Works it out.
    ///
    /// # Panics
    /// If there are more tasks or channels than a state has room for: a world that is wrong.
    #[must_use]
    pub fn of(topology: &Topology) -> Self {
        let is_source = |vertex: usize| topology.edges.iter().all(|edge| edge.1 != vertex);
        let is_sink = |vertex: usize| topology.edges.iter().all(|edge| edge.0 != vertex);
        let (mut tasks, mut vertices, mut sources, mut sinks) = (Vec::new(), Vec::new(), 0, 0);
        for (vertex, &parallelism) in topology.parallelism.iter().enumerate() {
            let mark = if topology.second_path == Some(vertex) { SECOND_PATH } else { 0 };
            let first = tasks.len();
            for subtask in 0..parallelism {
                let source = is_source(vertex).then_some(sources);
                sources += u8::from(source.is_some());
                let sink = is_sink(vertex).then_some(sinks);
                sinks += usize::from(sink.is_some());
                let id = TaskId::new(vertex as u32, subtask);
                tasks.push(Task { id, source, sink, channels: 0, forced: BTreeSet::new(), outputs: Vec::new(), mark });
            }
            vertices.push(Vertex { tasks: (first..tasks.len()).collect(), edges: Vec::new() });
        }
        for &(from, to, pattern) in topology.edges {
            let mark = tasks[vertices[from].tasks[0]].mark;
            vertices[to].edges.push((from, mark));
            for (index, &sender) in vertices[from].tasks.clone().iter().enumerate() {
                let receivers = match pattern {
                    Pattern::Forward => vec![vertices[to].tasks[index]],
                    Pattern::Shuffle => vertices[to].tasks.clone(),
                };
                let mut ends = Vec::new();
                for receiver in receivers {
                    if pattern == Pattern::Forward {
                        let channel = ChannelIndex(tasks[receiver].channels);
                        tasks[receiver].forced.insert(channel);
                    }
                    ends.push((receiver, tasks[receiver].channels as usize));
                    tasks[receiver].channels += 1;
                }
                tasks[sender].outputs.push(ends);
            }
        }
        assert!(sinks <= MOST_SINKS, "a world has at most {MOST_SINKS} sinks");
        assert!(tasks.len() <= MOST_TASKS, "a world has at most {MOST_TASKS} tasks");
        assert!(tasks.iter().all(|task| task.channels as usize <= MOST_CHANNELS), "a task has at most {MOST_CHANNELS} channels");
        Self { tasks, vertices, sources }
    }
}

impl Layout {
    /// Of each task behind others, those that it reads from.
    #[must_use]
    pub fn predecessors(&self) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
        let mut predecessors: BTreeMap<TaskId, BTreeSet<TaskId>> = BTreeMap::new();
        for sender in &self.tasks {
            for (receiver, _) in sender.outputs.iter().flatten() {
                predecessors.entry(self.tasks[*receiver].id).or_default().insert(sender.id);
            }
        }
        predecessors
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shuffle_has_a_channel_from_each_to_each() {
        let shuffle = Topology { parallelism: &[2, 2], edges: &[(0, 1, Pattern::Shuffle)], second_path: None };
        let layout = Layout::of(&shuffle);
        assert_eq!(layout.tasks[0].outputs, [[(2, 0), (3, 0)]]);
        assert_eq!(layout.tasks[1].outputs, [[(2, 1), (3, 1)]]);
        assert!(layout.tasks[3].sink == Some(1) && layout.tasks[3].channels == 2 && layout.sources == 2);
    }
}
