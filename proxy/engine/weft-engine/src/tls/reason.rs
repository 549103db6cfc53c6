//! Why a handshake failed: the word in `tls_reason`, beside `tls_failed`.

use std::fmt;
use std::io;

use rustls::{
    AlertDescription, CertificateError, Error, InvalidMessage, OtherError, PeerIncompatible,
};

/// Every reason there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub(crate) enum TlsReason {
    /// The chain ends in no CA of the bundle.
    UnknownCa,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    NotYetValid,
    /// The certificate was taken back.
    Revoked,
    /// Another service than the one asked for, or one that does not run here.
    WrongService,
    /// An instance that does not run here.
    WrongInstance,
    /// Another trust domain, or one without a bundle.
    WrongTrustDomain,
    /// Another protocol than the service's.
    WrongAlpn,
    /// A host, a controller or a gateway where a service was expected.
    NotAService,
    /// A signing certificate as a peer's own.
    CaCertificate,
    /// Not exactly one URI name, or no SPIFFE ID.
    NoSpiffeId,
    /// The peer showed no certificate.
    NoCertificate,
    /// A certificate that cannot be read, or may not be used so.
    BadCertificate,
    /// There is no certificate here to show.
    NoIdentity,
    /// No server name, or one that names no instance.
    NoServerName,
    /// Plain text.
    PlainText,
    /// TLS older than what is served.
    OldVersion,
    /// The peer did not believe us.
    RefusedByPeer,
    /// The handshake took too long.
    Timeout,
    /// The peer left in the middle.
    Closed,
    /// Anything else that is no proper TLS.
    Protocol,
}

// === impl TlsReason ===

impl TlsReason {
    /// All of them, for tables.
    pub(crate) const ALL: [Self; 21] = [
        Self::UnknownCa,
        Self::Expired,
        Self::NotYetValid,
        Self::Revoked,
        Self::WrongService,
        Self::WrongInstance,
        Self::WrongTrustDomain,
        Self::WrongAlpn,
        Self::NotAService,
        Self::CaCertificate,
        Self::NoSpiffeId,
        Self::NoCertificate,
        Self::BadCertificate,
        Self::NoIdentity,
        Self::NoServerName,
        Self::PlainText,
        Self::OldVersion,
        Self::RefusedByPeer,
        Self::Timeout,
        Self::Closed,
        Self::Protocol,
    ];

    /// The word.
    pub(crate) const fn word(self) -> &'static str {
        match self {
            Self::UnknownCa => "unknown_ca",
            Self::Expired => "expired",
            Self::NotYetValid => "not_yet_valid",
            Self::Revoked => "revoked",
            Self::WrongService => "wrong_service",
            Self::WrongInstance => "wrong_instance",
            Self::WrongTrustDomain => "wrong_trust_domain",
            Self::WrongAlpn => "wrong_alpn",
            Self::NotAService => "not_a_service",
            Self::CaCertificate => "ca_certificate",
            Self::NoSpiffeId => "no_spiffe_id",
            Self::NoCertificate => "no_certificate",
            Self::BadCertificate => "bad_certificate",
            Self::NoIdentity => "no_identity",
            Self::NoServerName => "no_server_name",
            Self::PlainText => "plain_text",
            Self::OldVersion => "old_version",
            Self::RefusedByPeer => "refused_by_peer",
            Self::Timeout => "timeout",
            Self::Closed => "closed",
            Self::Protocol => "protocol",
        }
    }

    /// The alert that tells the peer, where we refuse its ClientHello ourselves.
    pub(crate) const fn alert(self) -> AlertDescription {
        match self {
            Self::WrongAlpn => AlertDescription::NoApplicationProtocol,
            Self::WrongService
            | Self::WrongInstance
            | Self::WrongTrustDomain
            | Self::NoServerName => AlertDescription::UnrecognisedName,
            Self::OldVersion => AlertDescription::ProtocolVersion,
            _ => AlertDescription::HandshakeFailure,
        }
    }

    /// As an error that a verifier returns; [`TlsReason::of`] finds it again.
    pub(crate) fn into_error(self) -> Error {
        match self {
            Self::UnknownCa => CertificateError::UnknownIssuer.into(),
            Self::Expired => CertificateError::Expired.into(),
            Self::NotYetValid => CertificateError::NotValidYet.into(),
            Self::Revoked => CertificateError::Revoked.into(),
            other => {
                CertificateError::Other(OtherError(std::sync::Arc::new(Refused(other)))).into()
            }
        }
    }

    /// What an error of the TLS library means.
    pub(crate) fn of(error: &Error) -> Self {
        match error {
            Error::InvalidCertificate(error) => Self::of_certificate(error),
            Error::NoCertificatesPresented => Self::NoCertificate,
            Error::NoApplicationProtocol => Self::WrongAlpn,
            Error::PeerIncompatible(
                PeerIncompatible::SupportedVersionsExtensionRequired
                | PeerIncompatible::Tls12NotOffered
                | PeerIncompatible::Tls12NotOfferedOrEnabled
                | PeerIncompatible::ServerDoesNotSupportTls12Or13
                | PeerIncompatible::ServerTlsVersionIsDisabledByOurConfig,
            ) => Self::OldVersion,
            // No record begins so.
            Error::InvalidMessage(InvalidMessage::InvalidContentType) => Self::PlainText,
            Error::AlertReceived(alert) => Self::of_alert(*alert),
            _ => Self::Protocol,
        }
    }

    /// What an error of a TLS stream means.
    pub(crate) fn of_io(error: &io::Error) -> Self {
        match error
            .get_ref()
            .and_then(|inner| inner.downcast_ref::<Error>())
        {
            Some(error) => Self::of(error),
            None if error.kind() == io::ErrorKind::TimedOut => Self::Timeout,
            None => Self::Closed,
        }
    }

    /// What TLS said, if it was TLS that said something. A missing close_notify is a reset like any other.
    pub(crate) fn within(error: &io::Error) -> Option<Self> {
        Some(Self::of(error.get_ref()?.downcast_ref::<Error>()?))
    }

    fn of_certificate(error: &CertificateError) -> Self {
        match error {
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownCa,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Self::NotYetValid
            }
            CertificateError::Revoked => Self::Revoked,
            CertificateError::Other(other) => match other.0.downcast_ref::<Refused>() {
                Some(refused) => refused.0,
                None => Self::BadCertificate,
            },
            _ => Self::BadCertificate,
        }
    }

    fn of_alert(alert: AlertDescription) -> Self {
        match alert {
            AlertDescription::NoApplicationProtocol => Self::WrongAlpn,
            AlertDescription::UnrecognisedName => Self::WrongInstance,
            AlertDescription::ProtocolVersion => Self::OldVersion,
            _ => Self::RefusedByPeer,
        }
    }
}

#[derive(Debug)]
struct Refused(TlsReason);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.word())
    }
}

impl std::error::Error for Refused {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_a_verifier_gives_survives_the_library() {
        for reason in TlsReason::ALL {
            let error = io::Error::new(io::ErrorKind::InvalidData, reason.into_error());
            assert_eq!(TlsReason::of_io(&error), reason);
        }
    }
}
