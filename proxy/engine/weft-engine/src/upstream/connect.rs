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

use crate::io::{Socket, Stream, tune};
use crate::tls::{Facts, TlsReason};
use crate::worker::{Life, Side};

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
                if self.is_ours() {
                    Reason::Overloaded
                } else {
                    Reason::ConnectFailed
                },
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

    /// Whether this process or its host has run out of something: memory, descriptors, ports. (Linux's numbers.)
    pub(crate) fn is_ours(&self) -> bool {
        const ENOMEM: i32 = 12;
        const ENFILE: i32 = 23;
        const EMFILE: i32 = 24;
        const EADDRNOTAVAIL: i32 = 99;
        const ENOBUFS: i32 = 105;
        matches!(
            self,
            Self::Tcp(error) if matches!(
                error.raw_os_error(),
                Some(ENOMEM | ENFILE | EMFILE | EADDRNOTAVAIL | ENOBUFS)
            )
        )
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

/// Opens a connection; with it comes how long it lives, where it lives under certificates.
pub(crate) async fn connect(
    address: SocketAddr,
    secure: Option<Secure>,
    within: Duration,
) -> Result<(Stream, Option<Life>), ConnectError> {
    let deadline = Instant::now() + within;
    let stream = timeout(within, TcpStream::connect(address)).await;
    let stream = stream
        .map_err(|_| ConnectError::Timeout { reached: false })?
        .map_err(ConnectError::Tcp)?;
    tune(&stream).map_err(ConnectError::Tcp)?;
    let Some(Secure { config, name, own }) = secure else {
        return Ok((Stream::Plain(stream), None));
    };
    let own = Life::of(&own, Side::Caller).ok_or(ConnectError::Tls(TlsReason::NoIdentity))?;
    let protocols = config.alpn_protocols.clone();
    let handshake = TlsConnector::from(config).connect(name, Socket(stream));
    let stream = match tokio::time::timeout_at(deadline, handshake).await {
        Err(_) => return Err(ConnectError::Timeout { reached: true }),
        Ok(Err(error)) => return Err(ConnectError::Tls(TlsReason::of_io(&error))),
        Ok(Ok(stream)) => stream,
    };
    let session = stream.get_ref().1;
    // A server may choose none, and rustls leaves that to us (RFC 7301 section 3.2).
    let agreed = session.alpn_protocol();
    if !protocols.iter().any(|one| Some(&one[..]) == agreed) {
        return Err(ConnectError::Tls(TlsReason::WrongAlpn));
    }
    let chain = session.peer_certificates().unwrap_or_default();
    let facts = Facts::of_chain(chain).map_err(ConnectError::Tls)?;
    // A resumed session was verified when it began; its certificate may have ended since.
    let life = Life::of(&facts, Side::Caller).ok_or(ConnectError::Tls(TlsReason::Expired))?;
    Ok((Stream::Tls(Box::new(stream.into())), Some(life.and(own))))
}
