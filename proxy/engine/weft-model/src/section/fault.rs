//! What is broken on purpose.

use serde::{Deserialize, Serialize};

use super::Match;

/// One Fault document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fault {
    /// `<namespace>/<document>`.
    pub name: String,
    /// Milliseconds since the epoch, by this engine's clock: nothing happens from then on.
    pub until_ms: u64,
    /// One of these must hold; none at all means always.
    pub matches: Vec<Match>,
    /// Of those that match, in percent.
    pub percent: f64,
    /// They wait so long first; 0: they do not.
    pub delay_ms: u64,
    /// They are answered with this status; 0: they go on.
    pub abort: u16,
}
