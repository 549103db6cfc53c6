//! The socket below TLS, which is written to in the cheapest way there is.
//!
//! TLS hands over its records as several pieces, of which there is one as a rule. A vectored write of one piece costs the
//! kernel more than a send, and asking the runtime first costs more than trying.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A TCP connection.
#[derive(Debug)]
pub(crate) struct Socket(pub(crate) TcpStream);

/// Sends as much of a piece as there is room for, which is all of it as a rule.
pub(super) fn send(
    stream: &mut TcpStream,
    cx: &mut Context<'_>,
    piece: &[u8],
) -> Poll<io::Result<usize>> {
    match stream.try_write(piece) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            Pin::new(stream).poll_write(cx, piece)
        }
        written => Poll::Ready(written),
    }
}

// === impl Socket ===

impl AsyncRead for Socket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_read(cx, into)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        piece: &[u8],
    ) -> Poll<io::Result<usize>> {
        send(&mut self.get_mut().0, cx, piece)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let stream = &mut self.get_mut().0;
        match pieces {
            [one] => send(stream, cx, one),
            _ => Pin::new(stream).poll_write_vectored(cx, pieces),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().0).poll_shutdown(cx)
    }
}
