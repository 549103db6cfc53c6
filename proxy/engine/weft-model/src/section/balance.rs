//! How requests are spread over the instances of a service.

use serde::{Deserialize, Serialize};

/// The size of a Maglev table where nothing else is said: a prime, good for some 600 endpoints.
pub const MAGLEV_SIZE: u32 = 65_537;

/// The largest, a prime too: 20 MB.
pub const MAGLEV_MOST: u32 = 5_000_011;

/// Balancers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Balance {
    /// Two choices, the one with the lower peak EWMA × load.
    P2c,
    /// Two choices, the one with fewer requests under way per weight.
    LeastRequest,
    /// By weight, in turn.
    RoundRobin,
    /// By weight, at random.
    Random,
    /// Requests with the same key to the same endpoint, by points on a ring.
    RingHash(HashOn),
    /// The same, by a table.
    Maglev(Maglev),
}

/// A Maglev table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Maglev {
    /// What the key is.
    pub on: HashOn,
    /// Entries, a prime: a hundred for each endpoint spread within a few percent.
    pub table_size: u32,
}

/// What requests with the same value of go to the same endpoint. Where it is missing, an endpoint is picked at random.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HashOn {
    /// A field, by its name in lower case; several lines are joined with `, ` first.
    Header(String),
    /// A cookie, by its name.
    Cookie(String),
    /// A parameter of the query, by its name, undecoded.
    Query(String),
    /// At a gateway the client's address; between services the calling host. Always true.
    SourceAddress(bool),
}

/// Endpoints of the caller's own zone are preferred.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ZonePreference {
    /// While this percentage of the zone's weight is healthy everything stays there; below, the rest goes elsewhere.
    pub spill_below: f64,
}
