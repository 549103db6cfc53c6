//! What a rule said about a request; the greatest wins.

use std::cmp::Reverse;

use weft_model::section::{Match, PathMatch, Route};

/// The precedence of the Gateway API, criterion by criterion in the order of the fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Summary {
    /// exact > longer wildcard > shorter wildcard > every host
    pub host: HostRank,
    /// exact > longer prefix > shorter prefix > expression > every path
    pub path: PathRank,
    /// a method named > none
    pub method: bool,
    /// more fields > fewer
    pub headers: usize,
    /// the older document, then its name, then the earlier rule
    pub rank: Reverse<u32>,
    /// the earlier in the section, so that no two are equal
    pub place: Reverse<(u32, u32)>,
}

/// How a host was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostRank {
    /// Not at all.
    Any,
    /// By a wildcard of this length.
    Wildcard(usize),
    /// Fully.
    Exact,
}

/// How a path was named.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum PathRank {
    /// Not at all.
    Any,
    /// By an expression.
    Regex,
    /// By a prefix of this length, its last slash not counted.
    Prefix(usize),
    /// Fully.
    Exact,
}

// === impl Summary ===

impl Summary {
    /// What one match of a rule says if it matches, for one of the rule's hosts (empty: every one).
    pub(crate) fn new(at: (usize, usize), route: &Route, matched: &Match, host: &str) -> Summary {
        Summary {
            host: match host.strip_prefix('*') {
                _ if host.is_empty() => HostRank::Any,
                Some(suffix) => HostRank::Wildcard(suffix.len()),
                None => HostRank::Exact,
            },
            path: match &matched.path {
                None => PathRank::Any,
                Some(PathMatch::Regex(_)) => PathRank::Regex,
                Some(PathMatch::Prefix(prefix)) => {
                    PathRank::Prefix(prefix.trim_end_matches('/').len())
                }
                Some(PathMatch::Exact(_)) => PathRank::Exact,
            },
            method: !matched.methods.is_empty(),
            headers: matched.headers.len(),
            rank: Reverse(route.rank),
            place: Reverse((at.0 as u32, at.1 as u32)),
        }
    }
}

/// Whether a host falls under an exact name or a wildcard for one label or more.
pub(crate) fn host_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
        None => pattern == host,
    }
}
