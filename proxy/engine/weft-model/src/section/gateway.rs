//! `gateway/<name>`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Limit, Redirect, Route};

/// `gateway/<name>`: an edge.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Gateway {
    /// Listener name to what happens there.
    pub listeners: BTreeMap<String, GatewayListener>,
    /// Rules, with their hosts.
    pub routes: Vec<Route>,
    /// Rules of `tls` listeners: their hosts are compared with the server name, and nothing but where they lead is looked at.
    #[serde(default)]
    pub passthrough: Vec<Route>,
    /// Peers whose X-Forwarded-* and Forwarded fields are believed, as CIDR; from all others they are removed.
    pub trust_forwarded_from: Vec<String>,
    /// Bytes of a request body; 0: no bound.
    pub max_body: u64,
    /// How much any client gets; all that match must have room.
    #[serde(default)]
    pub limits: Vec<Limit>,
}

/// One public port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GatewayListener {
    /// `http`, `https` or `tls`.
    pub protocol: GatewayProtocol,
    /// Hosts (of `tls`, server names) served here, lower case; empty: all. Others get `no_route`.
    pub hosts: Vec<String>,
    /// Every request is redirected to the listener of this name.
    #[serde(default)]
    pub redirect_to: Option<Redirect>,
    /// Names of identities (`public/<gateway>/<listener>/<n>`), picked by server name, the first where none matches.
    #[serde(default)]
    pub certificates: Vec<String>,
    /// `1.2` or `1.3`.
    #[serde(default = "tls_min")]
    pub tls_min: String,
    /// Peers whose connections begin with a header of the PROXY protocol, as CIDR: from these it is required and believed,
    /// from all others it is as wrong as anything else that is not the listener's protocol.
    #[serde(default)]
    pub proxy_protocol_from: Vec<String>,
}

fn tls_min() -> String {
    "1.2".to_owned()
}

/// What a public port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GatewayProtocol {
    /// Plain.
    Http,
    /// TLS, ended here.
    Https,
    /// TLS, ended by the service: only the server name is read.
    Tls,
}
