//! One child process, started again when it dies before its work is done.

use super::progress::Told;
use crate::failure::Failure;
use std::fmt;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::mpsc;

/// From a death to the next start.
const RESTART_DELAY: Duration = Duration::from_millis(500);
/// A process that lives shorter than this has not stayed up.
const STAYED_UP: Duration = Duration::from_secs(1);
/// After so many short lives in a row there is no point in another one.
const SHORT_LIVES: u32 = 6;

/// How the coordinator says that the job failed for good.
pub const JOB_FAILED: u8 = 3;
/// How the coordinator says that the job was cancelled.
pub const JOB_CANCELLED: u8 = 5;
/// How the coordinator says that the job was stopped with a savepoint.
pub const JOB_STOPPED: u8 = 6;

/// What a child is there for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Leads the job.
    Coordinator,
    /// Runs tasks.
    Worker(u32),
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Coordinator => f.write_str("coordinator"),
            Self::Worker(id) => write!(f, "worker {id}"),
        }
    }
}

/// What happens to children.
#[derive(Debug)]
pub enum News {
    /// It has started.
    Started(Role, u32),
    /// The coordinator says how the job is doing.
    Told(Told),
    /// It died, and will be started again.
    Died(Role, ExitStatus),
    /// Its work is done; the coordinator may have found that the job failed, or that it was cancelled or stopped.
    Done(Role, ExitStatus),
    /// It will not be started again.
    GivenUp(Failure),
}

/// Keeps one child running until its work is done. Dropping the future kills the child.
pub async fn keep(role: Role, arguments: Vec<String>, news: mpsc::UnboundedSender<News>) {
    if let Err(failure) = keep_until_done(role, &arguments, &news).await {
        // A launcher that does not listen any more has its reasons.
        let _ = news.send(News::GivenUp(failure));
    }
}

async fn keep_until_done(role: Role, arguments: &[String], news: &mpsc::UnboundedSender<News>) -> Result<(), Failure> {
    let system = |source| Failure::System { purpose: "start a process", source };
    let program = std::env::current_exe().map_err(system)?;
    let mut short_lives = 0;
    loop {
        let begun = Instant::now();
        let mut command = Command::new(&program);
        command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        let status = live(role, command.spawn().map_err(system)?, news).await.map_err(system)?;
        let done = match role {
            Role::Coordinator => {
                status.success() || [JOB_FAILED, JOB_CANCELLED, JOB_STOPPED].iter().any(|code| status.code() == Some(i32::from(*code)))
            }
            Role::Worker(_) => status.success(),
        };
        if done {
            let _ = news.send(News::Done(role, status));
            return Ok(());
        }
        let _ = news.send(News::Died(role, status));
        // A process that was shot was not at fault.
        let short = begun.elapsed() < STAYED_UP && status.signal().is_none();
        short_lives = if short { short_lives + 1 } else { 0 };
        if short_lives == SHORT_LIVES {
            return Err(Failure::DoesNotStayUp { process: role.to_string(), last: status.to_string() });
        }
        tokio::time::sleep(RESTART_DELAY).await;
    }
}

/// One life, from start to end.
async fn live(role: Role, mut child: Child, news: &mpsc::UnboundedSender<News>) -> std::io::Result<ExitStatus> {
    // Held, not used: the child ends when this pipe closes, and `wait` would close it.
    let _lifeline = child.stdin.take();
    if let Some(id) = child.id() {
        let _ = news.send(News::Started(role, id));
    }
    if let Some(stdout) = child.stdout.take() {
        let mut lines = BufReader::new(stdout).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            if let Ok(told) = serde_json::from_str(&line) {
                let _ = news.send(News::Told(told));
            }
        }
    }
    child.wait().await
}
