//! What an engine serves, as it is written to disk.

use std::collections::BTreeMap;

use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::world::World;

/// A generation with its keys.
#[derive(Clone, Debug, Default)]
pub(crate) struct Saved {
    /// What may be read.
    pub(crate) served: Served,
    /// What may not.
    pub(crate) keys: BTreeMap<String, Keys>,
}

/// Snapshot and trust.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Served {
    /// The agent's counter.
    pub(crate) generation: u64,
    /// The policy revision.
    pub(crate) policy: u64,
    /// The registry revision.
    pub(crate) registry: u64,
    /// Sections as they were sent.
    pub(crate) sections: BTreeMap<String, ByteBuf>,
    /// CA certificates by trust domain.
    pub(crate) bundles: BTreeMap<String, Vec<ByteBuf>>,
    /// Serials that are not believed.
    pub(crate) revoked: Vec<String>,
}

/// An identity.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Keys {
    /// DER, leaf first.
    pub(crate) chain: Vec<ByteBuf>,
    /// PKCS#8 DER.
    pub(crate) key: ByteBuf,
}

// === impl Saved ===

impl Saved {
    /// All of a world that a restart needs.
    pub(crate) fn of(world: &World) -> Self {
        let bytes = |certificates: &[CertificateDer<'_>]| -> Vec<ByteBuf> {
            certificates
                .iter()
                .map(|certificate| ByteBuf::from(certificate.to_vec()))
                .collect()
        };
        let trust = &world.tls.trust;
        let keys = world.tls.identities.values().map(|identity| {
            let keys = Keys {
                chain: bytes(&identity.chain),
                key: ByteBuf::from(identity.key.clone()),
            };
            (identity.name.clone(), keys)
        });
        Self {
            served: Served {
                generation: world.generation,
                policy: world.policy,
                registry: world.registry,
                sections: world
                    .snapshot
                    .raw()
                    .map(|(name, raw)| (name.to_owned(), ByteBuf::from(raw.to_vec())))
                    .collect(),
                bundles: trust
                    .bundles
                    .iter()
                    .map(|(domain, certificates)| (domain.clone(), bytes(certificates)))
                    .collect(),
                revoked: trust.revoked.iter().cloned().collect(),
            },
            keys: keys.collect(),
        }
    }
}
