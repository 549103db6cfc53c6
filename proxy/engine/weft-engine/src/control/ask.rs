//! What connections ask of the core.

use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

use serde_bytes::ByteBuf;
use tokio::sync::oneshot;
use weft_model::frame::{FromEngine, ToEngine};

use super::estate::{Doors, Estate};

/// What is asked of the core; every request is answered once.
#[derive(Debug)]
pub(crate) enum Ask {
    /// A change of the snapshot.
    Apply {
        change: Change,
        answer: oneshot::Sender<FromEngine>,
    },
    /// A certificate and key; an empty chain forgets it.
    Identity {
        epoch: u64,
        name: String,
        chain: Vec<ByteBuf>,
        key: ByteBuf,
        answer: oneshot::Sender<FromEngine>,
    },
    /// Bundles and revocations.
    Trust {
        epoch: u64,
        bundles: BTreeMap<String, Vec<ByteBuf>>,
        revoked: Vec<String>,
        answer: oneshot::Sender<FromEngine>,
    },
    /// Accept no more, and let connections go that are silent for so long; answered when it is so.
    Drain {
        quiet: Duration,
        answer: oneshot::Sender<()>,
    },
    /// Everything to a successor. Nothing changes until it took over or gave up.
    HandOver {
        /// For what the core does not know of.
        doors: Doors,
        /// Where it goes.
        give: oneshot::Sender<io::Result<Estate>>,
        /// Told, with whom to answer, when the successor serves; dropped where it gave up.
        taken: oneshot::Receiver<oneshot::Sender<()>>,
    },
}

/// An `apply` frame.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) base: u64,
    pub(crate) generation: u64,
    pub(crate) policy: u64,
    pub(crate) registry: u64,
    pub(crate) reset: bool,
    pub(crate) set: BTreeMap<String, ByteBuf>,
    pub(crate) delete: Vec<String>,
}

// === impl Change ===

impl Change {
    /// The frame it came in.
    pub(crate) fn frame(&self) -> ToEngine {
        ToEngine::Apply {
            base: self.base,
            generation: self.generation,
            policy: self.policy,
            registry: self.registry,
            reset: self.reset,
            set: self.set.clone(),
            delete: self.delete.clone(),
        }
    }
}
