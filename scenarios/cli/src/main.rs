//! `cofferdam`: the one binary of the workspace.
//!
//! * [`args`]: the command line.
//! * [`scenarios`], [`sweep`], [`replay`]: the simulated engine under faults, as lists, in bulk, and one run again.
//! * [`shrink`]: a failing run, made small.
//! * [`pin`], [`diff`]: a failure that is understood, kept; two traces, side by side.
//! * [`figure`]: figures of papers, reproduced with correctness asserted in the same runs.
//! * [`explore`]: the machines of the protocol in small worlds, every interleaving.
//! * [`ablate`]: the assumptions of the protocol's proof, broken one by one.
//! * [`run`]: the same engine for real, as processes.
//! * [`command`]: what a user tells a running job.
//! * [`planted`]: whether planted bugs are caught.
//! * [`target`]: what a name, a glob or a file on the command line stands for.
//! * [`failure`], [`console`]: how commands end, and how they speak.
//!
//! Exit codes: 0 all is well, 1 it ran and something is wrong, 2 it could not be run as asked, 3 the job was cancelled, 4 it was stopped with a
//! savepoint, 5 an exploration was cut off by time or memory, with no promise broken in what it has seen.

mod ablate;
mod args;
mod command;
mod console;
mod diff;
mod explore;
mod failure;
mod figure;
mod inspect;
mod pin;
mod place;
mod planted;
mod replay;
mod run;
mod scenarios;
mod shrink;
mod sweep;
mod target;

use args::{Arguments, Command};
use failure::{Failure, Outcome};
use std::process::ExitCode;

fn main() -> ExitCode {
    let result = match Arguments::from_command_line() {
        Ok(Some(arguments)) => perform(arguments.command),
        Ok(None) => Ok(Outcome::Green),
        Err(failure) => Err(failure),
    };
    match result {
        Ok(Outcome::Green) => ExitCode::SUCCESS,
        Ok(Outcome::Red) => ExitCode::from(1),
        Ok(Outcome::Code(code)) => ExitCode::from(code),
        Err(failure) => {
            console::complain(&failure);
            ExitCode::from(failure.code())
        }
    }
}

fn perform(command: Command) -> Result<Outcome, Failure> {
    match command {
        Command::Scenarios(arguments) => scenarios::list(&arguments),
        Command::Sweep(arguments) => sweep::sweep(arguments),
        Command::Replay(arguments) => replay::replay(&arguments),
        Command::Shrink(arguments) => shrink::shrink(&arguments),
        Command::Pin(arguments) => pin::pin(&arguments),
        Command::Diff(arguments) => diff::diff(&arguments),
        Command::Figure(arguments) => figure::figure(&arguments),
        Command::Explore(arguments) => explore::explore(&arguments),
        Command::Ablate(arguments) => ablate::ablate(&arguments),
        Command::Run(arguments) => run::run(arguments),
        Command::Savepoint(arguments) => command::savepoint(&arguments),
        Command::Stop(arguments) => command::stop(&arguments),
        Command::Inspect(arguments) => inspect::inspect(&arguments),
        Command::Dispose(arguments) => inspect::dispose(&arguments),
        Command::Cancel(arguments) => command::cancel(&arguments),
        Command::Checkpoint(arguments) => command::checkpoint(&arguments),
        Command::Planted(arguments) => planted::planted(&arguments),
        Command::Coordinator(arguments) => run::coordinator::process(&arguments),
        Command::Worker(arguments) => run::worker::process(&arguments),
    }
}
