//! A coordinator that is talked to in words.
//!
//! `job vertices=2,1 interval=1s ...` comes first; `given running` brings it to where all tasks run, without showing how.

use super::conversation;
use crate::coordinator::{
    ClaimMode, Coordinator, Ended, FailureKind, FailureReason, Input, Journal, Kind, Origin, Output, Plan, RequestNumber, Standing, Status,
    Written,
};
use crate::ids::{AttemptId, CheckpointId, Epoch, Incarnation, TaskId, WorkerId};
use crate::machine::Machine;
use crate::regions::Regions;
use crate::settings::{CheckpointSettings, RestartStrategy, Retention};
use crate::snapshot::Acknowledged;
use crate::timer::Timer;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[test]
fn conversations() {
    conversation::run_all("coordinator", || {
        let mut talk = Talk::default();
        move |line: &str| talk.say(line)
    });
}

/// What a task hands over here: the names of shared files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Part(pub Vec<String>);

impl Acknowledged for Part {
    fn shared_files(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

/// One coordinator and what it was made from.
#[derive(Default)]
pub struct Talk {
    coordinator: Option<Coordinator<Part>>,
    unanswered: Option<Journal>,
}

/// A job with the given parallelism per vertex; the first vertex is the source.
pub fn plan(vertices: &[u32]) -> Plan {
    let tasks = |(vertex, &parallelism): (usize, &u32)| (0..parallelism).map(move |subtask| TaskId::new(vertex as u32, subtask));
    Plan {
        tasks: vertices.iter().enumerate().flat_map(tasks).collect(),
        predecessors: every_one_before(vertices),
        sources: (0..vertices[0]).map(|subtask| TaskId::new(0, subtask)).collect(),
        committers: BTreeSet::new(),
        regions: Regions::whole(),
        checkpoints: CheckpointSettings::default(),
        restart: RestartStrategy::FixedDelay { attempts: 3, delay: Duration::from_secs(1) },
        hooks: false,
        enumerators: false,
        origin: None,
        local_recovery: false,
        heartbeat_timeout: Duration::from_secs(50),
        deploy_timeout: Duration::from_secs(30),
        stop_timeout: Duration::from_secs(20),
    }
}

/// Each vertex reads from all subtasks of the one before it.
fn every_one_before(vertices: &[u32]) -> BTreeMap<TaskId, BTreeSet<TaskId>> {
    let tasks = |vertex: usize| (0..vertices[vertex]).map(move |subtask| TaskId::new(vertex as u32, subtask));
    let behind = (1..vertices.len()).flat_map(|vertex| tasks(vertex).map(move |task| (task, tasks(vertex - 1).collect())));
    behind.collect()
}

/// All vertices in a row, without exchanges.
pub fn by_index(plan: &mut Plan) {
    let onward = |task: &TaskId| (*task, TaskId::new(task.vertex.0 + 1, task.subtask.0));
    let channels: Vec<(TaskId, TaskId)> = plan.tasks.iter().map(onward).filter(|(_, to)| plan.tasks.contains(to)).collect();
    plan.predecessors = channels.iter().map(|&(from, to)| (to, BTreeSet::from([from]))).collect();
    plan.regions = Regions::of(&plan.tasks, channels);
}

impl Talk {
    pub fn say(&mut self, line: &str) -> Vec<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let outputs = match words[..] {
            ["job", ..] => {
                let (plan, journal) = job(&words[1..]);
                self.recover(Standing { plan, journal })
            }
            ["takeover", from] => {
                let before = self.coordinator.as_ref().expect("a job is set up first");
                let journal = match from {
                    "durable" => before.journal().clone(),
                    "unanswered" => self.unanswered.clone().expect("an entry is unanswered"),
                    other => panic!("takeover from {other:?}"),
                };
                let plan = before.plan().clone();
                self.recover(Standing { plan, journal })
            }
            ["given", "running"] => {
                self.given_running();
                return Vec::new();
            }
            ["show", "status"] => return vec![format!("{:?}", self.now().status())],
            ["show", "missing", c] => return vec![format!("{:?}", self.now().missing(checkpoint(c)))],
            ["show", "checkpoints"] => {
                let pending: Vec<String> = self.now().pending().map(|(id, kind)| format!("{id} {kind}")).collect();
                let completed: Vec<String> = self.now().completed().iter().map(ToString::to_string).collect();
                return vec![format!("pending: {}", pending.join(", ")), format!("completed: {}", completed.join(", "))];
            }
            ["request", kind_word, times] => {
                let times = times.trim_start_matches('x').parse().expect("a number of times");
                let mut outputs = Vec::new();
                (0..times).for_each(|_| outputs.extend(self.step(requested(kind(kind_word)))));
                outputs
            }
            ["gather", c] => self.gather(checkpoint(c)),
            ["complete", c] => {
                let c = checkpoint(c);
                let mut outputs = self.gather(c);
                outputs.extend(self.step(Input::MetadataDurable(c)));
                outputs.extend(self.step(Input::Journal(Written::Durable)));
                outputs
            }
            _ => self.inputs(&words).into_iter().flat_map(|input| self.step(input)).collect(),
        };
        outputs.iter().map(ToString::to_string).collect()
    }

    fn now(&self) -> &Coordinator<Part> {
        self.coordinator.as_ref().expect("a job is set up first")
    }

    fn recover(&mut self, standing: Standing) -> Vec<Output<Part>> {
        let mut out = Vec::new();
        self.coordinator = Some(Coordinator::recover(standing, &mut out));
        self.note(&out);
        out
    }

    pub fn step(&mut self, input: Input<Part>) -> Vec<Output<Part>> {
        let mut out = Vec::new();
        self.coordinator.as_mut().expect("a job is set up first").step(input, &mut out);
        self.note(&out);
        out
    }

    fn note(&mut self, out: &[Output<Part>]) {
        for output in out {
            if let Output::Write(entry) = output {
                self.unanswered = Some(entry.clone());
            }
        }
    }

    /// One worker with enough slots has joined, and all tasks run.
    fn given_running(&mut self) {
        let slots = self.now().plan().tasks.iter().map(|task| task.subtask.0 + 1).max().expect("a job has tasks");
        self.step(Input::Journal(Written::Durable));
        self.step(Input::WorkerJoined { worker: WorkerId(1), incarnation: Incarnation(1), slots });
        let attempt = self.now().attempt();
        self.step(Input::Deployed { attempt });
        for task in self.now().plan().tasks.clone() {
            self.step(Input::TaskRunning { attempt, task });
        }
        assert_eq!(self.now().status(), Some(&Status::Running(attempt)), "the job runs");
    }

    /// Location, trigger and all acknowledgements.
    fn gather(&mut self, checkpoint: CheckpointId) -> Vec<Output<Part>> {
        let mut outputs = self.step(Input::LocationReady(checkpoint));
        for task in self.now().plan().tasks.clone() {
            let attempt = self.now().attempt_of(task);
            outputs.extend(self.step(Input::Acknowledged { attempt, checkpoint, task, snapshot: Part::default() }));
        }
        outputs
    }

    fn tasks(&self, word: &str) -> Vec<TaskId> {
        let all = self.now().plan().tasks.iter().copied();
        if word == "all" {
            return all.collect();
        }
        vec![task(word)]
    }

    fn inputs(&self, words: &[&str]) -> Vec<Input<Part>> {
        let one = |input| vec![input];
        match *words {
            ["journal", "durable"] => one(Input::Journal(Written::Durable)),
            ["journal", "unknown"] => one(Input::Journal(Written::Unknown)),
            ["journal", "fenced"] => one(Input::Journal(Written::Fenced)),
            ["joined", w, i, s] => {
                let slots = s.strip_prefix("slots=").expect("slots=").parse().expect("a number of slots");
                one(Input::WorkerJoined { worker: worker(w), incarnation: incarnation(i), slots })
            }
            ["lost", w, i] => one(Input::WorkerLost { worker: worker(w), incarnation: incarnation(i) }),
            ["heartbeat", w, i] => one(Input::Heartbeat { worker: worker(w), incarnation: incarnation(i) }),
            ["running", a, t] => self.tasks(t).into_iter().map(|task| Input::TaskRunning { attempt: attempt(a), task }).collect(),
            ["restoring", a, t] => self.tasks(t).into_iter().map(|task| Input::TaskRestoring { attempt: attempt(a), task }).collect(),
            ["drained", a, t] => self.tasks(t).into_iter().map(|task| Input::TaskDrained { attempt: attempt(a), task }).collect(),
            ["finished", a, t] => self.tasks(t).into_iter().map(|task| Input::TaskFinished { attempt: attempt(a), task }).collect(),
            ["finished-before", a, ref tasks @ ..] => {
                let tasks = tasks.iter().map(|word| task(word)).collect();
                one(Input::FinishedBefore { attempt: attempt(a), tasks })
            }
            ["committed", a, c, t] => {
                let (attempt, checkpoint) = (attempt(a), checkpoint(c));
                self.tasks(t).into_iter().map(|task| Input::Committed { attempt, checkpoint, task }).collect()
            }
            ["failed", a, t, ref words @ ..] => {
                let (kind, cause) = cause(words);
                one(Input::TaskFailed { attempt: attempt(a), task: task(t), cause, kind })
            }
            ["deployed", a] => one(Input::Deployed { attempt: attempt(a) }),
            ["restore-failed", a, ref words @ ..] => {
                let (kind, cause) = cause(words);
                one(Input::RestoreFailed { attempt: attempt(a), cause, kind })
            }
            ["stopped", a, w] => one(Input::WorkerStopped { attempt: attempt(a), worker: worker(w) }),
            ["acked", a, c, t, ref files @ ..] => {
                let snapshot = Part(files.iter().map(ToString::to_string).collect());
                let acked = |task| Input::Acknowledged { attempt: attempt(a), checkpoint: checkpoint(c), task, snapshot: snapshot.clone() };
                self.tasks(t).into_iter().map(acked).collect()
            }
            ["declined", a, c, t, why] => {
                let (attempt, checkpoint) = (attempt(a), checkpoint(c));
                one(Input::Declined { attempt, checkpoint, task: task(t), reason: reason(why) })
            }
            ["location-ready", c] => one(Input::LocationReady(checkpoint(c))),
            ["location-failed", c] => one(Input::LocationFailed(checkpoint(c))),
            ["enumerators-ready", c] => one(Input::EnumeratorsReady(checkpoint(c))),
            ["hooks-ready", c] => one(Input::HooksReady(checkpoint(c))),
            ["hooks-failed", c] => one(Input::HooksFailed(checkpoint(c))),
            ["behind", a, t] => one(Input::Backlog { attempt: attempt(a), task: task(t), behind: true }),
            ["caught-up", a, t] => one(Input::Backlog { attempt: attempt(a), task: task(t), behind: false }),
            ["shared-listed", ref files @ ..] => {
                let file = |word: &&str| word.split_once('@').map(|(file, c)| (file.to_string(), checkpoint(c)));
                one(Input::SharedListed(files.iter().map(|word| file(word).expect("file@c1")).collect()))
            }
            ["metadata-durable", c] => one(Input::MetadataDurable(checkpoint(c))),
            ["parts-refused", c] => one(Input::PartsRefused(checkpoint(c))),
            ["metadata-failed", c] => one(Input::MetadataFailed(checkpoint(c))),
            ["discarded", c] => one(Input::Discarded(checkpoint(c))),
            ["savepoint-settled", c] => one(Input::SavepointSettled(checkpoint(c))),
            ["origin-discarded"] => one(Input::OriginDiscarded),
            ["origin-forgotten"] => one(Input::OriginForgotten),
            ["request", k] => one(requested(kind(k))),
            ["cancel"] => one(Input::CancelRequested),
            ["fired", ref name @ ..] => one(Input::Fired(timer(name))),
            _ => panic!("no such directive: {words:?}"),
        }
    }
}

/// With a place for savepoints.
pub fn requested<S>(kind: Kind) -> Input<S> {
    let target = if kind.is_savepoint() { "/savepoints".into() } else { String::new() };
    Input::Requested { kind, target }
}

fn number<T: std::str::FromStr>(word: &str, prefix: &str) -> T {
    let digits = word.strip_prefix(prefix).unwrap_or_else(|| panic!("{word:?} begins with {prefix}"));
    digits.parse().unwrap_or_else(|_| panic!("{word:?} ends in a number"))
}

fn worker(word: &str) -> WorkerId {
    WorkerId(number(word, "w"))
}

fn incarnation(word: &str) -> Incarnation {
    Incarnation(number(word, "i"))
}

fn checkpoint(word: &str) -> CheckpointId {
    CheckpointId(number(word, "c"))
}

fn attempt(word: &str) -> AttemptId {
    let (epoch, attempt) = word.split_once('.').expect("an attempt such as a1.1");
    AttemptId { epoch: Epoch(number(epoch, "a")), number: number(attempt, "") }
}

fn task(word: &str) -> TaskId {
    let (vertex, subtask) = word.split_once('.').expect("a task such as v0.s1");
    TaskId::new(number(vertex, "v"), number(subtask, "s"))
}

fn kind(word: &str) -> Kind {
    let stop = |drain| Kind::Stop { request: RequestNumber(0), drain };
    let all = [Kind::Savepoint(RequestNumber(0)), stop(false), stop(true), Kind::Requested, Kind::Periodic];
    all.into_iter().find(|kind| kind.to_string() == word).unwrap_or_else(|| panic!("no such kind: {word:?}"))
}

fn reason(word: &str) -> FailureReason {
    let all = [FailureReason::Declined, FailureReason::AsyncException, FailureReason::DeclinedNotReady, FailureReason::DeclinedSubsumed];
    all.into_iter().find(|reason| reason.to_string() == word).unwrap_or_else(|| panic!("tasks do not say {word:?}"))
}

/// `for-good` comes first where no attempt can do better.
fn cause(words: &[&str]) -> (FailureKind, String) {
    match words.split_first() {
        Some((&"for-good", words)) => (FailureKind::NonRecoverable, words.join(" ")),
        Some(_) | None => (FailureKind::Recoverable, words.join(" ")),
    }
}

fn timer(words: &[&str]) -> Timer {
    match *words {
        ["trigger", a] => Timer::Trigger(attempt(a)),
        ["min-pause", c] => Timer::MinPause(checkpoint(c)),
        ["checkpoint-deadline", c] => Timer::CheckpointDeadline(checkpoint(c)),
        ["worker-silent", w, i] => Timer::WorkerSilent(worker(w), incarnation(i)),
        ["deploy-deadline", a] => Timer::DeployDeadline(attempt(a)),
        ["stop-deadline", a] => Timer::StopDeadline(attempt(a)),
        ["restart", a] => Timer::Restart(attempt(a)),
        ["backoff-reset", a] => Timer::BackoffReset(attempt(a)),
        ["failure-forgotten", a] => Timer::FailureForgotten(attempt(a)),
        ["journal-retry"] => Timer::JournalRetry,
        _ => panic!("no such timer: {words:?}"),
    }
}

fn duration(word: &str) -> Duration {
    match word.strip_suffix("ms") {
        Some(millis) => Duration::from_millis(number(millis, "")),
        None => Duration::from_secs(number(word.strip_suffix('s').expect("a time such as 5s or 20ms"), "")),
    }
}

fn restart(word: &str) -> RestartStrategy {
    match word.split(':').collect::<Vec<_>>()[..] {
        ["none"] => RestartStrategy::None,
        ["fixed", attempts, delay] => RestartStrategy::FixedDelay { attempts: number(attempts, ""), delay: duration(delay) },
        ["exponential"] => RestartStrategy::default(),
        ["rate", failures, interval, delay] => {
            RestartStrategy::FailureRate { failures: number(failures, ""), interval: duration(interval), delay: duration(delay) }
        }
        _ => panic!("no such strategy: {word:?}"),
    }
}

fn checkpoints(word: &str) -> BTreeSet<CheckpointId> {
    word.split(',').map(checkpoint).collect()
}

fn job(words: &[&str]) -> (Plan, Journal) {
    let mut built = plan(&[1, 1]);
    let mut journal = Journal::default();
    for (key, value) in words.iter().map(|word| word.split_once('=').expect("key=value")) {
        let settings = &mut built.checkpoints;
        match key {
            "vertices" => {
                let sizes: Vec<u32> = value.split(',').map(|size| number(size, "")).collect();
                let Plan { tasks, sources, predecessors, .. } = plan(&sizes);
                (built.tasks, built.sources, built.predecessors) = (tasks, sources, predecessors);
            }
            "committers" => built.committers = value.split(',').map(task).collect(),
            "regions" => by_index(&mut built),
            "local-recovery" => built.local_recovery = value == "yes",
            "enumerators" => built.enumerators = value == "yes",
            "hooks" => built.hooks = value == "yes",
            "origin" => {
                let (c, claim) = value.split_once(',').expect("origin=c7,claim or origin=c7,no-claim");
                let claim = if claim == "claim" { ClaimMode::Claim } else { ClaimMode::NoClaim };
                built.origin = Some(Origin { path: "/savepoint".into(), checkpoint: checkpoint(c), claim });
            }
            "backlog-interval" => settings.interval_during_backlog = Some(duration(value)),
            "interval" => settings.interval = Some(duration(value)),
            "timeout" => settings.timeout = duration(value),
            "min-pause" => settings.min_pause = duration(value),
            "concurrent" => settings.max_concurrent = number(value, ""),
            "unaligned" => settings.unaligned = value == "on",
            "tolerable" => settings.tolerable_failures = number(value, ""),
            "retained" => settings.retained = number(value, ""),
            "retention" => {
                settings.retention = match value {
                    "never" => Retention::Never,
                    "delete-on-cancellation" => Retention::DeleteOnCancellation,
                    "retain-on-cancellation" => Retention::RetainOnCancellation,
                    other => panic!("no such retention: {other:?}"),
                }
            }
            "restart" => built.restart = restart(value),
            "epoch" => journal.epoch = Epoch(number(value, "e")),
            "reserved" => journal.reserved = checkpoint(value),
            "completed" => journal.completed = checkpoints(value),
            "begun" => journal.begun = checkpoints(value).into_iter().map(|c| (c, "/savepoints".into())).collect(),
            "discarding" => {
                journal.discarding = Some(Origin { path: "/savepoint".into(), checkpoint: checkpoint(value), claim: ClaimMode::Claim });
            }
            "ended" => journal.ended = Some(if value == "finished" { Ended::Finished } else { Ended::Cancelled }),
            other => panic!("no such key: {other:?}"),
        }
    }
    built.checkpoints = built.checkpoints.validated().expect("settings that can be");
    (built, journal)
}
