//! How much of a service anybody gets.

use serde::{Deserialize, Serialize};

use super::Match;

/// One rule of a Limit document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limit {
    /// `<document>/<rule>`.
    pub name: String,
    /// One of these must hold; none at all means always.
    pub matches: Vec<Match>,
    /// Who shares one bound.
    pub by: LimitBy,
    /// So many in the window; 0: no rate.
    pub rate: u32,
    /// The window.
    pub window_ms: u64,
    /// How far the rate may be run ahead of: so many at once. At least 1.
    pub burst: u32,
    /// So many at a time; 0: no bound.
    pub concurrency: u32,
    /// Whose bound it is.
    pub scope: LimitScope,
}

/// Who shares one bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitBy {
    /// All of them.
    Everybody,
    /// Each caller has one of its own.
    Caller,
    /// Each client address has one, each /64 for IPv6; at gateways only.
    Address,
}

/// Whose bound it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitScope {
    /// Each host keeps all of it.
    Host,
    /// Each host that runs the service keeps its share, by the weight of its instances.
    Mesh,
}
