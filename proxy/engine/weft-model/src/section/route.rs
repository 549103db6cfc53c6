//! Where requests go: the rules of a service, or of a gateway's hosts.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Retry;

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
#[serde(
    tag = "kind",
    rename_all = "snake_case",
    try_from = "super::fields::Action"
)]
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

/// Where a redirecting listener sends everybody.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Redirect {
    /// `https` or `http`.
    pub scheme: String,
    /// The public port; left out of the Location where it is the scheme's own.
    pub port: u16,
}
