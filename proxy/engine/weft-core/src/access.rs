//! Access: whether a caller may.
//!
//! Deny wins over allow. Where at least one enforced allow rule exists, what none allows is refused; only where there is
//! none does the default decide. Rules in shadow decide nothing; what they would do is computed beside.

use weft_model::section::{Access, Decision, Rule};

use crate::caller::{Callers, Local, SpiffeId};
use crate::matcher::Path;
use crate::pattern::InvalidRule;

/// The rules of one service.
#[derive(Clone, Debug)]
pub struct Rules {
    default: Decision,
    rules: Box<[Prepared]>,
    looks_at_path: bool,
    shadows: bool,
}

/// What is judged.
#[derive(Clone, Copy, Debug)]
pub struct Call<'a> {
    /// Who, from a verified certificate.
    pub caller: Option<&'a SpiffeId>,
    /// The method.
    pub method: &'a str,
    /// The path as [`crate::path::admit`] gave it, without query.
    pub path: &'a str,
}

/// A decision and what led to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ruling<'a> {
    /// Yes or no.
    pub decision: Decision,
    /// Who said so.
    pub by: By<'a>,
}

/// What decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum By<'a> {
    /// The rule of this name.
    Rule(&'a str),
    /// There are allow rules and none allows it.
    NoneAllows,
    /// There are none, so the default.
    Default,
}

/// What holds, and what would.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Verdict<'a> {
    /// What holds.
    pub enforced: Ruling<'a>,
    /// What would hold if the rules in shadow were enforced too; `None` where there are none.
    pub shadow: Option<Ruling<'a>>,
}

/// One rule, and whether it holds for a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looked<'a> {
    /// `<document>/<rule>`.
    pub name: &'a str,
    /// What it says.
    pub decision: Decision,
    /// Whether it decides nothing.
    pub shadow: bool,
    /// What does not hold; `None`: it matches.
    pub lost: Option<Lost>,
}

/// What of a rule does not hold, the first in the order method, caller, path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lost {
    /// The method is another.
    Method,
    /// Somebody else calls.
    Caller,
    /// The path is another.
    Path,
}

#[derive(Clone, Debug)]
struct Prepared {
    name: Box<str>,
    decision: Decision,
    shadow: bool,
    callers: Callers,
    methods: Box<[Box<str>]>,
    paths: Box<[Path]>,
}

// === impl Rules ===

impl Rules {
    /// Prepared for deciding.
    pub fn new(access: &Access, local: &Local) -> Result<Rules, InvalidRule> {
        let rules: Box<[Prepared]> = access
            .rules
            .iter()
            .map(|rule| Prepared::new(rule, local))
            .collect::<Result<_, _>>()?;
        Ok(Rules {
            default: access.default,
            looks_at_path: rules.iter().any(|rule| !rule.paths.is_empty()),
            shadows: rules.iter().any(|rule| rule.shadow),
            rules,
        })
    }

    /// Whether any rule looks at the path: then an ambiguous one must not come here.
    pub fn looks_at_path(&self) -> bool {
        self.looks_at_path
    }

    /// What holds for a call, and what would.
    pub fn judge(&self, call: Call<'_>) -> Verdict<'_> {
        Verdict {
            enforced: self.rule(call, false),
            shadow: self.shadows.then(|| self.rule(call, true)),
        }
    }

    /// The same for a connection that carries no requests: only rules that look at nothing but the caller can match.
    pub fn judge_connection(&self, caller: Option<&SpiffeId>) -> Verdict<'_> {
        let decide = |shadow| self.decide(shadow, |rule| rule.matches_connection(caller));
        Verdict {
            enforced: decide(false),
            shadow: self.shadows.then(|| decide(true)),
        }
    }

    /// Which rules hold for a call and which do not, in the order of the section: what [`Rules::judge`] decided by.
    pub fn looked_at(&self, call: Call<'_>) -> Vec<Looked<'_>> {
        self.rules.iter().map(|rule| rule.looked(call)).collect()
    }

    fn rule(&self, call: Call<'_>, shadow: bool) -> Ruling<'_> {
        self.decide(shadow, |rule| rule.matches(call))
    }

    fn decide(&self, shadow: bool, matches: impl Fn(&Prepared) -> bool) -> Ruling<'_> {
        let mut guarded = false;
        let mut allowed = None;
        for rule in self.rules.iter().filter(|rule| shadow || !rule.shadow) {
            guarded |= rule.decision == Decision::Allow;
            if rule.decision == Decision::Allow && allowed.is_some() || !matches(rule) {
                continue;
            }
            match rule.decision {
                Decision::Deny => {
                    return Ruling {
                        decision: Decision::Deny,
                        by: By::Rule(&rule.name),
                    };
                }
                Decision::Allow => allowed = Some(&*rule.name),
            }
        }
        match allowed {
            Some(name) => Ruling {
                decision: Decision::Allow,
                by: By::Rule(name),
            },
            None if guarded => Ruling {
                decision: Decision::Deny,
                by: By::NoneAllows,
            },
            None => Ruling {
                decision: self.default,
                by: By::Default,
            },
        }
    }
}

// === impl Prepared ===

impl Prepared {
    fn new(rule: &Rule, local: &Local) -> Result<Prepared, InvalidRule> {
        Ok(Prepared {
            name: rule.name.as_str().into(),
            decision: rule.decision,
            shadow: rule.shadow,
            callers: Callers::new(&rule.callers, local),
            methods: rule
                .methods
                .iter()
                .map(|method| method.as_str().into())
                .collect(),
            paths: rule
                .paths
                .iter()
                .map(|path| Path::new(&rule.name, path))
                .collect::<Result<_, _>>()?,
        })
    }

    fn looked(&self, call: Call<'_>) -> Looked<'_> {
        Looked {
            name: &self.name,
            decision: self.decision,
            shadow: self.shadow,
            lost: self.lost(call),
        }
    }

    fn matches(&self, call: Call<'_>) -> bool {
        self.lost(call).is_none()
    }

    fn lost(&self, call: Call<'_>) -> Option<Lost> {
        if !self.methods.is_empty() && !self.methods.iter().any(|method| &**method == call.method) {
            return Some(Lost::Method);
        }
        if !self.callers.matches(call.caller) {
            return Some(Lost::Caller);
        }
        let named = self.paths.is_empty() || self.paths.iter().any(|path| path.matches(call.path));
        (!named).then_some(Lost::Path)
    }

    fn matches_connection(&self, caller: Option<&SpiffeId>) -> bool {
        self.methods.is_empty() && self.paths.is_empty() && self.callers.matches(caller)
    }
}

#[cfg(test)]
mod tests;
