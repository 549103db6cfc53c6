//! What a certificate says, as far as the mesh asks.

use rustls_pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, GeneralName, KeyUsage, X509Certificate};

use weft_core::caller::SpiffeId;

use super::TlsReason;

/// The facts of one certificate.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    /// Its one SPIFFE ID; none in a public certificate.
    pub(crate) spiffe: Option<SpiffeId>,
    /// Its DNS names, lower case; `*.` before a wildcard.
    pub(crate) dns: Vec<String>,
    /// Whether it may sign others: it says that it is a CA, or its key may be used for that.
    pub(crate) is_ca: bool,
    /// What its key may be used for.
    pub(crate) usage: Usage,
    /// Lower-case hex without leading zeros.
    pub(crate) serial: String,
    /// Seconds since the epoch.
    pub(crate) not_before: i64,
    /// Seconds since the epoch; exact.
    pub(crate) not_after: i64,
    /// When the first certificate of its chain ends: nothing under it may go on for longer.
    pub(crate) holds_until: i64,
}

/// What a key may be used for (RFC 5280 section 4.2.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Usage {
    /// It is not said.
    Unsaid,
    /// Certificates or revocation lists are among it.
    Signing,
    /// Handshakes are among it, and no signing of others.
    Handshakes,
    /// None of these.
    Other,
}

// === impl Facts ===

impl Facts {
    /// Reads a certificate; it is not verified by that.
    pub(crate) fn read(certificate: &CertificateDer<'_>) -> Result<Self, TlsReason> {
        let (rest, parsed) =
            X509Certificate::from_der(certificate).map_err(|_| TlsReason::BadCertificate)?;
        if !rest.is_empty() {
            return Err(TlsReason::BadCertificate);
        }
        let usage = parsed
            .key_usage()
            .map_err(|_| TlsReason::BadCertificate)?
            .map_or(Usage::Unsaid, |found| Usage::of(found.value));
        let is_ca = parsed
            .basic_constraints()
            .map_err(|_| TlsReason::BadCertificate)?
            .is_some_and(|found| found.value.ca);
        let names = parsed
            .subject_alternative_name()
            .map_err(|_| TlsReason::BadCertificate)?;
        let names = names.map_or(&[][..], |found| &found.value.general_names[..]);
        let mut uris = names.iter().filter_map(|name| match name {
            GeneralName::URI(uri) => Some(*uri),
            _ => None,
        });
        let spiffe = match (uris.next(), uris.next()) {
            (Some(uri), None) => SpiffeId::parse(uri).ok(),
            _ => None,
        };
        let dns = names.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let not_after = parsed.validity().not_after.timestamp();
        Ok(Self {
            spiffe,
            dns: dns.collect(),
            is_ca: is_ca || usage == Usage::Signing,
            usage,
            serial: serial(parsed.raw_serial()),
            not_before: parsed.validity().not_before.timestamp(),
            not_after,
            holds_until: not_after,
        })
    }

    /// Reads a chain: what its leaf says, and how long all of it holds.
    pub(crate) fn of_chain(chain: &[CertificateDer<'_>]) -> Result<Self, TlsReason> {
        let (leaf, rest) = chain.split_first().ok_or(TlsReason::NoCertificate)?;
        let mut facts = Self::read(leaf)?;
        for certificate in rest {
            facts.holds_until = facts.holds_until.min(Self::read(certificate)?.not_after);
        }
        Ok(facts)
    }

    /// Whether it may stand between a leaf and a root.
    pub(crate) fn may_issue(&self) -> bool {
        self.is_ca && matches!(self.usage, Usage::Unsaid | Usage::Signing)
    }

    /// Whether it speaks for a host name, in lower case; a wildcard stands for exactly one label (RFC 9525 section 6.3).
    pub(crate) fn speaks_for(&self, host: &str) -> bool {
        self.dns.iter().any(|name| match name.strip_prefix("*.") {
            Some(parent) => host
                .split_once('.')
                .is_some_and(|(label, rest)| !label.is_empty() && rest == parent),
            None => name == host,
        })
    }
}

// === impl Usage ===

impl Usage {
    fn of(usage: &KeyUsage) -> Self {
        if usage.key_cert_sign() || usage.crl_sign() {
            Self::Signing
        } else if usage.digital_signature() {
            Self::Handshakes
        } else {
            Self::Other
        }
    }
}

fn serial(bytes: &[u8]) -> String {
    let hex: String = bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(hex_digit)
        .collect();
    normal_serial(&hex).to_owned()
}

fn hex_digit(nibble: u8) -> char {
    char::from_digit(u32::from(nibble), 16).expect("a nibble is below 16")
}

/// A serial as it is compared, whoever wrote it.
pub(crate) fn normal_serial(hex: &str) -> &str {
    match hex.trim_start_matches('0') {
        "" => "0",
        digits => digits,
    }
}
