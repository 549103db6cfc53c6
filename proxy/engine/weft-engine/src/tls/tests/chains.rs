//! Chains and time: who vouches for a name, and whether that holds now.

use rcgen::{BasicConstraints, CertificateParams, IsCa, KeyPair, KeyUsagePurpose, SerialNumber};
use rustls_pki_types::CertificateDer;

use super::mill::{Authority, NOW, leaf, valid};
use super::{API, ASKED, Row, as_called, as_caller, hold, trust};
use crate::tls::TlsReason::{BadCertificate, Expired, NotYetValid, Revoked, UnknownCa};
use crate::tls::Trust;

pub(super) type Chain = Vec<CertificateDer<'static>>;

/// A leaf of `shop/api` by the last of these, with the others behind it.
pub(super) fn by(authorities: &[&Authority]) -> Chain {
    let (last, _) = authorities.split_last().expect("one at least");
    let above = authorities.iter().rev().map(|one| one.der.clone());
    last.with(API, |_| ()).into_iter().chain(above).collect()
}

#[test]
fn a_chain_ends_in_the_bundle_and_every_link_holds() {
    let (root, other, twin) = (
        Authority::root("mesh"),
        Authority::root("other"),
        Authority::root("mesh"),
    );
    let middle = root.under("middle", |_| ());
    let second = middle.under("second", |_| ());
    let mut shuffled = by(&[&middle, &second]);
    shuffled.swap(1, 2);
    let mut with_root = by(&[&middle]);
    with_root.push(root.der.clone());
    let mut strangers_middle = by(&[&middle]);
    strangers_middle[1] = other.under("middle", |_| ()).der;
    let mut beside = by(&[&middle]);
    beside.push(other.der.clone());
    let own = KeyPair::generate().expect("a key");
    let alone = vec![leaf(API).self_signed(&own).expect("signed").der().clone()];
    let ended = root.under("ended", |params| {
        params.not_after = valid(0, NOW - 1).not_after
    });
    let coming = root.under("coming", |params| {
        params.not_before = valid(NOW + 60, 0).not_before
    });
    let narrow = root.under("narrow", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0))
    });
    let below_narrow = narrow.under("below", |_| ());
    let no_ca = root.under("no ca", |params| params.is_ca = IsCa::NoCa);
    let plain = root.under("says no ca", |params| params.is_ca = IsCa::ExplicitNoCa);
    let not_signing = root.under("not signing", |params| {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    });
    let silent = root.under("silent", |params| params.key_usages.clear());
    let mut deep = vec![root.under("0", |_| ())];
    for n in 1..9 {
        deep.push(deep[n - 1].under(&n.to_string(), |_| ()));
    }
    let rows = vec![
        Row::both("by the root", root.with(API, |_| ()), Ok(())),
        Row::both("by an intermediate", by(&[&middle]), Ok(())),
        Row::both(
            "by an intermediate's intermediate",
            by(&[&middle, &second]),
            Ok(()),
        ),
        Row::both("in another order", shuffled, Ok(())),
        Row::both("with the root", with_root, Ok(())),
        Row::both("with a stranger's beside", beside, Ok(())),
        Row::both("at the path's length", by(&[&narrow]), Ok(())),
        Row::both(
            "by one that says nothing of its key's usage",
            by(&[&silent]),
            Ok(()),
        ),
        Row::both("by another root", other.with(API, |_| ()), Err(UnknownCa)),
        Row::both(
            "by a root of the same name",
            twin.with(API, |_| ()),
            Err(UnknownCa),
        ),
        Row::both("by itself", alone, Err(UnknownCa)),
        Row::both(
            "its intermediate missing",
            middle.with(API, |_| ()),
            Err(UnknownCa),
        ),
        Row::both("one of two missing", by(&[&second]), Err(UnknownCa)),
        Row::both("another intermediate", strangers_middle, Err(UnknownCa)),
        Row::both("the intermediate ended", by(&[&ended]), Err(Expired)),
        Row::both(
            "the intermediate's time is to come",
            by(&[&coming]),
            Err(NotYetValid),
        ),
        Row::both(
            "beyond the path's length",
            by(&[&narrow, &below_narrow]),
            Err(BadCertificate),
        ),
        Row::both("by a leaf", by(&[&no_ca]), Err(BadCertificate)),
        Row::both(
            "by one that says it is no CA",
            by(&[&plain]),
            Err(BadCertificate),
        ),
        Row::both(
            "by one whose key may not sign",
            by(&[&not_signing]),
            Err(BadCertificate),
        ),
        Row::both(
            "a chain too long to follow",
            by(&deep.iter().collect::<Vec<_>>()),
            Err(BadCertificate),
        ),
    ];
    hold(&trust(&root, &[]), rows, 21);
}

#[test]
fn a_certificates_time_is_exact_on_both_ends() {
    let root = Authority::root("mesh");
    let time = |from, to| {
        root.with(API, |params| {
            let CertificateParams {
                not_before,
                not_after,
                ..
            } = valid(from, to);
            (params.not_before, params.not_after) = (not_before, not_after);
        })
    };
    let rows = vec![
        Row::both("begins now", time(NOW, NOW + 9), Ok(())),
        Row::both("ends now", time(NOW - 9, NOW), Ok(())),
        Row::both("ended a second ago", time(NOW - 9, NOW - 1), Err(Expired)),
        Row::both("ended long ago", time(0, 1), Err(Expired)),
        Row::both(
            "begins in a second",
            time(NOW + 1, NOW + 9),
            Err(NotYetValid),
        ),
        Row::both(
            "begins in a century",
            time(4_100_000_000, 4_200_000_000),
            Err(NotYetValid),
        ),
        Row::both(
            "ends before it begins",
            time(NOW + 9, NOW - 9),
            Err(Expired),
        ),
    ];
    hold(&trust(&root, &[]), rows, 7);
}

#[test]
fn what_is_revoked_is_refused_wherever_it_stands_and_however_it_is_written() {
    let root = Authority::root("mesh");
    let numbered = |serial: u64| {
        root.with(API, |params| {
            params.serial_number = Some(SerialNumber::from(serial))
        })
    };
    let middle = root.under("middle", |params| {
        params.serial_number = Some(SerialNumber::from(0xabc_u64))
    });
    let rows = vec![
        Row::both("revoked", numbered(0xdead), Err(Revoked)),
        Row::both("revoked with zeros before it", numbered(0x0f), Err(Revoked)),
        Row::both("revoked in capitals", numbered(0xc0ffee), Err(Revoked)),
        Row::both("its intermediate revoked", by(&[&middle]), Err(Revoked)),
        Row::both("one that begins the same", numbered(0x00de_ad00), Ok(())),
        Row::both("one that ends the same", numbered(0x0001_dead), Ok(())),
    ];
    hold(&trust(&root, &["dead", "000f", "C0FFEE", "abc"]), rows, 6);
}

#[test]
fn without_a_bundle_of_ones_own_domain_nobody_is_believed() {
    let root = Authority::root("mesh");
    let elsewhere =
        std::collections::BTreeMap::from([("elsewhere".to_owned(), vec![root.der.clone()])]);
    let trust = std::sync::Arc::new(Trust::new(elsewhere, []).expect("a bundle"));
    let chain = root.with(API, |_| ());
    assert_eq!(as_caller(&trust, &chain), Err(UnknownCa));
    assert_eq!(as_called(&trust, &chain, ASKED), Err(UnknownCa));
}
