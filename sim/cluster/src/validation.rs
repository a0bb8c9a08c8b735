//! Trace validation: what the full engine's drivers tell their machines, and what they do for them, is held against fresh machines.
//!
//! A run is projected onto the inputs of each machine: coordinator, subtask, local copies, commits and transactions of sinks,
//! gateways to readers. A fresh machine begins from the same durable part, gets the same inputs, and must want exactly what the driver does, in the same order. The explorer visits every state of these
//! machines; this says that the engine is driven by them and by nothing else.
//!
//! * `replay`: one fresh machine.
//! * `observed`: each event that follows from an output, or comes before an input, is there, and no other.
//! * `said`: what a machine hears, another one has said; and a coordinator begins from a journal entry that one has written.

mod observed;
mod replay;
mod said;

use crate::world::NodeIndex;
use cofferdam_engine::connector::split::ReaderEvent;
use cofferdam_engine::connector::transactional_sink::Transaction;
use cofferdam_engine::observe::{Actor, Event, MachineStep, Step};
use cofferdam_protocol::committer::Committer;
use cofferdam_protocol::coordinator::Coordinator;
use cofferdam_protocol::gateway::Gateway;
use cofferdam_protocol::local::LocalCopies;
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::subtask::Subtask;
use cofferdam_protocol::transactions::Transactions;
use cofferdam_protocol::{AttemptId, Machine, SubtaskIndex, TaskId, VertexId, WorkerId};
use observed::{Observed, Signs};
use replay::Replay;
use said::{Journals, Said};
use std::collections::BTreeMap;
use std::fmt::Debug;

/// The first step in which an engine does something else than its machine wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{machine}, step {step}, input {input}: {what}")]
pub struct Difference {
    /// Which machine, of whom, on which node.
    pub machine: String,
    /// The how-manieth input of this machine, from 1; 0 is its beginning.
    pub step: u64,
    /// That input.
    pub input: String,
    /// What was expected, and what was found.
    pub what: String,
}

/// A machine of the engine, and what is known of it.
struct Replayed<M: Machine> {
    replay: Replay<M>,
    observed: Observed,
}

impl<M: Machine> Replayed<M>
where
    M::Input: Debug,
    M::Output: Debug + PartialEq,
{
    fn new(durable: M::Durable) -> Self {
        Self { replay: Replay::recovered(durable), observed: Observed::default() }
    }

    fn wrap(&self, name: &str, what: String) -> Difference {
        let (step, input) = self.replay.last();
        Difference { machine: name.to_owned(), step, input, what }
    }
}

/// All machines of a run.
#[derive(Default)]
pub struct Validation {
    coordinators: BTreeMap<NodeIndex, Replayed<Coordinator<TaskSnapshot>>>,
    subtasks: BTreeMap<(NodeIndex, AttemptId, TaskId), Replayed<Subtask>>,
    copies: BTreeMap<(NodeIndex, WorkerId), Replayed<LocalCopies>>,
    gateways: BTreeMap<(NodeIndex, AttemptId, VertexId), Replayed<Gateway<ReaderEvent>>>,
    committers: BTreeMap<(NodeIndex, AttemptId, TaskId), Replayed<Committer>>,
    transactions: BTreeMap<(NodeIndex, String, AttemptId, SubtaskIndex), Replayed<Transactions<Transaction>>>,
    said: Said,
    journals: Journals,
    steps: u64,
}

impl Validation {
    /// How many inputs were replayed.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.steps
    }

    /// A driver tells of a machine on a node.
    ///
    /// # Errors
    /// The machine wants something else, or the input comes out of nowhere.
    pub fn machine(&mut self, node: NodeIndex, step: MachineStep) -> Result<(), Difference> {
        match step {
            MachineStep::Coordinator(step) => {
                let said = match &*step {
                    Step::Recovered(standing) => self.journals.recovered(node, &standing.journal),
                    Step::Input(input) => self.journals.answered(node, input).and_then(|()| self.said.to_coordinator(input)),
                    Step::Output(output) => {
                        self.journals.writing(node, output);
                        self.said.by_coordinator(output);
                        Ok(())
                    }
                };
                take(&mut self.coordinators, node, || format!("the coordinator on {node}"), *step, said, &mut self.steps)
            }
            MachineStep::Subtask(attempt, task, step) => {
                let said = match &step {
                    Step::Recovered(_) => Ok(()),
                    Step::Input(input) => self.said.to_subtask(attempt, task, input),
                    Step::Output(output) => {
                        self.said.by_subtask(attempt, task, output);
                        Ok(())
                    }
                };
                let name = || format!("subtask {task} of {attempt} on {node}");
                take(&mut self.subtasks, (node, attempt, task), name, step, said, &mut self.steps)
            }
            MachineStep::LocalCopies(worker, step) => {
                let name = || format!("the local copies of {worker} on {node}");
                take(&mut self.copies, (node, worker), name, step, Ok(()), &mut self.steps)
            }
            MachineStep::Gateway(attempt, vertex, step) => {
                let name = || format!("the gateway to the readers of {vertex} of {attempt} on {node}");
                take(&mut self.gateways, (node, attempt, vertex), name, step, Ok(()), &mut self.steps)
            }
            MachineStep::Committer(attempt, task, step) => {
                if let Step::Output(output) = &step {
                    self.said.by_committer(attempt, task, output);
                }
                let name = || format!("the commits of {task} of {attempt} on {node}");
                take(&mut self.committers, (node, attempt, task), name, step, Ok(()), &mut self.steps)
            }
            MachineStep::Transactions((uid, share), step) => {
                let name = || format!("the transactions of {uid}, {} of {} on {node}", share.subtask, share.attempt);
                let key = (node, uid.clone(), share.attempt, share.subtask);
                take(&mut self.transactions, key, name, *step, Ok(()), &mut self.steps)
            }
        }
    }

    /// Something was observed on a node.
    ///
    /// # Errors
    /// No step of the machine explains it.
    pub fn event(&mut self, node: NodeIndex, event: &Event) -> Result<(), Difference> {
        match event.actor {
            Actor::Coordinator(_) => seen(&mut self.coordinators, node, || format!("the coordinator on {node}"), event),
            Actor::Task(task) => {
                let attempt = event.attempt.unwrap_or_default();
                seen(&mut self.subtasks, (node, attempt, task), || format!("subtask {task} of {attempt} on {node}"), event)
            }
            Actor::Worker(_) => Ok(()),
        }
    }
}

/// One more thing about a machine.
fn take<K: Ord, M: Machine>(
    machines: &mut BTreeMap<K, Replayed<M>>,
    key: K,
    name: impl Fn() -> String,
    step: Step<M::Durable, M::Input, M::Output>,
    said: Result<(), String>,
    steps: &mut u64,
) -> Result<(), Difference>
where
    M::Input: Clone + Debug + Signs,
    M::Output: Clone + Debug + PartialEq + Signs,
{
    match step {
        Step::Recovered(durable) => {
            let replayed = Replayed::new(durable);
            let outcome = said.map_err(|what| replayed.wrap(&name(), what));
            machines.insert(key, replayed);
            outcome
        }
        Step::Input(input) => {
            *steps += 1;
            let Some(replayed) = machines.get_mut(&key) else { return Err(unknown(&name(), &input)) };
            // What is left of the step before is told with that.
            let settled = replayed.replay.settled().and_then(|()| replayed.observed.settled());
            settled.map_err(|what| replayed.wrap(&name(), what))?;
            replayed.replay.input(input.clone());
            let heralded = replayed.observed.input(&input);
            said.and(heralded).map_err(|what| replayed.wrap(&name(), what))
        }
        Step::Output(output) => {
            let Some(replayed) = machines.get_mut(&key) else { return Err(unknown(&name(), &output)) };
            let done = replayed.observed.settled().and_then(|()| replayed.replay.output(&output));
            done.map_err(|what| replayed.wrap(&name(), what))?;
            replayed.observed.output(&output);
            Ok(())
        }
    }
}

fn unknown(name: &str, what: &dyn Debug) -> Difference {
    Difference { machine: name.to_owned(), step: 0, input: replay::brief(what), what: "this machine has never begun".into() }
}

fn seen<K: Ord, M: Machine>(
    machines: &mut BTreeMap<K, Replayed<M>>,
    key: K,
    name: impl Fn() -> String,
    event: &Event,
) -> Result<(), Difference>
where
    M::Input: Debug + Signs,
    M::Output: Debug + PartialEq + Signs,
{
    // Before its machine has begun a subtask restores.
    let Some(replayed) = machines.get_mut(&key) else { return Ok(()) };
    replayed.observed.event::<M::Input, M::Output>(event).map_err(|what| replayed.wrap(&name(), what))
}

#[cfg(test)]
mod tests;
