//! Opening a connection: TCP and TLS within one time-out.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use weft_core::reason::{Error, Reason};

use crate::io::{Stream, tune};
use crate::tls::{Facts, TlsReason};
use crate::worker::{CLIENT_MARGIN, end_of};

/// How a connection to the mesh is secured.
#[derive(Debug)]
pub(crate) struct Secure {
    /// Of the caller's identity.
    pub(crate) config: Arc<ClientConfig>,
    /// Whom to ask for.
    pub(crate) name: ServerName<'static>,
    /// What the caller's own certificate says.
    pub(crate) own: Facts,
}

/// Why there is no connection.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// The address does not answer, or refuses.
    Tcp(io::Error),
    /// It answers and cannot prove itself, or does not believe us.
    Tls(TlsReason),
    /// It takes too long; whether TCP stood by then.
    Timeout {
        /// Then its host is alive.
        reached: bool,
    },
}

// === impl ConnectError ===

impl ConnectError {
    /// What to tell the caller of `instance`.
    pub(crate) fn explain(&self, instance: &str, address: SocketAddr) -> Error {
        match self {
            Self::Tcp(error) => Error::new(
                Reason::ConnectFailed,
                format!("{instance} at {address}: {error}"),
            ),
            Self::Timeout { .. } => Error::new(
                Reason::ConnectTimeout,
                format!("{instance} at {address}: no connection in time"),
            ),
            Self::Tls(reason) => Error::new(
                Reason::TlsFailed,
                format!("{instance} at {address}: {}", reason.word()),
            ),
        }
    }

    /// Whether it is the host that cannot be reached, and not we who cannot open a socket.
    pub(crate) fn is_of_the_host(&self) -> bool {
        use io::ErrorKind::{
            ConnectionRefused, ConnectionReset, HostUnreachable, NetworkUnreachable, TimedOut,
        };
        match self {
            Self::Tcp(error) => matches!(
                error.kind(),
                ConnectionRefused
                    | ConnectionReset
                    | HostUnreachable
                    | NetworkUnreachable
                    | TimedOut
            ),
            Self::Timeout { reached } => !reached,
            Self::Tls(_) => false,
        }
    }
}

/// Opens a connection; with it comes the moment at which it has to end.
pub(crate) async fn connect(
    address: SocketAddr,
    secure: Option<Secure>,
    within: Duration,
) -> Result<(Stream, Option<Instant>), ConnectError> {
    let deadline = Instant::now() + within;
    let stream = timeout(within, TcpStream::connect(address)).await;
    let stream = stream
        .map_err(|_| ConnectError::Timeout { reached: false })?
        .map_err(ConnectError::Tcp)?;
    tune(&stream).map_err(ConnectError::Tcp)?;
    let Some(Secure { config, name, own }) = secure else {
        return Ok((Stream::Plain(stream), None));
    };
    let own_end = end_of(&own, CLIENT_MARGIN).ok_or(ConnectError::Tls(TlsReason::NoIdentity))?;
    let handshake = TlsConnector::from(config).connect(name, stream);
    let stream = match tokio::time::timeout_at(deadline, handshake).await {
        Err(_) => return Err(ConnectError::Timeout { reached: true }),
        Ok(Err(error)) => return Err(ConnectError::Tls(TlsReason::of_io(&error))),
        Ok(Ok(stream)) => stream,
    };
    let leaf = stream
        .get_ref()
        .1
        .peer_certificates()
        .and_then(|chain| chain.first());
    let facts = Facts::read(leaf.ok_or(ConnectError::Tls(TlsReason::NoCertificate))?)
        .map_err(ConnectError::Tls)?;
    // A resumed session was verified when it began; its certificate may have ended since.
    let end = end_of(&facts, CLIENT_MARGIN).ok_or(ConnectError::Tls(TlsReason::Expired))?;
    Ok((Stream::Tls(Box::new(stream.into())), Some(end.min(own_end))))
}
