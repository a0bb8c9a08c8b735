//! Channels over connections: elements one way, credit the other.

use super::queue::{queue, Receiver, Sender};
use super::{BoxFuture, ChannelError};
use crate::codec;
use crate::record::{Element, Record, END_OF_TIME};
use serde::{Deserialize, Serialize};
use std::any::Any;
use std::future::{poll_fn, Future};
use std::marker::PhantomData;
use tokio::io::{split, AsyncRead, AsyncWrite};

/// One end of a channel whose type only its edge knows.
pub type AnyEnd = Box<dyn Any + Send>;

/// What a worker needs of an edge without knowing its record type.
pub trait EdgeType<Stream>: Send + Sync {
    /// A new channel: its sending and its receiving end.
    fn channel(&self) -> (AnyEnd, AnyEnd);
    /// The receiving end of a channel whose sender had finished before: nothing comes but that.
    fn ended(&self) -> AnyEnd;
    /// Carries elements from a connection into a channel until one of them ends.
    fn pump_in(&self, stream: Stream, into: AnyEnd) -> BoxFuture<'static, Result<(), ChannelError>>;
    /// Carries elements from a channel into a connection until one of them ends.
    fn pump_out(&self, from: AnyEnd, stream: Stream) -> BoxFuture<'static, Result<(), ChannelError>>;
}

/// The record type of an edge.
pub struct Carrying<T>(PhantomData<fn(T)>);

impl<T> Default for Carrying<T> {
    fn default() -> Self {
        Self(PhantomData)
    }
}

/// The sending end of a channel that carries `T`.
///
/// # Panics
/// If the edge carries another type: edges and channels are made together, so that would be our own mistake.
#[must_use]
pub fn sender<T: Record>(end: AnyEnd) -> Sender<T> {
    *end.downcast().expect("the sender was made by the same edge")
}

/// The receiving end of a channel that carries `T`.
///
/// # Panics
/// As [`sender`].
#[must_use]
pub fn receiver<T: Record>(end: AnyEnd) -> Receiver<T> {
    *end.downcast().expect("the receiver was made by the same edge")
}

/// What the receiver says: there is room for so many elements more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Credit(u32);

impl<T: Record, Stream: AsyncRead + AsyncWrite + Unpin + Send + 'static> EdgeType<Stream> for Carrying<T> {
    fn channel(&self) -> (AnyEnd, AnyEnd) {
        let (sender, receiver) = queue::<T>();
        (Box::new(sender), Box::new(receiver))
    }

    fn ended(&self) -> AnyEnd {
        let (sender, receiver) = queue::<T>();
        for element in [Element::Watermark(END_OF_TIME), Element::Drained, Element::Ended] {
            sender.push(element).expect("the receiver is here");
        }
        Box::new(receiver)
    }

    fn pump_in(&self, stream: Stream, into: AnyEnd) -> BoxFuture<'static, Result<(), ChannelError>> {
        let into = sender::<T>(into);
        Box::pin(async move {
            let (mut reading, mut writing) = split(stream);
            let elements = async {
                let mut scratch = Vec::new();
                while let Some(element) = codec::read_frame::<Element<T>, _>(&mut reading, &mut scratch).await? {
                    let ended = matches!(element, Element::Ended);
                    into.push(element)?;
                    if ended {
                        break;
                    }
                }
                Ok(())
            };
            let credits = async {
                let mut scratch = Vec::new();
                while let Some(more) = poll_fn(|cx| into.poll_consumed(cx)).await {
                    codec::write_frame(&mut writing, &Credit(more), &mut scratch).await?;
                }
                Ok(())
            };
            either(elements, credits).await
        })
    }

    fn pump_out(&self, from: AnyEnd, stream: Stream) -> BoxFuture<'static, Result<(), ChannelError>> {
        let from = receiver::<T>(from);
        from.limit();
        Box::pin(async move {
            let (mut reading, mut writing) = split(stream);
            let elements = async {
                let mut scratch = Vec::new();
                while let Some(element) = poll_fn(|cx| from.poll_within_credit(cx)).await {
                    codec::write_frame(&mut writing, &element, &mut scratch).await?;
                    if matches!(element, Element::Ended) {
                        // Why: a connection that is closed with credit unread may lose what is still on its way. The other side closes it.
                        std::future::pending::<()>().await;
                    }
                }
                Ok(())
            };
            let credits = async {
                let mut scratch = Vec::new();
                while let Some(Credit(more)) = codec::read_frame(&mut reading, &mut scratch).await? {
                    from.grant(more);
                }
                Ok(())
            };
            either(elements, credits).await
        })
    }
}

/// Until one of both directions is over.
async fn either(
    one: impl Future<Output = Result<(), ChannelError>>,
    other: impl Future<Output = Result<(), ChannelError>>,
) -> Result<(), ChannelError> {
    tokio::select! {
        biased;
        done = one => done,
        done = other => done,
    }
}
