//! Limits: how much anybody gets. A rate with its burst, and how many at a time.
//!
//! All workers share one bucket for each key, in atomics, so that both bounds are exact whoever asks. A bucket is the moment
//! at which it is full again (GCRA): taking moves that moment on by one interval, and nobody has to refill anything. Keys
//! are told apart up to a number; those beyond share one bucket, and a bucket that is full again is anybody's.

mod table;
#[cfg(test)]
mod tests;

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use weft_model::section::{Limit, LimitBy, LimitScope};

use self::table::Table;
use crate::caller::{Local, SpiffeId};
use crate::matcher::Matcher;
use crate::pattern::InvalidRule;
use crate::route::{Fields, Request};
use crate::time::Moment;

/// The limits of one service or gateway.
#[derive(Clone, Debug, Default)]
pub struct Limits {
    rules: Box<[Rule]>,
    looks_at_path: bool,
}

/// Places under bounds on how many at a time; given back when dropped.
#[derive(Debug, Default)]
pub struct Places(Vec<Place>);

#[derive(Debug)]
struct Place {
    table: Arc<Table>,
    bucket: usize,
}

/// Who has no room, and when there may be some.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refused<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// How long until there is room, where that can be known: a rate's, not a place's.
    pub after: Option<Duration>,
    /// Whether nobody was told of it for a while.
    pub news: bool,
}

/// What a rule did, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<'a> {
    /// The rule's name.
    pub rule: &'a str,
    /// Requests it refused.
    pub refused: u64,
    /// Requests whose key had no bucket of its own.
    pub overflowed: u64,
}

#[derive(Clone, Debug)]
struct Rule {
    section: Limit,
    matcher: Matcher,
    table: Arc<Table>,
}

/// So many callers are told apart by one rule.
const CALLERS: usize = 1_024;

/// And so many client addresses.
const ADDRESSES: usize = 16_384;

// === impl Limits ===

impl Limits {
    /// Prepared; a rule that was there before by its name goes on where it was.
    pub fn new(
        limits: &[Limit],
        before: Option<&Limits>,
        local: &Local,
    ) -> Result<Limits, InvalidRule> {
        let rule = |limit: &Limit| {
            let known = before.and_then(|before| before.known(limit));
            let size = match limit.by {
                LimitBy::Everybody => 0,
                LimitBy::Caller => CALLERS,
                LimitBy::Address => ADDRESSES,
            };
            Ok(Rule {
                matcher: Matcher::new(&limit.name, &limit.matches, local)?,
                table: known.unwrap_or_else(|| Arc::new(Table::new(size))),
                section: limit.clone(),
            })
        };
        let rules: Box<[Rule]> = limits.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Limits {
            looks_at_path: rules.iter().any(|rule| rule.matcher.looks_at_path()),
            rules,
        })
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether any of them looks at the path: then an ambiguous one must not come here.
    pub fn looks_at_path(&self) -> bool {
        self.looks_at_path
    }

    /// Their bounds hold from now on. `share`: of what the whole mesh gets, how much comes here; 0 to 1.
    pub fn enforce(&self, share: f64) {
        for rule in &self.rules {
            let share = match rule.section.scope {
                LimitScope::Host => 1.0,
                LimitScope::Mesh => share.clamp(0.0, 1.0),
            };
            rule.table.set(&rule.section, share);
        }
    }

    /// Room under every rule that matches, or which has none. `address`: of a gateway's client.
    pub fn admit(
        &self,
        request: Request<'_>,
        fields: &impl Fields,
        address: Option<IpAddr>,
        now: Moment,
    ) -> Result<Places, Refused<'_>> {
        let mut places = Places::default();
        let mut taken: Option<&[Rule]> = None;
        for (index, rule) in self.rules.iter().enumerate() {
            if !rule.matcher.holds(request, fields) {
                continue;
            }
            let bucket = rule.bucket(request.caller, address, now);
            if let Err(after) = rule.take(bucket, now, &mut places) {
                // What the rules before it gave is theirs again.
                for rule in taken.unwrap_or_default() {
                    if rule.matcher.holds(request, fields) {
                        let bucket = rule.bucket(request.caller, address, now);
                        rule.table.give_back(bucket);
                    }
                }
                rule.table.count_refused();
                return Err(Refused {
                    rule: &rule.section.name,
                    after,
                    news: rule.table.is_news(now),
                });
            }
            taken = Some(&self.rules[..=index]);
        }
        Ok(places)
    }

    /// The rules under which a request needs room, in their order; nothing is taken.
    pub fn matching<'a>(
        &'a self,
        request: Request<'a>,
        fields: &'a impl Fields,
    ) -> impl Iterator<Item = &'a str> {
        let holds = move |rule: &&Rule| rule.matcher.holds(request, fields);
        self.rules
            .iter()
            .filter(holds)
            .map(|rule| rule.section.name.as_str())
    }

    /// What everybody together has spent, for a successor: by rule, how long until its bucket is full again.
    pub fn spent(&self, now: Moment) -> impl Iterator<Item = (&str, Duration)> {
        let each = self.rules.iter();
        each.map(move |rule| (rule.section.name.as_str(), rule.table.spent(now)))
            .filter(|(_, left)| !left.is_zero())
    }

    /// Everybody together has spent so much under a rule already.
    pub fn spend(&self, name: &str, left: Duration, now: Moment) {
        for rule in self.rules.iter().filter(|rule| rule.section.name == name) {
            rule.table.spend(left, now);
        }
    }

    /// What each rule did so far.
    pub fn counts(&self) -> impl Iterator<Item = Count<'_>> {
        self.rules.iter().map(|rule| {
            let (refused, overflowed) = rule.table.counts();
            Count {
                rule: &rule.section.name,
                refused,
                overflowed,
            }
        })
    }

    fn known(&self, limit: &Limit) -> Option<Arc<Table>> {
        let known = self
            .rules
            .iter()
            .find(|rule| rule.section.name == limit.name && rule.section.by == limit.by)?;
        Some(Arc::clone(&known.table))
    }
}

// === impl Places ===

impl Places {
    /// These and others.
    #[must_use]
    pub fn and(mut self, mut others: Places) -> Places {
        self.0.append(&mut others.0);
        self
    }
}

// === impl Rule ===

impl Rule {
    fn bucket(&self, caller: Option<&SpiffeId>, address: Option<IpAddr>, now: Moment) -> usize {
        let table = &self.table;
        let key = match (self.section.by, caller, address) {
            (LimitBy::Everybody, _, _) => return table.shared(),
            (LimitBy::Caller, Some(caller), _) => table.hasher.hash_one(caller.as_str()),
            (LimitBy::Address, _, Some(IpAddr::V4(address))) => {
                table.hasher.hash_one(address.octets())
            }
            // Whoever has one address of IPv6 has a /64 of them.
            (LimitBy::Address, _, Some(IpAddr::V6(address))) => match address.to_ipv4_mapped() {
                Some(address) => table.hasher.hash_one(address.octets()),
                None => table.hasher.hash_one(&address.octets()[..8]),
            },
            (LimitBy::Caller, None, _) | (LimitBy::Address, _, None) => 0,
        };
        table.find(key, now)
    }

    fn take(
        &self,
        bucket: usize,
        now: Moment,
        places: &mut Places,
    ) -> Result<(), Option<Duration>> {
        if self.section.concurrency > 0 {
            if !self.table.enter(bucket) {
                return Err(None);
            }
            places.0.push(Place {
                table: Arc::clone(&self.table),
                bucket,
            });
        }
        self.table.take(bucket, now).map_err(Some)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.table.leave(self.bucket);
    }
}
