//! What connections ask of the core.

use std::collections::BTreeMap;

use serde_bytes::ByteBuf;
use tokio::sync::oneshot;
use weft_model::frame::FromEngine;

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
    /// Accept no more; answered when it is so.
    Drain { answer: oneshot::Sender<()> },
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
