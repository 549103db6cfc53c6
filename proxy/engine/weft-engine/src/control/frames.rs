//! Frames on the wire: a big-endian `u32` length, then one msgpack map.

use std::fmt;
use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use weft_model::frame::{MAX_FRAME, ToEngine, decode};

/// Why no further frame can be read.
#[derive(Debug)]
pub(crate) enum FrameError {
    /// Longer than is taken.
    Oversize(usize),
    /// No frame of this schema.
    Malformed(String),
    /// A frame that asks for what there is not.
    Refused(String),
    /// The connection broke, perhaps inside a frame.
    Lost(io::Error),
}

/// The next frame; `None`: the agent has left between two of them.
pub(crate) async fn read(
    from: &mut (impl AsyncRead + Unpin),
) -> Result<Option<ToEngine>, FrameError> {
    let mut length = [0; 4];
    match from.read(&mut length).await.map_err(FrameError::Lost)? {
        0 => return Ok(None),
        n => drop(
            from.read_exact(&mut length[n..])
                .await
                .map_err(FrameError::Lost)?,
        ),
    }
    let length = u32::from_be_bytes(length) as usize;
    if length > MAX_FRAME {
        return Err(FrameError::Oversize(length));
    }
    // Memory follows what has arrived, not what was announced.
    let mut frame = Vec::new();
    let arrived = from
        .take(length as u64)
        .read_to_end(&mut frame)
        .await
        .map_err(FrameError::Lost)?;
    if arrived < length {
        return Err(FrameError::Lost(io::ErrorKind::UnexpectedEof.into()));
    }
    decode(&frame)
        .map(Some)
        .map_err(|error| FrameError::Malformed(error.to_string()))
}

/// Sends a frame.
pub(crate) async fn write(
    to: &mut (impl AsyncWrite + Unpin),
    frame: &impl serde::Serialize,
) -> io::Result<()> {
    let mut bytes = vec![0; 4];
    rmp_serde::encode::write_named(&mut bytes, frame).map_err(io::Error::other)?;
    let length = u32::try_from(bytes.len() - 4).map_err(io::Error::other)?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    to.write_all(&bytes).await?;
    to.flush().await
}

// === impl FrameError ===

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oversize(length) => write!(
                f,
                "a frame of {length} bytes; at most {MAX_FRAME} are taken"
            ),
            Self::Malformed(why) => write!(f, "a frame that cannot be read: {why}"),
            Self::Refused(why) => f.write_str(why),
            Self::Lost(error) => write!(f, "the connection broke: {error}"),
        }
    }
}

impl std::error::Error for FrameError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn framed(body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).expect("short");
        [&length.to_be_bytes()[..], body].concat()
    }

    async fn read_from(mut bytes: &[u8]) -> Result<Option<ToEngine>, FrameError> {
        read(&mut bytes).await
    }

    #[tokio::test]
    async fn a_frame_reads_back_as_it_was_written() {
        let hello = ToEngine::Hello {
            schema: 1,
            agent: "test".to_owned(),
        };
        let body = rmp_serde::to_vec_named(&hello).expect("a frame");
        assert_eq!(
            read_from(&framed(&body)).await.expect("a frame"),
            Some(hello)
        );
        assert_eq!(read_from(&[]).await.expect("a clean end"), None);
    }

    #[tokio::test]
    async fn a_frame_over_the_bound_is_refused_before_it_is_read() {
        let length = u32::try_from(MAX_FRAME + 1).expect("fits").to_be_bytes();
        assert!(matches!(
            read_from(&length).await,
            Err(FrameError::Oversize(_))
        ));
    }

    #[tokio::test]
    async fn rubbish_is_malformed_and_half_a_frame_is_lost() {
        assert!(matches!(
            read_from(&framed(b"\x81\xa4type\xa3boo")).await,
            Err(FrameError::Malformed(_))
        ));
        assert!(matches!(
            read_from(&framed(b"abcdef")[..7]).await,
            Err(FrameError::Lost(_))
        ));
    }
}
