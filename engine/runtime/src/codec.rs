//! Frames between processes: a `u32` length, then bincode. Nothing stored uses this; bincode appears in no other module.

use serde::de::DeserializeOwned;
use serde::Serialize;
use std::io;
use std::pin::Pin;
use std::task::{ready, Context, Poll};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

/// No frame is larger; a longer one is refused before anything is allocated.
pub const FRAME_LIMIT_BYTES: usize = 64 << 20;

/// A frame that cannot be.
#[derive(Debug, thiserror::Error)]
pub enum CodecError {
    /// Longer than [`FRAME_LIMIT_BYTES`]: the peer is not one of ours, or the record is too large.
    #[error("a frame of {0} bytes is over the limit of {FRAME_LIMIT_BYTES}")]
    TooLong(usize),
    /// The value cannot be written as a frame.
    #[error("cannot encode a frame: {0}")]
    Encode(#[from] bincode::error::EncodeError),
    /// The bytes are not a value of the expected type: the peer runs another release.
    #[error("cannot decode a frame: {0}")]
    Decode(#[from] bincode::error::DecodeError),
    /// Bytes are left over: the peer runs another release.
    #[error("{0} bytes are left behind the end of a frame")]
    Trailing(usize),
    /// The connection broke.
    #[error(transparent)]
    Io(#[from] io::Error),
}

fn configuration() -> impl bincode::config::Config {
    bincode::config::standard().with_fixed_int_encoding().with_limit::<FRAME_LIMIT_BYTES>()
}

/// Appends one frame to a buffer.
///
/// # Errors
/// A value that is too large or that serde refuses.
pub fn encode(value: &impl Serialize, buffer: &mut Vec<u8>) -> Result<(), CodecError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; 4]);
    bincode::serde::encode_into_std_write(value, buffer, configuration())?;
    let length = buffer.len() - start - 4;
    match u32::try_from(length) {
        Ok(narrow) if length <= FRAME_LIMIT_BYTES => {
            buffer[start..start + 4].copy_from_slice(&narrow.to_le_bytes());
            Ok(())
        }
        Ok(_) | Err(_) => {
            buffer.truncate(start);
            Err(CodecError::TooLong(length))
        }
    }
}

/// Decodes the payload of one frame, all of it.
///
/// # Errors
/// Bytes that are not such a value.
pub fn decode<T: DeserializeOwned>(payload: &[u8]) -> Result<T, CodecError> {
    let (value, used) = bincode::serde::decode_from_slice(payload, configuration())?;
    match payload.len() - used {
        0 => Ok(value),
        left => Err(CodecError::Trailing(left)),
    }
}

/// Writes one frame, using `scratch` for its bytes.
///
/// # Errors
/// As [`encode`], and a broken connection.
pub async fn write_frame<W: AsyncWrite + Unpin>(to: &mut W, value: &impl Serialize, scratch: &mut Vec<u8>) -> Result<(), CodecError> {
    scratch.clear();
    encode(value, scratch)?;
    to.write_all(scratch).await?;
    to.flush().await?;
    Ok(())
}

/// Reads one frame; `None` at an orderly end between frames.
///
/// # Errors
/// A frame that cannot be, an end in the middle of one, a broken connection.
pub async fn read_frame<T: DeserializeOwned, R: AsyncRead + Unpin>(from: &mut R, scratch: &mut Vec<u8>) -> Result<Option<T>, CodecError> {
    let mut head = [0; 4];
    let mut filled = 0;
    while filled < head.len() {
        match from.read(&mut head[filled..]).await? {
            0 if filled == 0 => return Ok(None),
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            count => filled += count,
        }
    }
    let length = u32::from_le_bytes(head) as usize;
    if length > FRAME_LIMIT_BYTES {
        return Err(CodecError::TooLong(length));
    }
    // Grows with the bytes that really come: a hostile length allocates nothing.
    scratch.clear();
    let mut limited = from.take(length as u64);
    limited.read_to_end(scratch).await?;
    if scratch.len() < length {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    decode(scratch).map(Some)
}

/// A reader that tells of every arrival of bytes: a peer is alive while a long frame of it is still on its way.
pub struct Noticing<R, F> {
    from: R,
    notice: F,
}

impl<R, F: FnMut()> Noticing<R, F> {
    /// Calls `notice` whenever bytes have come.
    pub fn new(from: R, notice: F) -> Self {
        Self { from, notice }
    }
}

/// The closure is called, never pinned.
impl<R: Unpin, F> Unpin for Noticing<R, F> {}

impl<R: AsyncRead + Unpin, F: FnMut()> AsyncRead for Noticing<R, F> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.from).poll_read(context, buffer))?;
        if buffer.filled().len() > before {
            (self.notice)();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Element;
    use proptest::prelude::*;

    #[tokio::test]
    async fn a_hostile_length_is_refused_without_allocating() {
        let bytes = u32::MAX.to_le_bytes();
        let result = read_frame::<Element<u64>, _>(&mut &bytes[..], &mut Vec::new()).await;
        assert!(matches!(result, Err(CodecError::TooLong(_))));
    }

    #[tokio::test]
    async fn an_end_in_the_middle_of_a_frame_is_an_error() {
        let mut bytes = Vec::new();
        encode(&Element::Batch(vec![1_u64, 2]), &mut bytes).expect("encodes");
        for cut in 1..bytes.len() {
            assert!(read_frame::<Element<u64>, _>(&mut &bytes[..cut], &mut Vec::new()).await.is_err(), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_batch_comes_back_as_it_went(records in proptest::collection::vec((any::<u64>(), ".{0,12}"), 0..40)) {
            let element = Element::Batch(records);
            let mut bytes = Vec::new();
            encode(&element, &mut bytes).expect("encodes");
            prop_assert_eq!(decode::<Element<(u64, String)>>(&bytes[4..]).expect("decodes"), element);
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode::<Element<(u64, String)>>(&bytes);
        }
    }
}
