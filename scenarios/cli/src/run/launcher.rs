//! The process that the user sees. It starts a coordinator and workers, starts them again when they die, shows how the job is
//! doing, and leaves nothing behind but output and checkpoints.

use super::process::{self, News, Role};
use super::progress::{Progress, Told};
use super::request::Request;
use super::wordcount::COUNTS;
use crate::args::JobArguments;
use crate::console::{self, grouped};
use crate::failure::{Failure, Outcome};
use cofferdam_engine::connector::upsert_sink::PENDING;
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// How often the progress is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// Runs the job until it has ended.
///
/// # Errors
/// The job failed, or its processes do not stay up, or the user has stopped it.
pub fn launch(request: Request) -> Result<Outcome, Failure> {
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = started.map_err(|source| Failure::System { purpose: "start", source })?;
    let mut progress = Progress::new();
    let ended = runtime.block_on(supervise(&request, &mut progress));
    progress.close();
    ended?;
    let elapsed = progress.elapsed();
    let found = tidy(&request.output).map_err(|source| Failure::Path { purpose: "read", path: request.output.clone(), source })?;
    summarise(&request, &progress.total(), &found, elapsed);
    Ok(Outcome::Green)
}

async fn supervise(request: &Request, progress: &mut Progress) -> Result<(), Failure> {
    let (sender, mut news) = mpsc::unbounded_channel();
    let mut children = JoinSet::new();
    children.spawn(process::keep(Role::Coordinator, coordinator_arguments(request), sender.clone()));
    for id in 1..=request.workers {
        children.spawn(process::keep(Role::Worker(id), worker_arguments(request, id), sender.clone()));
    }
    let mut ticks = tokio::time::interval(TICK);
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
            _ = ticks.tick() => progress.show(),
        }
    };
    children.shutdown().await;
    result
}

/// What a piece of news means for the job: something once it has ended.
fn receive(news: News, progress: &mut Progress) -> Option<Result<(), Failure>> {
    match news {
        News::Started(role, id) => progress.line(format_args!("{role} pid {id}")),
        News::Told(told) => progress.told(told),
        News::Died(role, status) => {
            progress.line(format_args!("{role} died ({status}), starting it again"));
            if role == Role::Coordinator {
                progress.coordinator_died();
            }
        }
        News::Done(Role::Worker(_), _) => {}
        News::Done(Role::Coordinator, status) if status.success() => return Some(Ok(())),
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
        ("--input", job.input.clone()),
        ("--input-size-bytes", job.input_size_bytes.to_string()),
        ("--output", job.output.clone()),
        ("--root", job.root.clone()),
        ("--address", job.address.to_string()),
        ("--parallelism", job.parallelism.to_string()),
        ("--mode", job.mode.name().to_owned()),
        ("--throttle", job.throttle.to_string()),
    ];
    pairs.into_iter().flat_map(|(name, value)| [name.to_owned(), value]).collect()
}

fn coordinator_arguments(request: &Request) -> Vec<String> {
    let mut arguments = vec!["coordinator".to_owned()];
    arguments.extend(job_arguments(&request.job));
    arguments.extend(["--job-id".into(), request.job_id.clone(), "--interval".into(), request.interval.as_millis().to_string()]);
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
    different_words: u64,
}

/// Removes what only a running job needs, and adds up the rest.
fn tidy(output: &Path) -> io::Result<Found> {
    match std::fs::remove_dir_all(output.join(PENDING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut found = Found { files: 0, words: 0, different_words: 0 };
    for entry in std::fs::read_dir(output)? {
        let entry = entry?;
        if !entry.file_name().to_string_lossy().starts_with(COUNTS) {
            continue;
        }
        found.files += 1;
        for line in BufReader::new(std::fs::File::open(entry.path())?).lines() {
            found.different_words += 1;
            found.words += line?.rsplit_once('\t').and_then(|(_, count)| count.parse::<u64>().ok()).unwrap_or(0);
        }
    }
    Ok(found)
}

fn summarise(request: &Request, told: &Told, found: &Found, elapsed: Duration) {
    let line = |name: &str, value: String| console::say(format_args!("  {name:<12} {value}"));
    console::say(format_args!("finished in {:.1} s", elapsed.as_secs_f64()));
    line("records", format!("at least {} lines read, those read again after a restore included", grouped(told.records)));
    line("words", format!("{}, {} different ones", grouped(found.words), grouped(found.different_words)));
    line("checkpoints", format!("{} completed, {} failed", told.completed, told.failed));
    line("restores", told.restored.to_string());
    line("output", format!("{} files in {}", found.files, request.output.display()));
}
