//! The process that the user sees. It starts a coordinator and workers, starts them again when they die, shows how the job is
//! doing, and leaves nothing behind but output and checkpoints.

use super::copy::LINES;
use super::process::{self, News, Role, JOB_CANCELLED, JOB_STOPPED};
use super::progress::{Progress, Stopped};
use super::request::Request;
use super::statistics::{self, Outcome as Ended};
use super::wordcount::COUNTS;
use crate::args::{JobArguments, JobName};
use crate::console::{self, grouped};
use crate::failure::{one_line, Failure, Outcome};
use cofferdam_engine::cluster::statistics::RestoredFrom;
use cofferdam_engine::connector::transactional_sink::STAGED;
use cofferdam_engine::connector::upsert_sink::PENDING;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::storage::survey;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the progress is drawn anew.
const TICK: Duration = Duration::from_millis(200);
/// How often the file of statistics is written.
const WRITE_STATISTICS: Duration = Duration::from_secs(1);
/// How many checkpoints the closing table has.
const TABLE: usize = 5;

/// How a job ends without having failed.
#[derive(Clone, Debug, PartialEq, Eq)]
enum JobEnd {
    /// All input is processed.
    Finished,
    /// The user did not want it any more.
    Cancelled,
    /// The user may go on with it.
    Stopped(Stopped),
}

/// Runs the job until it has ended.
///
/// # Errors
/// The job failed, or its processes do not stay up, or the user has stopped it.
pub fn launch(request: Request) -> Result<Outcome, Failure> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = started.map_err(|source| Failure::System { purpose: "start", source })?;
    let mut progress = Progress::new();
    let ended = runtime.block_on(supervise(&request, &mut progress));
    if let Some(folder) = &request.job.local_recovery {
        // Workers were stopped before they could do it. No other run ever looks here: what is left is only in the way.
        let _ = std::fs::remove_dir_all(folder);
    }
    progress.close();
    write_statistics(&request, &progress)?;
    match ended {
        Ok(JobEnd::Finished) => {
            let unreadable = |source| Failure::Path { purpose: "read", path: request.output.clone(), source };
            let found = tidy(request.job.job, &request.output).map_err(unreadable)?;
            summarise("finished in", &request, &progress, Some(&found));
            Ok(Outcome::Green)
        }
        Ok(JobEnd::Cancelled) => {
            summarise("cancelled after", &request, &progress, None);
            Err(Failure::JobCancelled)
        }
        Ok(JobEnd::Stopped(Stopped { savepoint: folder, drained, published })) => {
            summarise("stopped after", &request, &progress, None);
            Err(Failure::JobStopped { folder, drained, published })
        }
        Err(failure) => {
            if matches!(failure, Failure::JobFailed { .. }) {
                summarise("failed after", &request, &progress, None);
            }
            Err(failure)
        }
    }
}

fn write_statistics(request: &Request, progress: &Progress) -> Result<(), Failure> {
    let Some(path) = &request.statistics else { return Ok(()) };
    let written = statistics::write(path, &progress.total(), progress.history());
    written.map_err(|source| Failure::Path { purpose: "write to", path: path.clone(), source })
}

async fn supervise(request: &Request, progress: &mut Progress) -> Result<JobEnd, Failure> {
    progress.line(format_args!("coordinator address {}", request.job.address));
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut children = JoinSet::new();
    children.spawn(process::keep(Role::Coordinator, coordinator_arguments(request), sender.clone()));
    for id in 1..=request.workers {
        children.spawn(process::keep(Role::Worker(id), worker_arguments(request, id), sender.clone()));
    }
    let mut ticks = tokio::time::interval(TICK);
    let mut statistics_written = Instant::now();
    let mut interrupt = std::pin::pin!(tokio::signal::ctrl_c());
    let result = loop {
        tokio::select! {
            biased;
            _ = &mut interrupt => break Err(Failure::Interrupted),
            Some(news) = news.recv() => {
                if let Some(result) = receive(news, progress) {
                    break result;
                }
            }
            _ = ticks.tick() => {
                progress.show();
                if statistics_written.elapsed() >= WRITE_STATISTICS {
                    statistics_written = Instant::now();
                    // What cannot be written now is written the next time; the last time it is an error.
                    let _ = write_statistics(request, progress);
                }
            }
        }
    };
    children.shutdown().await;
    result
}

/// What a piece of news means for the job: something once it has ended.
fn receive(news: News, progress: &mut Progress) -> Option<Result<JobEnd, Failure>> {
    match news {
        News::Started(role, id) => progress.line(format_args!("{role} pid {id}")),
        News::Told(told) => progress.told(told),
        News::Died(role, status) => {
            progress.line(format_args!("{role} died ({status}), starting it again"));
            progress.process_died();
            if role == Role::Coordinator {
                progress.coordinator_died();
            }
        }
        News::Done(Role::Worker(_), _) => {}
        News::Done(Role::Coordinator, status) if status.success() => return Some(Ok(JobEnd::Finished)),
        News::Done(Role::Coordinator, status) if status.code() == Some(i32::from(JOB_CANCELLED)) => return Some(Ok(JobEnd::Cancelled)),
        News::Done(Role::Coordinator, status) if status.code() == Some(i32::from(JOB_STOPPED)) => {
            let nowhere = || Failure::JobFailed { cause: "the coordinator did not say where the savepoint is".into() };
            return Some(progress.total().stopped.map(JobEnd::Stopped).ok_or_else(nowhere));
        }
        News::Done(Role::Coordinator, _) => {
            let cause = progress.total().cause.unwrap_or_else(|| "the coordinator did not say why".into());
            return Some(Err(Failure::JobFailed { cause }));
        }
        News::GivenUp(failure) => return Some(Err(failure)),
    }
    None
}

fn job_arguments(job: &JobArguments) -> Vec<String> {
    let pairs = [
        ("--job", job.job.name().to_owned()),
        ("--input", job.input.clone()),
        ("--input-size-bytes", job.input_size_bytes.to_string()),
        ("--output", job.output.clone()),
        ("--root", job.root.clone()),
        ("--address", job.address.to_string()),
        ("--parallelism", job.parallelism.to_string()),
        ("--mode", job.mode.name().to_owned()),
        ("--throttle", job.throttle.to_string()),
        ("--backend", job.backend.name().to_owned()),
        ("--local", job.local.clone()),
    ];
    let mut arguments: Vec<String> = pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect();
    arguments.extend(job.small.passed_on());
    arguments.extend(job.overtaking.passed_on());
    arguments.extend(job.folder.then(|| "--folder".to_owned()));
    arguments.extend(job.watch.passed_on());
    if job.full_checkpoints {
        arguments.push("--full-checkpoints".into());
    }
    arguments.extend(job.local_recovery.iter().flat_map(|folder| ["--local-recovery".to_owned(), folder.clone()]));
    arguments
}

fn coordinator_arguments(request: &Request) -> Vec<String> {
    let mut arguments = vec!["coordinator".to_owned()];
    arguments.extend(job_arguments(&request.job));
    arguments.extend(["--job-id".into(), request.job_id.clone(), "--interval".into(), request.interval.as_millis().to_string()]);
    arguments.extend(["--retention".into(), request.retention.name().into()]);
    if let Some(from) = &request.from {
        arguments.extend(["--from".into(), from.path.clone(), "--from-checkpoint".into(), from.checkpoint.0.to_string()]);
        arguments.extend(request.claim.then(|| "--claim".into()));
        arguments.extend(request.allow_non_restored.then(|| "--allow-non-restored".into()));
        arguments.extend(request.allow_drained.then(|| "--allow-drained".into()));
    }
    arguments
}

fn worker_arguments(request: &Request, id: u32) -> Vec<String> {
    let mut arguments = vec!["worker".to_owned()];
    arguments.extend(job_arguments(&request.job));
    arguments.extend(["--id".into(), id.to_string(), "--slots".into(), request.slots.to_string()]);
    arguments
}

/// What is in the output folder.
struct Found {
    files: u64,
    words: u64,
    lines: u64,
}

/// Removes what only a running job needs, and adds up the rest.
fn tidy(job: JobName, output: &Path) -> io::Result<Found> {
    let (aside, name) = match job {
        JobName::Wordcount => (PENDING, COUNTS),
        // What is staged and not published by now was never completed.
        JobName::Copy => (STAGED, LINES),
    };
    match std::fs::remove_dir_all(output.join(aside)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut found = Found { files: 0, words: 0, lines: 0 };
    for entry in std::fs::read_dir(output)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(name) {
            continue;
        }
        found.files += 1;
        for line in BufReader::new(std::fs::File::open(entry.path())?).lines() {
            found.lines += 1;
            found.words += line?.rsplit_once('\t').and_then(|(_, count)| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(found)
}

/// What has been read, as exactly as it is known.
fn records(request: &Request, progress: &Progress, finished: bool) -> String {
    let told = progress.total();
    // A job that begins from a snapshot restores it once, and has read nothing before.
    let restored = told.restored > u64::from(request.from.is_some());
    let at_least = if progress.deaths() > 0 || !finished { "at least " } else { "" };
    let again = if restored || told.redeployed || progress.deaths() > 0 { ", those read again after a restore included" } else { "" };
    format!("{at_least}{} lines read{again}", grouped(told.records))
}

fn summarise(end: &str, request: &Request, progress: &Progress, found: Option<&Found>) {
    let line = |name: &str, value: String| console::say(format_args!("  {name:<12} {value}"));
    let told = progress.total();
    console::say(format_args!("{end} {:.1} s", progress.elapsed().as_secs_f64()));
    line("records", records(request, progress, found.is_some()));
    if let Some(found) = found {
        match request.job.job {
            JobName::Wordcount => line("words", format!("{}, {} different ones", grouped(found.words), grouped(found.lines))),
            JobName::Copy => line("lines", grouped(found.lines)),
        }
    }
    line("checkpoints", format!("{} completed, {} failed", told.completed, told.failed));
    #[allow(clippy::cast_precision_loss)] // Three digits are shown.
    let took = told.last_restore_ms.map(|ms| format!(", the last in {:.2} s", ms as f64 / 1e3)).unwrap_or_default();
    line("restores", format!("{}{took}", told.restored));
    if request.job.local_recovery.is_some() {
        let RestoredFrom { subtasks_local, subtasks_remote, bytes_local, bytes_remote } = told.restored_from;
        let local = format!("{subtasks_local} subtasks from local copies ({} bytes)", grouped(bytes_local));
        line("local state", format!("{local}, {subtasks_remote} from the checkpoint ({} bytes)", grouped(bytes_remote)));
    }
    match found {
        Some(found) => line("output", format!("{} files in {}", found.files, request.output.display())),
        None => line("kept", kept(&request.job.root)),
    }
    if let Some(path) = &request.statistics {
        line("statistics", path.display().to_string());
    }
    if let Some(table) = table(progress) {
        console::say(table);
    }
}

/// The checkpoints that retention has left.
fn kept(root: &str) -> String {
    let listing = async { survey::snapshots(&RealEnv::default(), root).await.map_err(|error| Failure::Snapshot(one_line(&error))) };
    // What cannot be read is not worth an error at the end of a job.
    let found = match super::runtime().and_then(|runtime| runtime.block_on(listing)) {
        Ok(found) => found,
        Err(error) => return error.to_string(),
    };
    let names: Vec<&str> = found.keys().filter_map(|folder| folder.rsplit('/').next()).collect();
    match names.is_empty() {
        true => "no checkpoint".into(),
        false => format!("{} in {root}", names.join(", ")),
    }
}

/// The newest checkpoints.
fn table(progress: &Progress) -> Option<String> {
    // Rounding a time for people.
    #[allow(clippy::cast_precision_loss)]
    let ms = |us: u64| format!("{:.1} ms", us as f64 / 1000.0);
    let mut table = console::table();
    table.set_header(["checkpoint", "outcome", "end to end", "alignment max", "sync max", "async max", "bytes"]);
    for checkpoint in progress.history().newest(TABLE) {
        let outcome = match (checkpoint.outcome, &checkpoint.reason) {
            (Ended::Completed, _) => "completed".to_owned(),
            (Ended::Failed, reason) => reason.as_ref().map_or("failed".to_owned(), |reason| format!("failed: {reason}")),
            (Ended::InProgress, _) => "in progress".to_owned(),
            (Ended::CoordinatorDied, _) => "its coordinator died".to_owned(),
        };
        table.add_row([
            checkpoint.checkpoint.to_string(),
            outcome,
            checkpoint.end_to_end_us.map_or("-".to_owned(), ms),
            ms(checkpoint.alignment_us_max),
            ms(checkpoint.sync_us_max),
            ms(checkpoint.async_us_max),
            grouped(checkpoint.size_bytes),
        ]);
    }
    (!table.is_empty()).then(|| table.to_string())
}
