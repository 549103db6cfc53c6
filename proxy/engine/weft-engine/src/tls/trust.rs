//! Whose certificates are believed, and by what rules a peer of the mesh is judged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use rustls::RootCertStore;
use rustls::client::verify_server_cert_signed_by_trust_anchor;
use rustls::server::ParsedCertificate;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, UnixTime};
use weft_core::caller::{Kind, Local};

use super::certificate::{Usage, normal_serial};
use super::{Facts, TlsReason, provider};

/// Bundles and revocations.
#[derive(Debug, Default)]
pub(crate) struct Trust {
    /// As they were sent, for the disk.
    pub(crate) bundles: BTreeMap<String, Vec<CertificateDer<'static>>>,
    /// As they were sent, for the disk.
    pub(crate) revoked: BTreeSet<String>,
    anchors: BTreeMap<String, Anchors>,
}

#[derive(Debug)]
struct Anchors {
    roots: Arc<RootCertStore>,
    clients: Arc<dyn ClientCertVerifier>,
}

/// In which role the peer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Role {
    /// It called us.
    Client,
    /// We called it.
    Server,
}

// === impl Trust ===

impl Trust {
    /// Bundles by trust domain, and serials that are not believed; refused whole where a certificate is no CA certificate.
    pub(crate) fn new(
        bundles: BTreeMap<String, Vec<CertificateDer<'static>>>,
        revoked: impl IntoIterator<Item = String>,
    ) -> Result<Self, String> {
        let mut anchors = BTreeMap::new();
        for (domain, certificates) in &bundles {
            let mut roots = RootCertStore::empty();
            for (n, certificate) in certificates.iter().enumerate() {
                let facts = Facts::read(certificate)
                    .map_err(|_| format!("bundle {domain}[{n}] is no certificate"))?;
                if !facts.is_ca {
                    return Err(format!("bundle {domain}[{n}] is no CA certificate"));
                }
                roots
                    .add(certificate.clone())
                    .map_err(|error| format!("bundle {domain}[{n}]: {error}"))?;
            }
            if roots.is_empty() {
                return Err(format!(
                    "bundle {domain} is empty; expected at least one CA certificate"
                ));
            }
            let roots = Arc::new(roots);
            let clients = WebPkiClientVerifier::builder_with_provider(
                Arc::clone(&roots),
                Arc::clone(provider()),
            )
            .build()
            .map_err(|error| format!("bundle {domain}: {error}"))?;
            anchors.insert(domain.clone(), Anchors { roots, clients });
        }
        let revoked = revoked
            .into_iter()
            .map(|serial| normal_serial(&serial.to_ascii_lowercase()).to_owned())
            .collect();
        Ok(Self {
            bundles,
            revoked,
            anchors,
        })
    }

    /// Whether both believe the same.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.bundles == other.bundles && self.revoked == other.revoked
    }

    /// Who a peer of the mesh is, or why it is nobody: its chain, its time, its serials, its usage, its identity, in that
    /// order of blame. Every certificate it shows has to hold, whether its path needs it or not.
    pub(crate) fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        role: Role,
        local: &Local,
        now: UnixTime,
    ) -> Result<Facts, TlsReason> {
        let Some((leaf, intermediates)) = chain.split_first() else {
            return Err(TlsReason::NoCertificate);
        };
        let facts = Facts::of_chain(chain)?;
        if facts.is_ca {
            return Err(TlsReason::CaCertificate);
        }
        let domain = facts
            .spiffe
            .as_ref()
            .map_or(local.trust_domain(), |id| id.trust_domain());
        if domain != local.trust_domain() {
            return Err(TlsReason::WrongTrustDomain);
        }
        let anchors = self.anchors.get(domain).ok_or(TlsReason::UnknownCa)?;
        anchors
            .verify(leaf, intermediates, role, now)
            .map_err(|error| TlsReason::of(&error))?;
        self.admit(&facts, intermediates)?;
        match facts.spiffe.as_ref().map(|id| id.kind()) {
            None => Err(TlsReason::NoSpiffeId),
            Some(Kind::Service { .. } | Kind::Gateway { .. }) => Ok(facts),
            Some(Kind::Host(_) | Kind::Controller(_) | Kind::Other) => Err(TlsReason::NotAService),
        }
    }

    /// What the path's verification does not look at: revocation, and the key usage that X509-SVID asks for (section 4.3).
    fn admit(&self, leaf: &Facts, intermediates: &[CertificateDer<'_>]) -> Result<(), TlsReason> {
        if self.revoked.contains(&leaf.serial) {
            return Err(TlsReason::Revoked);
        }
        for certificate in intermediates {
            let facts = Facts::read(certificate)?;
            if self.revoked.contains(&facts.serial) {
                return Err(TlsReason::Revoked);
            }
            if !facts.may_issue() {
                return Err(TlsReason::BadCertificate);
            }
        }
        match leaf.usage {
            Usage::Handshakes => Ok(()),
            Usage::Unsaid | Usage::Signing | Usage::Other => Err(TlsReason::BadCertificate),
        }
    }
}

// === impl Anchors ===

impl Anchors {
    fn verify(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        role: Role,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        match role {
            Role::Client => self
                .clients
                .verify_client_cert(leaf, intermediates, now)
                .map(drop),
            Role::Server => {
                let algorithms = provider().signature_verification_algorithms.all;
                let leaf = ParsedCertificate::try_from(leaf)?;
                verify_server_cert_signed_by_trust_anchor(
                    &leaf,
                    &self.roots,
                    intermediates,
                    now,
                    algorithms,
                )
            }
        }
    }
}
