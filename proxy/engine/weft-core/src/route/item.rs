//! One match of one rule, path and host aside.

use regex::bytes::Regex;
use weft_model::section::{Match, Route, ValueMatch};

use super::{Chosen, Fields, Lost, Part, Request, Summary};
use crate::caller::{Callers, Local};
use crate::pattern::{InvalidRule, anchored};

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) summary: Summary,
    route: usize,
    conditions: Conditions,
}

/// What a match says besides path and host.
#[derive(Clone, Debug)]
pub(crate) struct Conditions {
    methods: Box<[Box<str>]>,
    headers: Box<[(Box<str>, Value)]>,
    callers: Callers,
}

#[derive(Clone, Debug)]
enum Value {
    Exact(Box<[u8]>),
    Regex(Regex),
    Present(bool),
}

// === impl Item ===

impl Item {
    pub(crate) fn new(
        at: (usize, usize),
        route: &Route,
        matched: &Match,
        host: &str,
        local: &Local,
    ) -> Result<Item, InvalidRule> {
        Ok(Item {
            summary: Summary::new(at, route, matched, host),
            route: at.0,
            conditions: Conditions::new(&route.name, matched, local)?,
        })
    }

    pub(crate) fn chosen(&self, part: Part) -> Chosen {
        Chosen {
            route: self.route,
            part,
            summary: self.summary,
        }
    }

    /// Whether all but path and host holds.
    pub(crate) fn matches(&self, request: Request<'_>, fields: &impl Fields) -> bool {
        self.lost(request, fields).is_none()
    }

    /// What of it does not hold first, path and host aside.
    pub(crate) fn lost(&self, request: Request<'_>, fields: &impl Fields) -> Option<Lost<'_>> {
        self.conditions.lost(request, fields)
    }
}

// === impl Conditions ===

impl Conditions {
    /// Of the rule of this name.
    pub(crate) fn new(rule: &str, matched: &Match, local: &Local) -> Result<Self, InvalidRule> {
        let value = |value: &ValueMatch| {
            Ok(match value {
                ValueMatch::Exact(text) => Value::Exact(text.as_bytes().into()),
                ValueMatch::Present(there) => Value::Present(*there),
                ValueMatch::Regex(text) => {
                    Value::Regex(Regex::new(&anchored(text)).map_err(|error| InvalidRule {
                        rule: rule.to_owned(),
                        message: error.to_string(),
                    })?)
                }
            })
        };
        let headers = matched
            .headers
            .iter()
            .map(|(name, wanted)| Ok((name.to_ascii_lowercase().into(), value(wanted)?)));
        Ok(Self {
            methods: matched
                .methods
                .iter()
                .map(|method| method.as_str().into())
                .collect(),
            headers: headers.collect::<Result<_, _>>()?,
            callers: Callers::new(&matched.callers, local),
        })
    }

    /// Whether all of it holds.
    pub(crate) fn hold(&self, request: Request<'_>, fields: &impl Fields) -> bool {
        self.lost(request, fields).is_none()
    }

    /// What of it does not hold first.
    fn lost(&self, request: Request<'_>, fields: &impl Fields) -> Option<Lost<'_>> {
        let mut methods = self.methods.iter();
        if !self.methods.is_empty() && !methods.any(|method| **method == *request.method) {
            return Some(Lost::Method);
        }
        if !self.callers.matches(request.caller) {
            return Some(Lost::Caller);
        }
        let unheld = |(name, wanted): &&(Box<str>, Value)| {
            let found = fields.field(name);
            !wanted.holds(found.as_deref())
        };
        let (name, _) = self.headers.iter().find(unheld)?;
        Some(Lost::Header(name))
    }
}

impl Value {
    fn holds(&self, found: Option<&[u8]>) -> bool {
        match (self, found) {
            (Value::Present(wanted), found) => *wanted == found.is_some(),
            (_, None) => false,
            (Value::Exact(wanted), Some(found)) => **wanted == *found,
            (Value::Regex(regex), Some(found)) => regex.is_match(found),
        }
    }
}
