//! Makes certificates of any kind, at a moment of its own.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber, SignatureAlgorithm,
};
use rustls_pki_types::{CertificateDer, UnixTime};

/// Seconds since the epoch.
pub(super) const NOW: u64 = 1_800_000_000;

/// A CA with its key.
pub(super) struct Authority {
    pub(super) der: CertificateDer<'static>,
    params: CertificateParams,
    key: KeyPair,
}

pub(super) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(NOW))
}

/// What every leaf is made from: good in everything.
pub(super) fn leaf(id: &str) -> CertificateParams {
    let mut params = valid(NOW - 60, NOW + 3_600);
    params.subject_alt_names = vec![uri(id)];
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ServerAuth,
        ExtendedKeyUsagePurpose::ClientAuth,
    ];
    params
}

pub(super) fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().expect("ASCII"))
}

pub(super) fn dns(text: &str) -> SanType {
    SanType::DnsName(text.try_into().expect("ASCII"))
}

/// Of that time, and nothing else.
pub(super) fn valid(from: u64, to: u64) -> CertificateParams {
    let mut params = CertificateParams::new(Vec::new()).expect("parameters");
    params.not_before = (SystemTime::UNIX_EPOCH + Duration::from_secs(from)).into();
    params.not_after = (SystemTime::UNIX_EPOCH + Duration::from_secs(to)).into();
    params.serial_number = Some(SerialNumber::from(0xbeef_u64));
    params
}

// === impl Authority ===

impl Authority {
    pub(super) fn root(name: &str) -> Self {
        let params = signing(name, IsCa::Ca(BasicConstraints::Unconstrained));
        let key = KeyPair::generate().expect("a key");
        let der = params.self_signed(&key).expect("signed").der().clone();
        Self { der, params, key }
    }

    /// With an algorithm of its own.
    pub(super) fn root_of(name: &str, algorithm: &'static SignatureAlgorithm) -> Self {
        let params = signing(name, IsCa::Ca(BasicConstraints::Unconstrained));
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let der = params.self_signed(&key).expect("signed").der().clone();
        Self { der, params, key }
    }

    /// An intermediate below this one, changed as the test wants.
    pub(super) fn under(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Self {
        let mut params = signing(name, IsCa::Ca(BasicConstraints::Unconstrained));
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params
            .signed_by(&key, &issuer)
            .expect("signed")
            .der()
            .clone();
        Self { der, params, key }
    }

    /// Signs whatever it is asked to, for a new key.
    pub(super) fn sign(&self, params: &CertificateParams) -> CertificateDer<'static> {
        self.sign_key(params, &KeyPair::generate().expect("a key"))
    }

    /// The same for a given key.
    pub(super) fn sign_key(
        &self,
        params: &CertificateParams,
        key: &KeyPair,
    ) -> CertificateDer<'static> {
        let issuer = Issuer::from_params(&self.params, &self.key);
        params
            .signed_by(key, &issuer)
            .expect("signed")
            .der()
            .clone()
    }

    /// A leaf of that identity, changed as the test wants, alone.
    pub(super) fn with(
        &self,
        id: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Vec<CertificateDer<'static>> {
        let mut params = leaf(id);
        change(&mut params);
        vec![self.sign(&params)]
    }
}

fn signing(name: &str, is_ca: IsCa) -> CertificateParams {
    let mut params = valid(NOW - 86_400, NOW + 86_400);
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = is_ca;
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
}
