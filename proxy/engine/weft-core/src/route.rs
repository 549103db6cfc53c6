//! Which rule a request falls under.
//!
//! Every rule that matches has a [`Summary`]; the greatest wins, so precedence is the order of one type: that of the
//! Gateway API. The index only spares looking at rules that cannot win: a hash per host, then exact paths in a hash,
//! prefixes by segment, expressions together, and the rest.

mod explain;
mod item;
mod prefix;
mod summary;
#[cfg(test)]
mod tests;

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{HashMap, hash_map::Entry};

use regex::Regex;
use weft_model::section::{Match, PathMatch, Route};

pub use self::explain::{Explainer, Fate, Lost, Tried};
pub(crate) use self::item::Conditions;
use self::item::Item;
use self::prefix::Prefixes;
pub use self::prefix::has_prefix;
pub use self::summary::{HostRank, PathRank, Summary};
use crate::caller::{Local, SpiffeId};
use crate::pattern::{self, InvalidRule, Many};

/// The rules of one service or gateway.
#[derive(Clone, Debug, Default)]
pub struct Routes {
    hosts: HashMap<Box<str>, Bucket>,
    /// Without the `*`: `.example.com`.
    wildcards: HashMap<Box<str>, Bucket>,
    any: Bucket,
    longest_wildcard: usize,
    looks_at_path: bool,
}

/// What of a request rules look at, header fields excepted.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The host in lower case, without port ([`host_of`]); only gateways' rules look at it.
    pub host: &'a str,
    /// The method.
    pub method: &'a str,
    /// The path as [`crate::path::admit`] gave it, without query.
    pub path: &'a str,
    /// Who calls.
    pub caller: Option<&'a SpiffeId>,
}

/// The header fields of a request.
pub trait Fields {
    /// The value of a field by its lower-case name: all of its lines joined with `, `, in order. `None`: it is not there.
    fn field(&self, name: &str) -> Option<Cow<'_, [u8]>>;
}

/// The rule that won.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Its place in the section's `routes`.
    pub route: usize,
    /// What of the path it matched, for rewrites.
    pub part: Part,
    /// Why it won.
    pub summary: Summary,
}

/// What of a path was matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// All of it: an exact path or an expression.
    Whole,
    /// This many bytes of its start: a prefix, without its last slash; 0 where the rule does not look at the path.
    Start(usize),
}

/// The rules for one host. Every list is in falling order of summaries.
#[derive(Clone, Debug, Default)]
struct Bucket {
    exact: HashMap<Box<str>, Vec<Item>>,
    prefixes: Prefixes,
    regexes: Regexes,
    rest: Vec<Item>,
}

#[derive(Clone, Debug)]
struct Regexes {
    any_of: Many,
    items: Box<[Item]>,
}

/// A bucket while it is filled.
#[derive(Default)]
struct Filling {
    exact: HashMap<Box<str>, Vec<Item>>,
    prefixes: HashMap<Box<str>, Vec<Item>>,
    regexes: Vec<(Regex, Item)>,
    rest: Vec<Item>,
}

// === impl Routes ===

impl Routes {
    /// Prepared for deciding. Rules without hosts are for every host, as all rules of services are.
    pub fn new(routes: &[Route], local: &Local) -> Result<Routes, InvalidRule> {
        let mut hosts: HashMap<&str, Filling> = HashMap::new();
        let mut looks_at_path = false;
        let always = [Match::default()];
        let every = [String::new()];
        for (index, route) in routes.iter().enumerate() {
            let matches = if route.matches.is_empty() {
                &always[..]
            } else {
                &route.matches
            };
            for (place, matched) in matches.iter().enumerate() {
                looks_at_path |= matched.path.is_some();
                for host in if route.hosts.is_empty() {
                    &every[..]
                } else {
                    &route.hosts
                } {
                    let item = Item::new((index, place), route, matched, host, local)?;
                    hosts
                        .entry(host.as_str())
                        .or_default()
                        .put(&route.name, matched, item)?;
                }
            }
        }
        let mut table = Routes {
            looks_at_path,
            ..Routes::default()
        };
        for (host, filling) in hosts {
            let bucket = filling.into_bucket();
            match host.strip_prefix('*') {
                _ if host.is_empty() => table.any = bucket,
                Some(suffix) => {
                    table.longest_wildcard = table.longest_wildcard.max(suffix.len());
                    table.wildcards.insert(suffix.into(), bucket);
                }
                None => drop(table.hosts.insert(host.into(), bucket)),
            }
        }
        Ok(table)
    }

    /// Whether any rule looks at the path: then an ambiguous one must not come here.
    pub fn looks_at_path(&self) -> bool {
        self.looks_at_path
    }

    /// The rule with the greatest summary, if any matches.
    pub fn choose(&self, request: Request<'_>, fields: &impl Fields) -> Option<Chosen> {
        if let Some(bucket) = self.hosts.get(request.host)
            && let Some(chosen) = bucket.choose(request, fields)
        {
            return Some(chosen);
        }
        self.by_wildcard(request, fields)
            .or_else(|| self.any.choose(request, fields))
    }

    fn by_wildcard(&self, request: Request<'_>, fields: &impl Fields) -> Option<Chosen> {
        if self.wildcards.is_empty() {
            return None;
        }
        let host = request.host;
        let dots = host
            .match_indices('.')
            .map(|(at, _)| at)
            .filter(|at| *at > 0);
        // Longest first; those longer than every wildcard are not even hashed.
        dots.filter(|at| host.len() - at <= self.longest_wildcard)
            .filter_map(|at| self.wildcards.get(&host[at..]))
            .find_map(|bucket| bucket.choose(request, fields))
    }
}

// === impl Part ===

impl Part {
    /// The path with what was matched replaced; it always starts with `/`.
    pub fn rewrite(self, path: &str, replacement: &str) -> String {
        match self {
            Part::Whole => replacement.to_owned(),
            Part::Start(length) => {
                let rest = path.get(length..).unwrap_or_default();
                match (replacement.trim_end_matches('/'), rest) {
                    ("", "") => "/".to_owned(),
                    (start, rest) => format!("{start}{rest}"),
                }
            }
        }
    }
}

/// The host of an authority: lower case, without port and a trailing dot; what rules and listeners compare.
pub fn host_of(authority: &str) -> Cow<'_, str> {
    let host = match authority.rfind(':') {
        Some(colon) if !authority[colon..].contains(']') => &authority[..colon],
        _ => authority,
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    if host.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(host.to_ascii_lowercase())
    } else {
        Cow::Borrowed(host)
    }
}

/// Whether a host is one of these (exact or `*.example.com`); none at all: every host is. For listeners.
pub fn serves_host(hosts: &[String], host: &str) -> bool {
    hosts.is_empty()
        || hosts
            .iter()
            .any(|pattern| summary::host_matches(pattern, host))
}

// === impl Bucket ===

impl Bucket {
    fn choose(&self, request: Request<'_>, fields: &impl Fields) -> Option<Chosen> {
        let first = |items: &[Item], part: Part| {
            let item = items.iter().find(|item| item.matches(request, fields))?;
            Some(item.chosen(part))
        };
        self.exact
            .get(request.path)
            .and_then(|items| first(items, Part::Whole))
            .or_else(|| {
                self.prefixes.find(request.path, |items, length| {
                    first(items, Part::Start(length))
                })
            })
            .or_else(|| {
                self.regexes.any_of.first(request.path, |index| {
                    let item = &self.regexes.items[index];
                    item.matches(request, fields)
                        .then(|| item.chosen(Part::Whole))
                })
            })
            .or_else(|| first(&self.rest, Part::Start(0)))
    }
}

impl Default for Regexes {
    fn default() -> Regexes {
        Regexes {
            any_of: Many::new(Vec::new()),
            items: Box::default(),
        }
    }
}

// === impl Filling ===

impl Filling {
    fn put(&mut self, rule: &str, matched: &Match, item: Item) -> Result<(), InvalidRule> {
        match &matched.path {
            Some(PathMatch::Exact(path)) => push(self.exact.entry(path.as_str().into()), item),
            Some(PathMatch::Prefix(prefix)) => {
                push(
                    self.prefixes.entry(prefix.trim_end_matches('/').into()),
                    item,
                );
            }
            Some(PathMatch::Regex(text)) => {
                self.regexes.push((pattern::compile(rule, text)?, item))
            }
            None => self.rest.push(item),
        }
        Ok(())
    }

    fn into_bucket(self) -> Bucket {
        let Filling {
            mut exact,
            mut prefixes,
            mut regexes,
            mut rest,
        } = self;
        exact
            .values_mut()
            .chain(prefixes.values_mut())
            .for_each(|items| sort(items));
        sort(&mut rest);
        regexes.sort_by_key(|(_, item)| Reverse(item.summary));
        let (regexes, items): (Vec<Regex>, Vec<Item>) = regexes.into_iter().unzip();
        Bucket {
            exact,
            prefixes: Prefixes::new(prefixes),
            regexes: Regexes {
                any_of: Many::new(regexes),
                items: items.into(),
            },
            rest,
        }
    }
}

fn push(entry: Entry<'_, Box<str>, Vec<Item>>, item: Item) {
    entry.or_default().push(item);
}

fn sort(items: &mut [Item]) {
    items.sort_by_key(|item| Reverse(item.summary));
}
