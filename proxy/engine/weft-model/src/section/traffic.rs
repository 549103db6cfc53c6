//! How a service is called.

use serde::{Deserialize, Serialize};

use super::{Balance, ZonePreference};

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
