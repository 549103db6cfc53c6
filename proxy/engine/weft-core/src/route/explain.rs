//! Why a rule won and the others did not: every match of every rule looked at, one by one.
//!
//! [`Routes::choose`](super::Routes::choose) never comes here; it goes by an index. What both look at is the same
//! [`Item`] and the same order of [`Summary`], and a property test holds their answers to each other.

use regex::Regex;
use weft_model::section::{Match, PathMatch, Route};

use super::item::Item;
use super::summary::host_matches;
use super::{Fields, Request, Summary, has_prefix};
use crate::caller::Local;
use crate::pattern::{self, InvalidRule};

/// The rules of one service or gateway, in the order of their section.
#[derive(Clone, Debug)]
pub struct Explainer(Box<[Candidate]>);

/// One match of one rule, for one of its hosts, and what came of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tried<'a> {
    /// The rule's place in the section's `routes`.
    pub route: usize,
    /// The match's place in the rule; 0 where it has none, which always matches.
    pub matched: usize,
    /// The host it was looked at for; empty: every one.
    pub host: &'a str,
    /// What it says if it matches.
    pub summary: Summary,
    /// What came of it.
    pub fate: Fate<'a>,
}

/// What came of a match.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate<'a> {
    /// It holds, and no other that holds stands above it.
    Won,
    /// It holds, and another stands above it.
    Outranked,
    /// This does not hold, the first in the order host, path, method, caller, fields.
    Lost(Lost<'a>),
}

/// What of a match does not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost<'a> {
    /// The host is another.
    Host,
    /// The path is another.
    Path,
    /// The method is another.
    Method,
    /// Somebody else calls.
    Caller,
    /// The field of this name is not there, or says something else.
    Header(&'a str),
}

#[derive(Clone, Debug)]
struct Candidate {
    route: usize,
    matched: usize,
    host: Box<str>,
    path: Path,
    item: Item,
}

#[derive(Clone, Debug)]
enum Path {
    Any,
    Exact(Box<str>),
    Prefix(Box<str>),
    Regex(Regex),
}

// === impl Explainer ===

impl Explainer {
    /// Prepared for explaining; fails where [`Routes::new`](super::Routes::new) does.
    pub fn new(routes: &[Route], local: &Local) -> Result<Explainer, InvalidRule> {
        let always = [Match::default()];
        let every = [String::new()];
        let mut all = Vec::new();
        for (place, route) in routes.iter().enumerate() {
            let matches = match &route.matches[..] {
                [] => &always[..],
                matches => matches,
            };
            let hosts = match &route.hosts[..] {
                [] => &every[..],
                hosts => hosts,
            };
            for (number, matched) in matches.iter().enumerate() {
                for host in hosts {
                    all.push(Candidate {
                        route: place,
                        matched: number,
                        host: host.as_str().into(),
                        path: Path::new(&route.name, matched.path.as_ref())?,
                        item: Item::new((place, number), route, matched, host, local)?,
                    });
                }
            }
        }
        Ok(Explainer(all.into()))
    }

    /// What came of every match, in the order of the section.
    pub fn tried(&self, request: Request<'_>, fields: &impl Fields) -> Vec<Tried<'_>> {
        let mut tried: Vec<Tried<'_>> = self
            .0
            .iter()
            .map(|candidate| candidate.tried(request, fields))
            .collect();
        let best = tried
            .iter()
            .enumerate()
            .filter(|(_, tried)| tried.fate == Fate::Outranked)
            .max_by_key(|(_, tried)| tried.summary)
            .map(|(place, _)| place);
        if let Some(best) = best {
            tried[best].fate = Fate::Won;
        }
        tried
    }
}

// === impl Candidate ===

impl Candidate {
    /// As if another stood above it, where it holds.
    fn tried(&self, request: Request<'_>, fields: &impl Fields) -> Tried<'_> {
        let lost = if !self.host.is_empty() && !host_matches(&self.host, request.host) {
            Some(Lost::Host)
        } else if !self.path.holds(request.path) {
            Some(Lost::Path)
        } else {
            self.item.lost(request, fields)
        };
        Tried {
            route: self.route,
            matched: self.matched,
            host: &self.host,
            summary: self.item.summary,
            fate: lost.map_or(Fate::Outranked, Fate::Lost),
        }
    }
}

// === impl Path ===

impl Path {
    fn new(rule: &str, path: Option<&PathMatch>) -> Result<Path, InvalidRule> {
        Ok(match path {
            None => Path::Any,
            Some(PathMatch::Exact(text)) => Path::Exact(text.as_str().into()),
            Some(PathMatch::Prefix(text)) => Path::Prefix(text.trim_end_matches('/').into()),
            Some(PathMatch::Regex(text)) => Path::Regex(pattern::compile(rule, text)?),
        })
    }

    fn holds(&self, path: &str) -> bool {
        match self {
            Path::Any => true,
            Path::Exact(exact) => **exact == *path,
            Path::Prefix(prefix) => has_prefix(path, prefix),
            Path::Regex(regex) => regex.is_match(path),
        }
    }
}
