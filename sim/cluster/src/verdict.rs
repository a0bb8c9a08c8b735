//! What came of a run.

use crate::coverage::Coverage;
use crate::oracle::decode::Checkpoint;
use crate::scenario::FaultSpec;
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// An invariant does not hold. The witness is the smallest that the check can name: which record, checkpoint, subtask, attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The invariant's name, as its file.
    pub invariant: &'static str,
    /// What contradicts it.
    pub witness: String,
    /// On the world's clock.
    pub at: Duration,
}

/// All about one run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Its seed.
    pub seed: u64,
    /// Over all events in order; equal runs have equal hashes.
    pub hash: u64,
    /// How many events went into the hash.
    pub events: u64,
    /// Records that went through a subtask.
    pub records: u64,
    /// How long it took on the world's clock.
    pub simulated: Duration,
    /// Injected faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Completed checkpoints.
    pub completed: u64,
    /// Failed ones.
    pub aborted: u64,
    /// Deployments from a checkpoint.
    pub restores: u64,
    /// Completed checkpoints that were begun from again, in a world of their own.
    pub shadows: u64,
    /// Inputs of machines that were replayed through fresh ones, if asked for.
    pub machine_steps: u64,
    /// Rows of the output that count something more than once, where at-least-once allows it.
    pub recounted: u64,
    /// What was met.
    #[serde(skip)]
    pub coverage: Coverage,
    /// The first invariant that does not hold.
    pub violation: Option<Violation>,
    /// One line per transition, if asked for.
    #[serde(skip)]
    pub trace: Vec<String>,
    /// The rolling hash after each event, if asked for.
    #[serde(skip)]
    pub hashes: Vec<u64>,
    /// What each completed checkpoint and savepoint says, in the order of their completion, if asked for.
    #[serde(skip)]
    pub checkpoints: Vec<Checkpoint>,
    /// The rows of the output, if asked for; none if the job did not finish.
    #[serde(skip)]
    pub output: BTreeMap<String, String>,
    /// What was drawn to go wrong at times drawn from the seed.
    #[serde(skip)]
    pub drawn: Vec<FaultSpec>,
    /// How long each completed checkpoint took from its trigger, in the order of their completion.
    #[serde(skip)]
    pub durations: Vec<Duration>,
}

/// What a run keeps beside its verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keep {
    /// The trace, for people; beside the hashes, a line for each of them.
    pub trace: bool,
    /// All rolling hashes, to find where two runs part.
    pub hashes: bool,
    /// What each checkpoint says and what came out, to be compared with a run of another backend.
    pub outcome: bool,
    /// Nothing more, but each machine of the protocol is replayed: `trace-validation` becomes an invariant.
    pub validate: bool,
    /// In the trace, what each machine holds, where that has changed.
    pub states: bool,
}
