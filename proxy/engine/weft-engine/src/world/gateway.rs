//! An edge, prepared.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use weft_core::header::Trusted;
use weft_core::rate::Limits;
use weft_core::route::Routes;
use weft_model::section;

use super::{Caller, Rule};

/// What happens to the requests of a gateway.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// As whom it calls services.
    pub(crate) caller: Arc<Caller>,
    /// Which rule a request falls under.
    pub(crate) routes: Routes,
    /// By place in the section.
    pub(crate) rules: Vec<Arc<Rule>>,
    /// Which rule a connection falls under that is passed on as it is.
    pub(crate) passthrough: Routes,
    /// By place in the section.
    pub(crate) passing: Vec<Arc<Rule>>,
    /// Its public ports.
    pub(crate) listeners: BTreeMap<String, section::GatewayListener>,
    /// By port, whose connections begin with a PROXY header; ports without any are not there.
    pub(crate) announced: HashMap<Box<str>, Trusted>,
    /// Whose forwarding fields are believed.
    pub(crate) trusted: Trusted,
    /// How much any client gets.
    pub(crate) limits: Limits,
    /// Bytes of a request body; 0: no bound.
    pub(crate) max_body: u64,
    pub(super) section: Arc<section::Gateway>,
}

// === impl Gateway ===

impl Gateway {
    /// What it is called in its section's name.
    pub(crate) fn name(&self) -> &str {
        let name = &*self.caller.name;
        name.strip_prefix("gateway:").unwrap_or(name)
    }
}
