//! The sections: `host`, `listener/<name>`, `service/<ns>/<name>`, `endpoints/<ns>/<name>`, `gateway/<name>`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

mod access;
mod balance;
mod fault;
mod fields;
mod gateway;
mod limit;
mod route;
mod traffic;

pub use access::{Access, Decision, Rule};
pub use balance::{Balance, HashOn, MAGLEV_MOST, MAGLEV_SIZE, Maglev, ZonePreference};
pub use fault::Fault;
pub use gateway::{Gateway, GatewayListener, GatewayProtocol};
pub use limit::{Limit, LimitBy, LimitScope};
pub use route::{
    Action, HeaderEdits, Match, Mirror, OnEmpty, PathMatch, Redirect, Rewrite, Route, Target,
    ValueMatch,
};
pub use traffic::{Capacity, Outlier, ProxyProtocol, Retry, RetryBudget, Traffic};

/// `host`: who this engine works for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Host {
    /// The host's name; endpoints with this host are local.
    pub name: String,
    /// Its zone, or empty.
    pub zone: String,
    /// The trust domain of every identity it serves or expects.
    pub trust_domain: String,
    /// The datacenter in the identities it expects.
    pub datacenter: String,
}

/// What a service speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Protocol {
    /// HTTP/1.1 towards the application; HTTP/2 is taken from callers too.
    Http,
    /// HTTP/2 without gRPC.
    Http2,
    /// gRPC.
    Grpc,
    /// Bytes.
    Tcp,
}

/// `listener/<name>`: where the engine accepts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "fields::Listener")]
pub enum Listener {
    /// A service's own port for one of its upstreams, on loopback, plain.
    Outbound {
        /// Where to listen.
        address: SocketAddr,
        /// Whose port this is: `ns/service`.
        caller: String,
        /// What it leads to: `ns/service`.
        upstream: String,
    },
    /// One port on loopback for every service: the request's host names it.
    Open {
        /// Where to listen.
        address: SocketAddr,
        /// As whom everybody calls there: `ns/service`.
        caller: String,
    },
    /// The host's one port for mesh traffic, mutual TLS.
    Inbound {
        /// Where to listen.
        address: SocketAddr,
    },
    /// A public port; `gateway` and `listener` name the part of `gateway/<name>` that says what happens here.
    Gateway {
        /// Where to listen.
        address: SocketAddr,
        /// `gateway/<name>`.
        gateway: String,
        /// The listener's name in it.
        listener: String,
    },
}

/// `service/<ns>/<name>`: how a service is called, and who may call it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    /// What it speaks.
    pub protocol: Protocol,
    /// Rules in no particular order: precedence is computed, `rank` breaks ties.
    pub routes: Vec<Route>,
    /// How it is called where a rule says nothing.
    pub traffic: Traffic,
    /// Who may call it.
    pub access: Access,
    /// How much of it anybody gets; all that match must have room.
    #[serde(default)]
    pub limits: Vec<Limit>,
    /// What is broken on purpose; the first that matches and draws the request acts.
    #[serde(default)]
    pub faults: Vec<Fault>,
}

/// `endpoints/<ns>/<name>`: the instances of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoints {
    /// In no particular order.
    pub endpoints: Vec<Endpoint>,
    /// A service outside the mesh: its endpoints are spoken to in plain, at their addresses, and prove nothing. Never set for
    /// a service of the mesh.
    #[serde(default)]
    pub outside: bool,
}

/// One instance. Its state in the engine is keyed by host and instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Endpoint {
    /// Instance id.
    pub instance: String,
    /// Its host; the engine's own host: served here, on `port`.
    pub host: String,
    /// The host's inbound listener.
    pub address: SocketAddr,
    /// The application's own port on loopback, for its own host; 0 where that is nobody else's business.
    pub port: u16,
    /// Share among its peers; 0: gets nothing.
    pub weight: u32,
    /// Zone of the host, or empty.
    #[serde(default)]
    pub zone: String,
    /// Labels, `version` among them.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// What the registry says.
    pub state: EndpointState,
    /// Lost without a tombstone: in rotation until its first failure.
    #[serde(default)]
    pub suspect: bool,
}

/// What the registry says of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EndpointState {
    /// In rotation.
    Up,
    /// Finishing what it has; new requests only where nothing else is left.
    Drain,
    /// Not in rotation; known so that its own host can name it.
    Down,
}
