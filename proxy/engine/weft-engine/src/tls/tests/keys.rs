//! Keys, extensions, signatures: what a certificate may be used for, and whether its bytes are its CA's.

use rcgen::{
    BasicConstraints, CustomExtension, ExtendedKeyUsagePurpose, GeneralSubtree, IsCa, KeyPair,
    KeyUsagePurpose, NameConstraints,
};
use rustls_pki_types::CertificateDer;

use super::chains::{Chain, by};
use super::mill::{Authority, dns, leaf};
use super::{API, Row, hold, trust};
use crate::tls::TlsReason::{BadCertificate, CaCertificate, UnknownCa};

#[test]
fn a_certificate_that_may_sign_is_never_a_peers_own() {
    let root = Authority::root("mesh");
    let ca = |is_ca| root.with(API, |params| params.is_ca = is_ca);
    let usages =
        |usages: &[KeyUsagePurpose]| root.with(API, |params| params.key_usages = usages.to_vec());
    use KeyUsagePurpose::{CrlSign, DigitalSignature, KeyCertSign};
    let rows = vec![
        Row::both("the root", vec![root.der.clone()], Err(CaCertificate)),
        Row::both(
            "an intermediate",
            vec![root.under("middle", |_| ()).der],
            Err(CaCertificate),
        ),
        Row::both(
            "an identity that is a CA",
            ca(IsCa::Ca(BasicConstraints::Unconstrained)),
            Err(CaCertificate),
        ),
        Row::both(
            "and may sign only leaves",
            ca(IsCa::Ca(BasicConstraints::Constrained(0))),
            Err(CaCertificate),
        ),
        Row::both("that says it is none", ca(IsCa::ExplicitNoCa), Ok(())),
        Row::both(
            "its key may sign certificates",
            usages(&[DigitalSignature, KeyCertSign]),
            Err(CaCertificate),
        ),
        Row::both(
            "its key may sign revocations",
            usages(&[DigitalSignature, CrlSign]),
            Err(CaCertificate),
        ),
        Row::both(
            "a stranger's CA",
            vec![Authority::root("other").der],
            Err(CaCertificate),
        ),
    ];
    hold(&trust(&root, &[]), rows, 8);
}

#[test]
fn a_key_is_used_only_for_what_its_certificate_says() {
    let root = Authority::root("mesh");
    let usages =
        |usages: &[KeyUsagePurpose]| root.with(API, |params| params.key_usages = usages.to_vec());
    let extended = |usages: &[ExtendedKeyUsagePurpose]| {
        root.with(API, |params| params.extended_key_usages = usages.to_vec())
    };
    use ExtendedKeyUsagePurpose::{Any, ClientAuth, CodeSigning, ServerAuth};
    use KeyUsagePurpose::{DigitalSignature, KeyAgreement, KeyEncipherment};
    let servers_only = root.under("servers", |params| {
        params.extended_key_usages = vec![ServerAuth]
    });
    let one_sided = |what: &str, chain: Chain, caller, called| Row {
        what: what.to_owned(),
        chain,
        caller,
        called,
    };
    let rows = vec![
        Row::both(
            "as Consul writes it",
            usages(&[DigitalSignature, KeyEncipherment, KeyAgreement]),
            Ok(()),
        ),
        Row::both("nothing said", usages(&[]), Err(BadCertificate)),
        Row::both(
            "encryption only",
            usages(&[KeyEncipherment]),
            Err(BadCertificate),
        ),
        Row::both(
            "agreement only",
            usages(&[KeyAgreement]),
            Err(BadCertificate),
        ),
        Row::both("no extended usage said", extended(&[]), Ok(())),
        Row::both(
            "more than is needed",
            extended(&[ServerAuth, ClientAuth, CodeSigning]),
            Ok(()),
        ),
        Row::both("code only", extended(&[CodeSigning]), Err(BadCertificate)),
        Row::both("anything", extended(&[Any]), Err(BadCertificate)),
        one_sided(
            "clients only",
            extended(&[ClientAuth]),
            Ok(()),
            Err(BadCertificate),
        ),
        one_sided(
            "servers only",
            extended(&[ServerAuth]),
            Err(BadCertificate),
            Ok(()),
        ),
        one_sided(
            "by a CA for servers only",
            by(&[&servers_only]),
            Err(BadCertificate),
            Ok(()),
        ),
    ];
    hold(&trust(&root, &[]), rows, 11);
}

#[test]
fn what_is_critical_is_understood_or_refused() {
    let root = Authority::root("mesh");
    let extension = |critical| {
        root.with(API, |params| {
            let mut unknown =
                CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
            unknown.set_criticality(critical);
            params.custom_extensions.push(unknown);
        })
    };
    let names = root.under("names", |params| {
        params.name_constraints = Some(NameConstraints {
            permitted_subtrees: vec![GeneralSubtree::DnsName("corp.test".to_owned())],
            excluded_subtrees: Vec::new(),
        });
    });
    let named = |name: &str| {
        let mut params = leaf(API);
        params.subject_alt_names.push(dns(name));
        vec![names.sign(&params), names.der.clone()]
    };
    let rows = vec![
        Row::both("unknown", extension(false), Ok(())),
        Row::both("unknown and critical", extension(true), Err(BadCertificate)),
        Row::both("within its CA's names", named("api.corp.test"), Ok(())),
        Row::both(
            "beyond its CA's names",
            named("api.evil.test"),
            Err(BadCertificate),
        ),
    ];
    hold(&trust(&root, &[]), rows, 4);
}

#[test]
fn bytes_that_were_tampered_with_prove_nothing() {
    let root = Authority::root("mesh");
    let good = root.with(API, |_| ())[0].to_vec();
    let changed = |change: &dyn Fn(&mut Vec<u8>)| {
        let mut bytes = good.clone();
        change(&mut bytes);
        vec![CertificateDer::from(bytes)]
    };
    let at = |bytes: &[u8], part: &[u8]| {
        bytes
            .windows(part.len())
            .position(|window| window == part)
            .expect("there")
    };
    let mut unreadable = by(&[&root.under("middle", |_| ())]);
    unreadable[1] = CertificateDer::from(vec![0x30, 0x03, 1, 2]);
    let rows = vec![
        Row::both(
            "signature",
            changed(&|bytes| *bytes.last_mut().expect("some") ^= 1),
            Err(UnknownCa),
        ),
        Row::both(
            "name",
            changed(&|bytes| {
                let start = at(bytes, API.as_bytes());
                bytes[start + API.len() - 3..start + API.len()].copy_from_slice(b"web");
            }),
            Err(UnknownCa),
        ),
        Row::both(
            "an algorithm nobody should use",
            changed(&|bytes| weaken(bytes)),
            Err(BadCertificate),
        ),
        Row::both(
            "cut off",
            changed(&|bytes| bytes.truncate(bytes.len() / 2)),
            Err(BadCertificate),
        ),
        Row::both(
            "surplus",
            changed(&|bytes| bytes.push(0)),
            Err(BadCertificate),
        ),
        Row::both(
            "nothing",
            vec![CertificateDer::from(Vec::new())],
            Err(BadCertificate),
        ),
        Row::both(
            "no certificate at all",
            vec![CertificateDer::from(b"hello".to_vec())],
            Err(BadCertificate),
        ),
        Row::both(
            "an unreadable intermediate",
            unreadable,
            Err(BadCertificate),
        ),
    ];
    hold(&trust(&root, &[]), rows, 8);
}

/// ECDSA with SHA-256 becomes ECDSA with SHA-224, inside and outside of what is signed (RFC 5758 section 3.2).
fn weaken(bytes: &mut [u8]) {
    let sha256 = [0x2a, 0x86, 0x48, 0xce, 0x3d, 0x04, 0x03, 0x02];
    let places: Vec<usize> = (0..bytes.len() - sha256.len())
        .filter(|start| bytes[*start..].starts_with(&sha256))
        .collect();
    assert_eq!(places.len(), 2);
    for start in places {
        bytes[start + sha256.len() - 1] = 0x01;
    }
}

#[test]
fn any_modern_algorithm_may_sign_and_be_signed() {
    for algorithm in [
        &rcgen::PKCS_ECDSA_P256_SHA256,
        &rcgen::PKCS_ECDSA_P384_SHA384,
        &rcgen::PKCS_ED25519,
        &rcgen::PKCS_RSA_SHA256,
    ] {
        let root = Authority::root_of("mesh", algorithm);
        let key = KeyPair::generate_for(algorithm).expect("a key");
        let chain = vec![root.sign_key(&leaf(API), &key)];
        let row = Row::both(&format!("{algorithm:?}"), chain, Ok(()));
        hold(&trust(&root, &[]), vec![row], 1);
    }
}
