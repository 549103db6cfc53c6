//! Certificates of any bytes, and of any contents under a good signature: who is believed, has proved who he is.

use std::cell::OnceCell;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, KeyUsagePurpose,
    SerialNumber,
};
use rustls_pki_types::CertificateDer;
use weft_core::caller::{Kind, Local, SpiffeId};
use weft_model::section::Host;

use super::mill::{Authority, NOW, dns, leaf, now, uri, valid};
use super::{Facts, PeerName, Role, TlsReason, Trust};

const DOMAIN: &str = "test.weft";
const API: &str = "spiffe://test.weft/ns/shop/dc/local/svc/api";
const REVOKED: u64 = 0xdead;

/// A root, an intermediate, and a good leaf of each.
struct Stage {
    root: Authority,
    middle: Authority,
    trust: Arc<Trust>,
    local: Local,
    good: CertificateDer<'static>,
}

thread_local! {
    static STAGE: OnceCell<Stage> = const { OnceCell::new() };
}

/// The first byte says what the rest is: a certificate, changes of a good one, or what a signed one is to say.
pub fn check(data: &[u8]) {
    let Some((first, rest)) = data.split_first() else {
        return;
    };
    STAGE.with(|stage| {
        let stage = stage.get_or_init(Stage::new);
        match first % 4 {
            0 => stage.any(rest),
            1 => stage.changed(rest),
            2 => stage.signed(rest),
            _ => stage.named(rest),
        }
    });
}

// === impl Stage ===

impl Stage {
    fn new() -> Self {
        let root = Authority::root("mesh");
        let middle = root.under("middle", |_| ());
        let bundles = [(DOMAIN.to_owned(), vec![root.der.clone()])].into();
        let local = Local::of(&Host {
            name: "vm-1".to_owned(),
            zone: String::new(),
            trust_domain: DOMAIN.to_owned(),
            datacenter: "local".to_owned(),
        });
        let good = root.sign(&leaf(API));
        Self {
            trust: Arc::new(Trust::new(bundles, [format!("{REVOKED:x}")]).expect("a bundle")),
            root,
            middle,
            local,
            good,
        }
    }

    fn judge(&self, chain: &[CertificateDer<'_>], role: Role) -> Result<Facts, TlsReason> {
        self.trust.judge(chain, role, &self.local, now())
    }

    /// Nobody signed it, so nobody is believed; nor does it help or hurt to be read twice.
    fn any(&self, bytes: &[u8]) {
        let der = CertificateDer::from(bytes.to_vec());
        let read = Facts::read(&der).map(|facts| format!("{facts:?}"));
        assert_eq!(read, Facts::read(&der).map(|facts| format!("{facts:?}")));
        for role in [Role::Client, Role::Server] {
            let alone = self.judge(std::slice::from_ref(&der), role);
            assert!(alone.is_err(), "{alone:?}");
            // Every certificate that is shown has to hold.
            let beside = self.judge(&[self.good.clone(), der.clone()], role);
            assert!(read.is_ok() || beside.is_err(), "{beside:?}");
        }
    }

    /// Whatever of a certificate is changed, it is none any more.
    fn changed(&self, changes: &[u8]) {
        let mut bytes = self.good.to_vec();
        for change in changes.chunks_exact(3) {
            let at = usize::from(u16::from_be_bytes([change[0], change[1]])) % bytes.len();
            bytes[at] = change[2];
        }
        let same = bytes == self.good[..];
        let der = CertificateDer::from(bytes);
        for role in [Role::Client, Role::Server] {
            let said = self.judge(std::slice::from_ref(&der), role);
            assert_eq!(said.is_ok(), same, "{said:?}");
        }
    }

    /// Signed by the root or its intermediate: whoever is believed is a service or a gateway of this trust domain, told by one
    /// name, in time, by a key for handshakes and no authority's.
    fn signed(&self, wishes: &[u8]) {
        let mut wishes = wishes.iter().copied();
        let mut wish = || wishes.next().unwrap_or(0);
        let [form, time, usage, numbers] = [wish(), wish(), wish(), wish()];
        let rest: Vec<u8> = wishes.collect();
        let names: Vec<&str> = std::str::from_utf8(&rest)
            .unwrap_or_default()
            .split('\n')
            .filter(|name| !name.is_empty() && name.is_ascii())
            .take(4)
            .collect();
        let mut params = leaf(API);
        let (from, to) = (
            NOW - 8 + u64::from(time & 15),
            NOW - 8 + u64::from(time >> 4),
        );
        let CertificateParams {
            not_before,
            not_after,
            ..
        } = valid(from, to);
        if form & 1 == 1 {
            (params.not_before, params.not_after) = (not_before, not_after);
        }
        let usages = [
            KeyUsagePurpose::DigitalSignature,
            KeyUsagePurpose::KeyCertSign,
            KeyUsagePurpose::CrlSign,
            KeyUsagePurpose::KeyEncipherment,
        ];
        params.key_usages = chosen(usages, usage ^ 1);
        let purposes = [
            ExtendedKeyUsagePurpose::ServerAuth,
            ExtendedKeyUsagePurpose::ClientAuth,
            ExtendedKeyUsagePurpose::CodeSigning,
        ];
        params.extended_key_usages = chosen(purposes, usage >> 4 ^ 3);
        params.is_ca = match form >> 1 & 3 {
            3 => IsCa::Ca(BasicConstraints::Unconstrained),
            2 => IsCa::ExplicitNoCa,
            _ => IsCa::NoCa,
        };
        let serial = if numbers & 7 == 7 {
            REVOKED
        } else {
            1 + u64::from(numbers)
        };
        params.serial_number = Some(SerialNumber::from(serial));
        params.subject_alt_names = names
            .iter()
            .map(|name| name.strip_prefix("dns:").map_or_else(|| uri(name), dns))
            .collect();
        let by = if form & 8 == 0 {
            &self.root
        } else {
            &self.middle
        };
        let chain = [by.sign(&params), self.middle.der.clone()];
        let ids: Vec<&&str> = names
            .iter()
            .filter(|name| !name.starts_with("dns:"))
            .collect();
        for (role, purpose) in [(Role::Client, 1), (Role::Server, 0)] {
            let Ok(facts) = self.judge(&chain, role) else {
                continue;
            };
            let [id] = ids[..] else {
                panic!("believed by {ids:?}");
            };
            let told = facts.spiffe.expect("an ID");
            assert_eq!(Ok(&told), SpiffeId::parse(id).as_ref());
            assert!(matches!(
                told.kind(),
                Kind::Service { .. } | Kind::Gateway { .. }
            ));
            assert_eq!(told.trust_domain(), DOMAIN);
            assert!(form & 1 == 0 || (from <= NOW && NOW <= to), "out of time");
            assert!(form >> 1 & 3 != 3 && (usage ^ 1) & 7 == 1, "an authority's");
            let wanted =
                params.extended_key_usages.is_empty() || (usage >> 4 ^ 3) >> purpose & 1 == 1;
            assert!(wanted, "for another purpose");
            assert_ne!(serial, REVOKED);
        }
    }

    /// A server name that is read is put together again by what was read of it.
    fn named(&self, text: &[u8]) {
        let Ok(text) = std::str::from_utf8(text) else {
            return;
        };
        if let Ok(name) = PeerName::parse(text, DOMAIN) {
            let (namespace, service) = name.service.split_once('/').expect("both parts");
            let told = format!("{}.{service}.{namespace}.{DOMAIN}", name.instance);
            assert!(
                told.eq_ignore_ascii_case(text),
                "{text:?} is read as {told:?}"
            );
            assert!(self.local.service(&name.service).is_ok());
        }
    }
}

fn chosen<T>(all: impl IntoIterator<Item = T>, by: u8) -> Vec<T> {
    all.into_iter()
        .enumerate()
        .filter(|(at, _)| by >> at & 1 == 1)
        .map(|(_, one)| one)
        .collect()
}
