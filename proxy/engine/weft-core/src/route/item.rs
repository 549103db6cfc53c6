//! One match of one rule, path and host aside.

use regex::bytes::Regex;
use weft_model::section::{Match, Route, ValueMatch};

use super::{Chosen, Fields, Part, Request, Summary};
use crate::caller::{Callers, Local};
use crate::pattern::{InvalidRule, anchored};

#[derive(Clone, Debug)]
pub(crate) struct Item {
    pub(crate) summary: Summary,
    route: usize,
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
        let value = |value: &ValueMatch| {
            Ok(match value {
                ValueMatch::Exact(text) => Value::Exact(text.as_bytes().into()),
                ValueMatch::Present(there) => Value::Present(*there),
                ValueMatch::Regex(text) => {
                    Value::Regex(Regex::new(&anchored(text)).map_err(|error| InvalidRule {
                        rule: route.name.clone(),
                        message: error.to_string(),
                    })?)
                }
            })
        };
        let headers = matched
            .headers
            .iter()
            .map(|(name, wanted)| Ok((name.to_ascii_lowercase().into(), value(wanted)?)));
        Ok(Item {
            summary: Summary::new(at, route, matched, host),
            route: at.0,
            methods: matched
                .methods
                .iter()
                .map(|method| method.as_str().into())
                .collect(),
            headers: headers.collect::<Result<_, _>>()?,
            callers: Callers::new(&matched.callers, local),
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
        (self.methods.is_empty()
            || self
                .methods
                .iter()
                .any(|method| &**method == request.method))
            && self.callers.matches(request.caller)
            && self
                .headers
                .iter()
                .all(|(name, wanted)| wanted.holds(fields.field(name).as_deref()))
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
