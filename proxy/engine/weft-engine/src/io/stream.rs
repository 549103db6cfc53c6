//! A connection, plain or TLS, read and written by polling so that one task can drive both directions.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use rustls::{HandshakeKind, ProtocolVersion};
use rustls_pki_types::CertificateDer;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsStream;

use super::socket::{Socket, send};

/// An idle connection is asked for a sign of life after this long.
const KEEPALIVE: Duration = Duration::from_secs(15);

/// And then this often, three times, before its peer's host is taken for gone.
const AGAIN: Duration = Duration::from_secs(5);

/// A byte stream to a peer.
#[derive(Debug)]
pub(crate) enum Stream {
    /// As it is.
    Plain(TcpStream),
    /// Through TLS, as client or server.
    Tls(Box<TlsStream<Socket>>),
}

/// What every connection is set to, whoever opened it. Failure means that the connection is dead already.
///
/// Not TCP_USER_TIMEOUT: it counts a window that stays closed like silence, although every probe of it is answered, and so
/// would cut off a reader that only pauses. A host that is gone in the middle of a request is noticed by that try's time-out.
pub(crate) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(KEEPALIVE)
        .with_interval(AGAIN)
        .with_retries(3);
    socket.set_tcp_keepalive(&keepalive)
}

// === impl Stream ===

impl Stream {
    /// The socket below.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(stream) => stream,
            Self::Tls(stream) => &stream.get_ref().0.0,
        }
    }

    /// Ends the connection so that the peer sees it was cut off, not finished.
    pub(crate) fn reset(self) {
        // It is closed by that in any case; a reset is only the better way.
        let _ = SockRef::from(self.socket()).set_linger(Some(Duration::ZERO));
    }

    /// The protocol that TLS agreed on.
    pub(crate) fn alpn(&self) -> Option<&[u8]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.alpn_protocol(),
        }
    }

    /// The version of TLS, as people write it; empty where it has none.
    pub(crate) fn tls(&self) -> &'static str {
        let Self::Tls(stream) = self else { return "" };
        match stream.get_ref().1.protocol_version() {
            Some(ProtocolVersion::TLSv1_2) => "1.2",
            _ => "1.3",
        }
    }

    /// Whether its TLS session is an earlier one's; `None`: it has none.
    pub(crate) fn is_resumed(&self) -> Option<bool> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => {
                Some(stream.get_ref().1.handshake_kind() == Some(HandshakeKind::Resumed))
            }
        }
    }

    /// Who TLS says is at the other end.
    pub(crate) fn peer_certificates(&self) -> Option<&[CertificateDer<'static>]> {
        match self {
            Self::Plain(_) => None,
            Self::Tls(stream) => stream.get_ref().1.peer_certificates(),
        }
    }

    /// Reads what there is; 0 is the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut buffer = ReadBuf::new(into);
        let read = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut buffer),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut buffer),
        };
        ready!(read)?;
        Poll::Ready(Ok(buffer.filled().len()))
    }

    /// As [`Stream::poll_read`], for readers that bring their own buffer.
    pub(crate) fn poll_read_buf(
        &mut self,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, into),
        }
    }

    /// Writes from several places at once.
    pub(crate) fn poll_write(
        &mut self,
        cx: &mut Context<'_>,
        from: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match (self, from) {
            // A send is cheaper than a vectored write.
            (Self::Plain(stream), [one]) => send(stream, cx, one),
            (Self::Tls(stream), [one]) => Pin::new(stream.as_mut()).poll_write(cx, one),
            (Self::Plain(stream), _) => Pin::new(stream).poll_write_vectored(cx, from),
            (Self::Tls(stream), _) => Pin::new(stream.as_mut()).poll_write_vectored(cx, from),
        }
    }

    /// Sends what TLS still holds.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Tells the peer that no more comes.
    pub(crate) fn poll_shutdown(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }

    /// Whether an idle connection has nothing to say: no byte, no end, no error. A TLS ticket is nothing.
    ///
    /// Costs no system call where the socket was read empty before.
    pub(crate) fn is_quiet(&mut self) -> bool {
        if let Self::Plain(stream) = self {
            let read = stream.try_read(&mut [0]);
            return matches!(read, Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        }
        let mut cx = Context::from_waker(Waker::noop());
        match self.socket().poll_read_ready(&mut cx) {
            Poll::Pending => true,
            Poll::Ready(Err(_)) => false,
            Poll::Ready(Ok(())) => self.poll_read(&mut cx, &mut [0]).is_pending(),
        }
    }
}
