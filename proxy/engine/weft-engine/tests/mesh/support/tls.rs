//! Peers of an engine that are no engines: TLS by hand, with whatever certificate and habits a test wants.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rustls::{
    ClientConfig, ClientConnection, HandshakeKind, ServerConfig, ServerConnection, StreamOwned,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::http::Client;
use super::pki::Leaf;

/// A TLS server that proves to be somebody else.
pub(crate) struct Impostor {
    pub(crate) address: SocketAddr,
    pub(crate) got_bytes: Arc<AtomicBool>,
}

impl Impostor {
    pub(crate) fn start(leaf: &Leaf) -> Self {
        Self::with(leaf, rustls::ALL_VERSIONS, &[b"http/1.1"])
    }

    /// Of these versions, choosing among these protocols.
    pub(crate) fn with(
        leaf: &Leaf,
        versions: &[&'static rustls::SupportedProtocolVersion],
        protocols: &[&[u8]],
    ) -> Self {
        let (chain, key) = material(leaf);
        let mut config = ServerConfig::builder_with_protocol_versions(versions)
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .expect("a certificate");
        config.alpn_protocols = protocols.iter().map(|one| one.to_vec()).collect();
        let config = Arc::new(config);
        Self::answering(move |stream| {
            let session = ServerConnection::new(Arc::clone(&config)).expect("a session");
            matches!(StreamOwned::new(session, stream).read(&mut [0]), Ok(1))
        })
    }

    /// That answers the first bytes with these, whatever they are.
    pub(crate) fn plain(said: &'static [u8]) -> Self {
        Self::answering(move |mut stream| {
            let heard = stream.read(&mut [0; 1024]).is_ok();
            let _ = heard && stream.write_all(said).is_ok() && stream.read(&mut [0]).is_ok();
            false
        })
    }

    fn answering(talk: impl Fn(TcpStream) -> bool + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let got_bytes = Arc::new(AtomicBool::new(false));
        let got = Arc::clone(&got_bytes);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if talk(stream) {
                    got.store(true, Ordering::Relaxed);
                }
            }
        });
        Self { address, got_bytes }
    }
}

fn material(leaf: &Leaf) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let chain = leaf
        .chain
        .iter()
        .cloned()
        .map(CertificateDer::from)
        .collect();
    (
        chain,
        PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(leaf.key.clone())),
    )
}

/// A caller that believes every server, of these versions, offering these protocols.
pub(crate) fn caller(
    leaf: Option<&Leaf>,
    versions: &[&'static rustls::SupportedProtocolVersion],
    protocols: &[&str],
) -> ClientConfig {
    let builder = ClientConfig::builder_with_protocol_versions(versions)
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Gullible));
    let mut config = match leaf {
        Some(leaf) => {
            let (chain, key) = material(leaf);
            builder
                .with_client_auth_cert(chain, key)
                .expect("a certificate")
        }
        None => builder.with_no_client_auth(),
    };
    config.alpn_protocols = protocols
        .iter()
        .map(|one| one.as_bytes().to_vec())
        .collect();
    config
}

/// A connection to an inbound port, by hand.
pub(crate) fn connect(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<Client<StreamOwned<ClientConnection, TcpStream>>> {
    let name = name.to_owned().try_into().expect("a name");
    let session = ClientConnection::new(Arc::clone(config), name).expect("a session");
    let stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(10)))?;
    Ok(Client::over(StreamOwned::new(session, stream)))
}

/// Asks for `/` on a new connection: the status and how the handshake went, or why there is none.
pub(crate) fn ask(
    address: SocketAddr,
    config: &Arc<ClientConfig>,
    name: &str,
) -> std::io::Result<(u16, Option<HandshakeKind>)> {
    let mut client = connect(address, config, name)?;
    let request = b"GET / HTTP/1.1\r\nHost: api\r\n\r\n";
    client.stream.get_mut().write_all(request)?;
    let answer = client
        .try_answer(false)
        .ok_or(std::io::ErrorKind::UnexpectedEof)?;
    Ok((answer.status, client.stream.get_ref().conn.handshake_kind()))
}

/// Calls the inbound port: the status, or why there is none.
pub(crate) fn call(
    address: SocketAddr,
    leaf: Option<&Leaf>,
    name: &str,
    alpn: &str,
) -> std::io::Result<u16> {
    let config = Arc::new(caller(leaf, rustls::ALL_VERSIONS, &[alpn]));
    ask(address, &config, name).map(|(status, _)| status)
}

/// Believes every server: the tests are about what servers believe.
#[derive(Debug)]
struct Gullible;

impl rustls::client::danger::ServerCertVerifier for Gullible {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &rustls_pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls_pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        vec![rustls::SignatureScheme::ECDSA_NISTP256_SHA256]
    }
}
