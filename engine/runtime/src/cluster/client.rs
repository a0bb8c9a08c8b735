//! A user's side of a running job: one command per connection.

use super::message::{Command, CommandAnswer, ToCoordinator};
use crate::codec::{self, CodecError};
use crate::env::Env;
use std::io;
use std::net::SocketAddr;

/// Gives the coordinator at `address` a command, and waits for its answer.
///
/// # Errors
/// No coordinator there, or the connection broke: the command may have been taken all the same.
pub async fn command<E: Env>(env: &E, address: SocketAddr, command: Command) -> Result<CommandAnswer, CodecError> {
    let mut stream = env.connect(address).await?;
    let mut scratch = Vec::new();
    codec::write_frame(&mut stream, &ToCoordinator::Command(command), &mut scratch).await?;
    match codec::read_frame::<CommandAnswer, _>(&mut stream, &mut scratch).await? {
        Some(answer) => Ok(answer),
        None => Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
    }
}
