//! What is broken on purpose, and until when. Whoever dies meanwhile leaves nobody broken: the end is looked at each time.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use rand::Rng;
use weft_model::section;

use crate::caller::Local;
use crate::matcher::Matcher;
use crate::pattern::InvalidRule;
use crate::route::{Fields, Request};

/// The faults of one service.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    rules: Box<[Rule]>,
    looks_at_path: bool,
}

/// What is done to one request.
#[derive(Clone, Debug)]
pub struct Fault {
    /// `<namespace>/<document>`.
    pub name: Arc<str>,
    /// It waits so long first.
    pub delay: Duration,
    /// It is answered with this status.
    pub abort: Option<u16>,
}

/// What a fault did, for whoever counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count<'a> {
    /// Its name.
    pub fault: &'a str,
    /// Milliseconds since the epoch.
    pub until_ms: u64,
    /// Requests that waited.
    pub delayed: u64,
    /// Requests that were answered.
    pub aborted: u64,
}

#[derive(Clone, Debug)]
struct Rule {
    fault: Fault,
    until_ms: u64,
    fraction: f64,
    matcher: Matcher,
    done: Arc<Done>,
}

#[derive(Debug, Default)]
struct Done {
    delayed: AtomicU64,
    aborted: AtomicU64,
}

// === impl Faults ===

impl Faults {
    /// Prepared; one that was there before by its name goes on counting.
    pub fn new(
        faults: &[section::Fault],
        before: Option<&Faults>,
        local: &Local,
    ) -> Result<Faults, InvalidRule> {
        let rule = |fault: &section::Fault| {
            let known = before.and_then(|before| {
                let known = before.rules.iter();
                known
                    .map(|rule| (&rule.fault.name, &rule.done))
                    .find(|(name, _)| ***name == *fault.name)
            });
            Ok(Rule {
                matcher: Matcher::new(&fault.name, &fault.matches, local)?,
                fault: Fault {
                    name: fault.name.as_str().into(),
                    delay: Duration::from_millis(fault.delay_ms),
                    abort: (fault.abort != 0).then_some(fault.abort),
                },
                until_ms: fault.until_ms,
                fraction: fault.percent / 100.0,
                done: known.map_or_else(Arc::default, |(_, done)| Arc::clone(done)),
            })
        };
        let rules: Box<[Rule]> = faults.iter().map(rule).collect::<Result<_, _>>()?;
        Ok(Faults {
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

    /// What is done to a request; counted. `unix_ms`: milliseconds since the epoch, asked for only where a fault matches.
    pub fn strike(
        &self,
        request: Request<'_>,
        fields: &impl Fields,
        unix_ms: impl Fn() -> u64,
        rng: &mut impl Rng,
    ) -> Option<&Fault> {
        let strikes = |rule: &&Rule| {
            rule.matcher.holds(request, fields)
                && unix_ms() < rule.until_ms
                && rng.random_bool(rule.fraction.clamp(0.0, 1.0))
        };
        let rule = self.rules.iter().find(strikes)?;
        if !rule.fault.delay.is_zero() {
            rule.done.delayed.fetch_add(1, Relaxed);
        }
        if rule.fault.abort.is_some() {
            rule.done.aborted.fetch_add(1, Relaxed);
        }
        Some(&rule.fault)
    }

    /// Those that may strike a request, in their order; nothing is drawn or counted.
    pub fn matching<'a>(
        &'a self,
        request: Request<'a>,
        fields: &'a impl Fields,
        unix_ms: u64,
    ) -> impl Iterator<Item = &'a str> {
        let strikes =
            move |rule: &&Rule| unix_ms < rule.until_ms && rule.matcher.holds(request, fields);
        self.rules
            .iter()
            .filter(strikes)
            .map(|rule| &*rule.fault.name)
    }

    /// What each did so far.
    pub fn counts(&self) -> impl Iterator<Item = Count<'_>> {
        self.rules.iter().map(|rule| Count {
            fault: &rule.fault.name,
            until_ms: rule.until_ms,
            delayed: rule.done.delayed.load(Relaxed),
            aborted: rule.done.aborted.load(Relaxed),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::local;
    use crate::matcher::NoFields;
    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    const END: u64 = 1_800_000_000_000;

    fn fault(name: &str, percent: f64, abort: u16) -> section::Fault {
        section::Fault {
            name: name.to_owned(),
            until_ms: END,
            matches: Vec::new(),
            percent,
            delay_ms: 5,
            abort,
        }
    }

    fn struck(faults: &Faults, now: u64, rng: &mut SmallRng) -> Option<Box<str>> {
        let request = Request {
            host: "",
            method: "GET",
            path: "/",
            caller: None,
        };
        let struck = faults.strike(request, &NoFields, || now, rng);
        struck.map(|fault| (*fault.name).into())
    }

    #[test]
    fn a_share_is_struck_until_the_end_and_nothing_from_then_on() {
        let faults = Faults::new(&[fault("a/b", 5.0, 503)], None, &local()).expect("valid");
        let mut rng = SmallRng::seed_from_u64(1);
        let count = |now, rng: &mut SmallRng| {
            (0..10_000)
                .filter(|_| struck(&faults, now, rng).is_some())
                .count()
        };
        let before = count(END - 1, &mut rng);
        assert!((400..600).contains(&before), "{before}");
        assert_eq!(count(END, &mut rng), 0);
        let counted = faults.counts().next().expect("one");
        assert_eq!(
            (counted.delayed, counted.aborted),
            (before as u64, before as u64)
        );
    }

    #[test]
    fn the_first_that_draws_a_request_acts() {
        let all = [
            fault("a/never", 0.0, 500),
            fault("a/1", 100.0, 0),
            fault("a/2", 100.0, 503),
        ];
        let faults = Faults::new(&all, None, &local()).expect("valid");
        let mut rng = SmallRng::seed_from_u64(1);
        assert_eq!(struck(&faults, 0, &mut rng).as_deref(), Some("a/1"));
        let after = Faults::new(&all[1..], Some(&faults), &local()).expect("valid");
        assert_eq!(struck(&after, 0, &mut rng).as_deref(), Some("a/1"));
        assert_eq!(after.counts().next().expect("one").delayed, 2);
    }
}
