//! A caller on the inbound listener, and what it asked for.

use std::cell::Cell;
use std::sync::Arc;

use rustls_pki_types::{CertificateDer, UnixTime};
use tokio::time::Instant;
use weft_core::caller::SpiffeId;

use super::{Life, Side};
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
    /// How long the connection lives.
    pub(crate) life: Life,
    chain: Vec<CertificateDer<'static>>,
    trust_epoch: Cell<u64>,
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
        let facts = Facts::of_chain(&chain)?;
        let life = Life::of(&facts, Side::Called).ok_or(TlsReason::Expired)?;
        let own = Life::of(own, Side::Called).ok_or(TlsReason::NoIdentity)?;
        let caller = facts.spiffe.ok_or(TlsReason::NoSpiffeId)?;
        Ok(Self {
            label: Label::of(&caller.label()),
            caller,
            service,
            instance,
            life: life.and(own),
            chain,
            trust_epoch: Cell::new(trust_epoch),
        })
    }

    /// Judges it again where trust has changed.
    pub(crate) fn is_still_believed(&self, tls: &TlsState) -> bool {
        self.life.last > Instant::now() && self.is_trusted(tls)
    }

    /// The same, but for the end of its time.
    pub(crate) fn is_trusted(&self, tls: &TlsState) -> bool {
        if self.trust_epoch.get() == tls.trust_epoch {
            return true;
        }
        let believed = tls
            .trust
            .judge(&self.chain, Role::Client, &tls.local, UnixTime::now())
            .is_ok();
        if believed {
            self.trust_epoch.set(tls.trust_epoch);
        }
        believed
    }
}
