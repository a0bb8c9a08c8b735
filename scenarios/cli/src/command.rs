//! `cofferdam cancel`, `checkpoint`, `savepoint` and `stop`: a user's word to the coordinator of a running job.

use crate::args::{AddressArguments, SavepointArguments, SavepointAs, StopArguments};
use crate::console;
use crate::failure::{Failure, Outcome};
use crate::place::Place;
use cofferdam_engine::cluster::client;
use cofferdam_engine::cluster::message::{Command, CommandAnswer};
use cofferdam_engine::codec::CodecError;
use cofferdam_engine::env::real::RealEnv;
use cofferdam_engine::record::{SavepointFormat, Stop};
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::time::Duration;

/// Whoever takes longer to answer is no coordinator, or one that stands still.
const PATIENCE: Duration = Duration::from_secs(10);

/// A savepoint is there when all state is written.
const SAVEPOINT_PATIENCE: Duration = Duration::from_secs(3600);

/// Ends the job.
///
/// # Errors
/// No coordinator takes the command.
pub fn cancel(arguments: &AddressArguments) -> Result<Outcome, Failure> {
    let (address, _) = give(&arguments.address, &Command::Cancel, PATIENCE)?;
    console::say(format_args!("the job at {address} is being cancelled"));
    Ok(Outcome::Green)
}

/// Takes a checkpoint now.
///
/// # Errors
/// No coordinator takes the command.
pub fn checkpoint(arguments: &AddressArguments) -> Result<Outcome, Failure> {
    let (address, _) = give(&arguments.address, &Command::Checkpoint, PATIENCE)?;
    console::say(format_args!("the job at {address} is asked for a checkpoint; what comes of it is seen where it runs"));
    Ok(Outcome::Green)
}

/// Takes a savepoint, and says where it is once it is complete.
///
/// # Errors
/// No coordinator takes the command, or there is no savepoint.
pub fn savepoint(arguments: &SavepointArguments) -> Result<Outcome, Failure> {
    let target = Place::of(&arguments.target)?.path().to_owned();
    let format = format_of(arguments.format);
    let (address, answer) = give(&arguments.address, &Command::Savepoint { target, format }, SAVEPOINT_PATIENCE)?;
    match answer {
        CommandAnswer::Savepoint { folder } => {
            console::say(folder);
            Ok(Outcome::Green)
        }
        CommandAnswer::Taken | CommandAnswer::Stopped { .. } => {
            Err(Failure::NoSavepoint { address, why: "the coordinator is of another release".into() })
        }
        CommandAnswer::Failed(reason) => Err(Failure::NoSavepoint { address, why: reason.to_string() }),
    }
}

/// Takes a savepoint, ends the job with it, and says where it is once both is done.
///
/// # Errors
/// The job goes on, or it is not known whether it does; or it has stopped, and not all is published.
pub fn stop(arguments: &StopArguments) -> Result<Outcome, Failure> {
    let target = Place::of(&arguments.target)?.path().to_owned();
    let how = if arguments.drain { Stop::Drain } else { Stop::Suspend };
    let command = Command::Stop { target, format: format_of(arguments.format), how };
    let (address, answer) = give(&arguments.address, &command, SAVEPOINT_PATIENCE)?;
    match answer {
        CommandAnswer::Stopped { folder, unpublished } => {
            console::say(&folder);
            unpublished.map_or(Ok(Outcome::Green), |why| Err(Failure::Unpublished { folder, why }))
        }
        CommandAnswer::Taken | CommandAnswer::Savepoint { .. } => {
            Err(Failure::NotStopped { address, why: "the coordinator is of another release".into() })
        }
        CommandAnswer::Failed(reason) => Err(Failure::NotStopped { address, why: reason.to_string() }),
    }
}

fn format_of(named: SavepointAs) -> SavepointFormat {
    match named {
        SavepointAs::Canonical => SavepointFormat::Canonical,
        SavepointAs::Native => SavepointFormat::Native,
    }
}

/// Whether the command may have been taken though there is no answer.
fn may_be_taken(error: &CodecError) -> bool {
    let gone = [io::ErrorKind::UnexpectedEof, io::ErrorKind::ConnectionReset, io::ErrorKind::ConnectionAborted, io::ErrorKind::BrokenPipe];
    matches!(error, CodecError::Io(error) if gone.contains(&error.kind()))
}

fn give(text: &str, command: &Command, patience: Duration) -> Result<(SocketAddr, CommandAnswer), Failure> {
    let addresses: Vec<SocketAddr> = match text.to_socket_addrs() {
        Ok(addresses) => addresses.collect(),
        Err(source) => return Err(Failure::BadAddress { text: text.to_owned(), why: source.to_string() }),
    };
    let started = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = started.map_err(|source| Failure::System { purpose: "start", source })?;
    let mut why = "the name stands for no address".to_owned();
    for address in addresses {
        let given = async { tokio::time::timeout(patience, client::command(&RealEnv::default(), address, command.clone())).await };
        match runtime.block_on(given) {
            Ok(Ok(answer)) => return Ok((address, answer)),
            // A name may stand for several addresses, of which one is listened at.
            Ok(Err(CodecError::Io(error))) if error.kind() == io::ErrorKind::ConnectionRefused => why = "nobody listens there".into(),
            Ok(Err(error)) if matches!(command, Command::Stop { .. }) && may_be_taken(&error) => {
                return Err(Failure::AnswerLost { address: text.to_owned(), why: reason(error) });
            }
            Ok(Err(error)) => return Err(Failure::NoCoordinator { address: text.to_owned(), why: reason(error) }),
            Err(_) => {
                let why = format!("no answer within {} s", patience.as_secs());
                if matches!(command, Command::Stop { .. }) {
                    return Err(Failure::AnswerLost { address: text.to_owned(), why });
                }
                return Err(Failure::NoCoordinator { address: text.to_owned(), why });
            }
        }
    }
    Err(Failure::NoCoordinator { address: text.to_owned(), why })
}

/// What is the matter, for people.
fn reason(error: CodecError) -> String {
    match error {
        CodecError::Io(error) if error.kind() == io::ErrorKind::UnexpectedEof => "whoever listens there hung up".into(),
        CodecError::Io(error) => error.to_string(),
        CodecError::TooLong(_) | CodecError::Decode(_) | CodecError::Trailing(_) | CodecError::Encode(_) => {
            "whoever listens there is none, or of another release".into()
        }
    }
}
