//! A certificate authority, and what it signs.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType, SerialNumber,
};

pub(crate) const TRUST_DOMAIN: &str = "test.weft";

/// A CA with its key.
pub(crate) struct Ca {
    pub(crate) der: Vec<u8>,
    params: CertificateParams,
    key: KeyPair,
}

/// A certificate with its key.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) chain: Vec<Vec<u8>>,
    pub(crate) key: Vec<u8>,
    pub(crate) serial: u64,
}

impl Ca {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let der = params.self_signed(&key).expect("a root").der().to_vec();
        Self { der, params, key }
    }

    /// For `ns/service` or `gateway:name`, or any `spiffe://` identity, for a day.
    pub(crate) fn leaf(&self, name: &str) -> Leaf {
        self.leaf_for(name, Duration::from_secs(86_400))
    }

    pub(crate) fn leaf_for(&self, name: &str, life: Duration) -> Leaf {
        let uri = spiffe(name).try_into().expect("ASCII");
        self.sign(vec![SanType::URI(uri)], life)
    }

    /// Itself, as if it were somebody's own.
    pub(crate) fn as_leaf(&self) -> Leaf {
        Leaf {
            chain: vec![self.der.clone()],
            key: self.key.serialize_der(),
            serial: 0,
        }
    }

    /// For public host names.
    pub(crate) fn public(&self, names: &[&str]) -> Leaf {
        let name = |name: &&str| SanType::DnsName((*name).try_into().expect("ASCII"));
        self.sign(
            names.iter().map(name).collect(),
            Duration::from_secs(86_400),
        )
    }

    fn sign(&self, names: Vec<SanType>, life: Duration) -> Leaf {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        let serial = u64::from(rand::random::<u32>()) + 1;
        params.serial_number = Some(SerialNumber::from(serial));
        params.subject_alt_names = names;
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.extended_key_usages = vec![
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
        ];
        let now = SystemTime::now();
        params.not_before = (now - Duration::from_secs(2)).into();
        params.not_after = (now + life).into();
        let issuer = Issuer::from_params(&self.params, &self.key);
        let der = params
            .signed_by(&key, &issuer)
            .expect("signed")
            .der()
            .to_vec();
        Leaf {
            chain: vec![der],
            key: key.serialize_der(),
            serial,
        }
    }
}

pub(crate) fn spiffe(name: &str) -> String {
    if name.starts_with("spiffe://") {
        return name.to_owned();
    }
    match (name.strip_prefix("gateway:"), name.split_once('/')) {
        (Some(gateway), _) => format!("spiffe://{TRUST_DOMAIN}/ns/mesh/dc/local/gateway/{gateway}"),
        (None, Some((ns, service))) => {
            format!("spiffe://{TRUST_DOMAIN}/ns/{ns}/dc/local/svc/{service}")
        }
        _ => format!("spiffe://{TRUST_DOMAIN}/host/{name}"),
    }
}
