//! A certificate with its key, and the TLS configurations that show it.

use std::sync::Arc;

use rustls::client::Resumption;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, ServerConfig, version};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use weft_core::caller::Local;

use super::provider::ticketer;
use super::verifier::{CallerVerifier, InstanceVerifier};
use super::{Facts, TlsReason, Trust, provider};

/// Endpoints whose sessions one identity remembers.
const SESSIONS: usize = 4096;

/// What HTTP/1.1 is called in ALPN.
pub(crate) const ALPN_HTTP1: &[u8] = b"http/1.1";

/// What HTTP/2 is called in ALPN.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";

/// What the mesh's carriage of plain bytes is called in ALPN, the only protocol of `tcp` services.
pub(crate) const ALPN_TCP: &[u8] = b"weft-tcp";

/// The same, where the caller says first whose connection it passes on.
pub(crate) const ALPN_TCP_PROXIED: &[u8] = b"weft-tcp-proxied";

/// A certificate and key under a name.
#[derive(Debug)]
pub(crate) struct Identity {
    /// `ns/service`, `gateway:<name>` or `public/<gateway>/<listener>/<n>`.
    pub(crate) name: String,
    /// Leaf first.
    pub(crate) chain: Vec<CertificateDer<'static>>,
    /// PKCS#8 DER, for the disk.
    pub(crate) key: Vec<u8>,
    /// What the leaf says.
    pub(crate) facts: Facts,
    /// How it is shown.
    pub(crate) configs: Configs,
    /// No two builds share one: what was opened under another is never mistaken for it.
    pub(crate) id: u64,
    certified: Arc<CertifiedKey>,
}

/// How an identity is shown.
#[derive(Clone, Debug)]
pub(crate) enum Configs {
    /// To the mesh: TLS 1.3, mutual.
    Mesh {
        /// As the instance that is called.
        server: Arc<ServerConfig>,
        /// As the caller, for HTTP/1.1.
        client: Arc<ClientConfig>,
        /// As the caller, for HTTP/2.
        client_http2: Arc<ClientConfig>,
        /// As the instance that is called, where it takes bytes.
        tcp_server: Arc<ServerConfig>,
        /// As the caller of such a one.
        tcp_client: Arc<ClientConfig>,
        /// The same, saying whose connection it passes on.
        tcp_client_proxied: Arc<ClientConfig>,
    },
    /// To the world, by a gateway.
    Public {
        /// TLS 1.2 and 1.3.
        from_12: Arc<ServerConfig>,
        /// TLS 1.3 only.
        from_13: Arc<ServerConfig>,
    },
}

// === impl Identity ===

impl Identity {
    /// Reads what an agent sent; the error says what was wrong with it.
    pub(crate) fn new(
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: Vec<u8>,
        trust: &Arc<Trust>,
        local: &Arc<Local>,
        id: u64,
    ) -> Result<Self, String> {
        let facts = Facts::of_chain(&chain).map_err(|reason| match reason {
            TlsReason::NoCertificate => "the chain is empty",
            _ => "a certificate of the chain cannot be read",
        })?;
        let public = name.starts_with("public/");
        if !public && facts.spiffe.as_ref().is_none_or(|id| id.label() != name) {
            let found = facts
                .spiffe
                .as_ref()
                .map_or("no SPIFFE ID", |id| id.as_str());
            return Err(format!("the certificate is not for {name}: it has {found}"));
        }
        let der = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.clone()));
        let signer = provider()
            .key_provider
            .load_private_key(der)
            .map_err(|error| format!("the key: {error}"))?;
        let certified = CertifiedKey::new(chain.clone(), signer);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(rustls::InconsistentKeys::Unknown)) => {}
            Err(_) => return Err("the key is not the certificate's".to_owned()),
        }
        let certified = Arc::new(certified);
        let configs =
            Configs::new(public, &certified, trust, local).map_err(|error| error.to_string())?;
        Ok(Self {
            name: name.to_owned(),
            chain,
            key,
            facts,
            configs,
            id,
            certified,
        })
    }

    /// Whether it was made of these bytes.
    pub(crate) fn is_made_of(&self, chain: &[impl AsRef<[u8]>], key: &[u8]) -> bool {
        self.key == key
            && self.chain.len() == chain.len()
            && self
                .chain
                .iter()
                .zip(chain)
                .all(|(own, other)| own.as_ref() == other.as_ref())
    }

    /// The same certificate under other trust: sessions begun before are not resumed.
    pub(crate) fn under(
        &self,
        trust: &Arc<Trust>,
        local: &Arc<Local>,
        id: u64,
    ) -> Result<Self, String> {
        let public = matches!(self.configs, Configs::Public { .. });
        let configs = Configs::new(public, &self.certified, trust, local)
            .map_err(|error| error.to_string())?;
        Ok(Self {
            name: self.name.clone(),
            chain: self.chain.clone(),
            key: self.key.clone(),
            facts: self.facts.clone(),
            configs,
            id,
            certified: Arc::clone(&self.certified),
        })
    }
}

// === impl Configs ===

impl Configs {
    fn new(
        public: bool,
        certified: &Arc<CertifiedKey>,
        trust: &Arc<Trust>,
        local: &Arc<Local>,
    ) -> Result<Self, rustls::Error> {
        if public {
            return Ok(Self::Public {
                from_12: public_server(certified, &[&version::TLS13, &version::TLS12])?,
                from_13: public_server(certified, &[&version::TLS13])?,
            });
        }
        let callers = CallerVerifier {
            trust: Arc::clone(trust),
            local: Arc::clone(local),
        };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .with_client_cert_verifier(Arc::new(callers))
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))));
        finish(&mut server)?;
        let instances = InstanceVerifier {
            trust: Arc::clone(trust),
            local: Arc::clone(local),
        };
        let mut client = ClientConfig::builder_with_provider(Arc::clone(provider()))
            .with_protocol_versions(&[&version::TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(instances))
            .with_client_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))));
        client.alpn_protocols = vec![ALPN_HTTP1.to_vec()];
        client.resumption = Resumption::in_memory_sessions(SESSIONS);
        let mut client_http2 = client.clone();
        client_http2.alpn_protocols = vec![ALPN_HTTP2.to_vec()];
        // A session belongs to the protocol it was begun with.
        client_http2.resumption = Resumption::in_memory_sessions(SESSIONS);
        let (mut tcp_server, mut tcp_client) = (server.clone(), client.clone());
        tcp_server.alpn_protocols = vec![ALPN_TCP.to_vec(), ALPN_TCP_PROXIED.to_vec()];
        tcp_client.alpn_protocols = vec![ALPN_TCP.to_vec()];
        tcp_client.resumption = Resumption::in_memory_sessions(SESSIONS);
        // Sessions with the same instances, of which each connection says anew what it carries.
        let mut tcp_client_proxied = tcp_client.clone();
        tcp_client_proxied.alpn_protocols = vec![ALPN_TCP_PROXIED.to_vec()];
        Ok(Self::Mesh {
            server: Arc::new(server),
            client: Arc::new(client),
            client_http2: Arc::new(client_http2),
            tcp_server: Arc::new(tcp_server),
            tcp_client: Arc::new(tcp_client),
            tcp_client_proxied: Arc::new(tcp_client_proxied),
        })
    }
}

fn public_server(
    certified: &Arc<CertifiedKey>,
    versions: &[&'static rustls::SupportedProtocolVersion],
) -> Result<Arc<ServerConfig>, rustls::Error> {
    let mut server = ServerConfig::builder_with_provider(Arc::clone(provider()))
        .with_protocol_versions(versions)?
        .with_no_client_auth()
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(Arc::clone(certified))));
    finish(&mut server)?;
    Ok(Arc::new(server))
}

/// Tickets of its own, sealed and stateless; no early data. Callers of the mesh offer one protocol; clients of the world choose.
fn finish(server: &mut ServerConfig) -> Result<(), rustls::Error> {
    server.ticketer = ticketer()?;
    server.send_tls13_tickets = 1;
    server.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    Ok(())
}
