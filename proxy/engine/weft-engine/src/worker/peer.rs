//! A caller on the inbound listener, and what it asked for.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;
use weft_core::caller::SpiffeId;

use crate::observe::Label;
use crate::tls::{Facts, Role, TlsReason, TlsState};

/// Who is at the other end of a mesh connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// From its certificate.
    pub(crate) caller: SpiffeId,
    /// The same in metrics.
    pub(crate) label: Label,
    /// Whom it asked for: `ns/service`.
    pub(crate) service: Arc<str>,
    /// And which instance.
    pub(crate) instance: Box<str>,
    /// The connection ends then, before either certificate does.
    pub(crate) expires: Instant,
    chain: Vec<CertificateDer<'static>>,
    trust_epoch: u64,
}

/// Seconds since the epoch.
pub(crate) fn unix_now() -> i64 {
    let elapsed = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    i64::try_from(elapsed.as_secs()).unwrap_or(i64::MAX)
}

/// When a connection under a certificate has to end: milliseconds before its own end, `margin` for
/// every second of its life, 30 s at most.
/// `None`: it has ended already.
pub(crate) fn end_of(facts: &Facts, margin: i64) -> Option<Instant> {
    let left = facts.not_after - unix_now();
    let early = ((facts.not_after - facts.not_before) * margin).min(30_000);
    let millis = u64::try_from(left.checked_mul(1000)? - early).ok()?;
    Some(Instant::now() + Duration::from_millis(millis.min(365 * 86_400_000)))
}

// === impl Peer ===

impl Peer {
    /// A caller whose chain was verified in the handshake just done, or in the one that is resumed.
    pub(crate) fn new(
        chain: Vec<CertificateDer<'static>>,
        service: Arc<str>,
        instance: Box<str>,
        own: &Facts,
        trust_epoch: u64,
    ) -> Result<Self, TlsReason> {
        let facts = Facts::read(chain.first().ok_or(TlsReason::NoCertificate)?)?;
        let expires = end_of(&facts, SERVER_MARGIN).ok_or(TlsReason::Expired)?;
        let own_end = end_of(own, SERVER_MARGIN).ok_or(TlsReason::NoIdentity)?;
        let caller = facts.spiffe.ok_or(TlsReason::NoSpiffeId)?;
        Ok(Self {
            label: Label::of(&caller.label()),
            caller,
            service,
            instance,
            expires: expires.min(own_end),
            chain,
            trust_epoch,
        })
    }

    /// Judges it again where trust has changed.
    pub(crate) fn is_still_believed(&mut self, tls: &TlsState) -> bool {
        if self.expires <= Instant::now() {
            return false;
        }
        if self.trust_epoch == tls.trust_epoch {
            return true;
        }
        let believed = tls
            .trust
            .judge(&self.chain, Role::Client, &tls.local, UnixTime::now())
            .is_ok();
        if believed {
            self.trust_epoch = tls.trust_epoch;
        }
        believed
    }
}

/// The caller's side ends a connection well before the called side would.
pub(crate) const CLIENT_MARGIN: i64 = 100;
const SERVER_MARGIN: i64 = 20;
