//! The server's side of TLS: what a ClientHello asks for decides which certificate is shown, before any is.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use rustls::server::{Acceptor, ClientHello};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::server::TlsStream;
use tokio_rustls::{LazyConfigAcceptor, StartHandshake};
use weft_core::reason::{Error, Reason};
use weft_model::section::{GatewayProtocol, Protocol};

use super::crowd::Handshakes;
use super::{Peer, Worker};
use crate::h1::{Answer, Then};
use crate::io::{Socket, Stream};
use crate::tls::{
    ALPN_HTTP1, ALPN_HTTP2, ALPN_TCP, ALPN_TCP_PROXIED, Configs, Identity, PeerName, TlsReason,
    TlsState,
};
use crate::world::{Place, World};

/// The first byte of a TLS record that begins a handshake.
const HANDSHAKE: u8 = 22;

/// Which instance a caller asked for, and what it is shown.
struct Asked {
    service: Arc<str>,
    instance: Box<str>,
    identity: Arc<Identity>,
    config: Arc<ServerConfig>,
    trust_epoch: u64,
}

/// A caller from the mesh: TLS 1.3, certificates on both sides, a server name that picks the instance.
pub(super) async fn inbound(
    stream: TcpStream,
    worker: &Rc<Worker>,
) -> Result<(Stream, Rc<Peer>), TlsReason> {
    within(worker.bounds.handshake_timeout.0, async {
        let mut first = [0];
        if stream
            .peek(&mut first)
            .await
            .map_err(|_| TlsReason::Closed)?
            == 0
        {
            return Err(TlsReason::Closed);
        }
        if first[0] != HANDSHAKE {
            refuse_plain_text(stream).await;
            return Err(TlsReason::PlainText);
        }
        let start = hello(stream).await?;
        let asked = Asked::by(&start.client_hello(), &worker.world());
        let (asked, stream) = finish(start, asked, &worker.handshakes, |asked| {
            Arc::clone(&asked.config)
        })
        .await?;
        let chain = stream
            .get_ref()
            .1
            .peer_certificates()
            .ok_or(TlsReason::NoCertificate)?;
        let chain = chain
            .iter()
            .map(|certificate| certificate.clone().into_owned())
            .collect();
        let peer = Peer::new(
            chain,
            asked.service,
            asked.instance,
            &asked.identity.facts,
            asked.trust_epoch,
        )?;
        Ok((Stream::Tls(Box::new(stream.into())), Rc::new(peer)))
    })
    .await
}

/// A client of the world, plain or with TLS as the listener says.
pub(super) async fn public(
    stream: TcpStream,
    address: SocketAddr,
    worker: &Rc<Worker>,
) -> Result<Stream, TlsReason> {
    let secure = match worker.world().places.get(&address).map(|place| &**place) {
        Some(Place::Gateway { gateway, listener }) => gateway
            .listeners
            .get(&**listener)
            .map(|listener| listener.protocol),
        _ => None,
    };
    if secure != Some(GatewayProtocol::Https) {
        return Ok(Stream::Plain(stream));
    }
    within(worker.bounds.handshake_timeout.0, async {
        let start = hello(stream).await?;
        let config = public_config(&start.client_hello(), address, &worker.world());
        let (_, stream) = finish(start, config, &worker.handshakes, Arc::clone).await?;
        Ok(Stream::Tls(Box::new(stream.into())))
    })
    .await
}

async fn within<T>(
    patience: Duration,
    handshake: impl Future<Output = Result<T, TlsReason>>,
) -> Result<T, TlsReason> {
    timeout(patience, handshake)
        .await
        .unwrap_or(Err(TlsReason::Timeout))
}

async fn hello(stream: TcpStream) -> Result<StartHandshake<Socket>, TlsReason> {
    LazyConfigAcceptor::new(Acceptor::default(), Socket(stream))
        .await
        .map_err(|error| TlsReason::of_io(&error))
}

/// Goes on with what was decided, or tells the client by an alert why not.
async fn finish<T>(
    start: StartHandshake<Socket>,
    decided: Result<T, TlsReason>,
    handshakes: &Handshakes,
    config: impl FnOnce(&T) -> Arc<ServerConfig>,
) -> Result<(T, TlsStream<Socket>), TlsReason> {
    match decided {
        Ok(decided) => {
            let shaken = start.into_stream(config(&decided));
            let stream = handshakes
                .one(shaken)
                .await
                .ok_or(TlsReason::Timeout)?
                .map_err(|error| TlsReason::of_io(&error))?;
            Ok((decided, stream))
        }
        Err(reason) => {
            let mut stream = start.io;
            // An unencrypted fatal alert record (RFC 8446 sections 5.1 and 6); whether it arrives changes nothing.
            let _ = stream
                .write_all(&[21, 3, 3, 0, 2, 2, u8::from(reason.alert())])
                .await;
            let _ = stream.shutdown().await;
            Err(reason)
        }
    }
}

/// Somebody speaks plain text where only TLS is taken: if it was HTTP, it understands why.
async fn refuse_plain_text(mut stream: TcpStream) {
    let error = Error::new(Reason::TlsRequired, "this port takes mutual TLS only");
    let mut answer = Vec::new();
    Answer::from(&error).encode(&mut answer, false, Then::Close);
    let _: io::Result<()> = async {
        stream.write_all(&answer).await?;
        stream.shutdown().await?;
        // A reset would eat the answer, so a little of what comes is still read.
        let mut rest = [0; 1024];
        for _ in 0..16 {
            stream.readable().await?;
            if stream.try_read(&mut rest)? == 0 {
                break;
            }
        }
        Ok(())
    }
    .await;
}

// === impl Asked ===

impl Asked {
    fn by(hello: &ClientHello<'_>, world: &World) -> Result<Self, TlsReason> {
        let name = hello.server_name().ok_or(TlsReason::NoServerName)?;
        let trust_domain = world.local().trust_domain();
        let asked = PeerName::parse(name, trust_domain)?;
        let (service, found) = world
            .services
            .get_key_value(&*asked.service)
            .ok_or(TlsReason::WrongService)?;
        if !found.cluster.is_here() {
            return Err(TlsReason::WrongService);
        }
        found
            .cluster
            .here(asked.instance)
            .ok_or(TlsReason::WrongInstance)?;
        let identity = world.tls.identity(service).ok_or(TlsReason::NoIdentity)?;
        let Configs::Mesh {
            server, tcp_server, ..
        } = &identity.configs
        else {
            return Err(TlsReason::NoIdentity);
        };
        let mut offered = hello.alpn().into_iter().flatten();
        let only = offered.next().filter(|_| offered.next().is_none());
        let config = match (found.rules.protocol(), only) {
            (Protocol::Tcp, Some(ALPN_TCP | ALPN_TCP_PROXIED)) => tcp_server,
            (Protocol::Http, Some(ALPN_HTTP1 | ALPN_HTTP2)) => server,
            (Protocol::Http2 | Protocol::Grpc, Some(ALPN_HTTP2)) => server,
            _ => return Err(TlsReason::WrongAlpn),
        };
        Ok(Self {
            service: Arc::clone(service),
            instance: asked.instance.into(),
            identity: Arc::clone(identity),
            config: Arc::clone(config),
            trust_epoch: world.tls.trust_epoch,
        })
    }
}

fn public_config(
    hello: &ClientHello<'_>,
    address: SocketAddr,
    world: &World,
) -> Result<Arc<ServerConfig>, TlsReason> {
    let Some(Place::Gateway { gateway, listener }) =
        world.places.get(&address).map(|place| &**place)
    else {
        return Err(TlsReason::NoIdentity);
    };
    let listener = gateway
        .listeners
        .get(&**listener)
        .ok_or(TlsReason::NoIdentity)?;
    let identity = choose(&world.tls, &listener.certificates, hello.server_name())
        .ok_or(TlsReason::NoIdentity)?;
    match &identity.configs {
        Configs::Public { from_13, .. } if listener.tls_min == "1.3" => Ok(Arc::clone(from_13)),
        Configs::Public { from_12, .. } => Ok(Arc::clone(from_12)),
        Configs::Mesh { .. } => Err(TlsReason::NoIdentity),
    }
}

/// The first certificate that speaks for the name, else the first there is.
fn choose<'a>(
    tls: &'a TlsState,
    names: &[String],
    wanted: Option<&str>,
) -> Option<&'a Arc<Identity>> {
    let held = || names.iter().filter_map(|name| tls.identity(name));
    let wanted = wanted.map(str::to_ascii_lowercase);
    let speaks = |identity: &&Arc<Identity>| {
        wanted
            .as_deref()
            .is_some_and(|name| identity.facts.speaks_for(name))
    };
    held().find(speaks).or_else(|| held().next())
}
