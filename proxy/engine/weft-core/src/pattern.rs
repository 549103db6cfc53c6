//! Regular expressions as rules mean them: the whole text, anchored at both ends.

use regex::{Regex, RegexSet};
use std::fmt;

/// A rule that cannot be compiled although it was validated: its expressions are too large taken together, say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidRule {
    /// The rule's name.
    pub rule: String,
    /// What stands against it.
    pub message: String,
}

pub(crate) fn anchored(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

pub(crate) fn compile(rule: &str, pattern: &str) -> Result<Regex, InvalidRule> {
    Regex::new(&anchored(pattern)).map_err(|error| InvalidRule {
        rule: rule.to_owned(),
        message: error.to_string(),
    })
}

/// Up to this many are tried one by one, which allocates nothing; more go into one automaton.
const FEW: usize = 8;

/// Which of many expressions hold, in the order they were given.
#[derive(Clone, Debug)]
pub(crate) enum Many {
    Few(Box<[Regex]>),
    Set(RegexSet),
}

impl Many {
    /// One automaton for all if there are many and they fit; else one by one.
    pub(crate) fn new(all: Vec<Regex>) -> Many {
        if all.len() > FEW
            && let Ok(set) = RegexSet::new(all.iter().map(Regex::as_str))
        {
            return Many::Set(set);
        }
        Many::Few(all.into())
    }

    /// The first, in order, that holds and that `accept` takes.
    pub(crate) fn first<T>(
        &self,
        text: &str,
        mut accept: impl FnMut(usize) -> Option<T>,
    ) -> Option<T> {
        match self {
            Many::Few(all) => (0..all.len()).find_map(|index| {
                if all[index].is_match(text) {
                    accept(index)
                } else {
                    None
                }
            }),
            Many::Set(set) => set.matches(text).into_iter().find_map(accept),
        }
    }
}

impl fmt::Display for InvalidRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule {}: {}", self.rule, self.message)
    }
}

impl std::error::Error for InvalidRule {}
