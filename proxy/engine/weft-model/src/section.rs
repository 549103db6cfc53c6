//! The sections: `host`, `listener/<name>`, `service/<ns>/<name>`, `endpoints/<ns>/<name>`, `gateway/<name>`.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

mod balance;
mod fields;

pub use balance::{Balance, HashOn, MAGLEV_MOST, MAGLEV_SIZE, Maglev, ZonePreference};

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

/// One rule of a Route document.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    /// `<document>/<rule>`, shown in metrics, logs and explanations.
    pub name: String,
    /// Ties go to the smaller: the order of documents by age, then name, then the rule's place in it.
    pub rank: u32,
    /// Only for a gateway: the hosts this rule is for, lower case, `*.example.com` for one label or more; empty: all.
    #[serde(default)]
    pub hosts: Vec<String>,
    /// One of these must hold; none at all means always.
    pub matches: Vec<Match>,
    /// What then.
    pub action: Action,
    /// To the final response head, all tries included.
    pub timeout_ms: u64,
    /// When to try again.
    pub retry: Retry,
    /// Edits of the request's fields before it is forwarded.
    #[serde(default)]
    pub request_headers: HeaderEdits,
    /// Edits of the response's fields.
    #[serde(default)]
    pub response_headers: HeaderEdits,
    /// Whether `%2f`, `%5c` and `%00` may stand in a path this rule looks at.
    #[serde(default)]
    pub allow_encoded_slash: bool,
}

/// All of it must hold.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Match {
    /// The path, without query.
    #[serde(default)]
    pub path: Option<PathMatch>,
    /// Any of these methods; empty: every one.
    #[serde(default)]
    pub methods: Vec<String>,
    /// Field name in lower case to what its value must be; several lines are joined with `, ` first.
    #[serde(default)]
    pub headers: BTreeMap<String, ValueMatch>,
    /// Any of these callers; empty: every one. Written as in [`Rule::callers`].
    #[serde(default)]
    pub callers: Vec<String>,
}

/// How a path is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PathMatch {
    /// Byte for byte.
    Exact(String),
    /// Whole segments: `/v2` matches `/v2` and `/v2/x`, not `/v20`.
    Prefix(String),
    /// The whole path, anchored at both ends.
    Regex(String),
}

/// How a field's value is compared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ValueMatch {
    /// Byte for byte.
    Exact(String),
    /// The whole value, anchored at both ends.
    Regex(String),
    /// Whether the field is there at all.
    Present(bool),
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", try_from = "fields::Action")]
pub enum Action {
    /// Send it on.
    Forward {
        /// Where, by weight. Never empty.
        to: Vec<Target>,
        /// What happens to the share of a target without endpoints.
        on_empty: OnEmpty,
        /// Change the matched path prefix or the Host field on the way.
        #[serde(default)]
        rewrite: Rewrite,
        /// Where a copy of some of it goes.
        #[serde(default)]
        mirror: Option<Mirror>,
    },
    /// Answer with a Location.
    Redirect {
        /// `http` or `https`; the request's own if left out.
        #[serde(default)]
        scheme: Option<String>,
        /// Host, with a port if wanted; the request's own if left out.
        #[serde(default)]
        host: Option<String>,
        /// The whole path; the request's own path and query if left out.
        #[serde(default)]
        path: Option<String>,
        /// 301, 302, 303, 307 or 308.
        code: u16,
    },
    /// Answer at once.
    Respond {
        /// 200 to 599.
        code: u16,
        /// Sent as `text/plain; charset=utf-8`.
        #[serde(default)]
        body: String,
    },
}

/// One of the places a rule sends requests to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// `ns/service`.
    pub service: String,
    /// Only endpoints that carry all of these labels (`version` is one of them).
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Share of the requests, of the sum of all weights.
    pub weight: u32,
}

/// Where copies of requests go; nobody hears the answers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// `ns/service`.
    pub service: String,
    /// Only endpoints that carry all of these labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Of the rule's requests, in percent.
    pub percent: f64,
}

/// The share of a target without endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnEmpty {
    /// Goes to the other targets.
    #[default]
    Spill,
    /// Is refused with `no_endpoint`.
    Fail,
}

/// Changes on the way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rewrite {
    /// Replaces the prefix (or exact path) that matched.
    #[serde(default)]
    pub path_prefix: Option<String>,
    /// Replaces the Host field.
    #[serde(default)]
    pub host: Option<String>,
}

/// Edits of a message's fields: `remove` first, then `set`, then `add`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeaderEdits {
    /// Field to its only value afterwards.
    #[serde(default)]
    pub set: BTreeMap<String, String>,
    /// Field to a further line.
    #[serde(default)]
    pub add: BTreeMap<String, String>,
    /// Fields to drop.
    #[serde(default)]
    pub remove: Vec<String>,
}

/// When to try again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Retry {
    /// Retries, not tries.
    pub max: u32,
    /// Nothing was delivered: any method.
    pub undelivered: bool,
    /// Reset before the first response byte: idempotent methods only.
    pub reset: bool,
    /// Statuses that count as failures to be tried again, for idempotent methods.
    pub statuses: Vec<u16>,
    /// Codes of gRPC that do, in an answer that is all head, whatever the method.
    #[serde(default)]
    pub grpc_statuses: Vec<u8>,
    /// Methods that may be repeated besides GET, HEAD, OPTIONS, PUT, DELETE and TRACE.
    pub methods: Vec<String>,
    /// Of one try; 0: derived so that all tries fit the timeout.
    pub per_try_timeout_ms: u64,
    /// Back-off before the first retry, with full jitter, doubling.
    pub backoff_base_ms: u64,
    /// Its bound.
    pub backoff_max_ms: u64,
}

/// How a service is called.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Who gets the next request.
    pub balance: Balance,
    /// Of TCP and TLS together.
    pub connect_timeout_ms: u64,
    /// For requests that no rule matched.
    pub timeout_ms: u64,
    /// Of a pooled connection.
    pub idle_timeout_ms: u64,
    /// Between two reads of one body.
    pub stream_idle_ms: u64,
    /// For requests that no rule matched.
    pub retry: Retry,
    /// Bounds, per engine.
    pub capacity: Capacity,
    /// The share of active requests that may be retries.
    pub retry_budget: RetryBudget,
    /// Passive health.
    pub outlier: Outlier,
    /// A header of this version stands before the bytes of each connection to an application, and says whose they are.
    /// Only for `tcp` services.
    #[serde(default)]
    pub proxy_protocol: Option<ProxyProtocol>,
    /// Whether endpoints of the caller's own zone are preferred.
    #[serde(default)]
    pub zone: Option<ZonePreference>,
    /// So long the share of an endpoint that is new, or back, grows from a tenth to its whole; 0: at once.
    #[serde(default)]
    pub slow_start_ms: u64,
    /// Where requests go while no endpoint of the service is in rotation: the first of these services that has one.
    #[serde(default)]
    pub failover: Vec<String>,
}

/// Versions of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProxyProtocol {
    /// A line of text.
    V1,
    /// Bytes.
    V2,
}

/// Bounds towards one service, per engine; 0: none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Capacity {
    /// Open connections.
    pub connections: u32,
    /// Requests that wait for one.
    pub pending: u32,
    /// Requests under way.
    pub requests: u32,
}

/// The share of active requests that may be retries.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryBudget {
    /// In percent.
    pub percent: f64,
    /// This many are always allowed.
    pub min: u32,
}

/// Passive health, from results.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outlier {
    /// Failures in a row; 0: never.
    pub consecutive: u32,
    /// Percent of successes over 10 s and at least 5 requests below which an endpoint is ejected; 0: never.
    pub success_below: f64,
    /// The first ejection's length; the n-th lasts n times as long, 300 s at most.
    pub eject_ms: u64,
    /// Percent of the endpoints that may be ejected at once.
    pub max_ejected: f64,
    /// How many times its peers' median an endpoint's mean time to answer may be, over 10 s and at least 5 requests; 0: any.
    #[serde(default)]
    pub latency_factor: f64,
}

/// Who may call a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Access {
    /// What holds where no rule decides and no enforced allow rule exists.
    pub default: Decision,
    /// Enforced rules and rules in shadow. Deny wins over allow.
    pub rules: Vec<Rule>,
}

/// Yes or no.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// Yes.
    Allow,
    /// No.
    Deny,
}

/// One Access rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    /// `<document>/<rule>`.
    pub name: String,
    /// What it says.
    pub decision: Decision,
    /// Decides nothing; counted as what it would do.
    pub shadow: bool,
    /// Any of these callers: `*`, `ns/*`, `ns/service`, `gateway:<name>`, `spiffe://…`. Empty: every one.
    pub callers: Vec<String>,
    /// Any of these; empty: every one.
    pub methods: Vec<String>,
    /// Any of these; empty: every one.
    pub paths: Vec<PathMatch>,
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

/// Where a redirecting listener sends everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `https` or `http`.
    pub scheme: String,
    /// The public port; left out of the Location where it is the scheme's own.
    pub port: u16,
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
