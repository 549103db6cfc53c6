//! The two sides' verifiers: rustls asks, [`Trust::judge`] answers.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::verify_tls13_signature;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use weft_core::caller::{Kind, Local};

use super::trust::Role;
use super::{PeerName, TlsReason, Trust, provider};

/// Judges callers of the inbound listener.
pub(crate) struct CallerVerifier {
    pub(crate) trust: Arc<Trust>,
    pub(crate) local: Arc<Local>,
}

/// Judges the instances we call: their identity must be the one the server name asks for.
pub(crate) struct InstanceVerifier {
    pub(crate) trust: Arc<Trust>,
    pub(crate) local: Arc<Local>,
}

// === impl CallerVerifier ===

impl ClientCertVerifier for CallerVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let chain = whole(end_entity, intermediates);
        self.trust
            .judge(&chain, Role::Client, &self.local, now)
            .map_err(TlsReason::into_error)?;
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TlsReason::OldVersion.into_error())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for CallerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CallerVerifier({})", self.local.trust_domain())
    }
}

// === impl InstanceVerifier ===

impl InstanceVerifier {
    fn judge(
        &self,
        chain: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        now: UnixTime,
    ) -> Result<(), TlsReason> {
        let name = name.to_str();
        let asked = PeerName::parse(&name, self.local.trust_domain())?;
        let expected = self
            .local
            .service(&asked.service)
            .map_err(|_| TlsReason::WrongService)?;
        let facts = self.trust.judge(chain, Role::Server, &self.local, now)?;
        match facts.spiffe {
            Some(id) if id == expected => Ok(()),
            Some(id) if matches!(id.kind(), Kind::Service { .. }) => Err(TlsReason::WrongService),
            _ => Err(TlsReason::NotAService),
        }
    }
}

impl ServerCertVerifier for InstanceVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let chain = whole(end_entity, intermediates);
        self.judge(&chain, server_name, now)
            .map_err(TlsReason::into_error)?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _cert: &CertificateDer<'_>,
        _dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(TlsReason::OldVersion.into_error())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        signed(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

impl fmt::Debug for InstanceVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InstanceVerifier({})", self.local.trust_domain())
    }
}

/// Whether the peer has the certificate's key: a handshake signed by another is blamed on the certificate, not on its CA.
fn signed(
    message: &[u8],
    cert: &CertificateDer<'_>,
    dss: &DigitallySignedStruct,
) -> Result<HandshakeSignatureValid, Error> {
    let algorithms = &provider().signature_verification_algorithms;
    verify_tls13_signature(message, cert, dss, algorithms)
        .map_err(|_| TlsReason::BadCertificate.into_error())
}

fn whole<'a>(
    leaf: &CertificateDer<'a>,
    intermediates: &[CertificateDer<'a>],
) -> Vec<CertificateDer<'a>> {
    std::iter::once(leaf)
        .chain(intermediates)
        .cloned()
        .collect()
}
