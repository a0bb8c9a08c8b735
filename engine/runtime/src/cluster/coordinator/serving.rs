//! Connections of workers, and of users with a command.

use super::super::formats::{Formats, OtherFormats};
use super::super::ioqueue::IoQueue;
use super::super::message::{ToCoordinator, ToWorker};
use super::super::Heartbeats;
use super::{Inbox, RETRY};
use crate::codec::{self, CodecError, Noticing};
use crate::env::{Env, Listener};
use cofferdam_protocol::Incarnation;
use std::time::Duration;
use tokio::io::{split, WriteHalf};
use tokio::sync::{mpsc, oneshot};

pub(super) async fn accept<E: Env>(env: E, listener: E::Listener, heartbeats: Heartbeats, inbox: mpsc::UnboundedSender<Inbox>) {
    let mut serving = IoQueue::new(env.clone());
    let mut incarnation = Incarnation(0);
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                incarnation = incarnation.next();
                serving.spawn("serve worker", serve(env.clone(), stream, incarnation, heartbeats, inbox.clone()));
            }
            Err(_) => env.sleep(RETRY.0).await,
        }
    }
}

async fn serve<E: Env>(env: E, stream: E::Stream, incarnation: Incarnation, heartbeats: Heartbeats, inbox: mpsc::UnboundedSender<Inbox>) {
    let (mut reading, writing) = split(stream);
    let mut scratch = Vec::new();
    let (worker, slots, data_address) = match codec::read_frame(&mut reading, &mut scratch).await {
        Ok(Some(ToCoordinator::Register { formats, worker, slots, data_address })) => {
            if formats != Formats::OURS {
                let refused = OtherFormats { ours: formats, theirs: Formats::OURS };
                // The machine never hears of it: its slots are none.
                if inbox.send(Inbox::Refused(worker, refused)).is_ok() {
                    let mut writing = writing;
                    // It asks again, should it not hear.
                    let _ = codec::write_frame(&mut writing, &ToWorker::Refused { formats: Formats::OURS }, &mut scratch).await;
                }
                return;
            }
            (worker, slots, data_address)
        }
        Ok(Some(ToCoordinator::Command(command))) => {
            let (mut writing, (answer, answered)) = (writing, oneshot::channel());
            if inbox.send(Inbox::Command(command, answer)).is_ok() {
                if let Ok(answer) = answered.await {
                    // A user that has gone needs no answer.
                    let _ = codec::write_frame(&mut writing, &answer, &mut scratch).await;
                }
            }
            return;
        }
        // Anybody else begins with something else, or not at all.
        Ok(Some(_) | None) | Err(_) => return,
    };
    let (outgoing, messages) = mpsc::unbounded_channel();
    if inbox.send(Inbox::Joined(incarnation, worker, slots, data_address, outgoing)).is_err() {
        return;
    }
    let lost = inbox.clone();
    let _writer = env.spawn("write worker", write_all(env.clone(), writing, messages, heartbeats.interval, incarnation, lost));
    // Any byte is a sign of life: a heartbeat may have to wait behind a long acknowledgement on a slow line.
    let (alive, mut said) = (inbox.clone(), env.now());
    let mut reading = Noticing::new(reading, move || {
        if env.now().saturating_sub(said) >= heartbeats.interval / 2 {
            said = env.now();
            // The coordinator is over already.
            let _ = alive.send(Inbox::Alive(incarnation));
        }
    });
    loop {
        match codec::read_frame(&mut reading, &mut scratch).await {
            Ok(Some(message)) => {
                if inbox.send(Inbox::Message(incarnation, message)).is_err() {
                    return;
                }
            }
            Ok(None) | Err(_) => {
                // The coordinator is over already.
                let _ = inbox.send(Inbox::Lost(incarnation));
                return;
            }
        }
    }
}

async fn write_all<E: Env>(
    env: E,
    mut writing: WriteHalf<E::Stream>,
    mut messages: mpsc::UnboundedReceiver<ToWorker>,
    interval: Duration,
    incarnation: Incarnation,
    inbox: mpsc::UnboundedSender<Inbox>,
) {
    let mut scratch = Vec::new();
    let result: Result<(), CodecError> = async {
        loop {
            let message = tokio::select! {
                biased;
                message = messages.recv() => match message {
                    Some(message) => message,
                    None => return Ok(()),
                },
                () = env.sleep(interval) => ToWorker::Heartbeat,
            };
            codec::write_frame(&mut writing, &message, &mut scratch).await?;
        }
    }
    .await;
    if result.is_err() {
        // The coordinator may be over already.
        let _ = inbox.send(Inbox::Lost(incarnation));
    }
}
