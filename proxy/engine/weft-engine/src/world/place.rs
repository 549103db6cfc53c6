//! What happens at an address.

use std::sync::Arc;

use weft_core::caller::SpiffeId;

use super::Gateway;
use crate::observe::Label;

/// What happens to connections that are accepted there.
#[derive(Debug)]
pub(crate) enum Place {
    /// A service's own port for one of its upstreams.
    Outbound {
        /// Whose port it is.
        caller: Arc<Caller>,
        /// Where it leads: `ns/service`.
        upstream: Arc<str>,
    },
    /// The port on which a request's host names the service.
    Open {
        /// As whom everybody calls there.
        caller: Arc<Caller>,
    },
    /// The host's port for mesh traffic.
    Inbound,
    /// A public port.
    Gateway {
        /// The edge.
        gateway: Arc<Gateway>,
        /// Which of its ports.
        listener: Arc<str>,
    },
}

/// Somebody who calls services.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    /// `ns/service` or `gateway:<name>`: the name of its identity.
    pub(crate) name: Arc<str>,
    /// Who that is.
    pub(crate) id: SpiffeId,
    /// The same in metrics.
    pub(crate) label: Label,
}
