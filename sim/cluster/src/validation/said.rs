//! What a machine hears, another one has said before.

use crate::world::NodeIndex;
use cofferdam_protocol::coordinator::{self, Journal, Written};
use cofferdam_protocol::{committer, subtask};
use cofferdam_protocol::{AttemptId, CheckpointId, Epoch, TaskId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};

/// A word between machines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Word {
    Trigger(TaskId),
    Complete,
    Abort,
    Barrier,
    Cancel,
    Acknowledge(TaskId),
    Decline(TaskId),
    Published(TaskId),
    Finished(TaskId),
}

/// All that was said. Words may get lost, be late or come twice; none comes that nobody has said.
#[derive(Default)]
pub struct Said {
    words: BTreeSet<(AttemptId, CheckpointId, Word)>,
    /// In which attempt each task was deployed last, by each coordinator: it is told in that.
    deployed: BTreeMap<Epoch, BTreeMap<TaskId, AttemptId>>,
}

impl Said {
    fn say(&mut self, attempt: AttemptId, checkpoint: CheckpointId, word: Word) {
        self.words.insert((attempt, checkpoint, word));
    }

    fn heard(&self, attempt: AttemptId, checkpoint: CheckpointId, word: Word) -> Result<(), String> {
        if self.words.contains(&(attempt, checkpoint, word)) {
            return Ok(());
        }
        Err(format!("expected that somebody has said {word:?} of {checkpoint} in {attempt}, found that nobody has"))
    }

    /// A coordinator does this.
    pub fn by_coordinator<S>(&mut self, output: &coordinator::Output<S>) {
        use coordinator::Output;
        match output {
            Output::Deploy { attempt, placement, .. } => {
                self.deployed.entry(attempt.epoch).or_default().extend(placement.keys().map(|task| (*task, *attempt)));
            }
            Output::Trigger { attempt, checkpoint, tasks, .. } => {
                let deployed = self.deployed.get(&attempt.epoch).cloned().unwrap_or_default();
                for task in tasks {
                    self.say(deployed.get(task).copied().unwrap_or(*attempt), *checkpoint, Word::Trigger(*task));
                }
            }
            Output::NotifyComplete { attempt, checkpoint } => self.say_to_all(*attempt, *checkpoint, Word::Complete),
            Output::NotifyAbort { attempt, checkpoint, .. } => self.say_to_all(*attempt, *checkpoint, Word::Abort),
            _ => {}
        }
    }

    /// A coordinator with this attempt as its latest one does.
    fn say_to_all(&mut self, latest: AttemptId, checkpoint: CheckpointId, word: Word) {
        let older = self.deployed.get(&latest.epoch).into_iter().flat_map(BTreeMap::values).copied();
        let attempts: BTreeSet<AttemptId> = older.chain([latest]).collect();
        attempts.into_iter().for_each(|attempt| self.say(attempt, checkpoint, word));
    }

    /// A subtask does this.
    pub fn by_subtask(&mut self, attempt: AttemptId, task: TaskId, output: &subtask::Output) {
        use subtask::Output;
        match output {
            Output::Forward(checkpoint) => self.say(attempt, *checkpoint, Word::Barrier),
            Output::ForwardCancel(checkpoint) => self.say(attempt, *checkpoint, Word::Cancel),
            Output::Acknowledge(checkpoint) => self.say(attempt, *checkpoint, Word::Acknowledge(task)),
            Output::Decline(checkpoint, _) => self.say(attempt, *checkpoint, Word::Decline(task)),
            Output::Finish => self.say(attempt, CheckpointId::NONE, Word::Finished(task)),
            _ => {}
        }
    }

    /// The commits of a task do this.
    pub fn by_committer(&mut self, attempt: AttemptId, task: TaskId, output: &committer::Output) {
        if let committer::Output::Report(checkpoint) = output {
            self.say(attempt, *checkpoint, Word::Published(task));
        }
    }

    /// A coordinator hears this.
    ///
    /// # Errors
    /// Nobody has said it.
    pub fn to_coordinator<S>(&self, input: &coordinator::Input<S>) -> Result<(), String> {
        use coordinator::Input;
        match input {
            Input::Acknowledged { attempt, checkpoint, task, .. } => self.heard(*attempt, *checkpoint, Word::Acknowledge(*task)),
            Input::Declined { attempt, checkpoint, task, .. } => self.heard(*attempt, *checkpoint, Word::Decline(*task)),
            Input::TaskFinished { attempt, task } => self.heard(*attempt, CheckpointId::NONE, Word::Finished(*task)),
            Input::Committed { attempt, checkpoint, task } => self.heard(*attempt, *checkpoint, Word::Published(*task)),
            _ => Ok(()),
        }
    }

    /// A subtask hears this.
    ///
    /// # Errors
    /// Nobody has said it.
    pub fn to_subtask(&self, attempt: AttemptId, task: TaskId, input: &subtask::Input) -> Result<(), String> {
        use subtask::Input;
        match input {
            Input::Triggered { checkpoint, .. } => self.heard(attempt, *checkpoint, Word::Trigger(task)),
            Input::Completed(checkpoint) => self.heard(attempt, *checkpoint, Word::Complete),
            Input::Aborted { checkpoint, .. } => self.heard(attempt, *checkpoint, Word::Abort),
            Input::Barrier { checkpoint, .. } | Input::Announced { checkpoint, .. } => self.heard(attempt, *checkpoint, Word::Barrier),
            Input::Cancelled { checkpoint, .. } => self.heard(attempt, *checkpoint, Word::Cancel),
            _ => Ok(()),
        }
    }
}

/// The journal entries of a job, in the order in which coordinators wanted them written.
#[derive(Default)]
pub struct Journals {
    entries: Vec<Journal>,
    /// Not answered yet, by their places.
    writing: BTreeMap<NodeIndex, VecDeque<usize>>,
    /// The last one that somebody was told to be durable.
    durable: Option<usize>,
}

impl Journals {
    /// A coordinator does something.
    pub fn writing<S>(&mut self, node: NodeIndex, output: &coordinator::Output<S>) {
        if let coordinator::Output::Write(entry) = output {
            self.writing.entry(node).or_default().push_back(self.entries.len());
            self.entries.push(entry.clone());
        }
    }

    /// A coordinator hears something.
    ///
    /// # Errors
    /// It is an answer, and there was no question.
    pub fn answered<S>(&mut self, node: NodeIndex, input: &coordinator::Input<S>) -> Result<(), String> {
        let coordinator::Input::Journal(written) = input else { return Ok(()) };
        let answered = self.writing.get_mut(&node).and_then(VecDeque::pop_front);
        let entry = answered.ok_or_else(|| "expected that an entry was being written, found that none was".to_owned())?;
        match written {
            Written::Durable => self.durable = self.durable.max(Some(entry)),
            Written::Unknown | Written::Fenced => {}
        }
        Ok(())
    }

    /// A coordinator begins from this entry: one that was written, and not before one that is known to be durable. In memory, checkpoints
    /// die with who held them.
    ///
    /// # Errors
    /// It is another one.
    pub fn recovered(&mut self, node: NodeIndex, journal: &Journal) -> Result<(), String> {
        self.writing.remove(&node);
        let is = |entry: &Journal| {
            *entry == *journal || (journal.completed.is_empty() && Journal { completed: BTreeSet::new(), ..entry.clone() } == *journal)
        };
        let known = self.durable.map(|durable| &self.entries[durable]);
        let found = self.entries.iter().rposition(is);
        match (found, self.durable) {
            (None, None) if *journal == Journal::default() => Ok(()),
            (None, _) => Err(format!("expected a journal entry that was written, found {journal:?}; the last durable one is {known:?}")),
            // Whoever wrote later in this order may have led earlier: then its entry is of an older epoch.
            (Some(found), Some(durable)) if found < durable && journal.epoch <= self.entries[durable].epoch => {
                Err(format!("expected {known:?} or a later journal entry, found {journal:?}"))
            }
            (Some(_), _) => Ok(()),
        }
    }
}
