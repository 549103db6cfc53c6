//! A table of certificates, judged in both directions: as the caller at the inbound port, and as the instance that is called.
//! What each is called when it is refused is part of the interface.

mod chains;
mod ids;
mod keys;
mod names;
mod sessions;

use std::collections::BTreeMap;
use std::sync::Arc;

use rustls::client::danger::ServerCertVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls_pki_types::{CertificateDer, ServerName};
use weft_core::caller::Local;
use weft_model::section::Host;

use super::verifier::{CallerVerifier, InstanceVerifier};
use super::{TlsReason, Trust, mill};
use mill::{Authority, now};

/// Accepted, or why not.
type Said = Result<(), TlsReason>;

/// What a peer shows, and what is said to it.
struct Row {
    what: String,
    chain: Vec<CertificateDer<'static>>,
    caller: Said,
    called: Said,
}

/// Where the judges live; they call `shop/api`.
const DOMAIN: &str = "test.weft";
const ASKED: &str = "api-1.api.shop.test.weft";
const API: &str = "spiffe://test.weft/ns/shop/dc/local/svc/api";

// === impl Row ===

impl Row {
    /// Both directions say the same.
    fn both(what: &str, chain: Vec<CertificateDer<'static>>, said: Said) -> Self {
        Self {
            what: what.to_owned(),
            chain,
            caller: said,
            called: said,
        }
    }
}

fn local() -> Arc<Local> {
    Arc::new(Local::of(&Host {
        name: "vm-1".to_owned(),
        zone: String::new(),
        trust_domain: DOMAIN.to_owned(),
        datacenter: "local".to_owned(),
    }))
}

fn trust(root: &Authority, revoked: &[&str]) -> Arc<Trust> {
    let bundles = BTreeMap::from([(DOMAIN.to_owned(), vec![root.der.clone()])]);
    let revoked = revoked.iter().map(|serial| (*serial).to_owned());
    Arc::new(Trust::new(bundles, revoked).expect("a bundle"))
}

/// What the inbound port says to a caller.
fn as_caller(trust: &Arc<Trust>, chain: &[CertificateDer<'static>]) -> Said {
    let verifier = CallerVerifier {
        trust: Arc::clone(trust),
        local: local(),
    };
    verifier
        .verify_client_cert(&chain[0], &chain[1..], now())
        .map(drop)
        .map_err(|error| TlsReason::of(&error))
}

/// What a caller says to the instance it asked for.
fn as_called(trust: &Arc<Trust>, chain: &[CertificateDer<'static>], asked: &'static str) -> Said {
    let verifier = InstanceVerifier {
        trust: Arc::clone(trust),
        local: local(),
    };
    let name = ServerName::try_from(asked).expect("a name");
    verifier
        .verify_server_cert(&chain[0], &chain[1..], &name, &[], now())
        .map(drop)
        .map_err(|error| TlsReason::of(&error))
}

/// Holds every row to what it says; all that differ are told at once.
fn hold(trust: &Arc<Trust>, rows: Vec<Row>, at_least: usize) {
    assert!(rows.len() >= at_least, "{} rows", rows.len());
    let wrong: Vec<String> = rows
        .iter()
        .map(|row| {
            let said = (
                as_caller(trust, &row.chain),
                as_called(trust, &row.chain, ASKED),
            );
            (row, said)
        })
        .filter(|(row, said)| *said != (row.caller, row.called))
        .map(|(row, said)| {
            let expected = (row.caller, row.called);
            format!("{}: {said:?}, not {expected:?}", row.what)
        })
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}
