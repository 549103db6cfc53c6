//! All identities and the trust they live under, immutable.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use rustls_pki_types::CertificateDer;
use weft_core::caller::Local;
use weft_model::section::Host;

use super::{Facts, Identity, Trust};

/// What handshakes are made from. A change makes a new one; what did not change is shared.
#[derive(Clone, Debug)]
pub(crate) struct TlsState {
    /// By name.
    pub(crate) identities: BTreeMap<String, Arc<Identity>>,
    /// Bundles and revocations.
    pub(crate) trust: Arc<Trust>,
    /// Where this engine lives.
    pub(crate) local: Arc<Local>,
    /// Rises when open connections must be judged again.
    pub(crate) trust_epoch: u64,
    next_id: u64,
}

/// An identity or bundle that cannot be used; what was before stays.
#[derive(Debug)]
pub(crate) struct InvalidIdentity(String);

// === impl TlsState ===

impl TlsState {
    /// No identity, no trust, nowhere.
    pub(crate) fn empty() -> Self {
        let nowhere = Host {
            name: String::new(),
            zone: String::new(),
            trust_domain: String::new(),
            datacenter: String::new(),
        };
        Self {
            identities: BTreeMap::new(),
            trust: Arc::default(),
            local: Arc::new(Local::of(&nowhere)),
            trust_epoch: 0,
            next_id: 0,
        }
    }

    /// With that identity, new or in place of the one of that name.
    pub(crate) fn with_identity(
        &self,
        name: &str,
        chain: Vec<CertificateDer<'static>>,
        key: Vec<u8>,
    ) -> Result<Self, InvalidIdentity> {
        let mut next = self.clone();
        next.next_id += 1;
        let identity = Identity::new(name, chain, key, &next.trust, &next.local, next.next_id)
            .map_err(|why| InvalidIdentity(format!("identity {name}: {why}")))?;
        next.identities.insert(name.to_owned(), Arc::new(identity));
        Ok(next)
    }

    /// Without it.
    pub(crate) fn without_identity(&self, name: &str) -> Self {
        let mut next = self.clone();
        next.identities.remove(name);
        next
    }

    /// Under other bundles and revocations.
    pub(crate) fn with_trust(&self, trust: Trust) -> Result<Self, InvalidIdentity> {
        let mut next = self.clone();
        next.trust = Arc::new(trust);
        next.rebuilt()
    }

    /// Living elsewhere; the same where that is where it lives.
    pub(crate) fn at(&self, local: &Local) -> Result<Self, InvalidIdentity> {
        let mut next = self.clone();
        if *self.local == *local {
            return Ok(next);
        }
        next.local = Arc::new(local.clone());
        next.rebuilt()
    }

    fn rebuilt(mut self) -> Result<Self, InvalidIdentity> {
        self.trust_epoch += 1;
        for identity in self.identities.values_mut() {
            self.next_id += 1;
            let rebuilt = identity
                .under(&self.trust, &self.local, self.next_id)
                .map_err(|why| InvalidIdentity(format!("identity {}: {why}", identity.name)))?;
            *identity = Arc::new(rebuilt);
        }
        Ok(self)
    }

    /// The identity of that name.
    pub(crate) fn identity(&self, name: &str) -> Option<&Arc<Identity>> {
        self.identities.get(name)
    }

    /// What each identity's certificate says, for metrics and people.
    pub(crate) fn certificates(&self) -> impl Iterator<Item = (&str, &Facts)> {
        self.identities
            .iter()
            .map(|(name, identity)| (name.as_str(), &identity.facts))
    }
}

// === impl InvalidIdentity ===

impl fmt::Display for InvalidIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for InvalidIdentity {}
