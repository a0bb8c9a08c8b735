//! What machines of the protocol are told, and what is done of what they want, as their drivers do it.
//!
//! A driver tells of an input before the machine gets it, and of each output when it performs it, not when it gets it: so whoever holds
//! this against a machine of his own finds out what a driver leaves out, does twice, or does in another order.

use crate::connector::split::ReaderEvent;
use crate::connector::transactional_sink::Transaction;
use cofferdam_protocol::coordinator::{self, Standing};
use cofferdam_protocol::snapshot::TaskSnapshot;
use cofferdam_protocol::subtask::{self, Participant};
use cofferdam_protocol::transactions::{self, Beginning, Share};
use cofferdam_protocol::{committer, gateway, local};
use cofferdam_protocol::{AttemptId, TaskId, VertexId, WorkerId};

/// Something about one machine of this process.
#[derive(Clone, Debug)]
pub enum MachineStep {
    /// The coordinator.
    Coordinator(Box<Step<Standing, coordinator::Input<TaskSnapshot>, coordinator::Output<TaskSnapshot>>>),
    /// A subtask of an attempt.
    Subtask(AttemptId, TaskId, Step<Participant, subtask::Input, subtask::Output>),
    /// The local copies of a worker.
    LocalCopies(WorkerId, Step<(), local::Input, local::Output>),
    /// The gateway of an attempt from an operator's enumerator to its readers.
    Gateway(AttemptId, VertexId, Step<u32, gateway::Input<ReaderEvent>, gateway::Output<ReaderEvent>>),
    /// The commits of a task of an attempt.
    Committer(AttemptId, TaskId, Step<(), committer::Input, committer::Output>),
    /// The transactions of a sink, by its uid and its share. What is to be published is told of when it is handed to who does it.
    Transactions((String, Share), Box<Step<Beginning<Transaction>, transactions::Input<Transaction>, transactions::Output<Transaction>>>),
}

/// What.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step<D, I, O> {
    /// It begins, from what was durable.
    Recovered(D),
    /// It is about to get this.
    Input(I),
    /// This is about to be done for it.
    Output(O),
}
